//! Connections that the accept hook gave away, and those of listeners that the agent serves.
//!
//! A connection's way through the files: it comes ([`arrival`]), what it says first makes a caller of it, the caller gets leave ([`gate`])
//! by the picture of the moment ([`picture`]), and is served ([`serving`]): through adapters, as a session ([`sessions`]), or by the
//! software itself, to which it is given back as it is ([`giving_back`]).

mod arrival;
mod chains;
mod commands;
mod first_bytes;
mod gate;
mod giving_back;
mod open_connections;
mod pairs;
mod picture;
mod reasons;
mod record;
mod remarks;
mod serving;
mod sessions;
mod software_dial;
mod tally;
mod tap;
mod traffic;
mod workers;

pub(crate) use arrival::{ArrivingConnection, ConnectionEnds};
pub(crate) use chains::Loaded;
pub(crate) use commands::Commands;
pub(crate) use gate::held_calls;
pub(crate) use picture::{ListeningSoftware, Observed, Picture};
pub(crate) use reasons::ResetReason;
pub(crate) use record::{Recorder, Recorders};
pub(crate) use sessions::LoadedSessions;
pub(crate) use software_dial::SoftwareDial;
pub(crate) use tally::Tally;
pub(crate) use traffic::LiveTraffic;
pub(crate) use workers::Workers;

use crate::agent_key::AgentKey;
use crate::dial::{FastOpen, FastOpenSeen};
use crate::holder_client::HolderClient;
use crate::label_keys::LabelKeys;
use call::{HeldBytes, Limits};
use model::ids::{NodeId, Version};
use open_connections::OpenConnections;
use socket2::SockRef;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;
use tokio::net::TcpStream;

/// Who the node is, as labels say it.
#[derive(Clone)]
pub(crate) struct LabelIdentity {
    /// The system's number.
    pub(crate) system: u64,
    /// The node's number.
    pub(crate) node: NodeId,
    /// The key by which the software's hooks know the agent's own connections.
    pub(crate) agent_key: AgentKey,
    /// The keys by which the system's labels are signed.
    pub(crate) label_keys: LabelKeys,
}

/// Everything that serving connections needs.
pub(crate) struct Relay {
    /// Who the node is.
    pub(crate) identity: LabelIdentity,
    /// How calls are treated now.
    pub(crate) traffic: Arc<LiveTraffic>,
    /// The holder, to give connections back through.
    pub(crate) holder: HolderClient,
    /// How the software is reached.
    pub(crate) software_dial: Arc<SoftwareDial>,
    /// What is counted.
    pub(crate) tally: Arc<Tally>,
    /// Commands whose connections are the agent's own.
    pub(crate) commands: Arc<Commands>,
    /// What connections are served by.
    pub(crate) workers: Workers,
    /// Whoever records what passes.
    pub(crate) recorders: Recorders,
    /// What the kernel does with data in handshakes.
    pub(crate) fast_open: FastOpenSeen,
    /// Nobody can tell in whose words callers speak: they are reset.
    pub(crate) forgotten: AtomicBool,
    open: Arc<OpenConnections>,
    /// Connections on their way back to the software.
    returning: AtomicUsize,
    /// What all calls hold together.
    held: Arc<HeldBytes>,
}

impl Relay {
    /// A relay that has no connections yet.
    pub(crate) fn new(
        identity: LabelIdentity,
        traffic: Arc<LiveTraffic>,
        holder: HolderClient,
        tally: Arc<Tally>,
        workers: Workers,
        fast_open: FastOpen,
    ) -> Arc<Self> {
        Arc::new(Self {
            identity,
            software_dial: Arc::new(SoftwareDial::new(holder.clone(), traffic.clone())),
            traffic,
            holder,
            tally,
            commands: Arc::new(Commands::default()),
            workers,
            fast_open: FastOpenSeen::new(fast_open),
            forgotten: AtomicBool::new(false),
            recorders: Recorders::default(),
            open: Arc::default(),
            returning: AtomicUsize::new(0),
            held: Limits::default().held,
        })
    }

    /// What a connection may cost, by the version that the node runs now.
    fn limits(&self) -> Arc<Limits> {
        let picture = self.traffic.picture();
        let calls = &picture.calls;
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        self.held.set_most(size(calls.held_bytes_max));
        Arc::new(Limits {
            head_bytes_max: calls.head_bytes_max as usize,
            headers_max: calls.head_fields_max as usize,
            head_timeout: Duration::from_millis(calls.head_ms),
            idle_timeout: Duration::from_millis(calls.idle_ms),
            body_bytes_max: calls.body_bytes_max as usize,
            body_rate_min: calls.body_bytes_per_second_min as usize,
            held: self.held.clone(),
            ..Limits::default()
        })
    }

    /// Takes a connection over; it is served by a task of its own.
    pub(crate) fn adopt(self: &Arc<Self>, arrival: ArrivingConnection) {
        let peer = arrival.ends.peer;
        let place = match self.open.place(peer.ip(), &self.traffic.picture().calls) {
            Ok(place) => place,
            Err(why) => {
                self.tally.reset(why);
                reset_std(arrival.connection.into());
                return;
            }
        };
        let relay = self.clone();
        self.workers.spawn(async move {
            let _place = place;
            if let Err(error) = relay.serve_arrival(arrival).await {
                tracing::debug!(%peer, %error, "a connection failed");
                relay.tally.count("connection.failed");
            }
        });
    }

    /// Waits until a version is retired, or being retired.
    async fn retired(&self, version: Version) {
        let mut pictures = self.traffic.watch();
        let retired = pictures.wait_for(|picture| picture.standing.retired_through >= version);
        if retired.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn reset(&self, stream: TcpStream, why: ResetReason) -> io::Result<()> {
        self.tally.reset(why);
        reset_std(stream.into_std()?);
        Ok(())
    }
}

/// Ends a connection as a dead process does.
fn reset_std(stream: std::net::TcpStream) {
    // Without it the peer sees an orderly end instead; it is gone either way.
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}

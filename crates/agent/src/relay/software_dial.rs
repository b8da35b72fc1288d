//! The agent's own connections to the software: past what is kept for it, and with the true caller in their label.

use super::{LabelIdentity, LiveTraffic};
use crate::dial;
use crate::holder_client::HolderClient;
use call::{Dial, Pending, Upstream};
use intercept::holder::KeptListener;
use label::{LABEL_BYTES_MAX, Label};
use parking_lot::RwLock;
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;

/// How the software is reached: past what is kept for it, where callers are held there.
pub(crate) struct SoftwareDial {
    holder: HolderClient,
    traffic: Arc<LiveTraffic>,
    /// The ports at which something is kept.
    kept: RwLock<BTreeSet<u16>>,
}

impl SoftwareDial {
    /// A dial beside which nothing is kept yet.
    pub(crate) fn new(holder: HolderClient, traffic: Arc<LiveTraffic>) -> Self {
        Self {
            holder,
            traffic,
            kept: RwLock::default(),
        }
    }

    /// Notes what is kept.
    pub(crate) fn set_kept(&self, kept: &[KeptListener]) {
        let ports = kept.iter().map(|kept| kept.address.port()).collect();
        *self.kept.write() = ports;
    }

    /// Connects to the software, with `label` as the first bytes of the stream.
    ///
    /// # Errors
    /// As [`crate::dial::dial`]; what the holder says where it is asked.
    pub(crate) async fn dial(&self, software: SocketAddr, label: &[u8]) -> io::Result<TcpStream> {
        let is_kept = (self.kept.read()).contains(&software.port());
        if is_kept {
            self.until_listening(software.port()).await;
        }
        let socket = dial::socket(software)?;
        if is_kept {
            // From the address that is dialled: by that the program that steers callers knows who is of this host.
            let from = SocketAddr::new(software.ip(), 0);
            socket.bind(&from.into())?;
            let from = socket.local_addr()?.as_socket().map_or(0, |at| at.port());
            (self.holder.let_through(from).await).map_err(io::Error::other)?;
        }
        dial::connect(socket, software, label).await
    }

    /// Before the software listens by itself, what is kept would take the connection. Software that takes too long is as dead.
    async fn until_listening(&self, port: u16) {
        let limit = self.traffic.picture().hold_limit;
        let mut pictures = self.traffic.watch();
        let listens = pictures.wait_for(|picture| {
            let child = picture.child.as_ref();
            child.is_some_and(|child| child.listening.iter().any(|at| at.port() == port))
        });
        let _ = tokio::time::timeout(limit, listens).await;
    }
}

/// Opens connections to the software that show it the true caller.
pub(super) struct LabelledDial {
    identity: LabelIdentity,
    traffic: Arc<LiveTraffic>,
    dial: Arc<SoftwareDial>,
    /// The address that the caller dialled.
    local: SocketAddr,
}

impl LabelledDial {
    pub(super) fn new(
        identity: LabelIdentity,
        traffic: Arc<LiveTraffic>,
        dial: Arc<SoftwareDial>,
        local: SocketAddr,
    ) -> Self {
        Self {
            identity,
            traffic,
            dial,
            local,
        }
    }
}

impl Dial for LabelledDial {
    fn dial(&self, upstream: Upstream, caller: SocketAddr) -> Pending<'_, io::Result<TcpStream>> {
        Box::pin(async move {
            let picture = self.traffic.picture();
            let label = Label {
                system: self.identity.system,
                version: picture.standing.version.0,
                node: self.identity.node.0,
                caller: Some((caller, self.local)),
                token: None,
                agent_key: Some(self.identity.agent_key.value()),
                question: None,
                proof: None,
            };
            let mut bytes = [0; LABEL_BYTES_MAX];
            let length = label.encode(&mut bytes);
            let software = picture.beside(upstream, self.local.ip());
            self.dial.dial(software, &bytes[..length]).await
        })
    }
}

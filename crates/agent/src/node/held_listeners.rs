//! Listeners in the holder's hands. The ports of staged versions and of older ones, on which the software does not listen: the holder
//! listens, so that no connection is lost with an agent; the agent accepts and serves. And the software's own: kept while it is stopped
//! for an upgrade, let go of when it listens.

use super::hook_table::HookTable;
use super::inspection::Inspection;
use super::membership::Membership;
use super::surroundings::Surroundings;
use crate::holder_client::HolderClientError;
use crate::relay::{ArrivingConnection, ConnectionEnds, Relay};
use intercept::holder::KeptListener;
use model::ids::Version;
use model::machine::Traffic;
use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use tokio::net::TcpListener;
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::AbortHandle;

/// The pause after a failed accept, so that a shortage of descriptors does not become a busy loop.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// What the holder keeps, and who accepts from it.
pub(super) struct HeldListeners {
    surroundings: Arc<Surroundings>,
    relay: Arc<Relay>,
    hook_table: Arc<HookTable>,
    membership: Arc<Membership>,
    inspection: Arc<Inspection>,
    held: Mutex<ListenersNow>,
    /// Through which version the ports of every live version are open.
    opened: AtomicU32,
    /// One change at a time.
    change: AsyncMutex<()>,
}

#[derive(Default)]
struct ListenersNow {
    /// What the holder keeps, as it said last.
    kept: Vec<KeptListener>,
    /// The accepting tasks, by the holder's number of the listener.
    accepting: BTreeMap<u64, AbortHandle>,
}

impl Drop for ListenersNow {
    fn drop(&mut self) {
        self.accepting.values().for_each(AbortHandle::abort);
    }
}

/// Why listeners are not as they should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListenerError {
    /// The holder does not do what it is asked.
    #[error(transparent)]
    Holder(#[from] HolderClientError),
    /// It cannot open a port.
    #[error("cannot listen on {address}, which another version needs: {problem}")]
    Port {
        /// Where.
        address: SocketAddr,
        /// What it says.
        problem: HolderClientError,
    },
}

impl HeldListeners {
    pub(super) fn new(
        surroundings: &Arc<Surroundings>,
        relay: &Arc<Relay>,
        hook_table: &Arc<HookTable>,
        membership: &Arc<Membership>,
        inspection: &Arc<Inspection>,
    ) -> Arc<Self> {
        Arc::new(Self {
            surroundings: surroundings.clone(),
            relay: relay.clone(),
            hook_table: hook_table.clone(),
            membership: membership.clone(),
            inspection: inspection.clone(),
            held: Mutex::default(),
            opened: AtomicU32::new(0),
            change: AsyncMutex::new(()),
        })
    }

    /// Notes what the holder keeps; the hooks are told, since they ask for kept listeners at `bind`.
    pub(super) fn set_kept(&self, kept: Vec<KeptListener>) {
        self.adopt(kept);
        self.hook_table.publish();
    }

    /// Takes over what the holder kept for an earlier agent; the hooks are told with the first table that is published.
    pub(super) fn adopt(&self, kept: Vec<KeptListener>) {
        self.relay.software_dial.set_kept(&kept);
        let mut held = self.held();
        held.kept = kept;
        self.hook_table.set_kept_ports(held.kept_ports());
    }

    /// Through which version the ports of every live version are open.
    pub(super) fn opened(&self) -> Version {
        Version(self.opened.load(Ordering::Relaxed))
    }

    fn held(&self) -> MutexGuard<'_, ListenersNow> {
        self.held.lock()
    }

    /// Lets the holder duplicate the child's listeners, so that the kernel goes on queueing.
    pub(super) async fn keep_own(&self) -> Result<(), ListenerError> {
        let _one = self.change.lock().await;
        let ports = self.own_ports().into_iter().collect();
        let kept = self.surroundings.holder.keep(ports).await?;
        self.set_kept(kept);
        Ok(())
    }

    /// Lets the software have its callers itself: where it listens at once, elsewhere when it does. Until then callers wait with the
    /// agent, where they would be refused otherwise; software that takes too long leaves a closed port, as without Upstart.
    pub(super) async fn let_go_of_kept(&self) -> Result<(), ListenerError> {
        let _one = self.change.lock().await;
        let limit = self.relay.traffic.picture().hold_limit;
        let ports = self.own_ports().into_iter().collect();
        let kept = self.surroundings.holder.let_go(ports, limit).await;
        self.set_kept(kept?);
        Ok(())
    }

    /// Where calls are held no longer, the software gets its callers itself before any of those that were held go on: whoever is answered
    /// must not be held the next time, since this agent may be killed before its release.
    pub(super) async fn let_go_before(&self, wished: &Traffic) {
        if wished.hold_calls || !self.relay.traffic.picture().hold {
            return;
        }
        let catalog = self.relay.traffic.catalog();
        let own = catalog.ports(wished.serving_version);
        let ports: BTreeSet<u16> = own.values().copied().collect();
        if self.held().kept_ports().is_disjoint(&ports) {
            return;
        }
        let _one = self.change.lock().await;
        let limit = self.relay.traffic.picture().hold_limit;
        match self
            .surroundings
            .holder
            .let_go(ports.into_iter().collect(), limit)
            .await
        {
            Ok(kept) => self.set_kept(kept),
            // The release tries again.
            Err(error) => tracing::warn!(%error, "the software does not get its callers yet"),
        }
    }

    /// Closes what is kept of the software's own ports: callers are refused, as by a dead process.
    pub(super) async fn abandon_kept(&self) -> Result<(), ListenerError> {
        let _one = self.change.lock().await;
        // The last of a group first, as its places go.
        for kept in self.kept_of_own_ports().await?.into_iter().rev() {
            (self.surroundings.holder.drop_listener(kept.listener)).await?;
        }
        let left = self.surroundings.holder.keep(Vec::new()).await;
        self.set_kept(left?);
        Ok(())
    }

    async fn kept_of_own_ports(&self) -> Result<Vec<KeptListener>, HolderClientError> {
        let own = self.own_ports();
        let mut kept = self.surroundings.holder.keep(Vec::new()).await?;
        kept.retain(|kept| own.contains(&kept.address.port()));
        Ok(kept)
    }

    fn own_ports(&self) -> BTreeSet<u16> {
        let serving = self.relay.traffic.picture().standing.version;
        self.relay
            .traffic
            .catalog()
            .ports(serving)
            .values()
            .copied()
            .collect()
    }

    /// Opens the ports of every version that the node answers beside its own, closes those of no version, and accepts. New
    /// ones are opened when the others know them: this is called again then.
    pub(super) async fn serve_listeners(self: &Arc<Self>) -> Result<(), ListenerError> {
        let _one = self.change.lock().await;
        let standing = self.relay.traffic.picture().standing;
        let catalog = self.relay.traffic.catalog();
        let own: BTreeSet<u16> = catalog.ports(standing.version).values().copied().collect();
        let live = catalog.live_versions(standing);
        let wanted: BTreeSet<u16> = live
            .iter()
            .flat_map(|version: &Version| catalog.answered_ports(*version, standing))
            .filter(|port| !own.contains(port))
            .collect();
        let holder = &self.surroundings.holder;
        let mut kept = holder.keep(Vec::new()).await?;
        let known = self.membership.is_known();
        let mut opened = standing.staged;
        for port in &wanted {
            if kept.iter().any(|listener| listener.address.port() == *port) {
                continue;
            }
            if !known {
                opened = standing.version;
                self.membership.align_when_known();
                break;
            }
            for address in &self.surroundings.config.addresses {
                let address = SocketAddr::new(*address, *port);
                let opened = holder.listen(address).await;
                kept = opened.map_err(|problem| ListenerError::Port { address, problem })?;
            }
        }
        for listener in &kept {
            let port = listener.address.port();
            if !wanted.contains(&port) && !own.contains(&port) {
                self.stop_accepting(listener.listener);
                holder.drop_listener(listener.listener).await?;
            }
        }
        let kept = holder.keep(Vec::new()).await?;
        for listener in &kept {
            if wanted.contains(&listener.address.port()) {
                self.accept_from(listener).await?;
            } else {
                self.stop_accepting(listener.listener);
            }
        }
        self.set_kept(kept);
        self.opened.store(opened.0, Ordering::Relaxed);
        Ok(())
    }

    /// The software is about to take these ports itself.
    pub(super) fn leave_ports(&self, version: Version) {
        let own: BTreeSet<u16> = self
            .relay
            .traffic
            .catalog()
            .ports(version)
            .values()
            .copied()
            .collect();
        let numbers: Vec<u64> = (self.held().kept.iter())
            .filter(|kept| own.contains(&kept.address.port()))
            .map(|kept| kept.listener)
            .collect();
        numbers
            .into_iter()
            .for_each(|number| self.stop_accepting(number));
    }

    fn stop_accepting(&self, listener: u64) {
        if let Some(task) = self.held().accepting.remove(&listener) {
            task.abort();
        }
    }

    async fn accept_from(self: &Arc<Self>, kept: &KeptListener) -> Result<(), ListenerError> {
        if self.held().accepting.contains_key(&kept.listener) {
            return Ok(());
        }
        let descriptor = self.surroundings.holder.fetch(kept.listener).await?;
        let listeners = Arc::downgrade(self);
        let address = kept.address;
        let task = tokio::spawn(async move {
            if let Err(error) = accept(descriptor, address, listeners).await {
                tracing::error!(%address, %error, "a kept listener cannot be served");
            }
        });
        self.held()
            .accepting
            .insert(kept.listener, task.abort_handle());
        Ok(())
    }
}

impl ListenersNow {
    fn kept_ports(&self) -> BTreeSet<u16> {
        let addresses = self.kept.iter().map(|kept| kept.address);
        addresses.map(|address| address.port()).collect()
    }
}

async fn accept(
    descriptor: OwnedFd,
    address: SocketAddr,
    listeners: Weak<HeldListeners>,
) -> std::io::Result<()> {
    let listener = std::net::TcpListener::from(descriptor);
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, or a connection that ended in the queue: neither is the listener's end.
                tracing::debug!(%address, %error, "accept failed");
                let is_scarce = matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE));
                if let Some(listeners) = listeners.upgrade().filter(|_| is_scarce) {
                    listeners.inspection.note_scarcity();
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(listeners) = listeners.upgrade() else {
            return Ok(());
        };
        let local = stream.local_addr().unwrap_or(address);
        listeners.relay.adopt(ArrivingConnection {
            connection: stream.into_std()?.into(),
            handed_over: None,
            ends: ConnectionEnds { local, peer },
        });
    }
}

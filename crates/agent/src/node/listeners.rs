//! Ports that the software does not listen on: those of staged versions and of older ones. The holder listens, so that
//! no connection is lost with an agent; the agent accepts and serves.

use super::Node;
use crate::relay::{Arrival, ConnectionEnds};
use crate::unpoisoned::Unpoisoned as _;
use intercept::holder::KeptListener;
use model::ids::Version;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// The accepting tasks, by the holder's number of the listener.
#[derive(Default)]
pub(super) struct Listeners {
    accepting: BTreeMap<u64, AbortHandle>,
    /// What the holder keeps, as it said last.
    kept: Vec<KeptListener>,
}

impl Drop for Listeners {
    fn drop(&mut self) {
        self.accepting.values().for_each(AbortHandle::abort);
    }
}

impl Node {
    /// Notes what the holder keeps; the hooks are told, since they ask for kept listeners at `bind`.
    pub(super) fn set_kept(&self, kept: Vec<KeptListener>) {
        self.adopt_kept(kept);
        self.publish_table();
    }

    /// Takes over what the holder kept for an earlier agent; the hooks are told with the first table that is published.
    pub(super) fn adopt_kept(&self, kept: Vec<KeptListener>) {
        self.relay.software_dial.set_kept(&kept);
        self.listeners().kept = kept;
    }

    /// The ports that the holder keeps listeners for.
    pub(super) fn kept_ports(&self) -> BTreeSet<u16> {
        self.listeners()
            .kept
            .iter()
            .map(|kept| kept.address.port())
            .collect()
    }

    pub(super) fn listeners(&self) -> std::sync::MutexGuard<'_, Listeners> {
        self.listeners.lock().unpoisoned()
    }

    /// Opens the ports of every version that the node answers beside its own, closes those of no version, and accepts. New
    /// ones are opened when the others know them: this is called again then.
    pub(super) async fn serve_listeners(self: &Arc<Self>) -> Result<(), String> {
        let _one = self.listening.lock().await;
        let standing = self.traffic.picture().standing;
        let catalog = self.catalog();
        let own: BTreeSet<u16> = catalog.ports(standing.version).values().copied().collect();
        let live = catalog.live_versions(standing);
        let wanted: BTreeSet<u16> = live
            .iter()
            .flat_map(|version: &Version| catalog.answered_ports(*version, standing))
            .filter(|port| !own.contains(port))
            .collect();
        let mut kept = self
            .holder
            .keep(Vec::new())
            .await
            .map_err(|error| error.to_string())?;
        let known = self.is_known();
        let mut opened = standing.staged;
        for port in &wanted {
            if kept.iter().any(|listener| listener.address.port() == *port) {
                continue;
            }
            if !known {
                opened = standing.version;
                self.align_when_known();
                break;
            }
            for address in &self.config.addresses {
                let address = SocketAddr::new(*address, *port);
                kept = (self.holder.listen(address).await).map_err(|error| {
                    format!("cannot listen on {address}, which another version needs: {error}")
                })?;
            }
        }
        for listener in &kept {
            let port = listener.address.port();
            if !wanted.contains(&port) && !own.contains(&port) {
                self.stop_accepting(listener.listener);
                (self.holder.drop_listener(listener.listener).await)
                    .map_err(|error| error.to_string())?;
            }
        }
        let kept = self
            .holder
            .keep(Vec::new())
            .await
            .map_err(|error| error.to_string())?;
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
        let own: BTreeSet<u16> = self.catalog().ports(version).values().copied().collect();
        let numbers: Vec<u64> = (self.listeners().kept.iter())
            .filter(|kept| own.contains(&kept.address.port()))
            .map(|kept| kept.listener)
            .collect();
        numbers
            .into_iter()
            .for_each(|number| self.stop_accepting(number));
    }

    fn stop_accepting(&self, listener: u64) {
        if let Some(task) = self.listeners().accepting.remove(&listener) {
            task.abort();
        }
    }

    async fn accept_from(self: &Arc<Self>, kept: &KeptListener) -> Result<(), String> {
        if self.listeners().accepting.contains_key(&kept.listener) {
            return Ok(());
        }
        let descriptor = self
            .holder
            .fetch(kept.listener)
            .await
            .map_err(|error| error.to_string())?;
        let node = Arc::downgrade(self);
        let address = kept.address;
        let task = tokio::spawn(async move {
            if let Err(error) = accept(descriptor, address, node).await {
                tracing::error!(%address, %error, "a kept listener cannot be served");
            }
        });
        self.listeners()
            .accepting
            .insert(kept.listener, task.abort_handle());
        Ok(())
    }
}

async fn accept(
    descriptor: OwnedFd,
    address: SocketAddr,
    node: std::sync::Weak<Node>,
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
                if let Some(node) = node.upgrade().filter(|_| is_scarce) {
                    node.note_scarcity();
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(node) = node.upgrade() else {
            return Ok(());
        };
        let local = stream.local_addr().unwrap_or(address);
        node.relay.adopt(Arrival {
            connection: stream.into_std()?.into(),
            handed_over: None,
            ends: ConnectionEnds { local, peer },
        });
    }
}

/// The pause after a failed accept, so that a shortage of descriptors does not become a busy loop.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

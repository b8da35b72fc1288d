//! The software's own listeners in the holder's hands: kept while it is stopped for an upgrade, let go of when it listens.

use super::Node;
use super::actions::chain;
use intercept::holder::KeptListener;
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

impl Node {
    /// Lets the holder duplicate the child's listeners, so that the kernel goes on queueing.
    pub(super) async fn keep_own(&self) -> Result<(), String> {
        let _one = self.listening.lock().await;
        self.listeners().era += 1;
        let ports = self.own_ports().into_iter().collect();
        let kept = (self.holder.keep(ports).await).map_err(|error| chain(&error))?;
        self.set_kept(kept);
        Ok(())
    }

    /// Lets go of what is kept of the software's own ports: at once what it has taken, the rest when it listens. Until
    /// then callers wait in the kernel's queue, where they would be refused otherwise.
    pub(super) async fn let_go_of_kept(self: &Arc<Self>) -> Result<(), String> {
        let _one = self.listening.lock().await;
        let era = self.listeners().era;
        let limit = self.traffic.picture().hold_limit;
        for kept in self.kept_of_own_ports().await? {
            if kept.taken {
                self.let_go(&kept).await?;
            } else {
                let node = self.clone();
                tokio::spawn(async move { node.let_go_later(kept, era, limit).await });
            }
        }
        let left = self.holder.keep(Vec::new()).await;
        self.set_kept(left.map_err(|error| chain(&error))?);
        Ok(())
    }

    async fn let_go_later(self: Arc<Self>, kept: KeptListener, era: u64, limit: Duration) {
        let listens = self.child_listening_on(kept.address.port());
        // Software that ends, or takes too long, leaves a closed port, as without Upstart.
        let _ = tokio::time::timeout(limit, listens).await;
        let _one = self.listening.lock().await;
        if self.listeners().era != era {
            // The next upgrade keeps it.
            return;
        }
        if let Err(reason) = self.let_go_now(kept.listener).await {
            tracing::warn!(address = %kept.address, reason, "a kept listener stays open");
        }
    }

    async fn let_go_now(self: &Arc<Self>, listener: u64) -> Result<(), String> {
        let all = (self.holder.keep(Vec::new()).await).map_err(|error| chain(&error))?;
        let Some(kept) = all.into_iter().find(|kept| kept.listener == listener) else {
            return Ok(());
        };
        self.let_go(&kept).await?;
        let left = self.holder.keep(Vec::new()).await;
        self.set_kept(left.map_err(|error| chain(&error))?);
        Ok(())
    }

    async fn let_go(self: &Arc<Self>, kept: &KeptListener) -> Result<(), String> {
        if !kept.taken {
            self.take_over_queue(kept).await?;
        }
        (self.holder.drop_listener(kept.listener).await).map_err(|error| chain(&error))
    }

    /// A listener that the software did not ask for may hold connections that nobody else would ever accept.
    async fn take_over_queue(self: &Arc<Self>, kept: &KeptListener) -> Result<(), String> {
        let descriptor = (self.holder.fetch(kept.listener).await).map_err(|error| chain(&error))?;
        let listener = TcpListener::from(descriptor);
        listener
            .set_nonblocking(true)
            .map_err(|error| error.to_string())?;
        while let Ok((connection, peer)) = listener.accept() {
            let local = connection.local_addr().unwrap_or(kept.address);
            self.relay.adopt(connection.into(), None, local, peer);
        }
        Ok(())
    }

    /// Closes what is kept of the software's own ports: callers are refused, as by a dead process.
    pub(super) async fn abandon_kept(&self) -> Result<(), String> {
        let _one = self.listening.lock().await;
        for kept in self.kept_of_own_ports().await? {
            (self.holder.drop_listener(kept.listener).await).map_err(|error| chain(&error))?;
        }
        let left = self.holder.keep(Vec::new()).await;
        self.set_kept(left.map_err(|error| chain(&error))?);
        Ok(())
    }

    async fn kept_of_own_ports(&self) -> Result<Vec<KeptListener>, String> {
        let own = self.own_ports();
        let mut kept = (self.holder.keep(Vec::new()).await).map_err(|error| chain(&error))?;
        kept.retain(|kept| own.contains(&kept.address.port()));
        Ok(kept)
    }

    fn own_ports(&self) -> BTreeSet<u16> {
        let serving = self.traffic.picture().standing.version;
        self.knowledge().ports(serving).values().copied().collect()
    }
}

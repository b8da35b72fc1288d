//! The software's own listeners in the holder's hands: kept while it is stopped for an upgrade, let go of when it listens.

use super::Node;
use crate::error_chain::chain;
use intercept::holder::KeptListener;
use model::machine::Traffic;
use std::collections::BTreeSet;

impl Node {
    /// Lets the holder duplicate the child's listeners, so that the kernel goes on queueing.
    pub(super) async fn keep_own(&self) -> Result<(), String> {
        let _one = self.listening.lock().await;
        let ports = self.own_ports().into_iter().collect();
        let kept = (self.holder.keep(ports).await).map_err(|error| chain(&error))?;
        self.set_kept(kept);
        Ok(())
    }

    /// Lets the software have its callers itself: where it listens at once, elsewhere when it does. Until then callers wait with the
    /// agent, where they would be refused otherwise; software that takes too long leaves a closed port, as without Upstart.
    pub(super) async fn let_go_of_kept(&self) -> Result<(), String> {
        let _one = self.listening.lock().await;
        let limit = self.traffic.picture().hold_limit;
        let ports = self.own_ports().into_iter().collect();
        let kept = self.holder.let_go(ports, limit).await;
        self.set_kept(kept.map_err(|error| chain(&error))?);
        Ok(())
    }

    /// Where calls are held no longer, the software gets its callers itself before any of those that were held go on: whoever is answered
    /// must not be held the next time, since this agent may be killed before its release.
    pub(super) async fn let_go_before(&self, wished: &Traffic) {
        if wished.hold_calls || !self.traffic.picture().hold {
            return;
        }
        let catalog = self.catalog();
        let own = catalog.ports(wished.serving_version);
        let ports: BTreeSet<u16> = own.values().copied().collect();
        if self.kept_ports().is_disjoint(&ports) {
            return;
        }
        let _one = self.listening.lock().await;
        let limit = self.traffic.picture().hold_limit;
        match self.holder.let_go(ports.into_iter().collect(), limit).await {
            Ok(kept) => self.set_kept(kept),
            // The release tries again.
            Err(error) => tracing::warn!(%error, "the software does not get its callers yet"),
        }
    }

    /// Closes what is kept of the software's own ports: callers are refused, as by a dead process.
    pub(super) async fn abandon_kept(&self) -> Result<(), String> {
        let _one = self.listening.lock().await;
        // The last of a group first, as its places go.
        for kept in self.kept_of_own_ports().await?.into_iter().rev() {
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
        self.catalog().ports(serving).values().copied().collect()
    }
}

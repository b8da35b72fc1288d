//! The member table: what the hooks go by, made from the picture whenever it changes.

use super::Node;
use crate::dial::FastOpen;
use crate::relay::Picture;
use crate::unpoisoned::Unpoisoned as _;
use intercept::table::{ENDPOINTS_MAX, NETWORKS_MAX, Service, Table};
use std::net::IpAddr;
use std::sync::atomic::Ordering;

/// The declared networks, as many as the table has room for.
fn networks(picture: &Picture) -> Vec<(IpAddr, u8)> {
    let mut all = picture.catalog.networks(picture.standing);
    if all.len() > NETWORKS_MAX {
        tracing::error!(
            declared = all.len(),
            NETWORKS_MAX,
            "too many networks: labels of the last ones are not honoured; declare wider ones"
        );
        all.truncate(NETWORKS_MAX);
    }
    all.iter()
        .map(|network| (network.address(), network.prefix()))
        .collect()
}

impl Node {
    /// Puts the present picture in force for the hooks.
    pub(crate) fn publish_table(&self) {
        // Made under the lock: an older picture must not replace a newer one.
        let mut file = self.table.lock().unpoisoned();
        if !(self.flags.lock().unpoisoned()).told {
            return;
        }
        let fast_open = self.relay.fast_open.now();
        *(self.fast_open.lock()).unpoisoned() = Some(fast_open);
        let (members, table) = self.table(fast_open);
        match file.publish(&table) {
            Ok(()) => self.members.put_in_force(members),
            Err(error) => {
                tracing::error!(%error, endpoints_max = ENDPOINTS_MAX, "the member table cannot be published: hooks go by the last one");
            }
        }
    }

    /// Tells the hooks what an operator has set anew in the kernel: whether a label can be late depends on it.
    pub(super) fn follow_kernel_settings(&self) {
        let now = self.relay.fast_open.now();
        let known = *(self.fast_open.lock()).unpoisoned();
        if let Some(known) = known
            && now != known
        {
            tracing::info!(?now, ?known, "net.ipv4.tcp_fastopen was set anew");
            self.publish_table();
        }
    }

    /// Closes the way to the software when the node was forgotten.
    pub(super) fn follow_forgetting(&self) {
        let forgotten = *self.link.forgotten.borrow();
        if forgotten && !self.relay.forgotten.swap(true, Ordering::Relaxed) {
            self.publish_table();
        }
    }

    /// The number of the members' list, and the table made with it.
    fn table(&self, fast_open: FastOpen) -> (u64, Table) {
        let picture = self.traffic.picture();
        let flags = *self.flags.lock().unpoisoned();
        let (at, endpoints, sources) = self.members.addresses();
        let kept = self.kept_ports();
        let serving = picture.standing.version;
        let services = picture
            .catalog
            .ports(serving)
            .iter()
            .map(|(name, port)| {
                let versions = picture.catalog.same_interface(name, picture.standing);
                let public = picture.public_version(name);
                // Of a service that is recorded or observed no connection is the software's at once: the agent gets them all.
                let direct = !self.relay.recorders.has(name) && !picture.observes(name);
                Service {
                    port: *port,
                    kept: kept.contains(port),
                    unsure: picture.unsure.contains_key(port),
                    public_direct: direct
                        && public.is_some_and(|version| versions.contains(&version)),
                    versions: versions
                        .iter()
                        .filter(|_| direct)
                        .map(|version| version.0)
                        .collect(),
                }
            })
            .collect();
        let table = Table {
            system: self.identity.system,
            node: self.identity.node.0,
            version: serving.0,
            agent_lock: self.identity.agent_key.lock(),
            // Of a forgotten node too no connection is the software's at once.
            probing: flags.probing || *self.link.forgotten.borrow(),
            refuse_members: flags.refuse_members,
            stopping_until_ms: flags.stopping_until_ms,
            local_labels_prompt: fast_open.always_sends,
            cookies: fast_open.takes,
            services,
            endpoints: endpoints.into_iter().collect(),
            sources: sources.into_iter().collect(),
            networks: networks(&picture),
        };
        (at, table)
    }
}

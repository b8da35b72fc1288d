//! The member table: what the hooks go by, made from the picture whenever it changes.

use super::Node;
use intercept::table::{ENDPOINTS_MAX, Service, Table};
use model::api::SystemView;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::PoisonError;

/// Where members listen, and the addresses that their connections come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Members {
    pub(super) endpoints: BTreeSet<SocketAddr>,
    pub(super) sources: BTreeSet<IpAddr>,
}

impl Members {
    /// The members of a view.
    pub(super) fn of(view: &SystemView) -> Self {
        let endpoints: BTreeSet<SocketAddr> = view
            .nodes
            .iter()
            .flat_map(|node| &node.report.endpoints)
            .map(|endpoint| SocketAddr::new(endpoint.address, endpoint.port))
            .collect();
        let sources = view
            .nodes
            .iter()
            .flat_map(|node| node.report.addresses.iter().copied());
        let sources = endpoints
            .iter()
            .map(SocketAddr::ip)
            .chain(sources)
            .collect();
        Self { endpoints, sources }
    }
}

impl Node {
    /// Puts the present picture in force for the hooks.
    pub(super) fn publish_table(&self) {
        let table = self.table();
        let mut file = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.publish(&table) {
            tracing::error!(%error, endpoints_max = ENDPOINTS_MAX, "the member table cannot be published: hooks go by the last one");
        }
    }

    fn table(&self) -> Table {
        let picture = self.traffic.picture();
        let flags = *self.flags.lock().unwrap_or_else(PoisonError::into_inner);
        let members = self
            .members
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let kept = self.kept_ports();
        let serving = picture.standing.version;
        let services = picture
            .knowledge
            .ports(serving)
            .iter()
            .map(|(name, port)| {
                let versions = picture.knowledge.same_interface(name, picture.standing);
                let public = picture.public_version(name);
                Service {
                    port: *port,
                    kept: kept.contains(port),
                    public_direct: public.is_some_and(|version| versions.contains(&version)),
                    versions: versions.iter().map(|version| version.0).collect(),
                }
            })
            .collect();
        Table {
            system: self.identity.system,
            node: self.identity.node.0,
            version: serving.0,
            agent_key: self.identity.agent_key,
            probing: flags.probing,
            refuse_members: flags.refuse_members,
            local_labels_prompt: true,
            services,
            endpoints: members.endpoints.into_iter().collect(),
            sources: members.sources.into_iter().collect(),
            networks: Vec::new(),
        }
    }
}

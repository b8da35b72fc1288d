//! What the repository says, as it concerns this node: its class, ports, routes and adapters at every version.

use crate::config::Config;
use model::bundle::Settings;
use model::expression::{ExpressionScope, NodeScope};
use model::ids::{Revision, Version};
use model::machine::Place;
use model::network::Network;
use model::release::{History, HistoryError, Lineage, Public, ReleaseClass};
use model::routing::{AdapterDirection, Route, RouteStep, Standing};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

/// No ports: a version at which the node has no class.
static NO_PORTS: LazyLock<BTreeMap<String, u16>> = LazyLock::new(BTreeMap::new);

/// Everything that is derived from the history for one node; replaced as a whole when an upgrade is published.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeCatalog {
    history: History,
    lineage: Option<Lineage>,
    scope: ExpressionScope,
    ports: BTreeMap<Version, BTreeMap<String, u16>>,
    revisions: BTreeMap<Version, Revision>,
    advertised: BTreeMap<Version, Vec<(String, IpAddr, u16)>>,
    problems: BTreeMap<Version, String>,
    /// Networks whose labels are honoured, as the agent was told.
    configured: Vec<Network>,
    /// The same, as each version's services declare them.
    declared: BTreeMap<Version, Vec<Network>>,
}

impl NodeCatalog {
    /// Derives everything.
    ///
    /// # Errors
    /// No version has the node's class.
    pub(crate) fn new(
        history: History,
        revisions: BTreeMap<Version, Revision>,
        config: &Config,
    ) -> Result<Self, HistoryError> {
        let node = NodeScope {
            name: config.name.clone(),
            class: config.class.clone(),
            attributes: config.attributes.clone(),
        };
        let lineage = history.lineage(&node, None)?;
        let scope = ExpressionScope {
            vars: config.variables.clone(),
            node,
            ..ExpressionScope::default()
        };
        let mut catalog = Self {
            history,
            lineage: Some(lineage),
            scope,
            ports: BTreeMap::new(),
            revisions,
            advertised: BTreeMap::new(),
            problems: BTreeMap::new(),
            configured: config.networks.clone(),
            declared: BTreeMap::new(),
        };
        catalog.compute_ports(config);
        Ok(catalog)
    }

    fn compute_ports(&mut self, config: &Config) {
        let versions: Vec<Version> = self.history.versions().collect();
        for version in versions {
            let Some(class) = self.class_at(version).cloned() else {
                continue;
            };
            match class.definition.ports(&self.scope_at(version)) {
                Ok(ports) => {
                    self.ports.insert(version, ports);
                }
                Err(error) => drop(self.problems.insert(version, error.to_string())),
            }
            match self.advertise(version, &class, config) {
                Ok(addresses) => {
                    self.advertised.insert(version, addresses);
                }
                Err(problem) => drop(self.problems.entry(version).or_insert(problem)),
            }
            match self.declare(version, &class) {
                Ok(networks) => {
                    self.declared.insert(version, networks);
                }
                Err(problem) => drop(self.problems.entry(version).or_insert(problem)),
            }
        }
    }

    /// Why the node cannot go to a version: its ports there cannot be computed.
    pub(crate) fn problem(&self, version: Version) -> Option<&str> {
        self.problems.get(&version).map(String::as_str)
    }

    fn declare(&self, version: Version, class: &ReleaseClass) -> Result<Vec<Network>, String> {
        let scope = self.scope_at(version);
        let mut all = Vec::new();
        for service in class.definition.services.values() {
            for template in &service.networks {
                let text = template.render(&scope).map_err(|error| error.to_string())?;
                let network = text.parse::<Network>();
                all.push(network.map_err(|error| format!("{}.networks: {error}", service.key))?);
            }
        }
        Ok(all)
    }

    fn advertise(
        &self,
        version: Version,
        class: &ReleaseClass,
        config: &Config,
    ) -> Result<Vec<(String, IpAddr, u16)>, String> {
        let scope = self.scope_at(version);
        let mut all = Vec::new();
        for (name, service) in &class.definition.services {
            let Some(port) = self.ports(version).get(name).copied() else {
                continue;
            };
            all.extend(
                config
                    .addresses
                    .iter()
                    .map(|address| (name.clone(), *address, port)),
            );
            for template in &service.advertise {
                let text = template.render(&scope).map_err(|error| error.to_string())?;
                let (address, port) = parse_address(&text, port).ok_or_else(|| {
                    format!(
                        "{}: `{text}` is neither ADDRESS nor ADDRESS:PORT",
                        service.key
                    )
                })?;
                all.push((name.clone(), address, port));
            }
        }
        all.sort();
        all.dedup();
        Ok(all)
    }

    /// The networks whose labels are honoured: those that the agent was told, and those of every live version.
    pub(crate) fn networks(&self, standing: Standing) -> Vec<Network> {
        let versions = self.live_versions(standing);
        let declared = versions
            .iter()
            .filter_map(|version| self.declared.get(version));
        let mut all: Vec<Network> = declared
            .flatten()
            .chain(&self.configured)
            .copied()
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The history.
    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// The node's class at a version.
    pub(crate) fn class_at(&self, version: Version) -> Option<&Arc<ReleaseClass>> {
        self.lineage.as_ref()?.class(version)
    }

    /// The node's class at every version.
    pub(crate) fn lineage(&self) -> Option<&Lineage> {
        self.lineage.as_ref()
    }

    /// What holds for the upgrade to a version.
    pub(crate) fn settings(&self, version: Version) -> Settings {
        self.history
            .release(version)
            .map(|release| release.settings.clone())
            .unwrap_or_default()
    }

    /// What expressions of a version see at this node; paths are not in it.
    pub(crate) fn scope_at(&self, version: Version) -> ExpressionScope {
        let mut scope = self.scope.clone();
        scope.version = version;
        scope.ports = self.ports(version).clone();
        if let Some(class) = self.class_at(version) {
            scope.node.class.clone_from(&class.name);
        }
        scope
    }

    /// The node's ports at a version, by service.
    pub(crate) fn ports(&self, version: Version) -> &BTreeMap<String, u16> {
        self.ports.get(&version).unwrap_or(&NO_PORTS)
    }

    /// The ports at which callers of a version are answered by a node that stands there: those of services that it has too. The
    /// others stay closed: nobody could answer for them, and a caller who is refused knows that nothing has happened.
    pub(crate) fn answered_ports(&self, version: Version, standing: Standing) -> Vec<u16> {
        let here = self.ports(standing.version);
        let ports = self.ports(version).iter();
        ports
            .filter(|(service, _)| here.contains_key(*service))
            .map(|(_, port)| *port)
            .collect()
    }

    /// The newest revision of a version that the repository lists.
    pub(crate) fn newest_place(&self, version: Version) -> Option<Place> {
        self.revisions.get(&version).map(|revision| Place {
            version,
            revision: *revision,
        })
    }

    /// Every version that is known.
    pub(crate) fn every_version(&self) -> Vec<Version> {
        self.history.versions().collect()
    }

    /// Every version that the node answers: after the retired ones, through what is staged.
    pub(crate) fn live_versions(&self, standing: Standing) -> Vec<Version> {
        self.history
            .versions()
            .filter(|version| *version > standing.retired_through && *version <= standing.staged)
            .collect()
    }

    /// The service that a local port belongs to: at the caller's version, else at the node's, else at any that is live.
    pub(crate) fn service_at(
        &self,
        port: u16,
        label: Option<Version>,
        standing: Standing,
    ) -> Option<&str> {
        let live = self.live_versions(standing);
        let versions = label
            .into_iter()
            .chain([standing.version])
            .chain(live.into_iter().rev());
        versions
            .filter_map(|version| {
                let mut services = self.ports(version).iter();
                services.find(|(_, candidate)| **candidate == port)
            })
            .map(|(name, _)| name.as_str())
            .next()
    }

    /// The version at which a caller without a label is served.
    pub(crate) fn public_version(
        &self,
        service: &str,
        serving: Version,
        moved: &BTreeMap<String, Version>,
    ) -> Option<Version> {
        match self.lineage.as_ref()?.public(service, serving, moved) {
            Public::At(version) => Some(version),
            Public::Own => Some(serving),
            Public::Nobody => None,
        }
    }

    /// Who serves a caller.
    pub(crate) fn route(&self, service: &str, standing: Standing, label: Version) -> Route {
        match &self.lineage {
            Some(lineage) => lineage.route(service, standing, label),
            None => Route::NotStaged,
        }
    }

    /// The adapters that follow the calls at the node's own version in one direction, the nearest first.
    pub(crate) fn followers(
        &self,
        service: &str,
        standing: Standing,
        direction: AdapterDirection,
    ) -> Vec<RouteStep> {
        match &self.lineage {
            Some(lineage) => lineage.followers(service, standing, direction),
            None => Vec::new(),
        }
    }

    /// The versions whose callers are the software's own.
    pub(crate) fn same_interface(&self, service: &str, standing: Standing) -> Vec<Version> {
        match &self.lineage {
            Some(lineage) => lineage.direct_versions(service, standing),
            None => Vec::new(),
        }
    }

    /// Whether some version that is not retired has another interface on this service than this one.
    pub(crate) fn speaks_otherwise(
        &self,
        service: &str,
        version: Version,
        standing: Standing,
    ) -> bool {
        let Some(lineage) = &self.lineage else {
            return false;
        };
        let mut alive = (lineage.versions().iter()).filter(|it| **it > standing.retired_through);
        alive.any(|other| {
            lineage.interface(service, *other).is_some()
                && !lineage.same_interface(service, version, *other)
        })
    }

    /// Where peers reach the node at these versions.
    pub(crate) fn endpoints(&self, versions: &[Version]) -> Vec<model::api::Endpoint> {
        versions
            .iter()
            .flat_map(|version| {
                let addresses = self.advertised.get(version).into_iter().flatten();
                addresses.map(|(service, address, port)| model::api::Endpoint {
                    version: *version,
                    service: service.clone(),
                    address: *address,
                    port: *port,
                })
            })
            .collect()
    }
}

fn parse_address(text: &str, port: u16) -> Option<(IpAddr, u16)> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some((address, port));
    }
    let address: std::net::SocketAddr = text.parse().ok()?;
    Some((address.ip(), address.port()))
}

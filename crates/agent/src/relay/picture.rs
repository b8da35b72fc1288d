//! How the node treats calls right now: the picture that connections decide by, replaced as a whole when anything changes.

use super::ResetReason;
use super::chains::{Adapters, CallFollowers};
use crate::members::Unsure;
use crate::node_catalog::NodeCatalog;
use call::{Chain, Upstream};
use model::api::NodeView;
use model::bundle::{CallSettings, Connections, Protocol};
use model::ids::Version;
use model::routing::{AdapterDirection, Route, RouteStep, Standing};
use serve::SessionChain;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// The picture at one moment.
#[derive(Clone)]
pub(crate) struct Picture {
    /// What the repository says, as it concerns this node.
    pub(crate) catalog: Arc<NodeCatalog>,
    /// Where the node stands.
    pub(crate) standing: Standing,
    /// The adapters that are loaded.
    pub(crate) adapters: Arc<Adapters>,
    /// Calls wait: the software is stopped, changed, or probed.
    pub(crate) hold: bool,
    /// The held calls' patience is over: they fail as in a crash.
    pub(crate) given_up: bool,
    /// The running software; none while it is down.
    pub(crate) child: Option<ListeningSoftware>,
    /// Services whose dispatch is observed, by how far that is.
    pub(crate) observed: Arc<BTreeMap<String, Observed>>,
    /// Services' public versions, as the operator set them.
    pub(crate) public: Arc<BTreeMap<String, Version>>,
    /// The addresses whose labels are honoured.
    pub(crate) sources: Arc<BTreeSet<IpAddr>>,
    /// Where a caller without a label may be a member that does not know this node yet.
    pub(crate) unsure: Arc<Unsure>,
    /// How long one call is held at most.
    pub(crate) hold_limit: Duration,
    /// How many calls are held at most at once; more fail as in a crash.
    pub(crate) held_calls_max: usize,
    /// What callers may cost.
    pub(crate) calls: CallSettings,
}

/// How far a service is whose dispatch is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Observed {
    /// It was when an earlier agent ended: nobody is served before its adapters are loaded again.
    Before,
    /// The software still has connections of which nobody tells: callers at later versions wait.
    Begins,
    /// Every call passes the agent.
    InForce,
}

/// The running software as the relay sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListeningSoftware {
    /// Which start.
    pub(crate) generation: u64,
    /// Where the hooks saw it listen.
    pub(crate) listening: Vec<SocketAddr>,
}

/// What to do with a call, or with a connection that has made none yet.
pub(crate) enum Decision {
    /// The software itself speaks the caller's version.
    Direct(Upstream),
    /// Through adapters.
    Translate(Arc<Chain>, Upstream),
    /// Through adapters of sessions.
    Session(Arc<SessionChain>, Upstream),
    /// Not now; look again when the picture changes.
    Wait(HoldReason),
    /// Never.
    Reset(ResetReason),
}

/// Why a call waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HoldReason {
    /// The node upgrades.
    Held,
    /// The caller's version is not staged here yet.
    NotStaged,
}

impl Picture {
    /// Before anything is known, calls wait.
    pub(crate) fn first() -> Self {
        Self {
            catalog: Arc::new(NodeCatalog::default()),
            standing: Standing {
                version: Version(0),
                staged: Version(0),
                retired_through: Version(0),
            },
            adapters: Arc::default(),
            hold: true,
            given_up: false,
            child: None,
            observed: Arc::new(BTreeMap::new()),
            public: Arc::new(BTreeMap::new()),
            sources: Arc::new(BTreeSet::new()),
            unsure: Arc::new(BTreeMap::new()),
            hold_limit: Duration::from_secs(30),
            held_calls_max: 4_096,
            calls: CallSettings::default(),
        }
    }

    /// Takes in what the repository and the server say: routes and public versions follow.
    pub(crate) fn follow(&mut self, catalog: Arc<NodeCatalog>, view: &NodeView) {
        self.catalog = catalog;
        self.public = Arc::new(view.public.clone());
        let standing = &mut self.standing;
        standing.retired_through = standing
            .retired_through
            .max(view.retiring_through)
            .max(view.retired_through);
        self.set_bounds();
    }

    /// The node's class and what its services speak, at its present version.
    pub(crate) fn services(&self) -> (String, Vec<(String, Protocol)>) {
        let Some(class) = self.catalog.class_at(self.standing.version) else {
            return (String::new(), Vec::new());
        };
        let services = class.definition.services.iter();
        let services = services.map(|(name, service)| (name.clone(), service.protocol));
        (class.name.clone(), services.collect())
    }

    /// Takes the bounds of holding from the upgrade that led to the present version.
    pub(crate) fn set_bounds(&mut self) {
        let settings = self.catalog.settings(self.standing.version);
        self.hold_limit = Duration::from_millis(settings.hold_ms);
        self.held_calls_max = settings.held_calls_max as usize;
        self.calls = settings.calls;
    }

    /// Whether a label from this address is honoured: it is a member's, or of a declared network.
    pub(crate) fn honours(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        let networks = self.catalog.networks(self.standing);
        self.sources.contains(&peer) || networks.iter().any(|network| network.contains(peer))
    }

    /// The service on a local port, as callers at `label` know it.
    pub(crate) fn service_at(&self, port: u16, label: Option<Version>) -> Option<&str> {
        self.catalog.service_at(port, label, self.standing)
    }

    /// The version at which a caller without a label is served.
    pub(crate) fn public_version(&self, service: &str) -> Option<Version> {
        self.catalog
            .public_version(service, self.standing.version, &self.public)
    }

    /// Whether a caller without a label may be a member that did not know this port when it connected, and would get another
    /// interface than its own.
    pub(crate) fn may_be_mistaken(&self, service: &str, port: u16, peer: IpAddr) -> bool {
        let unsure = self.unsure.get(&port);
        unsure.is_some_and(|from| from.contains(&peer.to_canonical()))
            && self.public_version(service).is_some_and(|public| {
                self.catalog
                    .speaks_otherwise(service, public, self.standing)
            })
    }

    /// What to do with a caller at `label` on `service`.
    pub(crate) fn decide(&self, service: &str, label: Version) -> Decision {
        match self.catalog.route(service, self.standing, label) {
            Route::NotStaged => Decision::Wait(HoldReason::NotStaged),
            Route::Retired => Decision::Reset(ResetReason::Retired),
            Route::Withdrawn => Decision::Reset(ResetReason::Withdrawn),
            Route::NoSuchService => Decision::Reset(ResetReason::NoSuchService),
            Route::Refused(_) => Decision::Reset(ResetReason::RefusedInterface),
            _ if self.observed.get(service) == Some(&Observed::Before) => {
                Decision::Wait(HoldReason::NotStaged)
            }
            Route::Direct => match self.followers(service, &[]) {
                nobody if nobody.is_empty() => self.with_software(service, Decision::Direct),
                followers => self.translate(service, &[], followers),
            },
            Route::Chain(steps) if self.begins_for(service, &steps) => {
                Decision::Wait(HoldReason::NotStaged)
            }
            Route::Chain(steps) => {
                if let Some(chain) = self.session_chain(service, &steps) {
                    let chain = Arc::new(chain);
                    return self.with_software(service, |to| Decision::Session(chain, to));
                }
                self.translate(service, &steps, self.followers(service, &steps))
            }
        }
    }

    fn translate(&self, service: &str, steps: &[RouteStep], followers: CallFollowers) -> Decision {
        match self.adapters.chain(service, steps, followers) {
            Some(chain) => self.with_software(service, |to| Decision::Translate(chain, to)),
            // Nothing that is loaded later would make one chain of them.
            None if self.adapters.are_mixed(service, steps) => {
                Decision::Reset(ResetReason::CallsAndSessionsMixed)
            }
            None => Decision::Wait(HoldReason::NotStaged),
        }
    }

    /// Whether the calls of the software's own callers pass the agent, or are about to.
    pub(crate) fn observes(&self, service: &str) -> bool {
        self.observed.contains_key(service) || self.is_followed(service)
    }

    /// Whether there are adapters that are told of the calls of the software's own callers.
    pub(crate) fn is_followed(&self, service: &str) -> bool {
        !self.followers(service, &[]).is_empty()
    }

    /// Who is told of the calls that pass these adapters.
    fn followers(&self, service: &str, steps: &[RouteStep]) -> CallFollowers {
        let direction = steps
            .first()
            .map_or(AdapterDirection::Past, |step| step.direction);
        let of_calls = |direction| self.catalog.followers(service, self.standing, direction);
        let mut outer = of_calls(direction);
        let passed = steps.iter().rev();
        // Adapters farther away learn through those that are passed: all of them must follow.
        if outer.len() >= steps.len() && passed.eq(&outer[..steps.len()]) {
            drop(outer.drain(..steps.len()))
        } else {
            outer.clear()
        }
        CallFollowers {
            outer,
            across: of_calls(direction.other()),
        }
    }

    /// Whether the first of these adapters is one that begins to be told only when no direct connection is left.
    fn begins_for(&self, service: &str, steps: &[RouteStep]) -> bool {
        self.observed.get(service) == Some(&Observed::Begins)
            && (steps.first()).is_some_and(|step| step.direction == AdapterDirection::Future)
    }

    fn with_software(&self, service: &str, then: impl FnOnce(Upstream) -> Decision) -> Decision {
        if self.given_up {
            return Decision::Reset(ResetReason::HeldTooLong);
        }
        if self.hold {
            return Decision::Wait(HoldReason::Held);
        }
        match self.upstream(service) {
            Some(upstream) => then(upstream),
            None => Decision::Reset(ResetReason::SoftwareDown),
        }
    }

    /// Where the software listens for a service, if it runs.
    pub(crate) fn upstream(&self, service: &str) -> Option<Upstream> {
        let child = self.child.as_ref()?;
        let port = *self.catalog.ports(self.standing.version).get(service)?;
        Some(Upstream {
            address: dial_address(&child.listening, port, None),
            generation: child.generation,
        })
    }

    /// Where to dial the software for a caller that dialled `local`: through the same one of its listeners, as far as it has several.
    /// To software that listens with IPv4 and with IPv6 the caller is of the kind that it came as.
    pub(crate) fn beside(&self, upstream: Upstream, local: IpAddr) -> SocketAddr {
        let port = upstream.address.port();
        let listening = self.child.as_ref().map(|child| &child.listening);
        listening.map_or(upstream.address, |listening| {
            dial_address(listening, port, Some(local.to_canonical()))
        })
    }

    /// Whether a service's connections may wait through a restart, and what is spoken on it.
    pub(crate) fn manner(&self, service: &str) -> Option<(Protocol, Connections)> {
        let class = self.catalog.class_at(self.standing.version)?;
        class
            .definition
            .services
            .get(service)
            .map(|service| (service.protocol, service.connections))
    }
}

/// Where to dial a port, given what the hooks saw: the wildcard means loopback. Whoever dialled no address is of IPv4.
fn dial_address(listening: &[SocketAddr], port: u16, local: Option<IpAddr>) -> SocketAddr {
    let is_ipv4 = local.is_none_or(|local| local.is_ipv4());
    let here = listening.iter().filter(|address| address.port() == port);
    let nearest = here.min_by_key(|address| {
        let same_family = address.is_ipv4() == is_ipv4;
        (Some(address.ip()) != local, !same_family, **address)
    });
    match nearest {
        Some(address) if address.ip().is_unspecified() && address.is_ipv6() => {
            SocketAddr::new(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), port)
        }
        Some(address) if !address.ip().is_unspecified() => *address,
        _ => SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_software_is_dialled_as_its_caller_dialled_it() {
        let listening = |addresses: &[&str]| -> Vec<SocketAddr> {
            let addresses = addresses.iter().map(|address| address.parse());
            addresses.map(|address| address.expect("one")).collect()
        };
        for (seen, local, expected) in [
            // Redis listens like this; to what it reports first nothing is tied.
            (
                &["[::1]:7", "127.0.0.1:7"][..],
                Some("127.0.0.1"),
                "127.0.0.1:7",
            ),
            (&["[::1]:7", "127.0.0.1:7"], Some("::1"), "[::1]:7"),
            (&["[::1]:7", "127.0.0.1:7"], None, "127.0.0.1:7"),
            (&["[::]:7", "0.0.0.0:7"], Some("10.0.0.1"), "127.0.0.1:7"),
            (&["[::]:7", "0.0.0.0:7"], Some("fd00::1"), "[::1]:7"),
            // One listener for both.
            (&["[::]:7"], Some("10.0.0.1"), "[::1]:7"),
            (
                &["10.0.0.2:7", "10.0.0.1:7", "10.0.0.3:8"],
                Some("10.0.0.1"),
                "10.0.0.1:7",
            ),
            (&[], Some("10.0.0.1"), "127.0.0.1:7"),
        ] {
            let local = local.map(|local| local.parse().expect("an address"));
            let found = dial_address(&listening(seen), 7, local);
            assert_eq!(found.to_string(), expected, "{seen:?} {local:?}");
        }
    }
}

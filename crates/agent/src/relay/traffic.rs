//! How the node treats calls right now: the picture that connections decide by, replaced as a whole when anything changes.

use super::ResetReason;
use super::sessions::LoadedSessions;
use crate::members::Unsure;
use crate::node_catalog::NodeCatalog;
use crate::unpoisoned::Unpoisoned as _;
use adapter::sessions::SessionChain;
use adapter::{Calls, Chain, Conflicts, Upstream};
use model::api::SystemView;
use model::bundle::{CallSettings, Connections, Protocol, Settings};
use model::ids::Version;
use model::routing::{Direction, Route, Standing, Step};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Adapters by the upgrade and the service that they belong to, and their direction.
pub(crate) type Loaded = BTreeMap<(Version, String, Direction), Arc<dyn Calls>>;

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
    Wait(WaitReason),
    /// Never.
    Reset(ResetReason),
}

/// Why a call waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitReason {
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
    pub(crate) fn follow(&mut self, catalog: Arc<NodeCatalog>, view: &SystemView) {
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
            Route::NotStaged => Decision::Wait(WaitReason::NotStaged),
            Route::Retired => Decision::Reset(ResetReason::Retired),
            Route::Withdrawn => Decision::Reset(ResetReason::Withdrawn),
            Route::NoSuchService => Decision::Reset(ResetReason::NoSuchService),
            Route::Refused(_) => Decision::Reset(ResetReason::RefusedInterface),
            _ if self.observed.get(service) == Some(&Observed::Before) => {
                Decision::Wait(WaitReason::NotStaged)
            }
            Route::Direct => match self.followers(service, &[]) {
                nobody if nobody.is_empty() => self.with_software(service, Decision::Direct),
                followers => self.translate(service, &[], followers),
            },
            Route::Chain(steps) if self.begins_for(service, &steps) => {
                Decision::Wait(WaitReason::NotStaged)
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

    fn translate(&self, service: &str, steps: &[Step], followers: CallFollowers) -> Decision {
        match self.adapters.chain(service, steps, followers) {
            Some(chain) => self.with_software(service, |to| Decision::Translate(chain, to)),
            // Nothing that is loaded later would make one chain of them.
            None if self.adapters.are_mixed(service, steps) => {
                Decision::Reset(ResetReason::CallsAndSessionsMixed)
            }
            None => Decision::Wait(WaitReason::NotStaged),
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
    fn followers(&self, service: &str, steps: &[Step]) -> CallFollowers {
        let direction = steps.first().map_or(Direction::Past, |step| step.direction);
        let of_calls = |direction| self.catalog.followers(service, self.standing, direction);
        let mut outer = of_calls(direction);
        let passed = steps.iter().rev();
        // Adapters farther away learn through those that are passed: all of them must follow.
        match outer.len() >= steps.len() && passed.eq(&outer[..steps.len()]) {
            true => drop(outer.drain(..steps.len())),
            false => outer.clear(),
        }
        CallFollowers {
            outer,
            across: of_calls(direction.other()),
        }
    }

    /// Whether the first of these adapters is one that begins to be told only when no direct connection is left.
    fn begins_for(&self, service: &str, steps: &[Step]) -> bool {
        self.observed.get(service) == Some(&Observed::Begins)
            && (steps.first()).is_some_and(|step| step.direction == Direction::Future)
    }

    fn with_software(&self, service: &str, then: impl FnOnce(Upstream) -> Decision) -> Decision {
        if self.given_up {
            return Decision::Reset(ResetReason::HeldTooLong);
        }
        if self.hold {
            return Decision::Wait(WaitReason::Held);
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

/// Who is told of the calls of a chain, in each line the nearest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct CallFollowers {
    /// Adapters beyond the caller; without a chain the past ones.
    outer: Vec<Step>,
    /// Adapters on the other side of the software.
    across: Vec<Step>,
}

impl CallFollowers {
    fn is_empty(&self) -> bool {
        self.outer.is_empty() && self.across.is_empty()
    }
}

/// A service, the adapters on the way to its software, and those that are told.
type ChainKey = (String, Vec<Step>, CallFollowers);

/// Under which name observed services keep their conflict keys: no service is called so.
const OBSERVED: &str = "";

/// Adapters, and the chains of them by service and steps, each made once.
#[derive(Default)]
pub(crate) struct Adapters {
    loaded: Loaded,
    pub(super) sessions: LoadedSessions,
    made: Mutex<BTreeMap<ChainKey, Arc<Chain>>>,
    /// The conflict keys of each service: older chains, whose calls still run, share them. Observed services have them together: a call of
    /// one may be told to adapters that remember calls of another.
    conflicts: Arc<Mutex<BTreeMap<String, Arc<Conflicts>>>>,
}

impl Adapters {
    /// With other adapters, and no chains of them yet.
    pub(crate) fn renewed(&self, loaded: Loaded, sessions: LoadedSessions) -> Self {
        Self {
            loaded,
            sessions,
            made: Mutex::default(),
            conflicts: self.conflicts.clone(),
        }
    }

    fn chain(&self, service: &str, steps: &[Step], followers: CallFollowers) -> Option<Arc<Chain>> {
        let mut made = self.made.lock().unpoisoned();
        let key = (service.to_owned(), steps.to_vec(), followers);
        if let Some(chain) = made.get(&key) {
            return Some(chain.clone());
        }
        let followers = &key.2;
        let conflicts = self.conflicts(service, !followers.is_empty());
        let adapters = self.all(service, steps)?;
        let mut chain = match steps.first().map(|step| step.direction) {
            None => Chain::empty(),
            Some(Direction::Past) => Chain::of(adapter::Direction::Past, adapters, &conflicts),
            Some(Direction::Future) => Chain::of(adapter::Direction::Future, adapters, &conflicts),
        };
        if !followers.is_empty() {
            let outer = self.all(service, &followers.outer)?;
            let across = self.all(service, &followers.across)?;
            chain = chain.observed(outer, across, &conflicts);
        }
        let chain = Arc::new(chain);
        made.insert(key, chain.clone());
        Some(chain)
    }

    /// Whether these adapters are loaded, but some are of calls and others of sessions.
    fn are_mixed(&self, service: &str, steps: &[Step]) -> bool {
        let key = |step: &Step| (step.upgrade, service.to_owned(), step.direction);
        let of_calls = steps
            .iter()
            .filter(|step| self.loaded.contains_key(&key(step)));
        let of_sessions = (steps.iter()).filter(|step| self.sessions.contains_key(&key(step)));
        let (calls, sessions) = (of_calls.count(), of_sessions.count());
        calls > 0 && sessions > 0 && calls + sessions == steps.len()
    }

    /// These adapters; none where one of them is not loaded.
    fn all(&self, service: &str, steps: &[Step]) -> Option<Vec<Arc<dyn Calls>>> {
        let keys = steps
            .iter()
            .map(|step| (step.upgrade, service.to_owned(), step.direction));
        keys.map(|key| self.loaded.get(&key).cloned()).collect()
    }

    fn conflicts(&self, service: &str, is_observed: bool) -> Arc<Conflicts> {
        let mut all = (self.conflicts.lock()).unpoisoned();
        let own = all.entry(service.to_owned()).or_default().clone();
        match is_observed {
            // Calls that began before are excluded too.
            true => all.entry(OBSERVED.to_owned()).or_insert(own).clone(),
            false => own,
        }
    }
}

/// The picture, who watches it, and how many calls run by it.
pub(crate) struct LiveTraffic {
    picture: watch::Sender<Arc<Picture>>,
    running: AtomicUsize,
    idle: Notify,
    /// Rung when a caller's version is not known here: the server is asked.
    pub(crate) wake: Arc<Notify>,
}

impl LiveTraffic {
    /// Begins with this picture.
    pub(crate) fn new(picture: Picture, wake: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            picture: watch::Sender::new(Arc::new(picture)),
            running: AtomicUsize::new(0),
            idle: Notify::new(),
            wake,
        })
    }

    /// The picture now.
    pub(crate) fn picture(&self) -> Arc<Picture> {
        self.picture.borrow().clone()
    }

    /// What the repository says, as it concerns this node.
    pub(crate) fn catalog(&self) -> Arc<NodeCatalog> {
        self.picture.borrow().catalog.clone()
    }

    /// What holds for the upgrade under way, or for the last one.
    pub(crate) fn settings(&self) -> Settings {
        let picture = self.picture();
        let newest = picture.standing.staged.max(picture.standing.version);
        picture.catalog.settings(newest)
    }

    /// Whether this is the picture now.
    pub(crate) fn is_current(&self, picture: &Arc<Picture>) -> bool {
        Arc::ptr_eq(&self.picture.borrow(), picture)
    }

    /// Follows the picture.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Picture>> {
        self.picture.subscribe()
    }

    /// Changes the picture; whoever waits looks again.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Picture)) {
        self.picture
            .send_modify(|picture| change(Arc::make_mut(picture)));
    }

    /// Counts a call as running until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> RunningCall {
        self.running.fetch_add(1, Ordering::SeqCst);
        RunningCall(self.clone())
    }

    /// How many calls run.
    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }

    /// Waits until no call runs, at most `limit`; says whether that was reached.
    pub(crate) async fn quiet(&self, limit: Duration) -> bool {
        let quiet = async {
            loop {
                let idle = self.idle.notified();
                if self.running() == 0 {
                    return;
                }
                idle.await;
            }
        };
        tokio::time::timeout(limit, quiet).await.is_ok()
    }
}

/// A running call.
pub(crate) struct RunningCall(Arc<LiveTraffic>);

impl Drop for RunningCall {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.idle.notify_waiters();
        }
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

//! The adapters that are loaded, and the chains that are made of them.

use super::sessions::LoadedSessions;
use call::{Calls, Chain, Conflicts};
use model::ids::Version;
use model::routing::{AdapterDirection, RouteStep};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Adapters by the upgrade and the service that they belong to, and their direction.
pub(crate) type Loaded = BTreeMap<(Version, String, AdapterDirection), Arc<dyn Calls>>;

/// Who is told of the calls of a chain, in each line the nearest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CallFollowers {
    /// Adapters beyond the caller; without a chain the past ones.
    pub(super) outer: Vec<RouteStep>,
    /// Adapters on the other side of the software.
    pub(super) across: Vec<RouteStep>,
}

impl CallFollowers {
    pub(super) fn is_empty(&self) -> bool {
        self.outer.is_empty() && self.across.is_empty()
    }
}

/// A service, the adapters on the way to its software, and those that are told.
type ChainKey = (String, Vec<RouteStep>, CallFollowers);

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

    /// The chain of these steps, whose calls these follow; none where one of them is not loaded.
    pub(super) fn chain(
        &self,
        service: &str,
        steps: &[RouteStep],
        followers: CallFollowers,
    ) -> Option<Arc<Chain>> {
        let mut made = self.made.lock();
        let key = (service.to_owned(), steps.to_vec(), followers);
        if let Some(chain) = made.get(&key) {
            return Some(chain.clone());
        }
        let followers = &key.2;
        let conflicts = self.conflicts(service, !followers.is_empty());
        let adapters = self.all(service, steps)?;
        let mut chain = match steps.first().map(|step| step.direction) {
            None => Chain::empty(),
            Some(AdapterDirection::Past) => Chain::of(call::Direction::Past, adapters, &conflicts),
            Some(AdapterDirection::Future) => {
                Chain::of(call::Direction::Future, adapters, &conflicts)
            }
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
    pub(super) fn are_mixed(&self, service: &str, steps: &[RouteStep]) -> bool {
        let key = |step: &RouteStep| (step.upgrade, service.to_owned(), step.direction);
        let of_calls = steps
            .iter()
            .filter(|step| self.loaded.contains_key(&key(step)));
        let of_sessions = (steps.iter()).filter(|step| self.sessions.contains_key(&key(step)));
        let (calls, sessions) = (of_calls.count(), of_sessions.count());
        calls > 0 && sessions > 0 && calls + sessions == steps.len()
    }

    /// These adapters; none where one of them is not loaded.
    fn all(&self, service: &str, steps: &[RouteStep]) -> Option<Vec<Arc<dyn Calls>>> {
        let keys = steps
            .iter()
            .map(|step| (step.upgrade, service.to_owned(), step.direction));
        keys.map(|key| self.loaded.get(&key).cloned()).collect()
    }

    fn conflicts(&self, service: &str, is_observed: bool) -> Arc<Conflicts> {
        let mut all = self.conflicts.lock();
        let own = all.entry(service.to_owned()).or_default().clone();
        if is_observed {
            all.entry(OBSERVED.to_owned()).or_insert(own).clone()
        } else {
            own
        }
    }
}

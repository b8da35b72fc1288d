//! The whole system at each version: upgrades say what changes, releases say what holds.

mod agreement;
mod check;
mod construction;
mod error;
mod filters;
mod lineage;
mod seats;

pub use check::{Checked, check};
pub use error::HistoryError;
pub use lineage::{Lineage, Public};

use crate::bundle::{Class, Schedule, Settings, Upgrade};
use crate::expression::NodeScope;
use crate::ids::Version;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Which interface is spoken on a service: the version that brought it. Versions with the same one talk to each other
/// directly, whatever their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceId(pub Version);

/// The whole system at one version.
#[derive(Clone, Debug, PartialEq)]
pub struct Release {
    /// The version.
    pub version: Version,
    /// The version before; zero for the first.
    pub from: Version,
    /// What holds for the whole system during the upgrade to this version.
    pub settings: Settings,
    /// Every class in force.
    pub classes: BTreeMap<String, Arc<ReleaseClass>>,
}

/// A class in force at a version.
#[derive(Clone, Debug, PartialEq)]
pub struct ReleaseClass {
    /// Its name at this version.
    pub name: String,
    /// What its nodes run.
    pub definition: Arc<Class>,
    /// The version whose bundle holds the files that `definition` names; lower than the release's where the class
    /// takes the number without a restart.
    pub provided_by: Version,
    /// When a node of it may upgrade to this version.
    pub schedule: Schedule,
    /// The class whose nodes it takes over from the version before; absent where it is new.
    pub origin: Option<String>,
    /// The interface of each service.
    pub interfaces: BTreeMap<String, InterfaceId>,
}

/// All upgrades of a system, in order, each checked against those before it.
#[derive(Clone, Debug, Default)]
pub struct History {
    upgrades: BTreeMap<Version, Arc<Upgrade>>,
    releases: BTreeMap<Version, Release>,
    withdrawn: BTreeSet<Version>,
}

impl History {
    /// The history of these upgrades (in any order, the newest revision of each); those of withdrawn versions are
    /// left out, their numbers may be jumped over. Every upgrade must follow on the one before.
    ///
    /// # Errors
    /// The first upgrade that does not follow on those before it.
    pub fn new(
        upgrades: impl IntoIterator<Item = Arc<Upgrade>>,
        withdrawn: &BTreeSet<Version>,
    ) -> Result<Self, HistoryError> {
        construction::history(upgrades, withdrawn)
    }

    /// The upgrade that leads to `version`.
    pub fn upgrade(&self, version: Version) -> Option<&Arc<Upgrade>> {
        self.upgrades.get(&version)
    }

    /// The whole system at `version`.
    pub fn release(&self, version: Version) -> Option<&Release> {
        self.releases.get(&version)
    }

    /// Every version that is not withdrawn, in order.
    pub fn versions(&self) -> impl DoubleEndedIterator<Item = Version> + '_ {
        self.releases.keys().copied()
    }

    /// The newest version; zero when there is none.
    pub fn newest(&self) -> Version {
        self.versions().next_back().unwrap_or_default()
    }

    /// The withdrawn versions.
    pub fn withdrawn(&self) -> &BTreeSet<Version> {
        &self.withdrawn
    }

    /// The versions that a node passes on its way: after `from`, through `to`; empty when they are equal. `None` when
    /// one of them is not in the history or `to` is older.
    pub fn path(&self, from: Version, to: Version) -> Option<Vec<Version>> {
        let known = |version| version == Version(0) || self.releases.contains_key(&version);
        if !known(from) || !known(to) || to < from {
            return None;
        }
        Some(
            self.versions()
                .filter(|version| *version > from && *version <= to)
                .collect(),
        )
    }

    /// One node's class at every version. `node.class` is its class at enrolment, which was at `enrolled_at` where
    /// that is known; otherwise at the oldest version that has a class of this name.
    ///
    /// # Errors
    /// No version has a class of that name, or not that at which the node was enrolled.
    pub fn lineage(
        &self,
        node: &NodeScope,
        enrolled_at: Option<Version>,
    ) -> Result<Lineage, HistoryError> {
        Lineage::new(self, node, enrolled_at)
    }

    /// The name of a node's class at `version`; `None` where it has none (not yet, no longer).
    ///
    /// # Errors
    /// As for [`History::lineage`]; or the class splits before that version without room for the node.
    pub fn class_at(
        &self,
        node: &NodeScope,
        enrolled_at: Option<Version>,
        version: Version,
    ) -> Result<Option<String>, HistoryError> {
        let lineage = self.lineage(node, enrolled_at)?;
        match lineage.problem() {
            Some((broken, error)) if version >= *broken => Err(error.clone()),
            _ => Ok(lineage.class(version).map(|class| class.name.clone())),
        }
    }

    /// What stands against these nodes taking the newest version: nodes whose class splits without room for them.
    pub fn check_nodes<'a>(
        &self,
        nodes: impl IntoIterator<Item = &'a NodeScope>,
    ) -> Vec<HistoryError> {
        let problem = |node: &NodeScope| match self.lineage(node, None) {
            Ok(lineage) => lineage.problem().map(|(_, error)| error.clone()),
            Err(error) => Some(error),
        };
        nodes.into_iter().filter_map(problem).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests;

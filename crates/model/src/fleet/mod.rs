//! The nodes of a system, counted as schedules look at them. A node that changes is counted out as it was and in as it
//! is, which costs the same however many there are.

mod class;
mod some_nodes;
mod standing;
#[cfg(test)]
mod tests;

pub use class::{ClassCounts, ClassTally};
pub use some_nodes::SomeNodes;
pub use standing::{ClassStanding, Standings};

use crate::api::{ChildState, NodeFact, Phase};
use crate::ids::{NodeId, Place, Revision, Version};
use some_nodes::NodeNameSet;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// A node's class at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassSeat {
    /// The class.
    pub class: Arc<str>,
    /// The group in which that version's schedule limits how many are unavailable; none where it does not.
    pub group: Option<Arc<str>>,
    /// The wave of that version's schedule that takes the node, counted from 0; none where none does.
    pub wave: Option<usize>,
}

/// A node's class at every version that has one for it.
pub type ClassSeats = BTreeMap<Version, ClassSeat>;

/// Why a node does not serve, or is about not to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// It may leave at any moment, or is on its way.
    HoldsPermit,
    /// It was not heard for too long.
    Unreachable,
    /// Its software has ended by itself.
    Crashed,
    /// Its software does not answer.
    Silent,
    /// It runs no software.
    Stopped,
    /// Its software has not shown that it is healthy.
    Starting,
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HoldsPermit => "holds a permit",
            Self::Unreachable => "is unreachable",
            Self::Crashed => "has crashed",
            Self::Silent => "does not answer",
            Self::Stopped => "is stopped",
            Self::Starting => "is starting",
        })
    }
}

/// A node as it is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountedNode {
    /// Its name.
    pub name: Arc<str>,
    /// Its class at every version.
    pub seats: Arc<ClassSeats>,
    /// The version at which it has settled; zero before it has joined.
    pub version: Version,
    /// The highest version whose callers it answers.
    pub staged: Version,
    /// Whose software it runs.
    pub bundle: Option<Place>,
    /// What it has tried, and is back from.
    pub blocked_on: Option<Place>,
    /// Its software.
    pub child: ChildState,
    /// It was heard within the reachability time.
    pub reachable: bool,
    /// It has served, so that somebody misses it when it does not.
    pub joined: bool,
    /// Since when it is where it is without a crash.
    pub steady_since_ms: u64,
    /// It holds a permit.
    pub has_permit: bool,
    /// The role that it had when it asked last; none where it was not asked for.
    pub role: Option<Arc<str>>,
}

impl CountedNode {
    /// What of a node counts.
    pub fn of(fact: &NodeFact, has_permit: bool, seats: Arc<ClassSeats>) -> Self {
        let status = &fact.report.status;
        let tried = status.target.filter(|_| status.phase == Phase::Blocked);
        Self {
            name: Arc::from(fact.name.as_str()),
            seats,
            version: status.version,
            staged: status.staged.max(status.version),
            bundle: status.bundle,
            blocked_on: tried.map(|version| Place {
                version,
                revision: status.tried_revision(),
            }),
            child: status.child,
            reachable: fact.reachable,
            joined: status.version > Version(0) && status.phase != Phase::Joining,
            steady_since_ms: fact.steady_since_ms,
            has_permit,
            role: None,
        }
    }

    /// The same with the role that it had when it asked last.
    pub fn with_role(self, role: Option<Arc<str>>) -> Self {
        Self { role, ..self }
    }

    /// Whether it is at a version, in this revision of it or a later one.
    pub fn is_at(&self, version: Version, oldest: Revision) -> bool {
        let runs = self.bundle.filter(|bundle| bundle.version == version);
        self.version >= version && runs.is_none_or(|bundle| bundle.revision >= oldest)
    }

    /// Why it counts as unavailable. A node that joins has never served: nobody misses it.
    pub fn absence(&self) -> Option<Absence> {
        match self.child {
            _ if self.has_permit => Some(Absence::HoldsPermit),
            _ if !self.joined => None,
            _ if !self.reachable => Some(Absence::Unreachable),
            ChildState::Running => None,
            ChildState::Crashed => Some(Absence::Crashed),
            ChildState::Silent => Some(Absence::Silent),
            ChildState::Stopped => Some(Absence::Stopped),
            ChildState::Starting => Some(Absence::Starting),
        }
    }
}

/// The nodes of a system, counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fleet {
    nodes: BTreeMap<NodeId, CountedNode>,
    /// Reachable nodes that have joined, by the highest version whose callers they answer.
    answering: BTreeMap<Version, NodeNameSet>,
    classes: BTreeMap<(Version, Arc<str>), ClassTally>,
    groups: BTreeMap<(Version, Arc<str>), GroupTally>,
    waves: BTreeMap<(Version, Arc<str>, usize), ClassTally>,
    standings: Standings,
}

/// A group within which unavailability is limited.
#[derive(Clone, Debug, Default, PartialEq)]
struct GroupTally {
    members: BTreeSet<NodeId>,
    absent: BTreeMap<Arc<str>, Absence>,
}

impl Fleet {
    /// Counts a node as it is now; it may have been counted before.
    pub fn put(&mut self, node: NodeId, is: CountedNode) {
        match self.nodes.get(&node) {
            Some(was) if *was == is => return,
            Some(_) => self.remove(node),
            None => {}
        }
        self.count(node, &is, true);
        self.nodes.insert(node, is);
    }

    /// Counts a node no longer.
    pub fn remove(&mut self, node: NodeId) {
        if let Some(was) = self.nodes.remove(&node) {
            self.count(node, &was, false);
        }
    }

    /// A node as it is counted.
    pub fn node(&self, node: NodeId) -> Option<&CountedNode> {
        self.nodes.get(&node)
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Where the nodes stand.
    pub fn standings(&self) -> &Standings {
        &self.standings
    }

    fn count(&mut self, id: NodeId, node: &CountedNode, is_in: bool) {
        self.standings.count(node, is_in);
        if node.reachable && node.version > Version(0) {
            let names = self.answering.entry(node.staged).or_default();
            names.set(&node.name, is_in);
            if names.is_empty() {
                self.answering.remove(&node.staged);
            }
        }
        for (version, seat) in node.seats.iter() {
            self.count_in_class((*version, Arc::clone(&seat.class)), node, is_in);
            if let Some(wave) = seat.wave {
                self.count_in_wave((*version, Arc::clone(&seat.class), wave), node, is_in);
            }
            if let Some(group) = &seat.group {
                self.count_in_group((*version, Arc::clone(group)), id, node, is_in);
            }
        }
    }

    fn count_in_class(&mut self, at: (Version, Arc<str>), node: &CountedNode, is_in: bool) {
        let tally = self.classes.entry(at.clone()).or_default();
        tally.count(at.0, node, is_in);
        if tally.is_empty() {
            self.classes.remove(&at);
        }
    }

    fn count_in_wave(&mut self, at: (Version, Arc<str>, usize), node: &CountedNode, is_in: bool) {
        let tally = self.waves.entry(at.clone()).or_default();
        tally.count(at.0, node, is_in);
        if tally.is_empty() {
            self.waves.remove(&at);
        }
    }

    fn count_in_group(
        &mut self,
        at: (Version, Arc<str>),
        id: NodeId,
        node: &CountedNode,
        is_in: bool,
    ) {
        let tally = self.groups.entry(at.clone()).or_default();
        if is_in {
            tally.members.insert(id);
            if let Some(absence) = node.absence() {
                tally.absent.insert(Arc::clone(&node.name), absence);
            }
            return;
        }
        tally.members.remove(&id);
        tally.absent.remove(&node.name);
        if tally.members.is_empty() {
            self.groups.remove(&at);
        }
    }

    /// The reachable nodes, but for one, that could not answer callers at a version yet. A node that has not joined serves
    /// nobody, and holds nobody up.
    pub fn not_answering(&self, version: Version, but: &CountedNode) -> SomeNodes {
        let of = self.answering.values().map(NodeNameSet::len).sum();
        let behind = self.answering.range(..version).map(|(_, names)| names);
        SomeNodes::of(behind, of, &but.name)
    }

    /// A class at a version.
    pub fn class(&self, version: Version, class: &str) -> Option<&ClassTally> {
        self.classes.get(&(version, Arc::from(class)))
    }

    /// Every class at every version that has nodes.
    pub fn classes(&self) -> impl Iterator<Item = (Version, &Arc<str>, &ClassTally)> {
        let all = self.classes.iter();
        all.map(|((version, class), tally)| (*version, class, tally))
    }

    /// A wave of a class at a version, counted from 0; none where it takes nobody.
    pub fn wave(&self, version: Version, class: &str, wave: usize) -> Option<&ClassTally> {
        self.waves.get(&(version, Arc::from(class), wave))
    }

    /// How many nodes a group has, those among them that were not heard for long.
    pub fn group_len(&self, version: Version, group: &str) -> usize {
        let tally = self.groups.get(&(version, Arc::from(group)));
        tally.map_or(0, |tally| tally.members.len())
    }

    /// The nodes of a group.
    pub fn members(&self, version: Version, group: &str) -> impl Iterator<Item = &CountedNode> {
        let tally = self.groups.get(&(version, Arc::from(group)));
        let members = tally.into_iter().flat_map(|tally| &tally.members);
        members.filter_map(|node| self.nodes.get(node))
    }

    /// The unavailable nodes of a group, but for one, each with why.
    pub fn absent(&self, version: Version, group: &str, but: &CountedNode) -> SomeNodes {
        let Some(tally) = self.groups.get(&(version, Arc::from(group))) else {
            return SomeNodes::default();
        };
        let others = || (tally.absent.iter()).filter(|(name, _)| **name != but.name);
        let own = usize::from(tally.absent.contains_key(&but.name));
        let told = others().map(|(name, why)| format!("{name} ({why})"));
        SomeNodes::told(tally.absent.len() - own, tally.members.len(), told)
    }
}

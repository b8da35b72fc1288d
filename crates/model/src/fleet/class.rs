//! The nodes of one class at one version, by how far they are.

use super::CountedNode;
use super::some_nodes::{NodeNameSet, SomeNodes};
use crate::api::ChildState;
use crate::ids::{Revision, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a node runs that is at a version and runs no older revision of it.
const NEWEST: Revision = Revision(u32::MAX);

/// The nodes of one class at one version.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassTally {
    all: usize,
    reachable: usize,
    reachable_and_settled: usize,
    /// At an older version.
    behind: NodeNameSet,
    /// At the version or a later one, by the revision of it that they run.
    there: BTreeMap<Revision, ThereTally>,
    /// Back from it, by the revision that they have tried.
    blocked: BTreeMap<Revision, NodeNameSet>,
    /// Holding a permit.
    leaving: NodeNameSet,
}

/// How many nodes of a class are how far on the way to a version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassCounts {
    /// There.
    pub settled: usize,
    /// Not there yet.
    pub behind: usize,
    /// Back from it.
    pub blocked: usize,
    /// There, and their software has crashed or does not answer.
    pub crashed: usize,
    /// Not heard, wherever they are.
    pub unreachable: usize,
}

/// Nodes at a version, by how their software is.
#[derive(Clone, Debug, Default, PartialEq)]
struct ThereTally {
    all: NodeNameSet,
    /// All well, by since when that is so.
    steady: BTreeSet<(u64, Arc<str>)>,
    /// Not shown to be healthy yet.
    starting: NodeNameSet,
    /// Crashed, or does not answer.
    failing: NodeNameSet,
}

impl ThereTally {
    fn set(&mut self, node: &CountedNode, is_in: bool) {
        self.all.set(&node.name, is_in);
        match node.child {
            ChildState::Starting => self.starting.set(&node.name, is_in),
            ChildState::Crashed | ChildState::Silent => self.failing.set(&node.name, is_in),
            ChildState::Running | ChildState::Stopped => {
                let at = (node.steady_since_ms, Arc::clone(&node.name));
                if is_in {
                    self.steady.insert(at);
                } else {
                    self.steady.remove(&at);
                }
            }
        }
    }
}

impl ClassTally {
    pub(super) fn count(&mut self, version: Version, node: &CountedNode, is_in: bool) {
        let settled = node.version >= version && node.child != ChildState::Starting;
        step(&mut self.all, true, is_in);
        step(&mut self.reachable, node.reachable, is_in);
        let both = settled && node.reachable;
        step(&mut self.reachable_and_settled, both, is_in);
        if node.version < version {
            self.behind.set(&node.name, is_in);
        } else {
            let runs = node.bundle.filter(|bundle| bundle.version == version);
            let runs = runs.map_or(NEWEST, |bundle| bundle.revision);
            let there = self.there.entry(runs).or_default();
            there.set(node, is_in);
            if there.all.is_empty() {
                self.there.remove(&runs);
            }
        }
        if node.has_permit {
            self.leaving.set(&node.name, is_in);
        }
        if let Some(tried) = node.blocked_on.filter(|tried| tried.version == version) {
            let names = self.blocked.entry(tried.revision).or_default();
            names.set(&node.name, is_in);
            if names.is_empty() {
                self.blocked.remove(&tried.revision);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all == 0
    }

    /// How many are how far on the way to this revision or a later one.
    pub fn counts(&self, revision: Revision) -> ClassCounts {
        let there = || self.there.range(revision..).map(|(_, there)| there);
        let settled = there().map(|there| there.all.len()).sum();
        ClassCounts {
            settled,
            behind: self.all - settled,
            blocked: (self.blocked.range(revision..))
                .map(|(_, names)| names.len())
                .sum(),
            crashed: there().map(|there| there.failing.len()).sum(),
            unreachable: self.all - self.reachable,
        }
    }

    /// Those, but for one, that have tried this revision or a later one, and are back.
    pub fn blocked(&self, revision: Revision, but: &CountedNode) -> SomeNodes {
        let blocked = self.blocked.range(revision..).map(|(_, names)| names);
        SomeNodes::of(blocked, self.all, &but.name)
    }

    /// Those, but for one, that are not at the version, or run an older revision of it than this one.
    pub fn not_there(&self, revision: Revision, but: &CountedNode) -> SomeNodes {
        let older = self.there.range(..revision).map(|(_, there)| &there.all);
        let all = std::iter::once(&self.behind).chain(older);
        SomeNodes::of(all, self.all, &but.name)
    }

    /// How many, but for one, are there in this revision or a later one, or on their way.
    pub fn begun(&self, revision: Revision, but: &CountedNode) -> usize {
        let there = || self.there.range(revision..).map(|(_, there)| &there.all);
        let is_there = |name: &Arc<str>| there().any(|names| names.has(name));
        let leaving = self.leaving.iter();
        let leaving = leaving.filter(|name| **name != but.name && !is_there(name));
        leaving.count() + self.there(revision, but)
    }

    /// How many, but for one, are there in this revision or a later one.
    pub fn there(&self, revision: Revision, but: &CountedNode) -> usize {
        let there = self.there.range(revision..).map(|(_, there)| &there.all);
        let others = there.map(|names| names.len() - usize::from(names.has(&but.name)));
        others.sum()
    }

    /// Those, but for one, that are there, and have not shown that they are healthy, or are so no longer.
    pub fn not_healthy(&self, revision: Revision, but: &CountedNode) -> SomeNodes {
        let there = self.there.range(revision..);
        let ill = there.flat_map(|(_, there)| [&there.starting, &there.failing]);
        SomeNodes::of(ill, self.all, &but.name)
    }

    /// Those, but for one, that are there, and whose software has crashed or does not answer.
    pub fn failing(&self, revision: Revision, but: &CountedNode) -> SomeNodes {
        let there = self.there.range(revision..);
        let failing = there.map(|(_, there)| &there.failing);
        SomeNodes::of(failing, self.all, &but.name)
    }

    /// Since when all those that are there, but for one, are so without a crash; none where nobody is.
    pub fn steady_since_ms(&self, revision: Revision, but: &CountedNode) -> Option<u64> {
        let there = self.there.range(revision..);
        let last = there.filter_map(|(_, there)| {
            let mut newest = there.steady.iter().rev();
            newest.find(|(_, name)| *name != but.name)
        });
        last.map(|(at_ms, _)| *at_ms).max()
    }

    /// Whether every reachable node but for one has settled, and there is such a one.
    pub fn has_left_behind(&self, but: &CountedNode) -> bool {
        let others = self.reachable - usize::from(but.reachable);
        others > 0 && self.reachable_and_settled == others
    }
}

pub(super) fn step(number: &mut usize, counts: bool, is_in: bool) {
    match (counts, is_in) {
        (false, _) => {}
        (true, true) => *number += 1,
        (true, false) => *number -= 1,
    }
}

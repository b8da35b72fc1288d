//! How many nodes of each class have settled at each version, and how they are.

use super::CountedNode;
use crate::api::ChildState;
use crate::ids::Version;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many nodes of one class have settled at one version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassStanding {
    /// All of them.
    pub nodes: usize,
    /// Those that are heard.
    pub reachable: usize,
    /// Those that are heard and whose software runs.
    pub running: usize,
    /// Those that are back from a version that they have tried.
    pub blocked: usize,
}

/// Where the nodes stand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standings(BTreeMap<(Version, Arc<str>), ClassStanding>);

impl Standings {
    /// Each class at each version at which a node of it has settled, oldest version first; version 0 is that of nodes that have not
    /// started yet.
    pub fn iter(&self) -> impl Iterator<Item = (Version, &str, ClassStanding)> {
        let all = self.0.iter();
        all.map(|((version, class), standing)| (*version, class.as_ref(), *standing))
    }

    /// How many nodes of a class have settled at a version.
    pub fn nodes_at(&self, version: Version, class: &str) -> usize {
        let standing = self.0.get(&(version, Arc::from(class)));
        standing.map_or(0, |standing| standing.nodes)
    }

    pub(super) fn count(&mut self, node: &CountedNode, is_in: bool) {
        let seat = match node.version {
            // Its first class: it has none yet.
            Version(0) => node.seats.values().next(),
            version => node.seats.get(&version),
        };
        let class = seat.map_or_else(|| Arc::from(""), |seat| Arc::clone(&seat.class));
        let at = (node.version, class);
        let standing = self.0.entry(at.clone()).or_default();
        let is_running = node.reachable && node.child == ChildState::Running;
        for (number, counts) in [
            (&mut standing.nodes, true),
            (&mut standing.reachable, node.reachable),
            (&mut standing.running, is_running),
            (&mut standing.blocked, node.blocked_on.is_some()),
        ] {
            super::class::step(number, counts, is_in);
        }
        if standing.nodes == 0 {
            self.0.remove(&at);
        }
    }
}

//! Who waits for room in a group, in the order in which they came. It is kept in memory only: after a restart of the server
//! it forms anew.

use crate::udb::QueuedNode;
use model::ids::{NodeId, Version};
use std::collections::{BTreeMap, BTreeSet};

/// Everybody who waits for room.
#[derive(Clone, Debug, Default)]
pub(crate) struct PermitQueue {
    places: BTreeMap<NodeId, (u64, QueuedNode)>,
    /// Each group's nodes by when they came.
    order: BTreeMap<(Version, String), BTreeSet<(u64, NodeId)>>,
    last: u64,
}

impl PermitQueue {
    /// A node asks: it keeps its place if it has one for that group, else it is the last.
    pub(super) fn put(&mut self, queued: &QueuedNode) {
        let place = self.places.get(&queued.node);
        let kept =
            place.filter(|(_, was)| (was.version, &was.group) == (queued.version, &queued.group));
        let number = match kept {
            Some((number, _)) => *number,
            None => {
                self.remove(queued.node);
                self.last += 1;
                let group = (queued.version, queued.group.clone());
                let order = self.order.entry(group).or_default();
                order.insert((self.last, queued.node));
                self.last
            }
        };
        self.places.insert(queued.node, (number, queued.clone()));
    }

    /// A node waits no longer.
    pub(super) fn remove(&mut self, node: NodeId) {
        let Some((number, queued)) = self.places.remove(&node) else {
            return;
        };
        let group = (queued.version, queued.group);
        if let Some(order) = self.order.get_mut(&group) {
            order.remove(&(number, node));
            if order.is_empty() {
                self.order.remove(&group);
            }
        }
    }

    /// Whether a node waits.
    pub(crate) fn has(&self, node: NodeId) -> bool {
        self.places.contains_key(&node)
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// In how many groups somebody waits.
    pub(crate) fn groups(&self) -> usize {
        self.order.len()
    }

    /// How many others have waited longer than this node for room in a group, and still do; all, if it has not waited yet.
    /// Counts up to `limit`.
    pub(crate) fn before(
        &self,
        node: NodeId,
        (version, group): (Version, &str),
        now_ms: u64,
        limit: usize,
    ) -> usize {
        let Some(order) = self.order.get(&(version, group.to_owned())) else {
            return 0;
        };
        let earlier = order.iter().map(|(_, other)| *other);
        let earlier = earlier.take_while(|other| *other != node);
        let waits = |other: &NodeId| {
            let place = self.places.get(other);
            place.is_some_and(|(_, queued)| queued.good_until_ms > now_ms)
        };
        earlier.filter(waits).take(limit).count()
    }

    /// Those that have not asked again in time.
    pub(crate) fn gone(&self, now_ms: u64) -> Vec<NodeId> {
        let places = self.places.values();
        places
            .filter(|(_, queued)| queued.good_until_ms <= now_ms)
            .map(|(_, queued)| queued.node)
            .collect()
    }
}

//! Who waits for room in which group, in the order in which they came.

use model::ids::Version;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A group at a version.
pub(crate) type GroupAt = (Version, Arc<str>);

/// Everybody who waits for room. Nodes are known by their places in the cast.
#[derive(Clone, Debug, Default)]
pub(crate) struct RoomQueue {
    places: BTreeMap<usize, (u64, GroupAt)>,
    order: BTreeMap<GroupAt, BTreeSet<(u64, usize)>>,
    last: u64,
}

impl RoomQueue {
    /// A node waits: it keeps its place if it has one for that group, else it is the last.
    pub(crate) fn put(&mut self, node: usize, group: &GroupAt) {
        if self.places.get(&node).is_some_and(|(_, was)| was == group) {
            return;
        }
        self.remove(node);
        self.last += 1;
        let order = self.order.entry(group.clone()).or_default();
        order.insert((self.last, node));
        self.places.insert(node, (self.last, group.clone()));
    }

    /// A node waits no longer.
    pub(crate) fn remove(&mut self, node: usize) {
        let Some((number, group)) = self.places.remove(&node) else {
            return;
        };
        if let Some(order) = self.order.get_mut(&group) {
            order.remove(&(number, node));
            if order.is_empty() {
                self.order.remove(&group);
            }
        }
    }

    /// Whether a node waits.
    pub(crate) fn has(&self, node: usize) -> bool {
        self.places.contains_key(&node)
    }

    /// In how many groups somebody waits.
    pub(crate) fn groups(&self) -> usize {
        self.order.len()
    }

    /// How many others have waited longer than this node; all, if it has not waited yet. Counts up to `limit`.
    pub(crate) fn before(&self, node: usize, group: &GroupAt, limit: usize) -> usize {
        let order = self.order.get(group).into_iter().flatten();
        let earlier = order.take_while(|(_, other)| *other != node);
        earlier.take(limit).count()
    }

    /// The first so many of a group.
    pub(crate) fn first(&self, group: &GroupAt, count: usize) -> Vec<usize> {
        let order = self.order.get(group).into_iter().flatten();
        order.take(count).map(|(_, node)| *node).collect()
    }
}

//! The nodes, counted: what changes of a node is counted when it changes.

use super::{SystemState, scope};
use model::api::{OnceOrder, OnceState};
use model::fleet::{CountedNode, Fleet};
use model::ids::NodeId;
use std::sync::Arc;

impl SystemState {
    /// What a node is to do once for the whole system.
    pub(crate) fn once_of(&self, node: NodeId) -> Option<OnceOrder> {
        let mut given = (self.once.iter()).filter(|fact| fact.state == OnceState::Given);
        let own = given.find(|fact| self.names.get(&fact.node) == Some(&node))?;
        Some(OnceOrder {
            version: own.version,
            revision: own.revision,
            name: own.name.clone(),
            attempt: own.attempts,
        })
    }

    /// Counts a node as it is now. Its classes follow from what it enrolled with, and from the history.
    pub(super) fn count(&mut self, node: NodeId, same_seats: bool) {
        let Some(fact) = self.nodes.get(&node) else {
            self.fleet.remove(node);
            return;
        };
        let counted = self.fleet.node(node).filter(|_| same_seats);
        let seats = match counted {
            Some(counted) => Arc::clone(&counted.seats),
            None => Arc::new(self.history.seats(&scope(fact), self.retired_through)),
        };
        let has_permit = self.holders.contains_key(&node);
        let role = self.roles.get(&node).cloned();
        let is = CountedNode::of(fact, has_permit, seats).with_role(role);
        self.fleet.put(node, is);
    }

    /// Counts everybody anew: the history is another one, or the server starts.
    pub(super) fn count_all(&mut self) {
        self.fleet = Fleet::default();
        let nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
        for node in nodes {
            self.count(node, false);
        }
        self.tally_all();
    }
}

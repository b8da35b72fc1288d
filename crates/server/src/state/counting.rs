//! The nodes, counted: what changes of a node is counted when it changes.

use super::{SystemState, scope};
use model::api::NodeFact;
use model::fleet::{ClassSeat, ClassSeats, CountedNode, Fleet};
use model::ids::{NodeId, Version};
use model::release::ReleaseClass;
use std::collections::BTreeSet;
use std::sync::Arc;

impl SystemState {
    /// Counts a node as it is now. Its classes follow from what it enrolled with, and from the history.
    pub(super) fn count(&mut self, node: NodeId, same_seats: bool) {
        let Some(fact) = self.nodes.get(&node) else {
            self.fleet.remove(node);
            return;
        };
        let counted = self.fleet.node(node).filter(|_| same_seats);
        let seats = match counted {
            Some(counted) => Arc::clone(&counted.seats),
            None => Arc::new(self.seats(fact)),
        };
        let has_permit = self.holders.contains_key(&node);
        let is = CountedNode::of(fact, has_permit, seats);
        self.fleet.put(node, is);
    }

    /// Counts everybody anew: the history is another one, or the server starts.
    pub(super) fn count_all(&mut self) {
        self.fleet = Fleet::default();
        let nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
        for node in nodes {
            self.count(node, false);
        }
    }

    /// A node's class at every version that is not retired, and at those whose software runs there, and the group in which that version's schedule limits it.
    fn seats(&self, fact: &NodeFact) -> ClassSeats {
        let Ok(lineage) = self.history.lineage(&scope(fact), None) else {
            return ClassSeats::new();
        };
        let alive = (self.history.versions()).filter(|version| *version > self.retired_through);
        let wanted = alive.flat_map(|version| {
            let provider = lineage.class(version).map(|class| class.provided_by);
            [Some(version), provider].into_iter().flatten()
        });
        let wanted: BTreeSet<Version> = wanted.collect();
        let mut node = scope(fact);
        let seats = wanted.into_iter().filter_map(|version| {
            let class = lineage.class(version)?;
            node.class.clone_from(&class.name);
            let seat = ClassSeat {
                class: Arc::from(class.name.as_str()),
                group: group(class, fact).map(Arc::from),
                wave: class.schedule.wave_of(&node),
            };
            Some((version, seat))
        });
        seats.collect()
    }
}

/// The group of a node within which its class's schedule limits how many are unavailable.
fn group(class: &ReleaseClass, fact: &NodeFact) -> Option<String> {
    let rolling = class.schedule.rolling.as_ref()?;
    let Some(attribute) = &rolling.group_by else {
        return Some(class.name.clone());
    };
    let value = fact.attributes.get(attribute);
    let value = value.map_or("", String::as_str);
    Some(format!("{}/{attribute}={value}", class.name))
}

//! Which nodes were heard since the other servers of a database were told. A report in which nothing is new is no commit of its own: all
//! of a moment are told together, in few words each; the whole reports, with their counters, follow a few at a time.

use crate::state::SystemState;
use crate::udb::{Change, HeardNode};
use model::ids::NodeId;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How late the other servers hear of it, at most.
const TOLD_AFTER: Duration = Duration::from_secs(1);

/// Such a part of the reachability time is the longest, too: no node looks silent to another server.
const REACHABLE_PART: u32 = 8;

/// How many reports are told whole at once; a large system's come one after the other within minutes.
const WHOLE_MAX: usize = 256;

/// Nodes that were heard.
#[derive(Debug)]
pub(super) struct HeardNodes {
    after: Duration,
    since: Option<Instant>,
    nodes: BTreeSet<NodeId>,
    /// The last whose whole report was told.
    whole: NodeId,
}

impl HeardNodes {
    pub(super) fn new(reachable_ms: u64) -> Self {
        Self {
            after: TOLD_AFTER.min(Duration::from_millis(reachable_ms) / REACHABLE_PART),
            since: None,
            nodes: BTreeSet::new(),
            whole: NodeId(0),
        }
    }

    /// A node was heard, and no commit says so.
    pub(super) fn note(&mut self, node: NodeId, now: Instant) {
        self.since.get_or_insert(now);
        self.nodes.insert(node);
    }

    /// A commit has told what is known of a node.
    pub(super) fn was_told(&mut self, node: NodeId) {
        self.nodes.remove(&node);
    }

    /// What is to be told by now.
    pub(super) fn due(&self, state: &SystemState, now: Instant) -> Vec<Change> {
        let since = self.since.filter(|since| now >= *since + self.after);
        if since.is_none() || self.nodes.is_empty() {
            return Vec::new();
        }
        let whole = self.next_whole();
        let mut changes: Vec<Change> = (whole.iter())
            .filter_map(|node| state.nodes.get(node))
            .map(|fact| Change::NodeHeard(Arc::clone(fact)))
            .collect();
        let others = self.nodes.iter().filter(|node| !whole.contains(node));
        let others = others.filter_map(|node| state.nodes.get(node));
        let heard: Vec<HeardNode> = others
            .map(|fact| HeardNode {
                node: fact.node,
                seen_at_ms: fact.seen_at_ms,
                taken: fact.taken.last().copied(),
            })
            .collect();
        if !heard.is_empty() {
            changes.push(Change::Heard(heard));
        }
        changes
    }

    /// It was told.
    pub(super) fn clear(&mut self) {
        if let Some(last) = self.next_whole().last() {
            self.whole = *last;
        }
        self.nodes.clear();
        self.since = None;
    }

    /// Those whose whole reports come next: behind the last of the time before, and from the beginning again.
    fn next_whole(&self) -> Vec<NodeId> {
        let behind = (Bound::Excluded(self.whole), Bound::Unbounded);
        let behind = self.nodes.range(behind);
        let before = self.nodes.range(..=self.whole);
        behind.chain(before).take(WHOLE_MAX).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::api::{LabelsFact, NodeFact, NodeReport};

    fn state_with(count: u32) -> SystemState {
        let mut state = SystemState::default();
        for node in 1..=count {
            let fact = NodeFact {
                node: NodeId(node),
                name: format!("n{node}"),
                class: "storage".to_owned(),
                attributes: [].into(),
                host: String::new(),
                data_directory: String::new(),
                report: NodeReport::default(),
                seen_at_ms: 1,
                reachable: true,
                settled_at_ms: 0,
                steady_since_ms: 0,
                taken: Vec::new(),
                retry: 0,
                listed: Vec::new(),
                members_seen: 0,
                labels: LabelsFact::default(),
            };
            state.apply(&[Change::Node(Arc::new(fact))]);
        }
        state
    }

    fn told(changes: &[Change]) -> (Vec<u32>, Vec<u32>) {
        let (mut whole, mut short) = (Vec::new(), Vec::new());
        for change in changes {
            match change {
                Change::NodeHeard(fact) => whole.push(fact.node.0),
                Change::Heard(nodes) => short.extend(nodes.iter().map(|heard| heard.node.0)),
                other => panic!("{other:?}"),
            }
        }
        (whole, short)
    }

    #[test]
    fn all_are_told_after_a_moment_and_a_few_of_them_whole_in_turn() {
        let count = WHOLE_MAX as u32 + 100;
        let state = state_with(count);
        let now = Instant::now();
        let mut heard = HeardNodes::new(4_000);
        for node in 1..=count {
            heard.note(NodeId(node), now);
        }
        heard.was_told(NodeId(7));
        let later = now + Duration::from_millis(500);
        assert_eq!(heard.due(&state, later - Duration::from_millis(1)), []);
        let (whole, short) = told(&heard.due(&state, later));
        assert_eq!(whole.len(), WHOLE_MAX);
        assert!(!whole.contains(&7) && !short.contains(&7));
        assert_eq!(whole.len() + short.len(), count as usize - 1);
        heard.clear();
        assert_eq!(heard.due(&state, later + TOLD_AFTER), []);
        for node in 1..=count {
            heard.note(NodeId(node), later);
        }
        let (next, _) = told(&heard.due(&state, later + TOLD_AFTER));
        assert!(
            short.iter().all(|node| next.contains(node)),
            "it is their turn"
        );
    }
}

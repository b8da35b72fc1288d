//! A decision in the making: the state it is made on, and the changes so far.

use super::{DecisionContext, SERVER};
use crate::state::SystemState;
use crate::udb::Change;
use model::api::{Event, EventKind, NodeFact, SystemView};
use model::ids::{NodeId, Version};
use std::fmt::Display;

/// A decision in the making.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) state: &'a SystemState,
    pub(crate) context: &'a DecisionContext,
    pub(crate) changes: Vec<Change>,
    next_event: u64,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(state: &'a SystemState, context: &'a DecisionContext) -> Self {
        Self {
            state,
            context,
            changes: Vec::new(),
            next_event: state.last_event + 1,
        }
    }

    /// The next events have higher numbers than this.
    pub(crate) fn begin_events_after(&mut self, number: u64) {
        self.next_event = self.next_event.max(number.saturating_add(1));
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.context.now_ms
    }

    pub(crate) fn change(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Records what happened, under the name of who asks.
    pub(crate) fn event(
        &mut self,
        kind: EventKind,
        node: Option<NodeId>,
        version: Option<Version>,
        message: String,
    ) {
        let author = self.context.author.clone();
        self.event_by(author, kind, node, version, message);
    }

    /// Records what happened, under another name; nodes may tell kinds that this server does not know.
    pub(crate) fn event_by(
        &mut self,
        author: String,
        kind: impl Display,
        node: Option<NodeId>,
        version: Option<Version>,
        message: String,
    ) {
        let node = node.and_then(|node| self.known_name(node));
        let proven = self.proven(&author);
        self.changes.push(Change::Event(Event {
            sequence: self.next_event,
            at_ms: self.context.now_ms,
            author,
            proven,
            node,
            kind: kind.to_string(),
            version,
            message,
        }));
        self.next_event += 1;
    }

    /// Who the author of an event is, where that is certain.
    fn proven(&self, author: &str) -> Option<String> {
        if author == SERVER {
            return Some(SERVER.to_owned())
                .filter(|_| self.context.author != SERVER || self.context.proven.is_some());
        }
        let proven = self.context.proven.as_ref();
        let is_it = |proven: &&String| {
            proven
                .split_once(':')
                .is_some_and(|(_, name)| name == author)
        };
        proven.filter(is_it).cloned()
    }

    /// The name of a node, one of this very change included.
    fn known_name(&self, node: NodeId) -> Option<String> {
        let mut changes = self.changes.iter();
        let new = changes.find_map(|change| match change {
            Change::Node(fact) if fact.node == node => Some(fact.name.clone()),
            _ => None,
        });
        new.or_else(|| Some(self.state.nodes.get(&node)?.name.clone()))
    }

    /// The name of a node, for people.
    pub(crate) fn name(&self, node: NodeId) -> String {
        let fact = self.state.nodes.get(&node);
        fact.map_or_else(|| format!("node {node}"), |fact| fact.name.clone())
    }

    /// A node as it is after the changes so far.
    pub(crate) fn node(&self, node: NodeId) -> Option<NodeFact> {
        let changed = self.changes.iter().rev().find_map(|change| match change {
            Change::Node(fact) | Change::NodeQuietly(fact) | Change::NodeHeard(fact)
                if fact.node == node =>
            {
                Some(Some(fact.as_ref().clone()))
            }
            Change::Forget(forgotten, _) if *forgotten == node => Some(None),
            _ => None,
        });
        changed.unwrap_or_else(|| {
            self.state
                .nodes
                .get(&node)
                .map(|fact| fact.as_ref().clone())
        })
    }

    /// Every node as it is after the changes so far.
    pub(crate) fn nodes(&self) -> Vec<NodeFact> {
        self.state
            .nodes
            .keys()
            .filter_map(|node| self.node(*node))
            .collect()
    }

    /// The state after the changes so far, for answers that show it.
    #[cfg_attr(not(test), expect(dead_code, reason = "the rules' tests read it"))]
    pub(crate) fn view(&self) -> SystemView {
        let mut state = self.state.clone();
        state.apply(&self.changes);
        state.system_view(self.context.now_ms)
    }
}

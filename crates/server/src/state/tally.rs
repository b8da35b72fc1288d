//! The nodes in numbers, for those who watch the system: each change of a node is counted when it comes, so that reading the numbers
//! costs the same however many nodes there are.

use super::SystemState;
use super::labels::is_clock_off;
use super::members::has_software;
use model::api::{ChildState, NodeFact, Phase, WaitCode};
use model::ids::{NodeId, Version};
use page::{WaitKind, wait_kinds};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The kinds of calls and connections that nodes report, by the beginning of their counters' names.
const CALL_KINDS: [(&str, &str); 5] = [
    ("past", "calls.past."),
    ("future", "calls.future."),
    ("failed", "calls.failed"),
    ("refused", "refused"),
    ("reset", "reset."),
];

/// How many nodes of one class have settled at one version, and how they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StandingTally {
    nodes: usize,
    /// By what they do.
    pub(crate) phases: BTreeMap<Phase, usize>,
    /// Those that are not heard.
    pub(crate) unreachable: usize,
    /// Those that are heard and whose software has ended by itself.
    pub(crate) crashed: usize,
    /// Those that are heard and whose software does not answer.
    pub(crate) silent: usize,
}

/// The nodes in numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct FleetTally {
    /// What of each node is counted.
    marks: BTreeMap<NodeId, NodeMark>,
    pub(crate) standings: BTreeMap<(Arc<str>, Version), StandingTally>,
    /// How many nodes wait, by the bit of the reason.
    waits: BTreeMap<u32, usize>,
    /// How many nodes with software go by which order about labels.
    labels: BTreeMap<u64, usize>,
    pub(crate) clocks_off: usize,
    /// What nodes have reported of calls since the server started.
    calls: [u64; CALL_KINDS.len()],
}

/// What of a node is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct NodeMark {
    class: Arc<str>,
    version: Version,
    phase: Phase,
    child: ChildState,
    reachable: bool,
    /// A bit for each reason for which it waits.
    waits: u32,
    /// The order about labels that it goes by; none where it has no software.
    labels: Option<u64>,
    clock_off: bool,
}

impl NodeMark {
    fn of(fact: &NodeFact, class: Arc<str>, waits: u32) -> Self {
        let status = &fact.report.status;
        let goes_by = &fact.labels.in_force;
        Self {
            class,
            version: status.version,
            phase: status.phase,
            child: status.child,
            reachable: fact.reachable,
            waits,
            labels: (has_software(fact) || !goes_by.is_empty()).then(|| order_number(goes_by)),
            clock_off: is_clock_off(fact),
        }
    }
}

/// An order about labels as a number: its id is one in hex. What is none of ours is like nothing that is asked for.
fn order_number(id: &str) -> u64 {
    u64::from_str_radix(id, 16).unwrap_or(u64::from(!id.is_empty()))
}

/// The reasons for which a node waits, a bit each; the last is for those that have no code.
fn wait_bits(fact: &NodeFact) -> u32 {
    let status = &fact.report.status;
    let reason = status.reason.as_deref().unwrap_or_default();
    if status.phase != Phase::Staged || reason.is_empty() {
        return 0;
    }
    let kinds = wait_kinds(reason).into_iter();
    kinds.fold(0, |bits, kind| bits | 1 << bit_of(&kind))
}

fn bit_of(kind: &WaitKind) -> usize {
    let WaitKind::Code(code) = kind else {
        return WaitCode::ALL.len();
    };
    let mut all = WaitCode::ALL.iter();
    all.position(|one| one == code)
        .unwrap_or(WaitCode::ALL.len())
}

impl FleetTally {
    /// A node is as this says, which it was not before.
    fn put(&mut self, before: Option<&NodeFact>, fact: &NodeFact, class: Arc<str>) {
        let mark = self.marks.get(&fact.node);
        let same_reason = before.is_some_and(|before| {
            let (was, is) = (&before.report.status, &fact.report.status);
            was.phase == is.phase && was.reason == is.reason
        });
        let waits = mark.filter(|_| same_reason).map(|mark| mark.waits);
        let now = NodeMark::of(fact, class, waits.unwrap_or_else(|| wait_bits(fact)));
        if mark != Some(&now) {
            self.remove(fact.node);
            self.count(&now, true);
            self.marks.insert(fact.node, now);
        }
        if let Some(before) = before {
            self.add_calls(&before.report.counters, &fact.report.counters);
        }
    }

    fn remove(&mut self, node: NodeId) {
        if let Some(mark) = self.marks.remove(&node) {
            self.count(&mark, false);
        }
    }

    fn count(&mut self, mark: &NodeMark, is_in: bool) {
        let at = (Arc::clone(&mark.class), mark.version);
        let standing = self.standings.entry(at.clone()).or_default();
        step(&mut standing.nodes, is_in);
        step(standing.phases.entry(mark.phase).or_default(), is_in);
        match (mark.reachable, mark.child) {
            (false, _) => step(&mut standing.unreachable, is_in),
            (true, ChildState::Crashed) => step(&mut standing.crashed, is_in),
            (true, ChildState::Silent) => step(&mut standing.silent, is_in),
            (true, _) => {}
        }
        if standing.nodes == 0 {
            self.standings.remove(&at);
        }
        for bit in (0..u32::BITS).filter(|bit| mark.waits & (1 << bit) != 0) {
            step(self.waits.entry(bit).or_default(), is_in);
        }
        if let Some(order) = mark.labels {
            step(self.labels.entry(order).or_default(), is_in);
            self.labels.retain(|_, nodes| *nodes > 0);
        }
        if mark.clock_off {
            step(&mut self.clocks_off, is_in);
        }
    }

    /// Adds what has been counted between two reports of a node. An agent that has begun anew counts from zero.
    fn add_calls(&mut self, was: &BTreeMap<String, u64>, is: &BTreeMap<String, u64>) {
        if was == is {
            return;
        }
        for (sum, (_, prefix)) in self.calls.iter_mut().zip(CALL_KINDS) {
            let (was, is) = (reported(was, prefix), reported(is, prefix));
            *sum = sum.saturating_add(if is >= was { is - was } else { is });
        }
    }

    /// How many nodes wait, by the code of the reason; `other` where it has none.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let names = WaitCode::ALL.iter().map(|code| code.name());
        let names = names.chain(std::iter::once("other"));
        names
            .zip(0..)
            .map(|(name, bit)| (name, self.waits.get(&bit).copied().unwrap_or(0)))
    }

    /// How many nodes have settled at versions before this one.
    pub(crate) fn behind(&self, version: Version) -> usize {
        let all = self.standings.iter();
        let behind = all.filter(|((_, at), _)| *at < version);
        behind.map(|(_, standing)| standing.nodes).sum()
    }

    /// How many nodes with software do not go by this order about labels.
    pub(crate) fn awaited(&self, order: &str) -> usize {
        let order = order_number(order);
        let others = self.labels.iter().filter(|(held, _)| **held != order);
        others.map(|(_, nodes)| nodes).sum()
    }

    /// What became of calls, by kind.
    pub(crate) fn calls(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let kinds = CALL_KINDS.iter().map(|(kind, _)| *kind);
        kinds.zip(self.calls)
    }
}

/// What a node has counted under names that begin so. The sum of all refusals has a name of its own, beside those by rule.
fn reported(counters: &BTreeMap<String, u64>, prefix: &str) -> u64 {
    if !prefix.ends_with('.') {
        return counters.get(prefix).copied().unwrap_or(0);
    }
    let from = counters.range::<str, _>((
        std::ops::Bound::Included(prefix),
        std::ops::Bound::Unbounded,
    ));
    let some = from.take_while(|(name, _)| name.starts_with(prefix));
    some.fold(0, |sum, (_, number)| sum.saturating_add(*number))
}

fn step(number: &mut usize, is_in: bool) {
    if is_in {
        *number += 1;
    } else {
        *number -= 1;
    }
}

impl SystemState {
    /// Counts a node as it is now; it was so before.
    pub(super) fn tally_node(&mut self, before: Option<&NodeFact>, fact: &NodeFact) {
        let counted = self.fleet.node(fact.node);
        let seat = counted.and_then(|node| node.seats.get(&fact.report.status.version));
        let class = seat.map_or_else(
            || Arc::from(fact.class.as_str()),
            |seat| Arc::clone(&seat.class),
        );
        self.tally.put(before, fact, class);
    }

    /// Counts a node no longer.
    pub(super) fn untally_node(&mut self, node: NodeId) {
        self.tally.remove(node);
    }

    /// Counts everybody anew, but for what they have reported of calls.
    pub(super) fn tally_all(&mut self) {
        self.tally = FleetTally {
            calls: self.tally.calls,
            ..FleetTally::default()
        };
        let nodes: Vec<_> = self.nodes.values().cloned().collect();
        for fact in nodes {
            self.tally_node(None, &fact);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::api::NodeReport;
    use proptest::prelude::*;

    const REASONS: [&str; 4] = [
        "",
        "paused by ann: lunch",
        "not every node has staged version 2: a; at most 1 may be unavailable at once: b",
        "the disk is full",
    ];

    fn fact() -> impl Strategy<Value = NodeFact> {
        let standing = (0..3_u32, 0..10_usize, 0..5_usize, 0..4_usize);
        let rest = (any::<bool>(), 0..3_u64, 0..200_i64, 0..5_u64);
        (1..5_u32, standing, rest).prop_map(|(node, standing, rest)| {
            let (version, phase, child, reason) = standing;
            let (reachable, order, clock_off_s, refused) = rest;
            let mut fact = NodeFact {
                node: NodeId(node),
                class: ["a", "b"][node as usize % 2].to_owned(),
                reachable,
                report: NodeReport::default(),
                ..NodeFact::default()
            };
            let status = &mut fact.report.status;
            status.version = Version(version);
            status.phase = Phase::ALL[phase];
            status.child = ChildState::ALL[child];
            status.reason = Some(REASONS[reason].to_owned()).filter(|text| !text.is_empty());
            fact.labels.in_force =
                ["", "0123456789abcdef", "none of ours"][order as usize].to_owned();
            fact.labels.clock_off_s = clock_off_s;
            fact.report.counters.insert("refused".to_owned(), refused);
            fact
        })
    }

    proptest! {
        #[test]
        fn counting_changes_comes_to_the_same_as_counting_anew(
            changes in prop::collection::vec((fact(), prop::bool::weighted(0.2)), 0..40)
        ) {
            let mut there: BTreeMap<NodeId, NodeFact> = BTreeMap::new();
            let mut tally = FleetTally::default();
            for (fact, goes) in changes {
                let class = || Arc::from(fact.class.as_str());
                if goes {
                    there.remove(&fact.node);
                    tally.remove(fact.node);
                } else {
                    tally.put(there.get(&fact.node), &fact, class());
                    there.insert(fact.node, fact);
                }
            }
            let mut anew = FleetTally::default();
            for fact in there.values() {
                anew.put(None, fact, Arc::from(fact.class.as_str()));
            }
            let numbers = |of: &FleetTally| {
                let waiting: Vec<_> = of.waiting().collect();
                let behind: Vec<_> = (0..4).map(|version| of.behind(Version(version))).collect();
                let awaited = ["", "0123456789abcdef", "another"].map(|order| of.awaited(order));
                (waiting, behind, awaited, of.clocks_off)
            };
            prop_assert_eq!(numbers(&tally), numbers(&anew));
            let nonzero = |of: &FleetTally| {
                let mut standings = of.standings.clone();
                for standing in standings.values_mut() {
                    standing.phases.retain(|_, nodes| *nodes > 0);
                }
                standings
            };
            prop_assert_eq!(nonzero(&tally), nonzero(&anew));
        }
    }

    #[test]
    fn what_nodes_count_adds_up_through_restarts_of_their_agents() {
        let mut tally = FleetTally::default();
        let counters = |numbers: &[(&str, u64)]| {
            let named = numbers
                .iter()
                .map(|(name, number)| ((*name).to_owned(), *number));
            named.collect::<BTreeMap<_, _>>()
        };
        let first = counters(&[
            ("refused", 3),
            ("refused.request.a", 3),
            ("calls.past.1", 5),
        ]);
        let second = counters(&[
            ("refused", 4),
            ("refused.request.a", 4),
            ("calls.past.1", 6),
            ("calls.past.2", 1),
            ("reset.retired", 2),
        ]);
        let anew = counters(&[("refused", 1), ("calls.past.1", 1)]);
        tally.add_calls(&first, &second);
        tally.add_calls(&second, &anew);
        let told: BTreeMap<_, _> = tally.calls().collect();
        assert_eq!((told["past"], told["refused"], told["reset"]), (3, 2, 2));
        assert_eq!((told["future"], told["failed"]), (0, 0));
    }
}

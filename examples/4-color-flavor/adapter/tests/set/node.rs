//! A node: the software, the adapter and its durable state, calls that overlap, crashes and the upgrade.

use super::adapters::Adapter;
use super::software::Software;
use super::transform;
use super::worlds::{Event, Seen};
use color_flavor_adapter::form::{Operation, Reply, Request};
use color_flavor_adapter::sequence::{Failure, Node};
use std::collections::{BTreeMap, VecDeque};

/// Where the agent is killed in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// When the intent is durable and nothing was asked yet.
    BeforeDelegate,
    /// When the software has answered, and the adapter does not know.
    AfterDelegate,
    /// When the adapter is done, and nothing of it is durable.
    BeforeCommit,
}

/// A node.
pub(crate) struct SetNode {
    /// The software.
    pub(crate) software: Software,
    /// Whether calls at the software's version pass the adapter.
    pub(crate) is_observed: bool,
    state: BTreeMap<String, String>,
    adapter: Box<dyn Adapter>,
}

/// What came of a call of the other version.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// What its caller saw.
    Answered(Seen),
    /// It was refused.
    Refused,
    /// The agent was killed.
    Crashed,
}

impl SetNode {
    /// A node at version 1.
    pub(crate) fn new(adapter: Box<dyn Adapter>, is_observed: bool) -> Self {
        Self {
            software: Software::new(),
            is_observed,
            state: BTreeMap::new(),
            adapter,
        }
    }

    /// A call at the software's version. `crash`: the agent is killed between the software's answer and the adapter's hearing of it.
    pub(crate) fn own(&mut self, operation: &Operation, crash: bool) -> Event {
        let form = self.software.form;
        let request = form.request(operation);
        let reply = self.software.answer(&request);
        if self.is_observed && !crash {
            self.with_state(|adapter, node| adapter.observe(node, form.other(), &request, &reply));
        }
        if crash {
            self.adapter.crash();
            self.with_state(|adapter, node| {
                adapter
                    .recover(node, form.other(), true, &request)
                    .expect("the software answers");
            });
        }
        let event = |seen| Event {
            form,
            operation: operation.clone(),
            seen,
        };
        event((!crash).then(|| Seen::of(form, &reply)))
    }

    /// A call at the other version, calls at the software's version that overlap it, and whether the agent is killed meanwhile.
    pub(crate) fn foreign(
        &mut self,
        operation: &Operation,
        overlapping: &[Operation],
        crash: Option<Crash>,
    ) -> (Outcome, Vec<Event>) {
        let form = self.software.form.other();
        let request = form.request(operation);
        let mut turn = Turn {
            software: &mut self.software,
            state: &self.state,
            changes: BTreeMap::new(),
            waiting: overlapping.iter().cloned().collect(),
            overlapped: Vec::new(),
            crash,
            has_crashed: false,
        };
        let outcome = self.adapter.handle(&mut turn, form, &request);
        turn.let_others_in(usize::MAX);
        let crashed = turn.has_crashed || crash == Some(Crash::BeforeCommit);
        let (changes, overlapped) = (turn.changes, turn.overlapped);
        let outcome = match outcome {
            _ if crashed => Outcome::Crashed,
            Ok(reply) => {
                self.commit(changes);
                Outcome::Answered(Seen::of(form, &reply))
            }
            Err(Failure::Refused(..)) => Outcome::Refused,
            Err(Failure::Node(what)) => panic!("the adapter failed: {what}"),
        };
        // Those that overlap have other conflict keys where they pass the adapter, so that their order among each other is all that counts.
        if self.is_observed {
            for (request, reply) in &overlapped {
                self.with_state(|adapter, node| adapter.observe(node, form, request, reply));
            }
        }
        if crashed {
            self.adapter.crash();
            self.with_state(|adapter, node| {
                adapter
                    .recover(node, form, false, &request)
                    .expect("the software answers");
            });
        }
        let own = form.other();
        let events = overlapped.iter().map(|(request, reply)| Event {
            form: own,
            operation: own.read(request).expect("it was made from one"),
            seen: Some(Seen::of(own, reply)),
        });
        (outcome, events.collect())
    }

    /// Upgrades the node by the example's own transform.
    pub(crate) fn upgrade(&mut self) {
        let (software, state) = transform::run(&self.software, &self.state);
        self.software = software;
        self.state = state;
        let numbers: Vec<i64> = self.software.numbers.keys().copied().collect();
        self.with_state(|adapter, node| adapter.begin(node, &numbers));
    }

    fn with_state(&mut self, work: impl FnOnce(&mut dyn Adapter, &mut dyn Node)) {
        let mut turn = Turn {
            software: &mut self.software,
            state: &self.state,
            changes: BTreeMap::new(),
            waiting: VecDeque::new(),
            overlapped: Vec::new(),
            crash: None,
            has_crashed: false,
        };
        work(self.adapter.as_mut(), &mut turn);
        let changes = turn.changes;
        self.commit(changes);
    }

    fn commit(&mut self, changes: BTreeMap<String, Option<String>>) {
        for (key, value) in changes {
            match value {
                Some(value) => self.state.insert(key, value),
                None => self.state.remove(&key),
            };
        }
    }
}

/// The node during one call of the adapter.
struct Turn<'n> {
    software: &'n mut Software,
    state: &'n BTreeMap<String, String>,
    changes: BTreeMap<String, Option<String>>,
    /// Calls at the software's version that come in between.
    waiting: VecDeque<Operation>,
    overlapped: Vec<(Request, Reply)>,
    crash: Option<Crash>,
    has_crashed: bool,
}

impl Turn<'_> {
    fn let_others_in(&mut self, most: usize) {
        for _ in 0..most.min(self.waiting.len()) {
            let Some(operation) = self.waiting.pop_front() else {
                return;
            };
            let request = self.software.form.request(&operation);
            let reply = self.software.answer(&request);
            self.overlapped.push((request, reply));
        }
    }

    fn crash(&mut self) -> Failure {
        self.has_crashed = true;
        Failure::Node("the agent was killed".to_owned())
    }
}

impl Node for Turn<'_> {
    fn delegate(&mut self, request: Request) -> Result<Reply, Failure> {
        if self.crash == Some(Crash::BeforeDelegate) || self.has_crashed {
            return Err(self.crash());
        }
        // One before, one after, the rest at the end.
        if self.waiting.len() > 1 {
            self.let_others_in(1);
        }
        let reply = self.software.answer(&request);
        self.let_others_in(1);
        if self.crash == Some(Crash::AfterDelegate) {
            return Err(self.crash());
        }
        Ok(reply)
    }

    fn get(&mut self, key: &str) -> Option<String> {
        match self.changes.get(key) {
            Some(changed) => changed.clone(),
            None => self.state.get(key).cloned(),
        }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), Failure> {
        self.changes.insert(key.to_owned(), Some(value.to_owned()));
        Ok(())
    }

    fn remove(&mut self, key: &str) -> Result<(), Failure> {
        self.changes.insert(key.to_owned(), None);
        Ok(())
    }
}

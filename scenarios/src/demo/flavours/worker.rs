//! Callers at both versions: each worker has numbers of its own, calls about them one after the other, at either version, and judges every answer.

use super::caller::{Caller, Fault};
use super::reference::{Judgement, Number, Standing};
use crate::demo::summary::Calls;
use color_flavor_adapter::form::{Form, Operation};
use model::bundle::Dispatch;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Numbers of one worker at one node.
const NUMBERS: i64 = 12;

/// The pause after a call, and after one that failed.
const PAUSE: Duration = Duration::from_millis(2);
const FAULT_PAUSE: Duration = Duration::from_millis(30);

/// How often a number is taken out in vain before that is a failure.
const TRIES: u32 = 50;

/// What all workers share.
#[derive(Debug)]
pub(super) struct Board {
    dispatch: Dispatch,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Callers of flavours may call.
    both: bool,
    over: bool,
    /// Where each node stands; at first all are at version 1.
    standing: BTreeMap<usize, Standing>,
    counted: Counted,
}

/// What workers have counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Counted {
    pub(super) calls: Calls,
    pub(super) writes: u64,
    pub(super) refused_connections: u64,
    /// What was wrong, in words.
    pub(super) wrong: Vec<String>,
}

impl Board {
    pub(super) fn new(dispatch: Dispatch) -> Self {
        Self {
            dispatch,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> parking_lot::MutexGuard<'_, State> {
        self.state.lock()
    }

    /// From now on there are callers of both versions.
    pub(super) fn both(&self) {
        self.state().both = true;
    }

    /// The workers end.
    pub(super) fn end(&self) {
        self.state().over = true;
    }

    pub(super) fn stands(&self, node: usize, standing: Standing) {
        self.state().standing.insert(node, standing);
    }

    pub(super) fn counted(&self) -> Counted {
        self.state().counted.clone()
    }

    fn standing(&self, node: usize) -> Standing {
        let state = self.state();
        let standing = state.standing.get(&node).copied();
        standing.unwrap_or(Standing::At(Form::Colours))
    }
}

/// A node as a worker calls it.
struct Node {
    /// Callers of colours, and of flavours.
    callers: [Caller; 2],
    numbers: Vec<Number>,
    /// It was seen to have upgraded.
    upgraded: bool,
}

/// One worker.
pub(super) struct Worker {
    first: i64,
    nodes: Vec<Node>,
    board: Arc<Board>,
    chance: StdRng,
}

impl Worker {
    pub(super) fn new(number: u32, nodes: &[SocketAddr], system: u64, board: Arc<Board>) -> Self {
        let node = |address: &SocketAddr| Node {
            callers: [1, 2].map(|version| Caller::new(*address, system, version)),
            numbers: (0..NUMBERS).map(|_| Number::new(board.dispatch)).collect(),
            upgraded: false,
        };
        Self {
            first: i64::from(number) * NUMBERS,
            nodes: nodes.iter().map(node).collect(),
            board,
            chance: StdRng::seed_from_u64(number.into()),
        }
    }

    /// Calls until all is over; then reads every number once more, at both versions.
    pub(super) async fn work(mut self) {
        while !self.board.state().over {
            let node = self.chance.random_range(0..self.nodes.len());
            let form = if self.board.state().both && self.chance.random_bool(0.5) {
                Form::Flavours
            } else {
                Form::Colours
            };
            let at = self.chance.random_range(0..NUMBERS);
            let operation = self.operation(node, form, at);
            self.step(node, form, at, operation).await;
            tokio::time::sleep(PAUSE).await;
        }
        for node in 0..self.nodes.len() {
            for at in 0..NUMBERS {
                for form in [Form::Colours, Form::Flavours] {
                    let get = Operation::Get(self.first + at);
                    self.step(node, form, at, get).await;
                }
            }
        }
    }

    fn operation(&mut self, node: usize, form: Form, at: i64) -> Operation {
        let number = self.first + at;
        let words = form.words();
        let word = words[self.chance.random_range(0..words.len())].to_owned();
        let is_there = self.nodes[node].numbers[index(at)].is_there();
        match (self.chance.random_range(0..100), is_there) {
            (0..45, _) => Operation::Get(number),
            (45..70, true) => Operation::Set(number, word),
            (70..82, true) => Operation::Delete(number),
            (45..90, false) => Operation::Insert(number, word),
            // What the other case is for.
            (_, true) => Operation::Insert(number, word),
            (_, false) => Operation::Delete(number),
        }
    }

    /// Makes a call and judges it. Of one that broke nobody knows what it did: the number is taken out.
    async fn step(&mut self, node: usize, form: Form, at: i64, operation: Operation) {
        let before = self.board.standing(node);
        let of_node = &mut self.nodes[node];
        if before == Standing::At(Form::Flavours) && !of_node.upgraded {
            of_node.upgraded = true;
            of_node.numbers.iter_mut().for_each(Number::upgraded);
        }
        let caller = &mut of_node.callers[usize::from(form == Form::Flavours)];
        let answered = caller.call(form.request(&operation)).await;
        // It may have changed while the call was under way.
        let standing = if self.board.standing(node) == before {
            before
        } else {
            Standing::Unsure
        };
        match answered {
            Ok(reply) => {
                let number = &mut self.nodes[node].numbers[index(at)];
                let judged = number.follow(form, standing, &operation, &reply);
                let wrote = reply.status < 300 && !matches!(operation, Operation::Get(_));
                let is_wrong = matches!(judged, Judgement::Wrong(_));
                self.count(judged, wrote);
                if is_wrong {
                    self.take_out(node, form, at).await;
                }
            }
            Err(fault) => {
                self.fault(&fault);
                if !matches!(operation, Operation::Get(_)) {
                    self.take_out(node, form, at).await;
                }
            }
        }
    }

    fn count(&self, judged: Judgement, wrote: bool) {
        let counted = &mut self.board.state().counted;
        counted.calls.total += 1;
        counted.writes += u64::from(wrote);
        match judged {
            Judgement::Right => counted.calls.ok += 1,
            Judgement::Refused => counted.calls.refused += 1,
            Judgement::Wrong(what) => {
                counted.calls.wrong += 1;
                counted.wrong.push(what);
            }
        }
    }

    fn fault(&self, fault: &Fault) {
        let counted = &mut self.board.state().counted;
        match fault {
            Fault::Refused => counted.refused_connections += 1,
            Fault::Broken(_) => counted.calls.reset_retried += 1,
            Fault::Late => {
                counted.calls.total += 1;
                counted.calls.failed += 1;
            }
        }
    }

    async fn take_out(&mut self, node: usize, form: Form, at: i64) {
        let delete = form.request(&Operation::Delete(self.first + at));
        for _ in 0..TRIES {
            let caller = &mut self.nodes[node].callers[usize::from(form == Form::Flavours)];
            match caller.call(delete.clone()).await {
                Ok(reply) if matches!(reply.status, 204 | 404) => {
                    self.nodes[node].numbers[index(at)].gone();
                    return;
                }
                Ok(reply) => {
                    let what = format!("taking a number out was answered with {reply:?}");
                    return self.count(Judgement::Wrong(what), false);
                }
                Err(fault) => {
                    self.fault(&fault);
                    tokio::time::sleep(FAULT_PAUSE).await;
                }
            }
        }
        self.fault(&Fault::Late);
    }
}

fn index(at: i64) -> usize {
    usize::try_from(at).unwrap_or_default()
}

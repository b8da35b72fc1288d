//! Chains: the adapters between a caller's version and the software's, nearest to the caller first.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::call::{Answer, Call};
use crate::conversation::Recording;
use crate::lens::Lens;
use crate::observer::Failure;

/// A boxed future, as the object-safe traits of this crate return it.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One of the two versions that an adapter stands between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The version that the upgrade replaces.
    Old,
    /// The version that the upgrade brings.
    New,
}

impl Side {
    /// The other one.
    pub fn other(self) -> Side {
        match self {
            Side::Old => Side::New,
            Side::New => Side::Old,
        }
    }

    /// As written in lens files: `old` or `new`.
    pub fn name(self) -> &'static str {
        match self {
            Side::Old => "old",
            Side::New => "new",
        }
    }
}

/// Which way an adapter translates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Callers at the old version on a node at the new one.
    Past,
    /// Callers at the new version on a node at the old one.
    Future,
}

impl Direction {
    /// The side that the callers speak.
    pub fn caller(self) -> Side {
        match self {
            Direction::Past => Side::Old,
            Direction::Future => Side::New,
        }
    }

    /// As written in messages: `past` or `future`.
    pub fn name(self) -> &'static str {
        match self {
            Direction::Past => "past",
            Direction::Future => "future",
        }
    }
}

/// An adapter of a protocol whose traffic is calls: a request, then its answer.
///
/// It may delegate any number of calls to the next step, or answer by itself.
pub trait Calls: Send + Sync {
    /// Answers one call.
    fn handle<'a>(&'a self, call: Call, next: Next<'a>) -> Pending<'a, Result<Answer, Failure>>;
}

/// The end of a chain: the software.
pub trait Delegate: Send {
    /// Sends the call to the software, once, and waits for the head of its answer.
    fn send<'a>(&'a mut self, call: Call) -> Pending<'a, Result<Answer, Failure>>;
}

/// What is left of a chain below one of its adapters.
pub struct Next<'a> {
    pub(crate) steps: &'a [Arc<dyn Calls>],
    pub(crate) software: &'a mut (dyn Delegate + 'a),
}

impl Next<'_> {
    /// Passes a call on to the next adapter, or to the software.
    pub fn delegate(&mut self, call: Call) -> Pending<'_, Result<Answer, Failure>> {
        match self.steps.split_first() {
            None => self.software.send(call),
            Some((step, rest)) => {
                let next = Next {
                    steps: rest,
                    software: &mut *self.software,
                };
                step.handle(call, next)
            }
        }
    }
}

/// The adapters that a call passes; empty where caller and software share an interface.
pub struct Chain {
    direction: Option<Direction>,
    steps: Vec<Arc<dyn Calls>>,
    /// How many of the steps translate.
    length: usize,
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.length;
        f.debug_struct("Chain")
            .field("direction", &self.direction)
            .field("length", &length)
            .finish()
    }
}

impl Chain {
    /// A chain of lenses, the first being nearest to the caller.
    pub fn new(lenses: Vec<(Arc<Lens>, Direction)>) -> Chain {
        let direction = lenses.first().map(|(_, direction)| *direction);
        let steps = lenses
            .into_iter()
            .map(|(lens, direction)| crate::lens::step(lens, direction));
        Chain::made(direction, steps.collect())
    }

    /// A chain of any adapters, the first being nearest to the caller.
    pub fn of(direction: Direction, steps: Vec<Arc<dyn Calls>>) -> Chain {
        Chain::made(Some(direction), steps)
    }

    /// The chain of calls that pass unchanged.
    pub fn empty() -> Chain {
        Chain::made(None, Vec::new())
    }

    fn made(direction: Option<Direction>, steps: Vec<Arc<dyn Calls>>) -> Chain {
        let length = steps.len();
        Chain {
            direction,
            steps,
            length,
        }
    }

    /// The same adapters, with what passes between them written down: for one call.
    pub fn recorded(&self, recording: &Arc<Recording>) -> Chain {
        let mut steps = vec![recording.probe(0)];
        for (index, step) in self.steps.iter().enumerate() {
            steps.extend([step.clone(), recording.probe(index + 1)]);
        }
        Chain {
            direction: self.direction,
            steps,
            length: self.length,
        }
    }

    /// Number of adapters.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether calls pass unchanged.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Past or future; `None` for an empty chain.
    pub fn direction(&self) -> Option<Direction> {
        self.direction
    }

    /// Answers a call through all adapters and the software.
    pub fn call<'a>(
        &'a self,
        call: Call,
        software: &'a mut (dyn Delegate + 'a),
    ) -> Pending<'a, Result<Answer, Failure>> {
        match self.steps.split_first() {
            None => software.send(call),
            Some((step, rest)) => step.handle(
                call,
                Next {
                    steps: rest,
                    software,
                },
            ),
        }
    }
}

//! Chains: the adapters between a caller's version and the software's, nearest to the caller first.

mod follow;
mod observation;
mod observed;

pub use follow::{Expected, FollowedCall, Follower};
pub use observation::{Observation, ObservedCall, ObservedReply};

use std::fmt;
use std::sync::Arc;

use http::StatusCode;
use tokio::sync::RwLock;

use crate::Pending;
use crate::conflicts::{Conflicts, HeldKey, Hold, Key, Locks};
use crate::direction::Direction;
use crate::exchange::{Answer, Call};
use crate::places::Places;
use crate::refusal::{Failure, Refusal, RefusalKind};

/// An adapter of a protocol whose traffic is calls: a request, then its answer.
///
/// It may delegate any number of calls to the next step, or answer by itself.
pub trait Calls: Send + Sync {
    /// Answers one call.
    fn handle<'a>(&'a self, call: Call, next: Next<'a>) -> Pending<'a, Result<Answer, Failure>>;

    /// How many instances of components a call takes here, the adapters below left out.
    fn instances(&self) -> usize {
        0
    }

    /// The adapter as one that can follow the calls at its next version.
    fn follower(&self) -> Option<&dyn Follower> {
        None
    }
}

/// The end of a chain: the software.
pub trait Delegate: Send {
    /// Sends the call to the software, once, and waits for the head of its answer.
    fn send<'a>(&'a mut self, call: Call) -> Pending<'a, Result<Answer, Failure>>;
}

/// An adapter in its place in a chain.
#[derive(Clone)]
pub(crate) struct ChainStep {
    adapter: Arc<dyn Calls>,
    /// The conflict keys of adapters in this place.
    locks: Arc<Locks>,
}

/// What is left of a chain below one of its adapters.
pub struct Next<'a> {
    steps: &'a [ChainStep],
    /// The conflict keys of the adapter whose next this is.
    locks: &'a Locks,
    software: &'a mut (dyn Delegate + 'a),
    /// How many calls the adapter may still delegate.
    delegates: u32,
}

impl<'a> Next<'a> {
    /// Waits until no other call holds the conflict key, and holds it.
    pub async fn hold(&mut self, key: Key<'_>, hold: Hold) -> HeldKey<'a> {
        let locks = self.locks;
        locks.hold(key, hold).await
    }

    /// Declares how many calls the operation at hand delegates at most; more are refused.
    pub fn allow(&mut self, delegates: u32) {
        self.delegates = delegates;
    }

    /// How many calls may still be delegated.
    pub fn left(&self) -> u32 {
        self.delegates
    }

    /// Passes a call on to the next adapter, or to the software.
    ///
    /// # Errors
    /// Of the adapters below or the software; a refusal where no more calls may be delegated.
    pub fn delegate(&mut self, call: Call) -> Pending<'_, Result<Answer, Failure>> {
        let Some(left) = self.delegates.checked_sub(1) else {
            return Box::pin(std::future::ready(Err(too_many().into())));
        };
        self.delegates = left;
        pass(self.steps, &mut *self.software, call)
    }
}

/// Passes a call to the first of some adapters, or to the software where there are none.
fn pass<'a>(
    steps: &'a [ChainStep],
    software: &'a mut (dyn Delegate + 'a),
    call: Call,
) -> Pending<'a, Result<Answer, Failure>> {
    match steps.split_first() {
        None => software.send(call),
        Some((step, rest)) => {
            let next = Next {
                steps: rest,
                locks: &step.locks,
                software,
                delegates: u32::MAX,
            };
            step.adapter.handle(call, next)
        }
    }
}

fn too_many() -> Refusal {
    Refusal::new(
        RefusalKind::Response,
        "(delegates)",
        "the adapter makes more calls than its operation declares",
        StatusCode::BAD_GATEWAY,
    )
}

/// The adapters that a call passes; empty where caller and software share an interface.
pub struct Chain {
    direction: Option<Direction>,
    steps: Vec<ChainStep>,
    /// How many of the steps translate.
    length: usize,
    /// Who else is told of its calls.
    told: Option<Arc<ChainTold>>,
}

/// Where a service's dispatch is observed: the adapters that follow the calls of a chain without answering them, each line's nearest first.
struct ChainTold {
    /// Beyond the caller: they follow what it calls.
    outer: Vec<ChainStep>,
    /// On the other side of the software: they follow what is sent to it.
    across: Vec<ChainStep>,
    /// What the software's calls exclude each other by.
    software: Arc<Locks>,
    /// Held by calls of several adapters; alone, where farther adapters are told.
    far: Arc<RwLock<()>>,
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
    /// A chain of adapters, the first being nearest to the caller.
    pub fn of(direction: Direction, steps: Vec<Arc<dyn Calls>>, conflicts: &Conflicts) -> Self {
        let length = steps.len();
        let place = |(index, adapter)| ChainStep {
            adapter,
            locks: conflicts.level(length - 1 - index, direction),
        };
        Self {
            direction: Some(direction),
            steps: steps.into_iter().enumerate().map(place).collect(),
            length,
            told: None,
        }
    }

    /// The same chain where the service's dispatch is observed: `outer` are adapters beyond the caller, of an empty chain the past ones,
    /// `across` those on the other side of the software, of an empty chain the future ones; the nearest come first. All observed services
    /// of a node share `conflicts`.
    #[must_use]
    pub fn observed(
        mut self,
        outer: Vec<Arc<dyn Calls>>,
        across: Vec<Arc<dyn Calls>>,
        conflicts: &Conflicts,
    ) -> Self {
        let direction = self.direction.unwrap_or(Direction::Past);
        let line = |adapters: Vec<Arc<dyn Calls>>, below: usize, direction| {
            let place = |(index, adapter)| ChainStep {
                adapter,
                locks: conflicts.level(below + index, direction),
            };
            adapters.into_iter().enumerate().map(place).collect()
        };
        self.told = Some(Arc::new(ChainTold {
            outer: line(outer, self.length, direction),
            across: line(across, 0, direction.other()),
            software: conflicts.level(0, direction),
            far: conflicts.far(),
        }));
        self
    }

    /// The chain of calls that pass unchanged.
    pub fn empty() -> Self {
        Self {
            direction: None,
            steps: Vec::new(),
            length: 0,
            told: None,
        }
    }

    /// The same adapters with a probe before each of them and one before the software; `probe` makes the one that calls reach after so
    /// many adapters. Probes count as no adapters and hold no conflict keys.
    #[must_use]
    pub fn probed(&self, probe: impl Fn(usize) -> Arc<dyn Calls>) -> Self {
        let locks: Arc<Locks> = Arc::default();
        let probe = |depth| ChainStep {
            adapter: probe(depth),
            locks: locks.clone(),
        };
        let mut steps = vec![probe(0)];
        for (index, step) in self.steps.iter().enumerate() {
            steps.extend([step.clone(), probe(index + 1)]);
        }
        Self {
            direction: self.direction,
            steps,
            length: self.length,
            told: self.told.clone(),
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

    /// Whether adapters remember something of a call, which then must come to its end even when nobody waits for its answer.
    pub fn remembers(&self) -> bool {
        let mut steps = self.steps.iter();
        self.told.is_some() || steps.any(|step| step.adapter.instances() > 0)
    }

    /// Past or future; `None` for an empty chain.
    pub fn direction(&self) -> Option<Direction> {
        self.direction
    }

    /// Answers a call through all adapters and the software.
    ///
    /// # Errors
    /// The first adapter's or the software's, as the caller is to be told it.
    pub fn call<'a>(
        &'a self,
        call: Call,
        software: &'a mut (dyn Delegate + 'a),
    ) -> Pending<'a, Result<Answer, Failure>> {
        if let Some(told) = &self.told {
            return Box::pin(observed::call(self, told, call, software));
        }
        let instances: usize = (self.steps.iter())
            .map(|step| step.adapter.instances())
            .sum();
        if instances == 0 {
            return pass(&self.steps, software, call);
        }
        Box::pin(async move {
            // Before any conflict key: whoever holds one never waits for a place.
            let mut call = call;
            call.context_mut().places = Some(Places::take(instances).await);
            pass(&self.steps, software, call).await
        })
    }
}

//! Observed dispatch: calls are told to the adapters that did not make them.
//!
//! An adapter follows what is called at its next version: one beyond the caller what the caller calls, one across the software what is
//! sent to it. What it returns is what its own callers would have had to do, and is told to the next one farther away. Before a
//! call is made, each adapter next to it has durably noted that it will be; what it has followed closes that note. A call that cannot be
//! noted is not made. One that an adapter then cannot follow is answered all the same: the note stays open, and the adapter recovers.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::{RwLockReadGuard, RwLockWriteGuard};
use tokio::time::timeout;

use super::{Chain, ChainStep, ChainTold, Delegate, Next, pass};
use crate::Pending;
use crate::chain::{FollowedCall, Follower, Observation};
use crate::conflicts::{HeldKey, Hold, Key, Locks};
use crate::exchange::{Answer, Call};
use crate::places::Places;
use crate::refusal::Failure;

/// How long a call waits for the key of an adapter on the other side of the software. Only where the two name one thing differently can
/// they wait for each other.
const KEY_WAIT: Duration = Duration::from_secs(5);

/// Keeps calls through several adapters apart from one that tells adapters farther away.
enum Far<'l> {
    Together { _held: RwLockReadGuard<'l, ()> },
    Alone { _held: RwLockWriteGuard<'l, ()> },
}

/// Answers a call through a chain, and tells it.
pub(super) async fn call(
    chain: &Chain,
    told: &ChainTold,
    mut call: Call,
    software: &mut (dyn Delegate + '_),
) -> Result<Answer, Failure> {
    let steps = [&chain.steps, &told.outer, &told.across];
    let steps = steps.into_iter().flatten();
    let instances = steps.map(|step| step.adapter.instances()).sum();
    call.context_mut().places = Some(Places::take(instances).await);
    let _far = match (told.outer.len().max(told.across.len()), chain.length) {
        (0 | 1, 0 | 1) => None,
        (0 | 1, _) => Some(Far::Together {
            _held: told.far.read().await,
        }),
        _ => Some(Far::Alone {
            _held: told.far.write().await,
        }),
    };
    let outer = ObservedLine::new(&told.outer);
    let across = ObservedLine::new(&told.across);
    if chain.length == 0 {
        let lines = outer.into_iter().chain(across).collect();
        return follow(lines, Some(&told.software), &[], software, call).await;
    }
    let mut software = Across {
        line: across,
        software,
    };
    let locks = outer.as_ref().map(|line| &*line.steps[0].locks);
    let lines = outer.into_iter().collect();
    follow(lines, locks, &chain.steps, &mut software, call).await
}

/// The software, with adapters across it that follow what it is sent.
struct Across<'a> {
    line: Option<ObservedLine<'a>>,
    software: &'a mut (dyn Delegate + 'a),
}

impl Delegate for Across<'_> {
    fn send<'a>(&'a mut self, call: Call) -> Pending<'a, Result<Answer, Failure>> {
        let lines = self.line.into_iter().collect();
        Box::pin(follow(lines, None, &[], &mut *self.software, call))
    }
}

/// Adapters that follow, the nearest first.
#[derive(Clone, Copy)]
struct ObservedLine<'a> {
    steps: &'a [ChainStep],
    near: &'a dyn Follower,
}

/// Makes a call through `path` and tells it to these lines. `locks` are the keys of the version that is spoken; without them the caller
/// holds them.
async fn follow(
    lines: Vec<ObservedLine<'_>>,
    locks: Option<&Locks>,
    path: &[ChainStep],
    software: &mut (dyn Delegate + '_),
    call: Call,
) -> Result<Answer, Failure> {
    let (limits, mut call) = (call.context().limits, call);
    let mut heard = Vec::with_capacity(lines.len());
    for line in lines {
        let (back, here) = line.near.hear(call).await?;
        call = back;
        heard.extend(here.map(|here| (line, here)));
    }
    if heard.is_empty() {
        return pass(path, software, call).await;
    }
    let _level = match locks {
        Some(locks) => Some(hold(locks, &heard).await),
        None => None,
    };
    let mut expected = Vec::with_capacity(heard.len());
    for (line, here) in &heard {
        let key = here.hold();
        let key = match locks {
            Some(_) => key.await,
            None => (timeout(KEY_WAIT, key).await).map_err(|_| here.waited())?,
        };
        let next = Next {
            steps: path,
            locks: &line.steps[0].locks,
            software: &mut *software,
            delegates: 0,
        };
        expected.push((key, here.expect(next).await?));
    }
    let answered = match pass(path, software, call).await {
        Ok(answer) => answer.whole(limits).await,
        Err(failure) => Err(failure),
    };
    for ((line, here), (_key, mut expected)) in heard.iter().zip(expected) {
        match &answered {
            Ok(answer) => {
                let Some(seen) = expected.follow(answer).await else {
                    continue;
                };
                line.tell_farther(seen, &**here, path, software).await;
                expected.close().await;
            }
            // Who refuses has changed nothing.
            Err(Failure::Refused(_)) => expected.forget().await,
            Err(_) => {}
        }
    }
    answered
}

/// Holds what the call excludes at the version that is spoken: one key, or everything where the two sides name it differently.
async fn hold<'l>(
    locks: &'l Locks,
    heard: &[(ObservedLine<'_>, Box<dyn FollowedCall + '_>)],
) -> HeldKey<'l> {
    let keys: BTreeSet<Option<&str>> = heard.iter().map(|(_, here)| here.key()).collect();
    let mut keys = keys.into_iter();
    match (keys.next(), keys.next()) {
        (Some(Some(key)), None) => locks.hold(Key::Named(key), Hold::Exclusive).await,
        _ => locks.hold(Key::Node, Hold::Exclusive).await,
    }
}

impl<'a> ObservedLine<'a> {
    /// The adapters of a line; none where nobody can follow.
    fn new(steps: &'a [ChainStep]) -> Option<Self> {
        let near = steps.first()?.adapter.follower()?;
        Some(ObservedLine { steps, near })
    }

    /// Tells the others of a line, each what the one before it returned. They are told one call at a time.
    async fn tell_farther(
        &self,
        mut seen: Vec<Observation>,
        near: &dyn FollowedCall,
        path: &[ChainStep],
        software: &mut (dyn Delegate + '_),
    ) {
        for (index, step) in self.steps.iter().enumerate().skip(1) {
            let Some(follower) = step.adapter.follower() else {
                return;
            };
            // What this one would delegate through, to recover.
            let nearer = self.steps[..index].iter().rev();
            let below: Vec<ChainStep> = nearer.chain(path).cloned().collect();
            let mut farther = Vec::new();
            for observation in seen {
                let next = Next {
                    steps: &below,
                    locks: &step.locks,
                    software: &mut *software,
                    delegates: 0,
                };
                farther.extend(follower.follow_farther(observation, near, next).await);
            }
            seen = farther;
        }
    }
}

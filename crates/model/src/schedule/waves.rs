//! Waves: some nodes of a class go before the others, and soak, so that what is wrong shows where it harms least.
//!
//! A node belongs to the first wave that takes it, and to the rest of its class where none does. A share is one of a stable hash of the
//! node's name: it is the same nodes each time, and those of 1% are among those of 5%.

use super::share::NodeShare;
use super::written::bounded;
use super::{Facts, Opinion, Schedule, ScheduleError, WaitReason, parts, wait};
use crate::expression::{Allowed, Expression, ExpressionScope, NodeScope};
use crate::fleet::{ClassTally, SomeNodes};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The most waves of a class: each is counted apart.
const WAVES_MAX: usize = 100;

/// Some nodes of a class that go before those of later waves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WrittenWave", into = "WrittenWave")]
pub struct Wave {
    /// Which nodes it takes; all when absent.
    pub nodes: Option<NodePredicate>,
    /// Of these, which share.
    pub share: Option<NodeShare>,
    /// How many of them go before it is over; those that have not gone by then go with the rest.
    pub at_most: Option<u32>,
    /// How long they must have settled without a crash before the next wave begins.
    pub soak_ms: u64,
}

/// A CEL expression over a node's name, class and attributes.
#[derive(Clone, Debug)]
pub struct NodePredicate(Expression);

impl PartialEq for NodePredicate {
    fn eq(&self, other: &Self) -> bool {
        self.0.source() == other.0.source()
    }
}

impl Eq for NodePredicate {}

impl NodePredicate {
    /// Whether it holds for a node. One that names an attribute which the node does not have holds not.
    fn holds(&self, node: &NodeScope) -> bool {
        let scope = ExpressionScope {
            node: node.clone(),
            ..ExpressionScope::default()
        };
        self.0.truth(&scope).unwrap_or(false)
    }
}

impl Wave {
    fn takes(&self, node: &NodeScope) -> bool {
        let is_in_share = || {
            self.share
                .is_none_or(|share| share.takes(place(&node.name)))
        };
        is_in_share() && self.nodes.as_ref().is_none_or(|nodes| nodes.holds(node))
    }
}

/// Where a name stands among all, from nothing to everything.
fn place(name: &str) -> u64 {
    let hash = Sha256::digest(name.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    u64::from_be_bytes(first)
}

impl Schedule {
    /// To which wave a node belongs, counted from 0; none for the rest.
    pub fn wave_of(&self, node: &NodeScope) -> Option<usize> {
        self.waves.iter().position(|wave| wave.takes(node))
    }
}

/// Every wave before the node's own is over, and its own has room.
pub(super) fn in_turn(schedule: &Schedule, facts: &Facts<'_>) -> Opinion {
    let Some(seat) = facts.seat().filter(|_| !schedule.waves.is_empty()) else {
        return Opinion::Go;
    };
    for (number, wave) in schedule.waves.iter().enumerate() {
        let tally = facts.fleet.wave(facts.version, &seat.class, number);
        if Some(number) == seat.wave && tally.is_none_or(|tally| wave.has_room(tally, facts)) {
            return Opinion::Go;
        }
        if let Some(tally) = tally
            && let Some(opinion) = wave.is_under_way(tally, facts, number, &seat.class)
        {
            return opinion;
        }
    }
    Opinion::Go
}

impl Wave {
    /// Whether one more of it may go.
    fn has_room(&self, tally: &ClassTally, facts: &Facts<'_>) -> bool {
        let begun = tally.begun(facts.oldest(), facts.asking);
        self.at_most.is_none_or(|limit| begun < limit as usize)
    }

    /// Why those behind it wait; none when it is over.
    fn is_under_way(
        &self,
        tally: &ClassTally,
        facts: &Facts<'_>,
        number: usize,
        class: &str,
    ) -> Option<Opinion> {
        let (oldest, asking) = (facts.oldest(), facts.asking);
        let behind = tally.not_there(oldest, asking);
        let there = tally.there(oldest, asking);
        let is_there = self.at_most.is_some_and(|limit| there >= limit as usize);
        let wave = number + 1;
        let told = |nodes: SomeNodes| {
            wait(WaitReason::Wave {
                wave,
                goal: facts.goal(),
                nodes,
            })
        };
        if !behind.is_empty() && !is_there {
            return Some(told(behind));
        }
        let ill = tally.not_healthy(oldest, asking);
        if !ill.is_empty() {
            return Some(told(ill));
        }
        let since_ms = tally.steady_since_ms(oldest, asking);
        let who = format!("wave {wave} of {class}");
        let soaking = parts::soak(facts, since_ms, self.soak_ms, &who);
        matches!(soaking, Opinion::Wait { .. }).then_some(soaking)
    }
}

/// The keys of a wave as they stand in an upgrade file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenWave {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nodes: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    share: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at_most: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    soak_ms: Option<u64>,
}

impl TryFrom<WrittenWave> for Wave {
    type Error = ScheduleError;

    fn try_from(written: WrittenWave) -> Result<Self, ScheduleError> {
        let compiled = |source: &String| {
            let compiled = Expression::compile("nodes", source, &Allowed::NODE);
            let compiled = compiled.map_err(|error| ScheduleError::Wave(error.to_string()))?;
            Ok::<_, ScheduleError>(NodePredicate(compiled))
        };
        let nodes = written.nodes.as_ref().map(compiled).transpose()?;
        let share = written.share.as_deref().map(str::parse).transpose()?;
        if written.at_most == Some(0) {
            return Err(ScheduleError::EmptyWave);
        }
        if nodes.is_none() && share.is_none() && written.at_most.is_none() {
            return Err(ScheduleError::WaveOfAll);
        }
        Ok(Self {
            nodes,
            share,
            at_most: written.at_most,
            soak_ms: bounded("soak_ms", written.soak_ms)?,
        })
    }
}

impl From<Wave> for WrittenWave {
    fn from(wave: Wave) -> Self {
        Self {
            nodes: wave
                .nodes
                .map(|NodePredicate(nodes)| nodes.source().to_owned()),
            share: wave.share.map(|share| share.to_string()),
            at_most: wave.at_most,
            soak_ms: (wave.soak_ms > 0).then_some(wave.soak_ms),
        }
    }
}

/// Refuses more waves than are counted.
pub(super) fn checked(waves: Vec<Wave>) -> Result<Vec<Wave>, ScheduleError> {
    if waves.len() > WAVES_MAX {
        return Err(ScheduleError::Waves(WAVES_MAX));
    }
    Ok(waves)
}

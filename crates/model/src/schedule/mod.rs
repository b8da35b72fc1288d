//! When a node may upgrade: a table of parts, each of which must agree. Pure over what the server says, the node and
//! the time.

mod gate;
mod leap;
mod parts;
mod reason;
mod rolling;
#[cfg(test)]
mod tests;
mod written;

pub use leap::leap;
pub use reason::{NodeNames, UpgradeGoal, WaitReason};
pub use written::{After, Rolling, Schedule, ScheduleError};

use crate::api::{ChildState, NodeFact, PermitRequest, SystemView};
use crate::ids::{NodeId, Place, Revision, Version};
use serde::{Deserialize, Serialize};

/// A schedule's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The node may begin now.
    Go,
    /// The node may begin once it holds this permit.
    Acquire(PermitRequest),
    /// Not yet.
    Wait {
        /// Why, for people.
        reason: String,
        /// When it is worth asking again, by the server's clock, when that is known.
        until_ms: Option<u64>,
    },
}

/// What a schedule looks at.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The system as the server sees it.
    pub view: &'a SystemView,
    /// The node that asks.
    pub node: NodeId,
    /// The version it would upgrade to.
    pub version: Version,
    /// The revision of it.
    pub revision: Revision,
    /// The node runs an older revision of that version: it would try this one.
    pub mends: bool,
    /// That upgrade wants every reachable node to have staged before any flips.
    pub require_staged: bool,
    /// The server's clock.
    pub now_ms: u64,
    /// The class of a node at a version (renames and splits followed); `None` where it has none.
    pub class_of: &'a dyn Fn(&NodeFact, Version) -> Option<String>,
}

impl<'a> Facts<'a> {
    /// The node that asks, as the server knows it.
    fn asking(&self) -> Option<&'a NodeFact> {
        let mut nodes = self.view.nodes.iter();
        nodes.find(|fact| fact.node == self.node)
    }

    /// Where the node would go.
    fn goal(&self) -> UpgradeGoal {
        UpgradeGoal {
            version: self.version,
            revision: self.mends.then_some(self.revision),
        }
    }

    /// The nodes of this class at the version in question.
    fn class(&self, class: &str) -> impl Iterator<Item = &'a NodeFact> + use<'a, '_> {
        let of_class = {
            let class = class.to_owned();
            let facts = *self;
            move |fact: &&NodeFact| {
                (facts.class_of)(fact, facts.version).is_some_and(|its| its == class)
            }
        };
        self.view.nodes.iter().filter(of_class)
    }

    /// Whether a node has settled at the version, and its software has shown that it is healthy where it is judged with its peers.
    fn settled(&self, fact: &NodeFact) -> bool {
        self.is_there(fact) && fact.report.status.child != ChildState::Starting
    }

    /// Whether a node has tried what the asking one would, and is back where it was.
    fn is_blocked(&self, fact: &NodeFact) -> bool {
        let status = &fact.report.status;
        status.is_blocked_on(self.version, self.revision)
    }

    /// Whether a node is at the version or further, and runs no older revision of it than the one that the asking node would try.
    fn is_there(&self, fact: &NodeFact) -> bool {
        let status = &fact.report.status;
        let behind = |bundle: Place| {
            bundle.version == self.version && bundle.revision < self.revision && self.mends
        };
        status.version >= self.version && !status.bundle.is_some_and(behind)
    }
}

/// One part: looks at its own keys of the schedule, and agrees where they are absent.
type SchedulePart = fn(&Schedule, &Facts<'_>) -> Opinion;

/// What one part says.
enum Opinion {
    /// It agrees.
    Go,
    /// It agrees once the node holds this permit.
    Acquire(PermitRequest),
    /// Not yet.
    Wait {
        /// Why.
        reason: WaitReason,
        /// When it is worth asking again, by the server's clock, when that is known.
        until_ms: Option<u64>,
    },
}

/// Every part, in the order in which their reasons are told.
const PARTS: [SchedulePart; 8] = [
    gate::not_withdrawn,
    gate::not_paused,
    gate::not_blocked,
    gate::all_staged,
    parts::after_classes,
    parts::soaked,
    parts::approved,
    rolling::within_limit,
];

/// May the node begin? Go only if every part says so; a wait tells the reasons of all parts that wait, and until when if all know it.
pub fn evaluate(schedule: &Schedule, facts: &Facts<'_>) -> Verdict {
    let mut reasons = Vec::new();
    let mut until_ms = Some(0);
    let mut leave = Verdict::Go;
    for part in PARTS {
        match part(schedule, facts) {
            Opinion::Go => {}
            Opinion::Acquire(request) => leave = Verdict::Acquire(request),
            Opinion::Wait {
                reason,
                until_ms: its,
            } => {
                reasons.push(reason.to_string());
                until_ms = until_ms.zip(its).map(|(a, b): (u64, u64)| a.max(b));
            }
        }
    }
    if reasons.is_empty() {
        return leave;
    }
    let reason = reasons.join("; ");
    Verdict::Wait { reason, until_ms }
}

/// A wait whose end depends on others.
fn wait(reason: WaitReason) -> Opinion {
    Opinion::Wait {
        reason,
        until_ms: None,
    }
}

//! When a node may upgrade: a table of parts, each of which must agree. Pure over the nodes as they
//! are counted, what people have said, and the time.

mod at_node;
mod calendar;
mod gate;
mod gates;
mod gauges;
mod leap;
mod parts;
mod reason;
mod rolling;
mod share;
#[cfg(test)]
mod tests;
mod times;
mod waves;
mod written;

pub use at_node::{LiveRole, NodeCommand, ROLE_BYTES_MAX};
pub use calendar::{
    Calendar, CalendarAnswer, Deadline, Freeze, HeldFreeze, SiteZone, Window, ZONE_ATTRIBUTE, Zone,
};
pub use gates::{Condition, GateJudgement, Gates};
pub use gauges::{CallGauges, ClassGauges, GAUGES_KEPT_MS, MetricGauge};
pub use leap::leap;
pub use reason::{UpgradeGoal, WaitReason};
pub use share::{NodeLimit, NodeShare};
pub use waves::{NodePredicate, Wave};
pub use written::{After, Rolling, Schedule, ScheduleError};

use crate::api::{Approval, Pause, UpgradeSummary};
use crate::fleet::{ClassSeat, CountedNode, Fleet};
use crate::ids::{Revision, Version};
use std::collections::BTreeMap;

/// A schedule's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The node may begin now.
    Go,
    /// Not yet.
    Wait {
        /// Why, in the order of the parts; at least one.
        reasons: Vec<WaitReason>,
        /// The earliest moment at which it can end, by the server's clock; none where only what others do decides.
        until_ms: Option<u64>,
    },
}

/// What a schedule looks at.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The upgrade to the version, as it is listed; none where it is not.
    pub upgrade: Option<&'a UpgradeSummary>,
    /// Set while the system is paused.
    pub paused: Option<&'a Pause>,
    /// What people have approved.
    pub approvals: &'a [Approval],
    /// Every node, counted.
    pub fleet: &'a Fleet,
    /// The node that asks, as it is counted there.
    pub asking: &'a CountedNode,
    /// The version it would upgrade to.
    pub version: Version,
    /// The revision of it.
    pub revision: Revision,
    /// The node runs an older revision of that version: it would try this one.
    pub mends: bool,
    /// That upgrade wants every reachable node to have staged before any flips.
    pub require_staged: bool,
    /// How many nodes of its group have waited longer than it for room, and still do; counted up to the limit.
    pub before_it: usize,
    /// What was measured last of its class at the version.
    pub gauges: Option<&'a ClassGauges>,
    /// The schedules of the versions between that it would pass: it begins within their times, too.
    pub passed: &'a [Schedule],
    /// What of an earlier version is to be done once for the whole system, and is not yet.
    pub unfinished: Option<&'a (Version, String)>,
    /// The asking node's attributes.
    pub attributes: &'a BTreeMap<String, String>,
    /// The server's clock.
    pub now_ms: u64,
}

impl<'a> Facts<'a> {
    /// Where the node would go.
    fn goal(&self) -> UpgradeGoal {
        UpgradeGoal {
            version: self.version,
            revision: self.mends.then_some(self.revision),
        }
    }

    /// The oldest revision of the version that counts as being there.
    fn oldest(&self) -> Revision {
        if self.mends {
            self.revision
        } else {
            Revision(0)
        }
    }

    /// The class of the asking node at the version; none where it has none.
    fn seat(&self) -> Option<&'a ClassSeat> {
        self.asking.seats.get(&self.version)
    }
}

/// One part: looks at its own keys of the schedule, and agrees where they are absent.
type SchedulePart = fn(&Schedule, &Facts<'_>) -> Opinion;

/// What one part says.
enum Opinion {
    /// It agrees.
    Go,
    /// Not yet.
    Wait {
        /// Why.
        reason: WaitReason,
        /// The earliest moment at which it can end, by the server's clock; none where only what others do decides.
        until_ms: Option<u64>,
    },
}

/// Every part, in the order in which their reasons are told.
const PARTS: [SchedulePart; 12] = [
    gate::not_withdrawn,
    gate::not_paused,
    gate::not_blocked,
    gate::all_staged,
    gate::all_finished,
    parts::after_classes,
    waves::in_turn,
    parts::soaked,
    parts::approved,
    gates::may_go,
    at_node::leaders_last,
    rolling::within_limit,
];

/// May the node begin? Go only if every part says so; a wait tells the reasons of all parts that wait, and when it can end at the earliest.
pub fn evaluate(schedule: &Schedule, facts: &Facts<'_>) -> Verdict {
    let mut reasons = Vec::new();
    let mut until_ms = None;
    for part in PARTS {
        if let Opinion::Wait {
            reason,
            until_ms: its,
        } = part(schedule, facts)
        {
            reasons.push(reason);
            until_ms = until_ms.max(its);
        }
    }
    let times = times::AllTimes::of(schedule, facts.passed, facts.attributes);
    reasons.extend(times.reasons(facts.now_ms));
    if reasons.is_empty() {
        return Verdict::Go;
    }
    // Whatever else ends by then, a node begins at a time at which it may.
    let until_ms = times.earliest(until_ms, facts.now_ms);
    Verdict::Wait { reasons, until_ms }
}

/// A wait whose end depends on others.
fn wait(reason: WaitReason) -> Opinion {
    Opinion::Wait {
        reason,
        until_ms: None,
    }
}

//! Order between classes, soak time, approval.

use super::{Facts, Opinion, Schedule, WaitReason, wait};
use crate::api::Approval;
use crate::fleet::{ClassTally, SomeNodes};

pub(super) fn after_classes(schedule: &Schedule, facts: &Facts<'_>) -> Opinion {
    let Some(after) = &schedule.after else {
        return Opinion::Go;
    };
    let tallies: Vec<&ClassTally> = (after.classes.iter())
        .filter_map(|class| facts.fleet.class(facts.version, class))
        .collect();
    let (oldest, asking) = (facts.oldest(), facts.asking);
    let (classes, goal) = (after.classes.clone(), facts.goal());
    let missing = tallies.iter().map(|class| class.not_there(oldest, asking));
    if let Some(nodes) = sum(missing) {
        return wait(WaitReason::NotYetAt {
            classes,
            goal,
            nodes,
        });
    }
    let ill = tallies
        .iter()
        .map(|class| class.not_healthy(oldest, asking));
    if let Some(nodes) = sum(ill) {
        return wait(WaitReason::NotYetHealthy {
            classes,
            goal,
            nodes,
        });
    }
    let since = tallies
        .iter()
        .filter_map(|class| class.steady_since_ms(oldest, asking));
    soak(facts, since.max(), after.soak_ms, &after.classes.join(", "))
}

/// The nodes of several classes, if there are any.
fn sum(parts: impl Iterator<Item = SomeNodes>) -> Option<SomeNodes> {
    parts
        .reduce(SomeNodes::and)
        .filter(|nodes| !nodes.is_empty())
}

/// A crash begins the soak anew, and none passes while the software is down.
pub(super) fn soaked(schedule: &Schedule, facts: &Facts<'_>) -> Opinion {
    let Some(seat) = facts.seat().filter(|_| schedule.soak_ms > 0) else {
        return Opinion::Go;
    };
    let Some(class) = facts.fleet.class(facts.version, &seat.class) else {
        return Opinion::Go;
    };
    let (oldest, asking) = (facts.oldest(), facts.asking);
    let nodes = class.failing(oldest, asking);
    if !nodes.is_empty() {
        return wait(WaitReason::Failing {
            goal: facts.goal(),
            nodes,
        });
    }
    let since_ms = class.steady_since_ms(oldest, asking);
    soak(facts, since_ms, schedule.soak_ms, &seat.class)
}

/// Waits until the last of these nodes has been well for `soak_ms`.
pub(super) fn soak(facts: &Facts<'_>, since_ms: Option<u64>, soak_ms: u64, who: &str) -> Opinion {
    let until_ms = since_ms.map(|since_ms| since_ms.saturating_add(soak_ms));
    match until_ms {
        Some(until_ms) if facts.now_ms < until_ms => Opinion::Wait {
            reason: WaitReason::Soaks {
                who: who.to_owned(),
                goal: facts.goal(),
                soak_ms,
            },
            until_ms: Some(until_ms),
        },
        _ => Opinion::Go,
    }
}

pub(super) fn approved(schedule: &Schedule, facts: &Facts<'_>) -> Opinion {
    if !schedule.approval {
        return Opinion::Go;
    }
    let class = facts.seat().map(|seat| &*seat.class);
    let for_us = |approval: &Approval| {
        approval.version == facts.version
            && (approval.revision >= facts.revision || !facts.mends)
            && (approval.class.is_none() || approval.class.as_deref() == class)
            && (approval.node.as_deref()).is_none_or(|name| *facts.asking.name == *name)
    };
    if facts.approvals.iter().any(for_us) {
        return Opinion::Go;
    }
    wait(WaitReason::NotApproved(facts.goal()))
}

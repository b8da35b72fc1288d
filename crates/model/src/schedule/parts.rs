//! Order between classes, soak time, approval.

use super::{Facts, Opinion, Schedule, WaitReason, wait};
use crate::api::{Approval, NodeFact};

pub(super) fn after_classes(schedule: &Schedule, facts: &Facts<'_>) -> Opinion {
    let Some(after) = &schedule.after else {
        return Opinion::Go;
    };
    let nodes: Vec<&NodeFact> = (after.classes.iter())
        .flat_map(|class| facts.class(class))
        .filter(|fact| fact.node != facts.node)
        .collect();
    let missing: Vec<&NodeFact> = (nodes.iter().copied())
        .filter(|fact| !facts.settled(fact))
        .collect();
    let (there, missing): (Vec<_>, Vec<_>) =
        (missing.into_iter()).partition(|fact| facts.is_there(fact));
    if !missing.is_empty() {
        return wait(WaitReason::NotYetAt {
            classes: after.classes.clone(),
            goal: facts.goal(),
            nodes: missing.into_iter().collect(),
        });
    }
    if !there.is_empty() {
        return wait(WaitReason::NotYetHealthy {
            classes: after.classes.clone(),
            goal: facts.goal(),
            nodes: there.into_iter().collect(),
        });
    }
    soak(facts, nodes, after.soak_ms, &after.classes.join(", "))
}

pub(super) fn soaked(schedule: &Schedule, facts: &Facts<'_>) -> Opinion {
    let class = facts
        .asking()
        .and_then(|fact| (facts.class_of)(fact, facts.version));
    let Some(class) = class.filter(|_| schedule.soak_ms > 0) else {
        return Opinion::Go;
    };
    let settled = (facts.class(&class))
        .filter(|fact| fact.node != facts.node && facts.settled(fact))
        .collect();
    soak(facts, settled, schedule.soak_ms, &class)
}

/// Waits until the last of these nodes has been settled for `soak_ms`.
fn soak(facts: &Facts<'_>, settled: Vec<&NodeFact>, soak_ms: u64, who: &str) -> Opinion {
    let last = settled.iter().map(|fact| fact.settled_at_ms).max();
    let until_ms = last.map(|last| last.saturating_add(soak_ms));
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
    let asking = facts.asking();
    let class = asking.and_then(|fact| (facts.class_of)(fact, facts.version));
    let for_us = |approval: &Approval| {
        approval.version == facts.version
            && (approval.revision >= facts.revision || !facts.mends)
            && (approval.class.is_none() || approval.class == class)
            && (approval.node.as_deref())
                .is_none_or(|name| asking.is_some_and(|fact| fact.name == name))
    };
    if facts.view.approvals.iter().any(for_us) {
        return Opinion::Go;
    }
    wait(WaitReason::NotApproved(facts.goal()))
}

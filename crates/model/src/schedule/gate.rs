//! Parts that hold for every class: the upgrade stands, nobody has paused the system, everybody has staged.

use super::{Facts, Opinion, Schedule, WaitReason, wait};
use crate::api::NodeFact;
use crate::ids::Version;

pub(super) fn not_withdrawn(_: &Schedule, facts: &Facts<'_>) -> Opinion {
    let mut upgrades = facts.view.upgrades.iter();
    match upgrades.find(|upgrade| upgrade.version == facts.version) {
        Some(upgrade) if upgrade.withdrawn => wait(WaitReason::Withdrawn(facts.version)),
        Some(_) => Opinion::Go,
        None => wait(WaitReason::NotPublished(facts.version)),
    }
}

pub(super) fn not_paused(_: &Schedule, facts: &Facts<'_>) -> Opinion {
    match &facts.view.paused {
        Some(pause) => wait(WaitReason::Paused {
            author: pause.author.clone(),
            reason: pause.reason.clone(),
        }),
        None => Opinion::Go,
    }
}

/// What has failed at one node of the class is not begun at others before somebody has said so: by `retry`, or a newer revision.
pub(super) fn not_blocked(_: &Schedule, facts: &Facts<'_>) -> Opinion {
    let asking = facts.asking();
    let Some(class) = asking.and_then(|fact| (facts.class_of)(fact, facts.version)) else {
        return Opinion::Go;
    };
    let blocked: Vec<&NodeFact> = (facts.class(&class))
        .filter(|fact| fact.node != facts.node && facts.is_blocked(fact))
        .collect();
    if blocked.is_empty() {
        return Opinion::Go;
    }
    wait(WaitReason::Blocked {
        goal: facts.goal(),
        nodes: blocked.into_iter().collect(),
    })
}

/// A node that has not joined serves nobody yet, so it holds nobody up.
pub(super) fn all_staged(_: &Schedule, facts: &Facts<'_>) -> Opinion {
    if !facts.require_staged {
        return Opinion::Go;
    }
    let missing = |fact: &&NodeFact| {
        let status = &fact.report.status;
        fact.reachable
            && fact.node != facts.node
            && status.version > Version(0)
            && status.staged.max(status.version) < facts.version
    };
    let missing: Vec<&NodeFact> = facts.view.nodes.iter().filter(missing).collect();
    if missing.is_empty() {
        return Opinion::Go;
    }
    wait(WaitReason::NotStaged {
        version: facts.version,
        nodes: missing.into_iter().collect(),
    })
}

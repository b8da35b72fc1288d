//! Parts that hold for every class: the upgrade stands, nobody has paused the system, everybody has staged.

use super::{Facts, Schedule, Verdict, names, wait};
use crate::api::NodeFact;
use crate::ids::Version;

pub(super) fn not_withdrawn(_: &Schedule, facts: &Facts<'_>) -> Verdict {
    let mut upgrades = facts.view.upgrades.iter();
    match upgrades.find(|upgrade| upgrade.version == facts.version) {
        Some(upgrade) if upgrade.withdrawn => {
            wait(format!("version {} was withdrawn", facts.version))
        }
        Some(_) => Verdict::Go,
        None => wait(format!("version {} is not published", facts.version)),
    }
}

pub(super) fn not_paused(_: &Schedule, facts: &Facts<'_>) -> Verdict {
    match &facts.view.paused {
        Some(pause) if pause.reason.is_empty() => wait(format!("paused by {}", pause.author)),
        Some(pause) => wait(format!("paused by {}: {}", pause.author, pause.reason)),
        None => Verdict::Go,
    }
}

/// What has failed at one node of the class is not begun at others before somebody has said so: by `retry`, or a newer revision.
pub(super) fn not_blocked(_: &Schedule, facts: &Facts<'_>) -> Verdict {
    let asking = facts.asking();
    let Some(class) = asking.and_then(|fact| (facts.class_of)(fact, facts.version)) else {
        return Verdict::Go;
    };
    let blocked: Vec<&NodeFact> = (facts.class(&class))
        .filter(|fact| fact.node != facts.node && facts.is_blocked(fact))
        .collect();
    if blocked.is_empty() {
        return Verdict::Go;
    }
    wait(format!(
        "{} has failed and is blocked at {}; next: `upstart retry` there, or `upstart publish DIR --revise`",
        facts.goal(),
        names(blocked)
    ))
}

/// A node that has not joined serves nobody yet, so it holds nobody up.
pub(super) fn all_staged(_: &Schedule, facts: &Facts<'_>) -> Verdict {
    if !facts.require_staged {
        return Verdict::Go;
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
        return Verdict::Go;
    }
    wait(format!(
        "not every node has staged version {} yet: {}",
        facts.version,
        names(missing)
    ))
}

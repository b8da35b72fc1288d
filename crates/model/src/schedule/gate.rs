//! Parts that hold for every class: the upgrade stands, nobody has paused the system, everybody has staged.

use super::{Facts, Opinion, Schedule, WaitReason, wait};

pub(super) fn not_withdrawn(_: &Schedule, facts: &Facts<'_>) -> Opinion {
    match facts.upgrade {
        Some(upgrade) if upgrade.withdrawn => wait(WaitReason::Withdrawn(facts.version)),
        Some(upgrade) if upgrade.revision != facts.revision => wait(WaitReason::NotNewest {
            version: facts.version,
            revision: facts.revision,
            newest: upgrade.revision,
        }),
        Some(_) => Opinion::Go,
        None => wait(WaitReason::NotPublished(facts.version)),
    }
}

pub(super) fn not_paused(_: &Schedule, facts: &Facts<'_>) -> Opinion {
    match facts.paused {
        Some(pause) => wait(WaitReason::Paused {
            author: pause.author.clone(),
            reason: pause.reason.clone(),
        }),
        None => Opinion::Go,
    }
}

/// What has failed at one node of the class is not begun at others before somebody has said so: by `retry`, or a newer revision.
pub(super) fn not_blocked(_: &Schedule, facts: &Facts<'_>) -> Opinion {
    let seat = facts.seat();
    let class = seat.and_then(|seat| facts.fleet.class(facts.version, &seat.class));
    let blocked = class.map(|class| class.blocked(facts.revision, facts.asking));
    match blocked.filter(|blocked| !blocked.is_empty()) {
        None => Opinion::Go,
        Some(nodes) => wait(WaitReason::Blocked {
            goal: facts.goal(),
            nodes,
        }),
    }
}

/// A node that has not joined serves nobody yet, so it holds nobody up.
pub(super) fn all_staged(_: &Schedule, facts: &Facts<'_>) -> Opinion {
    if !facts.require_staged {
        return Opinion::Go;
    }
    let nodes = facts.fleet.not_answering(facts.version, facts.asking);
    if nodes.is_empty() {
        return Opinion::Go;
    }
    wait(WaitReason::NotStaged {
        version: facts.version,
        nodes,
    })
}

/// What an earlier version wants done once may be what this one needs.
pub(super) fn all_finished(_: &Schedule, facts: &Facts<'_>) -> Opinion {
    match facts.unfinished {
        None => Opinion::Go,
        Some((version, name)) => wait(WaitReason::Once {
            version: *version,
            name: name.clone(),
        }),
    }
}

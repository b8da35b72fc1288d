//! At most k unavailable per group, first come, first served.

use super::{Facts, Opinion, Schedule, WaitReason, wait};

pub(super) fn within_limit(schedule: &Schedule, facts: &Facts<'_>) -> Opinion {
    let Some(rolling) = &schedule.rolling else {
        return Opinion::Go;
    };
    let Some(group) = facts.seat().and_then(|seat| seat.group.as_deref()) else {
        return Opinion::Go;
    };
    let nodes = facts.fleet.absent(facts.version, group, facts.asking);
    // Nodes that are away count, so that an outage leaves the limit as it is.
    let all = facts.fleet.group_len(facts.version, group);
    let max_unavailable = rolling.max_unavailable.of(all);
    if nodes.count + facts.before_it < max_unavailable {
        return Opinion::Go;
    }
    wait(WaitReason::Limit {
        max_unavailable,
        group: group.to_owned(),
        nodes,
    })
}

//! At most k unavailable per group. What is known here saves a request that the server would refuse; the server decides.

use super::{Facts, Opinion, Schedule, WaitReason, wait};
use crate::api::{ChildState, NodeFact, PermitRequest};

pub(super) fn within_limit(schedule: &Schedule, facts: &Facts<'_>) -> Opinion {
    let Some(rolling) = &schedule.rolling else {
        return Opinion::Go;
    };
    let Some(asking) = facts.asking() else {
        return wait(WaitReason::NotKnown);
    };
    let Some(class) = (facts.class_of)(asking, facts.version) else {
        return Opinion::Go;
    };
    let attribute = rolling.group_by.as_deref();
    let value_of = |fact: &NodeFact| {
        let value = attribute.and_then(|name| fact.attributes.get(name));
        value.cloned().unwrap_or_default()
    };
    let value = value_of(asking);
    let members: Vec<&NodeFact> = (facts.class(&class))
        .filter(|fact| value_of(fact) == value)
        .collect();
    let group = match attribute {
        Some(name) => format!("{class}/{name}={value}"),
        None => class,
    };
    let out: Vec<&NodeFact> = (members.iter().copied())
        .filter(|fact| fact.node != facts.node && unavailable(facts, fact))
        .collect();
    if out.len() >= rolling.max_unavailable as usize {
        return wait(WaitReason::Limit {
            max_unavailable: rolling.max_unavailable,
            group,
            nodes: out.into_iter().collect(),
        });
    }
    Opinion::Acquire(PermitRequest {
        node: facts.node,
        version: facts.version,
        revision: facts.revision,
        group,
        members: members.iter().map(|fact| fact.node).collect(),
        max_unavailable: rolling.max_unavailable,
        last_settled_at_ms: soaks(schedule).then(|| last_settled(facts)),
    })
}

fn soaks(schedule: &Schedule) -> bool {
    schedule.soak_ms > 0
        || schedule
            .after
            .as_ref()
            .is_some_and(|after| after.soak_ms > 0)
}

/// The view may be older than the end of the permit that made room: whoever gives it counts on this.
fn last_settled(facts: &Facts<'_>) -> u64 {
    let nodes = facts.view.nodes.iter();
    nodes.map(|fact| fact.settled_at_ms).max().unwrap_or(0)
}

/// Holds a permit, is out of reach, or its software has crashed or does not answer.
fn unavailable(facts: &Facts<'_>, fact: &NodeFact) -> bool {
    let permit = (facts.view.permits.iter()).any(|permit| permit.node == fact.node);
    let down = matches!(
        fact.report.status.child,
        ChildState::Crashed | ChildState::Silent
    );
    permit || !fact.reachable || down
}

//! Leave to be unavailable: given while a group has room, confirmed before the node stops, and ended.
//!
//! A node counts as unavailable when it holds a permit, is unreachable, or its software does not run. Permits that are not
//! confirmed end by themselves; a permit's number is its fence: once ended or broken, it is refused for ever.

use super::{Draft, known, some_of, unknown_node};
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::udb::{Change, HeldPermit};
use model::api::{
    ChildState, EventKind, NodeFact, NodeStatus, Permit, PermitFact, PermitRequest, Phase,
};
use model::ids::{NodeId, PermitId, Revision, Version};
use model::machine::Place;
use std::collections::BTreeMap;

/// The most members that one request names: every node of the largest system.
const MEMBERS_MAX: usize = 100_000;

/// The longest name of a group, in bytes.
const GROUP_BYTES_MAX: usize = 1024;

/// Gives a permit if the group has room for one more unavailable node.
pub(super) fn acquire(
    draft: &mut Draft<'_>,
    request: &PermitRequest,
) -> Result<Permit, RequestRefusal> {
    if request.members.len() > MEMBERS_MAX || request.group.len() > GROUP_BYTES_MAX {
        return Err(refuse(
            Kind::INVALID,
            "The group's name or its list of members is too long.",
        ));
    }
    let unknown = || unknown_node(&request.node.to_string());
    let fact = draft
        .state
        .nodes
        .get(&request.node)
        .cloned()
        .ok_or_else(unknown)?;
    let held = draft.state.permit_of(request.node, draft.now_ms()).cloned();
    if let Some(held) = held.filter(|held| same(&held.fact, request)) {
        return Ok(again(draft, held));
    }
    may_upgrade(draft, &fact, request)?;
    nobody_is_blocked(draft, &fact, request)?;
    has_room(draft, request)?;
    judged_by_what_is(draft, request)?;
    end_all_of(draft, request.node);
    let held = HeldPermit {
        fact: PermitFact {
            permit: PermitId(draft.state.last_permit.0 + 1),
            node: request.node,
            version: request.version,
            revision: request.revision,
            group: request.group.clone(),
            confirmed: false,
            since_ms: draft.now_ms(),
        },
        expires_at_ms: Some(draft.now_ms() + draft.context.permit_ttl_ms),
    };
    let message = format!("{} may be unavailable in {}", fact.name, request.group);
    let permit = held.fact.permit;
    draft.change(Change::Permit(held));
    draft.event_by(
        fact.name.clone(),
        EventKind::PermitAcquired,
        Some(fact.node),
        Some(request.version),
        message,
    );
    Ok(Permit {
        permit,
        expires_in_ms: draft.context.permit_ttl_ms,
    })
}

fn same(held: &PermitFact, request: &PermitRequest) -> bool {
    held.version == request.version
        && held.revision == request.revision
        && held.group == request.group
}

/// The node asks again for what it holds: the same permit, its time begun anew.
fn again(draft: &mut Draft<'_>, mut held: HeldPermit) -> Permit {
    let permit = held.fact.permit;
    let expires_in_ms = draft.context.permit_ttl_ms;
    if held.expires_at_ms.is_some() {
        held.expires_at_ms = Some(draft.now_ms() + expires_in_ms);
        draft.change(Change::Permit(held));
    }
    Permit {
        permit,
        expires_in_ms,
    }
}

fn may_upgrade(
    draft: &Draft<'_>,
    fact: &NodeFact,
    request: &PermitRequest,
) -> Result<(), RequestRefusal> {
    let (version, revision) = (request.version, request.revision);
    let refused = |detail: String| Err(refuse(Kind::PERMIT_REFUSED, detail));
    if let Some(pause) = &draft.state.paused {
        return refused(format!(
            "The system is paused by {}: {}. It goes on with `upstart resume`.",
            pause.author, pause.reason
        ));
    }
    let upgrade = known(draft.state, version)?;
    if upgrade.withdrawn {
        return refused(format!(
            "Version {version} is withdrawn; nobody goes there."
        ));
    }
    if revision != upgrade.revision {
        return refused(format!(
            "Revision {} of version {version} is the newest, not {revision}; ask for that one when it is staged.",
            upgrade.revision
        ));
    }
    let status = &fact.report.status;
    if version <= status.version && !would_revise(status, version, revision) {
        return refused(format!(
            "Node {} is at version {} already, and runs no older revision of version {version}.",
            fact.name, status.version
        ));
    }
    Ok(())
}

/// A schedule judges by a view, and a node of the class may have been blocked since it was made.
fn nobody_is_blocked(
    draft: &Draft<'_>,
    fact: &NodeFact,
    request: &PermitRequest,
) -> Result<(), RequestRefusal> {
    let class = draft.state.class_at(fact, request.version);
    let mut nodes = draft.state.nodes.values();
    let blocked = nodes.find(|other| {
        let status = &other.report.status;
        other.node != fact.node
            && status.is_blocked_on(request.version, request.revision)
            && draft.state.class_at(other, request.version) == class
    });
    match blocked {
        None => Ok(()),
        Some(other) => Err(refuse(
            Kind::PERMIT_UNAVAILABLE,
            format!(
                "Version {}.{} has failed at {}, which is blocked; `upstart retry {}` tries it again, or publish a revision.",
                request.version, request.revision, other.name, other.name
            ),
        )),
    }
}

/// Whether a node runs the software of this version in an older revision.
fn would_revise(status: &NodeStatus, version: Version, revision: Revision) -> bool {
    let older = |bundle: Place| bundle.version == version && bundle.revision < revision;
    status.bundle.is_some_and(older)
}

fn has_room(draft: &Draft<'_>, request: &PermitRequest) -> Result<(), RequestRefusal> {
    let unavailable = unavailable(draft, request);
    let taken = u32::try_from(unavailable.len()).unwrap_or(u32::MAX);
    if taken < request.max_unavailable {
        return Ok(());
    }
    let who: Vec<String> = unavailable
        .iter()
        .map(|(node, why)| format!("{} ({why})", draft.name(*node)))
        .collect();
    let who = if who.is_empty() {
        "nobody".to_owned()
    } else {
        some_of(&who)
    };
    Err(refuse(
        Kind::PERMIT_UNAVAILABLE,
        format!(
            "At most {} of {} may be unavailable at once, and {who} is; ask again later.",
            request.max_unavailable, request.group
        ),
    ))
}

/// A schedule judges by a view, and a node may have settled since it was made: its soak time would not be kept.
fn judged_by_what_is(draft: &Draft<'_>, request: &PermitRequest) -> Result<(), RequestRefusal> {
    let Some(known_ms) = request.last_settled_at_ms else {
        return Ok(());
    };
    let mut nodes = draft.state.nodes.values();
    match nodes.find(|fact| fact.settled_at_ms > known_ms) {
        None => Ok(()),
        Some(fact) => Err(refuse(
            Kind::PERMIT_UNAVAILABLE,
            format!(
                "{} settled after the schedule was judged; judge it anew, for the soak time has begun again.",
                fact.name
            ),
        )),
    }
}

/// The unavailable nodes of the group, the one that asks left out, each with the reason.
fn unavailable(draft: &Draft<'_>, request: &PermitRequest) -> BTreeMap<NodeId, &'static str> {
    let state = draft.state;
    let mut found = BTreeMap::new();
    for held in state.live_permits(draft.now_ms()) {
        if held.fact.group == request.group || request.members.contains(&held.fact.node) {
            found.insert(held.fact.node, "holds a permit");
        }
    }
    let members = request
        .members
        .iter()
        .filter_map(|node| state.nodes.get(node));
    for fact in members {
        if let Some(why) = out_of_service(draft, fact) {
            found.entry(fact.node).or_insert(why);
        }
    }
    found.remove(&request.node);
    found
}

/// Why a node does not serve. A node that joins has never served: nobody misses it.
fn out_of_service(draft: &Draft<'_>, fact: &NodeFact) -> Option<&'static str> {
    let status = &fact.report.status;
    if status.version == Version(0) || status.phase == Phase::Joining {
        return None;
    }
    if draft.context.silent(fact, draft.now_ms()) {
        return Some("is unreachable");
    }
    match status.child {
        ChildState::Running => None,
        ChildState::Silent => Some("does not answer"),
        ChildState::Crashed => Some("has crashed"),
        ChildState::Stopped => Some("is stopped"),
        ChildState::Starting => Some("is starting"),
    }
}

/// Makes a permit last until it is ended.
pub(super) fn confirm(
    draft: &mut Draft<'_>,
    permit: PermitId,
) -> Result<PermitFact, RequestRefusal> {
    let mut held = live(draft, permit)?;
    if held.expires_at_ms.take().is_some() {
        held.fact.confirmed = true;
        let fact = held.fact.clone();
        draft.change(Change::Permit(held));
        let name = draft.name(fact.node);
        let message = format!("{name} goes down in {}", fact.group);
        draft.event_by(
            name,
            EventKind::PermitConfirmed,
            Some(fact.node),
            Some(fact.version),
            message,
        );
        return Ok(fact);
    }
    Ok(held.fact)
}

/// Ends a permit; one that is gone is no error.
pub(super) fn end(draft: &mut Draft<'_>, permit: PermitId) {
    if let Some(held) = draft.state.permits.get(&permit).cloned() {
        let name = draft.name(held.fact.node);
        let message = format!("{name} gives its permit for {} back", held.fact.group);
        draft.change(Change::EndPermit(permit));
        draft.event_by(
            name,
            EventKind::PermitEnded,
            Some(held.fact.node),
            Some(held.fact.version),
            message,
        );
    }
}

/// Takes a permit away from its node.
pub(super) fn break_it(
    draft: &mut Draft<'_>,
    permit: PermitId,
) -> Result<PermitFact, RequestRefusal> {
    let held = live(draft, permit)?;
    let name = draft.name(held.fact.node);
    let message = format!(
        "permit {permit} of {name} for {} is broken",
        held.fact.group
    );
    draft.change(Change::EndPermit(permit));
    draft.event(
        EventKind::PermitBroken,
        Some(held.fact.node),
        Some(held.fact.version),
        message,
    );
    Ok(held.fact)
}

/// Ends whatever this node holds: it asks for something else, or is gone.
pub(super) fn end_all_of(draft: &mut Draft<'_>, node: NodeId) {
    let permits = draft.state.permits.values();
    let held: Vec<PermitId> = permits
        .filter(|held| held.fact.node == node)
        .map(|held| held.fact.permit)
        .collect();
    for permit in held {
        end(draft, permit);
    }
}

fn live(draft: &Draft<'_>, permit: PermitId) -> Result<HeldPermit, RequestRefusal> {
    let mut permits = draft.state.live_permits(draft.now_ms());
    permits
        .find(|held| held.fact.permit == permit)
        .cloned()
        .ok_or_else(|| {
            let why = if permit.0 == 0 || permit > draft.state.last_permit {
                format!("No permit {permit} was given yet; `upstart permit list` lists those that are held.")
            } else {
                format!("Permit {permit} has expired, was ended or broken; acquire a new one.")
            };
            refuse(Kind::PERMIT_LOST, why)
        })
}

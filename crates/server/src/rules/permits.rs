//! Leave to be unavailable: given when the schedule lets a node go, confirmed before it leaves, and ended.
//!
//! Permits that are not confirmed end by themselves; a permit's number is its fence: once ended or broken, it is refused for
//! ever. Nobody leaves without a confirmation: what was paused, withdrawn or revised before it is not overtaken.

use super::{Draft, known, verdicts};
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::udb::{Change, HeldPermit};
use model::api::{EventKind, PermitFact, VerdictAnswer};
use model::ids::{NodeId, PermitId, Place};

/// Gives a node a permit; what it holds for the same is the same again, with its time begun anew.
pub(super) fn give(draft: &mut Draft<'_>, node: NodeId, to: Place, group: String) -> VerdictAnswer {
    let held = draft.state.permit_of(node, draft.now_ms()).cloned();
    let same = |held: &HeldPermit| {
        (held.fact.version, held.fact.revision) == (to.version, to.revision)
            && held.fact.group == group
    };
    let permit = match held.filter(same) {
        Some(held) => again(draft, held),
        None => first(draft, node, to, group),
    };
    VerdictAnswer::Go {
        to: to.version,
        permit,
        expires_in_ms: draft.context.permit_ttl_ms,
    }
}

fn first(draft: &mut Draft<'_>, node: NodeId, to: Place, group: String) -> PermitId {
    end_of(draft, node);
    let permit = PermitId(draft.state.last_permit.0 + 1);
    let name = draft.name(node);
    let message = format!("{name} may be unavailable in {group}");
    draft.change(Change::Permit(HeldPermit {
        fact: PermitFact {
            permit,
            node,
            version: to.version,
            revision: to.revision,
            group,
            confirmed: false,
            since_ms: draft.now_ms(),
        },
        expires_at_ms: Some(draft.now_ms() + draft.context.permit_ttl_ms),
    }));
    let version = Some(to.version);
    draft.event_by(
        name,
        EventKind::PermitAcquired,
        Some(node),
        version,
        message,
    );
    permit
}

fn again(draft: &mut Draft<'_>, mut held: HeldPermit) -> PermitId {
    let permit = held.fact.permit;
    if held.expires_at_ms.is_some() {
        held.expires_at_ms = Some(draft.now_ms() + draft.context.permit_ttl_ms);
        draft.change(Change::Permit(held));
    }
    permit
}

/// Makes a permit last until it is ended. What has begun is held up by nothing: confirming again is the same.
pub(super) fn confirm(
    draft: &mut Draft<'_>,
    permit: PermitId,
    holder: Option<&str>,
) -> Result<PermitFact, RequestRefusal> {
    let mut held = live(draft, permit)?;
    if !is_held_by(draft, &held.fact, holder) {
        return Err(lost(draft, permit));
    }
    if held.expires_at_ms.take().is_some() {
        may_still_leave(draft, &held.fact)?;
        held.fact.confirmed = true;
        let fact = held.fact.clone();
        draft.change(Change::Permit(held));
        let name = draft.name(fact.node);
        let message = format!("{name} begins to be unavailable in {}", fact.group);
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

/// Between the permit and its confirmation the system may have been paused, the upgrade revised, or the last window closed. Withdrawal ends
/// permits.
fn may_still_leave(draft: &Draft<'_>, fact: &PermitFact) -> Result<(), RequestRefusal> {
    let refused = |detail: String| Err(refuse(Kind::PERMIT_REFUSED, detail));
    if let Some(pause) = &draft.state.paused {
        return refused(format!(
            "The system is paused by {}: {}. It goes on with `upstart resume`.",
            pause.author, pause.reason
        ));
    }
    let newest = known(draft.state, fact.version)?.revision;
    if newest != fact.revision {
        return refused(format!(
            "The newest revision of version {} is {newest}, not {}; the node stages that one and asks again.",
            fact.version, fact.revision
        ));
    }
    let nodes = (draft.state.nodes.get(&fact.node)).zip(draft.state.fleet.node(fact.node));
    let closed = nodes.and_then(|(node, counted)| {
        let schedule = verdicts::schedule_of(draft, counted, fact.version);
        let passed = verdicts::passed(draft, counted, fact.version);
        schedule.closed(&passed, &node.attributes, draft.now_ms())
    });
    closed.map_or(Ok(()), |reason| {
        refused(format!("The node does not begin now: {reason}."))
    })
}

/// Whether somebody holds a permit: where the database was set back, its number may have been given to another node.
fn is_held_by(draft: &Draft<'_>, fact: &PermitFact, holder: Option<&str>) -> bool {
    holder.is_none_or(|holder| draft.name(fact.node) == holder)
}

/// Ends a permit of this holder's; one that is gone, or another node's by now, is no error.
pub(super) fn end_by(draft: &mut Draft<'_>, permit: PermitId, holder: Option<&str>) {
    let held = draft.state.permits.get(&permit);
    if held.is_some_and(|held| is_held_by(draft, &held.fact, holder)) {
        end(draft, permit);
    }
}

/// Ends a permit; one that is gone is no error.
pub(super) fn end(draft: &mut Draft<'_>, permit: PermitId) {
    if let Some(held) = draft.state.permits.get(&permit).cloned() {
        let name = draft.name(held.fact.node);
        let message = format!("{name} has ended its permit for {}", held.fact.group);
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

/// Ends what this node holds: it asks for something else, waits, or is gone.
pub(super) fn end_of(draft: &mut Draft<'_>, node: NodeId) {
    if let Some(permit) = draft.state.holders.get(&node) {
        end(draft, *permit);
    }
}

fn live(draft: &Draft<'_>, permit: PermitId) -> Result<HeldPermit, RequestRefusal> {
    let held = draft.state.permits.get(&permit);
    let held = held.filter(|held| held.lives(draft.now_ms()));
    held.cloned().ok_or_else(|| lost(draft, permit))
}

fn lost(draft: &Draft<'_>, permit: PermitId) -> RequestRefusal {
    let why = if permit.0 == 0 || permit > draft.state.last_permit {
        format!(
            "No permit {permit} was given yet; `upstart permit list` lists those that are held."
        )
    } else {
        format!(
            "Permit {permit} is not held any more: it has expired, was ended or broken. There is nothing to do; `upstart permit list` lists those that are held."
        )
    };
    refuse(Kind::PERMIT_LOST, why)
}

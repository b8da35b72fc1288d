//! A database that was restored from a backup, or replaced, lacks what happened since. The agents know more of it: by what they
//! have seen, a server finds out, begins a new epoch, and takes back what they remember.

use super::{Draft, labels, permits, retirement, withdrawal};
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::state::Whereabouts;
use crate::udb::{Change, HeldPermit, ServerLife};
use model::api::{
    EventKind, Moment, NodeFact, Pause, PermitFact, RememberedSystem, UpgradeSummary,
};
use model::ids::{PermitId, Version};

/// Random numbers keep to 53 bits, so that every reader of JSON keeps them exactly.
pub(crate) const RANDOM_MASK: u64 = (1 << 53) - 1;

/// Events may have been given numbers that no agent has heard of; the next numbers begin so far behind what one has heard of.
const EVENTS_SKIPPED: u64 = 1_000;

/// Compares what an agent has seen with the history; takes back what it remembers where that lacks something.
pub(super) fn hear(
    draft: &mut Draft<'_>,
    seen: Option<&Moment>,
    remembered: Option<&RememberedSystem>,
) -> Result<Whereabouts, RequestRefusal> {
    let Some(seen) = seen else {
        return Ok(Whereabouts::Now);
    };
    let numbers = [seen.start, seen.commit, seen.event];
    if numbers.iter().any(|number| *number > RANDOM_MASK) {
        let detail = "A number of the `moment` is larger than any that a server has given.";
        return Err(refuse(Kind::INVALID, detail));
    }
    let place = draft.state.whereabouts(seen);
    if place == Whereabouts::Now {
        return Ok(place);
    }
    let remembered = remembered.ok_or_else(wants_everything)?;
    match place {
        Whereabouts::Missing => begin_anew(draft, seen, remembered),
        Whereabouts::Lost => take_back_for_good(draft, remembered),
        Whereabouts::Now | Whereabouts::Before => {}
    }
    Ok(place)
}

/// Who has seen another life of the server knows what this one may not.
pub(super) fn wants_everything() -> RequestRefusal {
    refuse(
        Kind::TELL_EVERYTHING,
        "The server was started again since this agent's last report; it asks for a full report.",
    )
}

fn begin_anew(draft: &mut Draft<'_>, seen: &Moment, remembered: &RememberedSystem) {
    let last = draft.state.lives.last().map_or(0, |life| life.number);
    draft.change(Change::Life(ServerLife {
        number: last.max(seen.start) + 1,
        epoch: draft.context.random & RANDOM_MASK,
        life: draft.context.random.rotate_left(32) & RANDOM_MASK,
        began_at: draft.state.generation + 1,
        lost: Some(seen.epoch),
    }));
    draft.begin_events_after(seen.event.saturating_add(EVENTS_SKIPPED));
    let message = "the upgrade database is older than what nodes have seen: it was restored from a backup, or replaced; nodes serve on, and what they know is told anew. Publish what is missing again, from the same folders; look at `upstart status` for what else is (approvals, public versions, nodes forgotten or withdrawn upgrades since the backup), then let upgrades begin with `upstart resume`";
    draft.event_by(
        "server".to_owned(),
        EventKind::SystemSetBack,
        None,
        None,
        message.to_owned(),
    );
    pause(draft);
    labels::are_not_known(draft);
    take_back_public(draft, remembered);
    take_back_for_good(draft, remembered);
}

/// What operators decided since the backup is lost: nobody leaves by what they may have changed.
fn pause(draft: &mut Draft<'_>) {
    if draft.state.paused.is_some() {
        return;
    }
    let reason = "the upgrade database was set back: publish again what is missing, look at `upstart status`, then `upstart resume`";
    draft.change(Change::Pause(Some(Pause {
        reason: reason.to_owned(),
        author: "server".to_owned(),
        since_ms: draft.now_ms(),
    })));
}

/// Callers without a label are served on as they were, also by a version that has to be published here again first: until then nodes go by
/// what they know.
fn take_back_public(draft: &mut Draft<'_>, remembered: &RememberedSystem) {
    let state = draft.state;
    for (service, version) in &remembered.public {
        let known = state
            .summary(*version)
            .is_some_and(|upgrade| !upgrade.withdrawn);
        let is_lost = *version > state.history.newest();
        let alive = (known || is_lost) && *version > state.retiring_through;
        if !alive || state.public.get(service) == Some(version) {
            continue;
        }
        draft.change(Change::Public(service.clone(), Some(*version)));
        let message = format!("version {version} is public for {service}, as the nodes remember");
        let kind = EventKind::PublicMoved;
        draft.event_by("server".to_owned(), kind, None, Some(*version), message);
    }
}

/// What is never undone: withdrawals, and retirement.
fn take_back_for_good(draft: &mut Draft<'_>, remembered: &RememberedSystem) {
    for (version, digest) in remembered.withdrawn.iter().rev() {
        let here = draft.state.summary(*version);
        let same =
            |upgrade: &UpgradeSummary| upgrade.manifest_sha256 == *digest && !upgrade.withdrawn;
        if let Some(here) = here.filter(same) {
            withdrawal::withdraw_again(draft, &here);
        }
    }
    let through = remembered.retiring_through;
    let newest = draft.state.history.newest();
    if through > draft.state.retiring_through && through < newest {
        retirement::begin(draft, through);
    }
}

/// Brings the permit of a node that has told everything to what it says.
pub(super) fn settle_permit(draft: &mut Draft<'_>, fact: &NodeFact) {
    let held = draft.state.permit_of(fact.node, draft.now_ms()).cloned();
    let its = fact.report.permit;
    let its = its.filter(|PermitId(number)| *number <= RANDOM_MASK);
    match (held, its) {
        (Some(held), its) if held.fact.confirmed && its != Some(held.fact.permit) => {
            permits::end_of(draft, fact.node);
        }
        (None, Some(_)) => {}
        _ => return,
    }
    let status = &fact.report.status;
    let (Some(permit), Some(version)) = (its, status.target) else {
        return;
    };
    if draft.state.permits.contains_key(&permit) {
        // The number was given again. While its software is away, the node counts as unavailable all the same.
        return;
    }
    let seat = draft.state.fleet.node(fact.node);
    let seat = seat.and_then(|node| node.seats.get(&version));
    let group = seat.and_then(|seat| seat.group.as_deref());
    let group = group.unwrap_or(&fact.class).to_owned();
    let message = format!("{} is unavailable in {group}, as it says", fact.name);
    draft.change(Change::Permit(HeldPermit {
        fact: PermitFact {
            permit,
            node: fact.node,
            version,
            revision: status.tried_revision(),
            group,
            confirmed: true,
            since_ms: draft.now_ms(),
        },
        expires_at_ms: None,
    }));
    let kind = EventKind::PermitConfirmed;
    draft.event_by(
        fact.name.clone(),
        kind,
        Some(fact.node),
        Some(version),
        message,
    );
}

/// Why nobody may leave: somebody has other contents under a number that is published here.
pub(super) fn contradiction(draft: &Draft<'_>, version: Version) -> Option<RequestRefusal> {
    let differing = (draft.state.disagreeing.iter()).find(|(_, found)| found.differs());
    let (node, found) = differing?;
    let detail = format!(
        "{} has another upgrade {} than the one that is published here, so that no node upgrades to version {version}: see `upstart status`.",
        draft.name(*node),
        found.place()
    );
    Some(refuse(Kind::PERMIT_REFUSED, detail))
}

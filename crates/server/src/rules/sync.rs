//! A node reports: what it says is kept, and what matters to others wakes them.

use super::{Draft, retirement, set_back};
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::state::{Whereabouts, listed};
use crate::udb::Change;
use model::api::{
    ChildState, EVENTS_PER_SYNC_MAX, EventKind, NewEvent, NodeFact, NodeIdentity, NodeReport,
    NodeStatus, Phase, REPORT_ENTRIES_MAX, SyncNumber, SyncRequest, TEXT_BYTES_MAX,
};
use model::ids::{NodeId, Version};
use std::sync::Arc;

/// The most endpoints of a node: services times versions that live at once.
const ENDPOINTS_MAX: usize = 1024;

/// How many lives of an agent are remembered: a message of an older one is not under way any more.
const LIVES_MAX: usize = 4;

/// Refuses a report that would fill memory and every view.
pub(crate) fn check(request: &SyncRequest) -> Result<(), RequestRefusal> {
    let invalid = |detail: String| Err(refuse(Kind::INVALID, detail));
    if request.events.len() > EVENTS_PER_SYNC_MAX {
        return invalid(format!(
            "A sync carries at most {EVENTS_PER_SYNC_MAX} events; send the rest with the next."
        ));
    }
    let long = |text: &str| text.len() > TEXT_BYTES_MAX;
    if request
        .events
        .iter()
        .any(|event| long(&event.kind) || long(&event.message))
    {
        return invalid(format!(
            "An event's text is longer than {TEXT_BYTES_MAX} bytes."
        ));
    }
    let foreign = |event: &&NewEvent| !EventKind::is_a_nodes(&event.kind);
    if let Some(event) = request.events.iter().find(foreign) {
        return invalid(format!(
            "An event of the kind `{}` is a server's: no node tells it.",
            event.kind
        ));
    }
    let Some(report) = &request.report else {
        return Ok(());
    };
    if report.endpoints.len() > ENDPOINTS_MAX {
        return invalid(format!("A report has at most {ENDPOINTS_MAX} endpoints."));
    }
    let entries = report.counters.len().max(report.connections.len());
    let entries = entries.max(report.remarks.len());
    let entries = entries.max(report.holds.len());
    if entries.max(report.addresses.len()) > REPORT_ENTRIES_MAX {
        return invalid(format!(
            "A report has at most {REPORT_ENTRIES_MAX} addresses, connection counts, counters and upgrades each."
        ));
    }
    if report.status.reason.as_deref().is_some_and(long)
        || report
            .counters
            .keys()
            .chain(&report.remarks)
            .any(|text| long(text))
    {
        return invalid(format!(
            "A report's text is longer than {TEXT_BYTES_MAX} bytes."
        ));
    }
    Ok(())
}

/// Takes a report and events; the answer is made from the state after it.
pub(super) fn sync(
    draft: &mut Draft<'_>,
    node: NodeId,
    request: &SyncRequest,
) -> Result<(), RequestRefusal> {
    let known = draft.state.nodes.get(&node);
    let before = known.ok_or_else(|| missing(draft, node, request.identity.as_ref()))?;
    if let Some(identity) = &request.identity {
        check_identity(draft, before, identity)?;
    }
    let (seen, remembered) = (request.moment.as_ref(), request.remembered.as_deref());
    let place = set_back::hear(draft, seen, remembered)?;
    let taken = match request.number {
        Some(number) => take(before, number)?,
        None => before.taken.clone(),
    };
    let mut after = NodeFact {
        taken,
        seen_at_ms: draft.now_ms(),
        reachable: true,
        ..before.as_ref().clone()
    };
    if let Some(report) = &request.report {
        let (is, was) = (&report.status, &before.report.status);
        if is.version != was.version || is.bundle != was.bundle {
            after.settled_at_ms = draft.now_ms();
        }
        // The change is visible: the view that comes has the next number.
        after.listed = listed(&before.listed, report, draft.state.view + 1);
        after.report = report.clone();
        if matches!(place, Whereabouts::Lost | Whereabouts::Missing) {
            set_back::settle_permit(draft, &after);
        }
    }
    if draft.state.is_contradicted(&after) {
        after.listed.clear();
    }
    if begins_anew(before, &after, request) {
        after.steady_since_ms = draft.now_ms();
    }
    if !before.reachable {
        let message = format!("{} is heard again", before.name);
        draft.event_by(
            "server".to_owned(),
            EventKind::NodeReachable,
            Some(node),
            None,
            message,
        );
    }
    let acknowledged = before.report.retired_acknowledged != after.report.retired_acknowledged;
    draft.change(weighed(before, after));
    for event in &request.events {
        draft.event_by(
            before.name.clone(),
            &event.kind,
            Some(node),
            event.version,
            event.message.clone(),
        );
    }
    if acknowledged {
        retirement::finish(draft);
    }
    Ok(())
}

/// The messages that are taken once this one is. One that comes late, or again, is refused: a later one has been heard.
fn take(before: &NodeFact, now: SyncNumber) -> Result<Vec<SyncNumber>, RequestRefusal> {
    let mut taken = before.taken.clone();
    let is_newest = taken.last().is_none_or(|last| last.life == now.life);
    let known = taken.iter().position(|last| last.life == now.life);
    match known {
        Some(at) if !is_newest || taken[at].number >= now.number => {
            return Err(refuse(
                Kind::OUTDATED_REPORT,
                format!(
                    "The server has a later report of {} and ignores this one. If another agent of this name runs, end one of them.",
                    before.name
                ),
            ));
        }
        Some(at) => taken[at] = now,
        None => taken.push(now),
    }
    if taken.len() > LIVES_MAX {
        taken.remove(0);
    }
    Ok(taken)
}

/// Whether a soak time begins anew: the node is elsewhere, its software has crashed, or is well again.
fn begins_anew(before: &NodeFact, after: &NodeFact, request: &SyncRequest) -> bool {
    let (is, was) = (&after.report.status, &before.report.status);
    let moved = is.version != was.version || is.bundle != was.bundle;
    // A crash may be over before it could be reported as a state.
    let mut events = request.events.iter();
    let crashed = events.any(|event| event.kind == EventKind::ChildCrashed.name());
    let recovered = is.child == ChildState::Running && was.child != ChildState::Running;
    moved || crashed || recovered
}

/// A database that was set back, or is another one, gives numbers again: who comes under one must be the node that has it here.
fn check_identity(
    draft: &Draft<'_>,
    here: &NodeFact,
    identity: &NodeIdentity,
) -> Result<(), RequestRefusal> {
    let (system, system_id) = draft.state.system.clone().unwrap_or_default();
    let why = if system_id != identity.system_id {
        format!("this is the server of another system, `{system}`")
    } else if here.name != identity.name {
        format!(
            "this server knows {} as `{}`: its database is not the one in which the node was enrolled, or has been set back",
            here.node, here.name
        )
    } else {
        return Ok(());
    };
    Err(refuse(
        Kind::ENROLMENT_CONFLICT,
        format!("Node `{}` is not known here: {why}.", identity.name),
    ))
}

/// That a node was forgotten is noted. Any other is unknown here, as in a database that was set back, or is another one, which says
/// nothing about the node.
fn missing(draft: &Draft<'_>, node: NodeId, identity: Option<&NodeIdentity>) -> RequestRefusal {
    if draft.state.system.is_none() {
        return refuse(
            Kind::NO_SYSTEM,
            "This server knows no system: its database is empty. Restore its newest backup, or publish the system's versions again, from the same folders; nodes serve on meanwhile.",
        );
    }
    let is_its =
        |name: &String| name.is_empty() || identity.is_none_or(|identity| identity.name == *name);
    if !draft.state.forgotten.get(&node).is_some_and(is_its) {
        return refuse(
            Kind::UNKNOWN_NODE,
            format!(
                "This server does not know node {node}: its database is older than the node's enrolment, or another one. The agent enrols the node again by itself."
            ),
        );
    }
    refuse(
        Kind::NODE_FORGOTTEN,
        format!(
            "Node {node} was forgotten (`upstart forget`); start its agent again to enrol it anew, or end it with `upstart stop`."
        ),
    )
}

/// How much a report changes: what others decide by wakes them; which versions have open connections is only stored;
/// counters and the time of the last contact stay in memory until something else is stored.
fn weighed(before: &NodeFact, after: NodeFact) -> Change {
    if !is_as_loud(before, &after) {
        return Change::Node(Arc::new(after));
    }
    let is_open = |(_, count): &(&Version, &u64)| **count > 0;
    let [was, is] = [&before.report, &after.report].map(|report| {
        report
            .connections
            .iter()
            .filter(is_open)
            .map(|(version, _)| *version)
    });
    if was.eq(is) {
        Change::NodeHeard(Arc::new(after))
    } else {
        Change::NodeQuietly(Arc::new(after))
    }
}

/// Whether two facts of a node are the same but for what changes all the time.
fn is_as_loud(before: &NodeFact, after: &NodeFact) -> bool {
    // Every field is named, so that none is forgotten.
    let said = |fact: &NodeFact| {
        let NodeFact {
            node,
            reachable,
            settled_at_ms,
            steady_since_ms,
            retry,
            members_seen,
            labels: _,
            name: _,
            class: _,
            attributes: _,
            host: _,
            data_directory: _,
            report: _,
            seen_at_ms: _,
            taken: _,
            listed: _,
        } = fact;
        let numbers = [*settled_at_ms, *steady_since_ms, *retry, *members_seen];
        (*node, *reachable, numbers)
    };
    said(before) == said(after)
        && (&before.name, &before.class, &before.attributes)
            == (&after.name, &after.class, &after.attributes)
        && (&before.host, &before.data_directory) == (&after.host, &after.data_directory)
        && before.listed == after.listed
        && before.labels == after.labels
        && is_as_loud_a_report(&before.report, &after.report)
}

fn is_as_loud_a_report(before: &NodeReport, after: &NodeReport) -> bool {
    let NodeReport {
        status,
        endpoints,
        poll_ms,
        addresses,
        connections: _,
        counters: _,
        remarks,
        retired_acknowledged,
        retry_acknowledged,
        records,
        holds,
        permit,
        artifacts_at,
    } = before;
    is_as_loud_a_status(status, &after.status)
        && (endpoints, addresses, remarks) == (&after.endpoints, &after.addresses, &after.remarks)
        && (poll_ms, retired_acknowledged) == (&after.poll_ms, &after.retired_acknowledged)
        && (retry_acknowledged, records) == (&after.retry_acknowledged, &after.records)
        && (holds, permit, artifacts_at) == (&after.holds, &after.permit, &after.artifacts_at)
}

fn is_as_loud_a_status(before: &NodeStatus, after: &NodeStatus) -> bool {
    let NodeStatus {
        version,
        revision,
        bundle,
        staged,
        phase,
        target,
        target_revision,
        reason,
        until_ms,
        progress: _,
        child,
    } = before;
    // Who is waited for changes with every step of the others.
    let waits = *phase == Phase::Staged && after.phase == Phase::Staged;
    (version, revision, bundle, staged)
        == (
            &after.version,
            &after.revision,
            &after.bundle,
            &after.staged,
        )
        && (phase, child) == (&after.phase, &after.child)
        && (target, target_revision) == (&after.target, &after.target_revision)
        && (waits || (reason, until_ms) == (&after.reason, &after.until_ms))
}

//! What operators do to the system and to single nodes: pause, approve, retry, forget.

use super::{Draft, identities, known, permits, retirement, unknown_node};
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::state::SystemState;
use crate::udb::Change;
use model::api::{
    Approval, ApproveRequest, EventKind, NodeFact, Pause, PauseRequest, Phase, UpgradeSummary,
};
use model::ids::Version;
use std::sync::Arc;

/// The longest reason, in bytes: it travels in every view.
const REASON_BYTES_MAX: usize = 1024;

/// The most approvals kept: they travel in every view.
const APPROVALS_MAX: usize = 10_000;

/// No node begins an upgrade from here on.
pub(super) fn pause(
    draft: &mut Draft<'_>,
    request: &PauseRequest,
) -> Result<Pause, RequestRefusal> {
    if request.reason.len() > REASON_BYTES_MAX {
        let detail = format!("The reason is longer than {REASON_BYTES_MAX} bytes; say it shorter.");
        return Err(refuse(Kind::INVALID, detail));
    }
    let pause = Pause {
        reason: request.reason.clone(),
        author: draft.context.author.clone(),
        since_ms: draft.now_ms(),
    };
    draft.change(Change::Pause(Some(pause.clone())));
    let message = format!("the system is paused: {}", request.reason);
    draft.event(EventKind::SystemPaused, None, None, message);
    Ok(pause)
}

/// Ends a pause; none is no error.
pub(super) fn resume(draft: &mut Draft<'_>) {
    if draft.state.paused.is_some() {
        draft.change(Change::Pause(None));
        draft.event(
            EventKind::SystemResumed,
            None,
            None,
            "the system goes on".to_owned(),
        );
    }
}

/// The upgrade that may be approved, if there is one.
pub(crate) fn approvable(
    state: &SystemState,
    version: Version,
) -> Result<UpgradeSummary, RequestRefusal> {
    let refused = |detail: String| Err(refuse(Kind::APPROVAL_REFUSED, detail));
    let upgrade = known(state, version)?;
    if upgrade.withdrawn {
        return refused(format!(
            "Version {version} is withdrawn; nobody goes there."
        ));
    }
    if version <= state.retiring_through {
        return refused(format!(
            "Version {version} is retired: every node is beyond it, and nobody goes there any more."
        ));
    }
    Ok(upgrade)
}

/// Gives a person's leave; the same again is the same.
pub(super) fn approve(
    draft: &mut Draft<'_>,
    request: &ApproveRequest,
) -> Result<Approval, RequestRefusal> {
    let version = request.version;
    let refused = |detail: String| Err(refuse(Kind::APPROVAL_REFUSED, detail));
    let upgrade = approvable(draft.state, version)?;
    if draft.state.approvals.len() >= APPROVALS_MAX {
        return refused(format!(
            "{APPROVALS_MAX} approvals are given; approve the whole version instead."
        ));
    }
    if let Some(node) = &request.node
        && !draft.state.names.contains_key(node)
    {
        return Err(unknown_node(node));
    }
    let release = draft.state.history.release(version);
    if let (Some(class), Some(release)) = (&request.class, release)
        && !release.classes.contains_key(class)
    {
        let classes: Vec<&str> = release.classes.keys().map(String::as_str).collect();
        let detail = format!(
            "Version {version} has no class `{class}`; it has {}.",
            classes.join(", ")
        );
        return Err(refuse(Kind::UNKNOWN_CLASS, detail));
    }
    let mut approvals = draft.state.approvals.iter();
    let same = approvals.find(|given| {
        given.version == version
            && given.revision == upgrade.revision
            && given.class == request.class
            && given.node == request.node
    });
    if let Some(given) = same {
        return Ok(given.clone());
    }
    let approval = Approval {
        version,
        revision: upgrade.revision,
        class: request.class.clone(),
        node: request.node.clone(),
        author: draft.context.author.clone(),
        at_ms: draft.now_ms(),
    };
    draft.change(Change::Approve(approval.clone()));
    let whom = match (&request.class, &request.node) {
        (_, Some(node)) => format!(" for node {node}"),
        (Some(class), None) => format!(" for class {class}"),
        (None, None) => String::new(),
    };
    let node = request
        .node
        .as_ref()
        .and_then(|name| draft.state.names.get(name).copied());
    draft.event(
        EventKind::UpgradeApproved,
        node,
        Some(version),
        format!("version {version} is approved{whom}"),
    );
    Ok(approval)
}

/// Tells a blocked node to try again.
pub(super) fn retry(draft: &mut Draft<'_>, node: &str) -> Result<NodeFact, RequestRefusal> {
    let mut fact = find(draft, node)?.as_ref().clone();
    if fact.report.status.phase != Phase::Blocked {
        let detail = format!(
            "Node {} is not blocked; only a node that is back at its old version with a reason can be told to retry.",
            fact.name
        );
        return Err(refuse(Kind::NOT_BLOCKED, detail));
    }
    // A node that was forgotten and enrolled again has acted on higher numbers than this server remembers.
    fact.retry = fact.retry.max(fact.report.retry_acknowledged) + 1;
    draft.change(Change::Node(Arc::new(fact.clone())));
    let message = format!("{} is to try again", fact.name);
    draft.event(
        EventKind::NodeRetry,
        Some(fact.node),
        fact.report.status.target,
        message,
    );
    Ok(fact)
}

/// Forgets a node that will never come back: it holds nothing up any more.
pub(super) fn forget(draft: &mut Draft<'_>, node: &str) -> Result<(), RequestRefusal> {
    let fact = find(draft, node)?;
    permits::end_of(draft, fact.node);
    draft.event(
        EventKind::NodeForgotten,
        Some(fact.node),
        None,
        format!("{} is forgotten", fact.name),
    );
    identities::forget(draft, &fact.name);
    draft.change(Change::Forget(fact.node, fact.name.clone()));
    retirement::finish(draft);
    Ok(())
}

fn find(draft: &Draft<'_>, node: &str) -> Result<Arc<NodeFact>, RequestRefusal> {
    draft
        .state
        .node(node)
        .cloned()
        .ok_or_else(|| unknown_node(node))
}

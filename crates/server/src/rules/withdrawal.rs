//! Withdrawal: while no node has settled at the newest version, nor could settle there unseen.

use super::{Draft, known, public, some_of};
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::udb::Change;
use model::api::{EventKind, NodeFact, Phase, UpgradeSummary};
use model::ids::Version;

/// Withdraws an upgrade; again is no error.
pub(super) fn withdraw(
    draft: &mut Draft<'_>,
    version: Version,
) -> Result<UpgradeSummary, RequestRefusal> {
    let mut summary = known(draft.state, version)?;
    if summary.withdrawn {
        return Ok(summary);
    }
    let newest = draft.state.history.newest();
    if newest != version {
        let nodes = draft.state.nodes.values();
        let mut settled = nodes.map(|fact| fact.report.status.version);
        return Err(refused(if settled.any(|at| at >= version) {
            format!(
                "Version {newest} builds on version {version}, and nodes have settled at version {version} or beyond, so it stays."
            )
        } else {
            format!("Version {newest} builds on version {version}; withdraw {newest} first.")
        }));
    }
    nobody_there(draft, version)?;
    draft
        .state
        .history_with(None, Some(version))
        .map_err(|error| refused(format!("{error}.")))?;
    carry_out(draft, &summary);
    summary.withdrawn = true;
    Ok(summary)
}

/// Withdraws what was withdrawn already in a history that was lost, where nothing builds on it.
pub(super) fn withdraw_again(draft: &mut Draft<'_>, summary: &UpgradeSummary) {
    let version = summary.version;
    let is_newest = draft.state.history.newest() == version;
    if is_newest && draft.state.history_with(None, Some(version)).is_ok() {
        carry_out(draft, summary);
    }
}

fn carry_out(draft: &mut Draft<'_>, summary: &UpgradeSummary) {
    let version = summary.version;
    draft.change(Change::Withdraw(version));
    end_permits(draft, version);
    move_public_back(draft, version, summary.from);
    draft.event(
        EventKind::UpgradeWithdrawn,
        None,
        Some(version),
        format!("version {version} is withdrawn"),
    );
}

fn nobody_there(draft: &Draft<'_>, version: Version) -> Result<(), RequestRefusal> {
    let names = |holds: &dyn Fn(&NodeFact) -> bool| -> Vec<String> {
        let nodes = draft.state.nodes.values();
        nodes
            .filter(|fact| holds(fact))
            .map(|fact| fact.name.clone())
            .collect()
    };
    let settled = names(&|fact| fact.report.status.version >= version);
    if !settled.is_empty() {
        return Err(refused(format!(
            "Nodes have settled at version {version}: {}. Publish a revision (`upstart publish DIR --revise`; the folder of the revision before takes this one back), or the next version.",
            some_of(&settled)
        )));
    }
    let confirmed = |fact: &NodeFact| {
        let mut permits = draft.state.live_permits(draft.now_ms());
        permits.any(|held| {
            held.fact.node == fact.node && held.fact.version >= version && held.fact.confirmed
        })
    };
    let under_way = names(&|fact| confirmed(fact) || is_under_way(fact, version));
    if !under_way.is_empty() {
        return Err(refused(format!(
            "Under way to version {version}: {}. Pause the system and wait until they have settled or gone back.",
            some_of(&under_way)
        )));
    }
    let silent = names(&|fact| {
        let status = &fact.report.status;
        !fact.reachable && status.staged >= version && status.phase != Phase::Blocked
    });
    if !silent.is_empty() {
        return Err(refused(format!(
            "These nodes have staged version {version} and have not reported since: {}. Wait until they answer, or forget them.",
            some_of(&silent)
        )));
    }
    Ok(())
}

fn is_under_way(fact: &NodeFact, version: Version) -> bool {
    let status = &fact.report.status;
    let waits = matches!(
        status.phase,
        Phase::Settled | Phase::Fetching | Phase::Staged | Phase::Blocked
    );
    !waits && status.target.is_some_and(|target| target >= version)
}

/// Leaves for the version that nobody has used yet: their nodes' confirmation will be refused.
fn end_permits(draft: &mut Draft<'_>, version: Version) {
    let permits = draft.state.permits.values();
    let ended: Vec<_> = permits
        .filter(|held| held.fact.version == version)
        .map(|held| held.fact.permit)
        .collect();
    for permit in ended {
        draft.change(Change::EndPermit(permit));
    }
}

/// Services that were public at the version go back to the one before, or have no public version where it lacks them.
fn move_public_back(draft: &mut Draft<'_>, version: Version, from: Version) {
    let history = &draft.state.history;
    let mut changes = Vec::new();
    for key in draft
        .state
        .public
        .iter()
        .filter(|(_, at)| **at == version)
        .map(|(key, _)| key)
    {
        let keys = public::linked(history, key);
        let back = public::spoken_at(history, &keys, from).then_some(from);
        changes.push(Change::Public(key.clone(), back));
    }
    draft.changes.extend(changes);
}

fn refused(detail: String) -> RequestRefusal {
    refuse(Kind::WITHDRAW_REFUSED, detail)
}

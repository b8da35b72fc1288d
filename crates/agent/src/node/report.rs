//! What the node says about itself.

use super::{Node, held_upgrades};
use intercept::holder::Interception;
use intercept::stats::Counter;
use model::api::{ChildState, NodeReport, NodeStatus, Phase, REPORT_ENTRIES_MAX, told};
use model::ids::Version;
use std::collections::BTreeMap;
use std::time::Instant;

/// The node's report, but for what the journal knows; the machine says where it stands, and which `retry` it has acted on.
pub(super) fn report(node: &Node, status: NodeStatus, retry_acknowledged: u64) -> NodeReport {
    let picture = node.relay.traffic.picture();
    let config = &node.surroundings.config;
    let connections = node.relay.tally.connections();
    let retiring = picture.standing.retired_through;
    let still_open = connections.keys().any(|version| *version <= retiring);
    let counters = counters(node);
    NodeReport {
        endpoints: picture
            .catalog
            .endpoints(&picture.catalog.live_versions(picture.standing)),
        poll_ms: config.poll_ms,
        addresses: config.addresses.clone(),
        retired_acknowledged: if still_open { Version(0) } else { retiring },
        retry_acknowledged,
        connections,
        records: 0,
        holds: Vec::new(),
        permit: None,
        artifacts_at: *node.surroundings.artifacts_at.lock(),
        remarks: remarks(node, &counters),
        counters,
        status: as_seen(node, status),
    }
}

/// The machine's status, with what it cannot know.
fn as_seen(node: &Node, mut status: NodeStatus) -> NodeStatus {
    // A version counts as staged for others only when its ports are open and its adapters loaded.
    let answered = node.listeners.opened().max(status.version);
    status.staged = status.staged.min(answered);
    if status.phase == Phase::Staged && status.target.is_some_and(|to| to > status.staged) {
        // Not before its ports are open.
        status.phase = Phase::Fetching;
    }
    let disagreement = node.surroundings.link.disagreement.borrow().clone();
    let disagrees = disagreement.as_ref().map(held_upgrades::reason);
    if let Some(why) = node.inspection.hindrance().or(disagrees) {
        status.reason = Some(match status.reason {
            Some(reason) => format!("{why}; {reason}"),
            None => why,
        });
    }
    if status.child == ChildState::Running && node.inspection.stands_still().is_some() {
        status.child = ChildState::Silent;
    }
    if status.child == ChildState::Stopped && node.child.present().is_some() {
        // A machine that has just begun does not know yet what it will do with what a lost holder has left.
        status.child = ChildState::Running;
    }
    status.reason = status.reason.as_deref().map(told);
    status
}

/// What people should know of the node beside its state.
fn remarks(node: &Node, counters: &BTreeMap<String, u64>) -> Vec<String> {
    let tally = &node.relay.tally;
    if let Some(times) = counters.get(Counter::ConnectLikeAMember.name()) {
        tally.bypassed(*times);
    }
    let recent = tally.remarks.recent(Instant::now());
    let distrust = node.surroundings.link.distrust.lock().clone();
    let kept = node.surroundings.variables_kept.iter();
    let all = kept.chain(&distrust).chain(&recent);
    all.map(|remark| told(remark)).collect()
}

/// The agent's counters and the hooks', by name.
fn counters(node: &Node) -> BTreeMap<String, u64> {
    let mut all = node.relay.tally.read();
    if let Ok(stats) = node.inspection.hook_counters() {
        all.extend(stats.named().map(|(name, count)| (name.to_owned(), count)));
    }
    if let Some(child) = node.child.present() {
        let Interception {
            net,
            no_new_privileges,
            ..
        } = child.interception;
        all.insert("net.in_force".to_owned(), net.into());
        all.insert("net.no_new_privileges".to_owned(), no_new_privileges.into());
    }
    // Rules of lenses that refuse are counted one by one; their sum is there whatever is left out.
    while all.len() > REPORT_ENTRIES_MAX {
        let rules = all.iter().filter(|(name, _)| name.starts_with("refused."));
        let Some(rarest) = rules.min_by_key(|(_, count)| **count) else {
            break;
        };
        let rarest = rarest.0.clone();
        all.remove(&rarest);
    }
    all
}

//! A system and its nodes in words and tables; used by status, nodes and watch.

use crate::output;
use model::api::{ChildState, NodeFact, NodeStatus, Phase, Progress, SystemView, UpgradeSummary};
use model::ids::{Revision, Version};
use model::machine::Place;

/// The state of a node's child: as the node said last, while it is heard.
pub(crate) fn child(node: &NodeFact) -> &'static str {
    match node.report.status.child {
        _ if !node.reachable => "not known",
        ChildState::Stopped => "stopped",
        ChildState::Starting => "starting",
        ChildState::Running => "running",
        ChildState::Silent => "not answering",
        ChildState::Crashed => "crashed",
    }
}

/// The version that a node runs, and where it is going; with the revision (`2.1`) where it is not the first, or changes.
pub(crate) fn version(status: &NodeStatus) -> String {
    let numbers = |version: Version, revision: Revision, told: bool| {
        if told {
            format!("{version}.{revision}")
        } else {
            version.to_string()
        }
    };
    let revised = |revision: Revision| revision > Revision(1);
    let here = status.version;
    let target = status
        .target
        .zip(status.target_revision.or(Some(Revision(1))));
    match target {
        Some((target, revision)) if target == here && revision != status.revision => {
            let from = numbers(here, status.revision, true);
            format!("{from} -> {}", numbers(target, revision, true))
        }
        Some((target, revision)) if target != here => {
            let from = numbers(here, status.revision, revised(status.revision));
            format!("{from} -> {}", numbers(target, revision, revised(revision)))
        }
        _ => numbers(here, status.revision, revised(status.revision)),
    }
}

/// A version, with its revision where that is not the first.
pub(crate) fn place(version: Version, revision: Revision) -> String {
    if revision > Revision(1) {
        format!("{version}.{revision}")
    } else {
        version.to_string()
    }
}

/// How far a long step has come, in a few words.
pub(crate) fn progress(progress: &Progress) -> String {
    let Progress {
        what,
        done,
        total,
        unit,
    } = progress;
    match total {
        Some(total) if *total > 0 => {
            format!("{what}: {}% of {total} {unit}", percent(*done, *total))
        }
        // A step that cannot be counted.
        _ if unit.is_empty() => what.clone(),
        _ => format!("{what}: {done} {unit}"),
    }
}

/// Said instead of an empty table.
pub(crate) const NO_NODES: &str =
    "No nodes yet: `upstart agent --data DIR --name NAME --class CLASS` runs one.";

/// A share in whole percent, at most 100.
pub(crate) fn percent(done: u64, total: u64) -> u64 {
    (done.saturating_mul(100) / total.max(1)).min(100)
}

/// The highest version at which a node has settled.
pub(crate) fn highest<'a>(nodes: impl Iterator<Item = &'a NodeFact>) -> Version {
    let versions = nodes.map(|node| node.report.status.version);
    versions.max().unwrap_or_default()
}

/// Why a node waits, until when, how far it has come: the last column of tables.
pub(crate) fn remark(node: &NodeFact, now_ms: u64, highest: Version) -> String {
    let status = &node.report.status;
    let mut parts = Vec::new();
    if !node.reachable {
        let silent = output::duration(now_ms.saturating_sub(node.seen_at_ms));
        parts.push(format!("not heard for {silent}"));
    }
    parts.extend(status.progress.as_ref().map(progress));
    parts.extend(status.reason.clone());
    parts.extend(node.report.remarks.iter().cloned());
    if let Some(until) = status.until_ms.filter(|until| *until > now_ms) {
        parts.push(format!(
            "for at least {} more",
            output::lasting(until - now_ms)
        ));
    }
    let parts: Vec<&str> = parts.iter().map(|part| part.trim_end()).collect();
    let text = parts.join("; ");
    match next_step(node, highest) {
        None => text,
        // A reason of several lines ends with what something has printed.
        Some(step) if text.contains('\n') => format!("{}\nnext: {step}", text.trim_end()),
        Some(step) => format!("{text}; next: {step}"),
    }
}

/// What frees a blocked node, in a system where some node has settled at this highest version: nobody takes that one back.
pub(crate) fn next_step(node: &NodeFact, highest: Version) -> Option<String> {
    let status = &node.report.status;
    if status.phase != Phase::Blocked {
        return None;
    }
    let retry = format!("`upstart retry {}`", node.name);
    Some(match status.target {
        None => retry,
        Some(target) if target > status.version && target <= highest => {
            format!("{retry}, or `upstart publish DIR --revise`")
        }
        Some(target) if target > status.version => {
            format!("{retry}, `upstart publish DIR --revise`, or `upstart withdraw {target}`")
        }
        Some(_) => format!(
            "{retry}, or `upstart publish DIR --revise` (with the folder of the revision before to take this one back)"
        ),
    })
}

/// How an upgrade stands.
pub(crate) fn upgrade(view: &SystemView, summary: &UpgradeSummary) -> &'static str {
    match summary {
        summary if summary.withdrawn => "withdrawn",
        summary if summary.version <= view.retired_through => "retired",
        summary if summary.version <= view.retiring_through => "retiring",
        _ => "published",
    }
}

/// How many nodes have settled at an upgrade as it is now, and how many at older revisions of it.
pub(crate) fn settled_at(view: &SystemView, upgrade: &UpgradeSummary) -> (usize, usize) {
    let version = |node: &NodeFact| node.report.status.version;
    let here = (view.nodes.iter()).filter(|node| version(node) == upgrade.version);
    let (newest, older): (Vec<_>, Vec<_>) =
        here.partition(|node| is_at(&node.report.status, upgrade.version, upgrade.revision));
    (newest.len(), older.len())
}

/// Whether a node has settled at a version in this revision, or beyond: it may be on its way further since.
pub(crate) fn is_at(status: &NodeStatus, version: Version, revision: Revision) -> bool {
    let runs_older = |bundle: Place| bundle.version == version && bundle.revision < revision;
    (status.version, status.revision) >= (version, revision)
        && status.phase != Phase::Joining
        && !status.bundle.is_some_and(runs_older)
}

/// The newest version that nodes are to reach: published and not withdrawn.
pub(crate) fn newest(view: &SystemView) -> Option<&UpgradeSummary> {
    let offered = view.upgrades.iter().filter(|upgrade| !upgrade.withdrawn);
    offered.max_by_key(|upgrade| upgrade.version)
}

/// The clock for "how long ago": close enough to the server's for people.
pub(crate) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// The table of nodes by name, as `upstart nodes` and `upstart status` print it; `highest` is the highest version at which some node of
/// the system has settled.
pub(crate) fn nodes_table<'a>(
    nodes: impl Iterator<Item = &'a NodeFact>,
    highest: Version,
) -> output::TextTable {
    let now = now_ms();
    let mut nodes: Vec<&NodeFact> = nodes.collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    let mut table = output::table(["NODE", "CLASS", "VERSION", "PHASE", "SOFTWARE", "REMARK"]);
    for node in nodes {
        let status = &node.report.status;
        table.add_row([
            node.name.clone(),
            node.class.clone(),
            version(status),
            status.phase.words().to_owned(),
            child(node).to_owned(),
            remark(node, now, highest),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_a_share_where_the_total_is_known() {
        let mut known = Progress {
            what: "fetch".to_owned(),
            done: 50,
            total: Some(200),
            unit: "bytes".to_owned(),
        };
        assert_eq!(progress(&known), "fetch: 25% of 200 bytes");
        known.total = None;
        assert_eq!(progress(&known), "fetch: 50 bytes");
        known.unit.clear();
        assert_eq!(progress(&known), "fetch");
    }

    #[test]
    fn a_target_shows_only_while_it_differs() {
        let mut status = NodeStatus {
            version: Version(1),
            ..NodeStatus::default()
        };
        assert_eq!(version(&status), "1");
        status.target = Some(Version(2));
        status.target_revision = Some(Revision(1));
        assert_eq!(version(&status), "1 -> 2");
        status.target_revision = Some(Revision(3));
        assert_eq!(version(&status), "1 -> 2.3");
        status.version = Version(2);
        status.revision = Revision(1);
        assert_eq!(version(&status), "2.1 -> 2.3");
        status.revision = Revision(3);
        assert_eq!(version(&status), "2.3");
    }
}

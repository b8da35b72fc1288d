//! Retirement in two phases: everybody resets the old versions and says so; only then are they gone.

use super::{Draft, known, public, some_of};
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::udb::Change;
use model::api::{EventKind, RetireRequest, Retirement};
use model::ids::Version;

/// Begins to retire every version up to one, when nothing holds them.
pub(super) fn retire(
    draft: &mut Draft<'_>,
    request: &RetireRequest,
) -> Result<Retirement, RequestRefusal> {
    let version = request.version;
    known(draft.state, version)?;
    if version <= draft.state.retiring_through {
        return Ok(progress(draft));
    }
    let newest = draft.state.history.newest();
    if version >= newest {
        return Err(refused(format!(
            "Version {newest} is the newest in use; only older versions can be retired."
        )));
    }
    let holders = holders(draft, version, request.close);
    if !holders.is_empty() {
        return Err(refused(format!("Still needed by {}.", holders.join("; "))));
    }
    begin(draft, version);
    Ok(progress(draft))
}

/// Begins it, whatever holds them.
pub(super) fn begin(draft: &mut Draft<'_>, version: Version) {
    drop_public(draft, version);
    draft.change(Change::Retiring(version));
    draft.event(
        EventKind::UpgradeRetiring,
        None,
        Some(version),
        format!("versions up to {version} are being retired"),
    );
    finish(draft);
}

/// What holds versions up to this one, each with what to do about it.
fn holders(draft: &Draft<'_>, version: Version, close: bool) -> Vec<String> {
    let mut holders = Vec::new();
    let nodes = draft.state.nodes.values();
    let behind: Vec<String> = nodes
        .filter(|fact| fact.report.status.version <= version)
        .map(|fact| match fact.report.status.version {
            Version(0) => format!("{} (not started yet)", fact.name),
            at => format!("{} (at version {at})", fact.name),
        })
        .collect();
    if !behind.is_empty() {
        holders.push(format!(
            "nodes: {} (upgrade them, or forget those that will never come back)",
            some_of(&behind)
        ));
    }
    let nodes = draft.state.nodes.values();
    let open: Vec<String> = nodes
        .filter_map(|fact| {
            let counts = fact
                .report
                .connections
                .range(..=version)
                .map(|(_, count)| *count);
            match counts.sum::<u64>() {
                0 => None,
                1 => Some(format!("{} (1 connection)", fact.name)),
                count => Some(format!("{} ({count} connections)", fact.name)),
            }
        })
        .collect();
    if !open.is_empty() && !close {
        holders.push(format!(
            "open connections at {} (wait until they end, or retire with `--close`)",
            some_of(&open)
        ));
    }
    let held: Vec<String> = held_public(draft, version)
        .map(|(key, at)| format!("{key} (version {at})"))
        .collect();
    if !held.is_empty() {
        holders.push(format!(
            "public versions: {} (move them with `upstart public`)",
            some_of(&held)
        ));
    }
    holders
}

/// Public versions up to this one of services that live on.
fn held_public<'a>(
    draft: &'a Draft<'_>,
    version: Version,
) -> impl Iterator<Item = (&'a String, Version)> {
    let public = draft.state.public.iter().map(|(key, at)| (key, *at));
    public.filter(move |(key, at)| *at <= version && lives_on(draft, key, version))
}

fn lives_on(draft: &Draft<'_>, key: &str, version: Version) -> bool {
    let history = &draft.state.history;
    let keys = public::linked(history, key);
    history
        .versions()
        .any(|later| later > version && public::spoken_at(history, &keys, later))
}

/// Services that end with these versions lose their public version.
fn drop_public(draft: &mut Draft<'_>, version: Version) {
    let public = draft.state.public.iter();
    let gone: Vec<String> = public
        .filter(|(key, at)| **at <= version && !lives_on(draft, key, version))
        .map(|(key, _)| key.clone())
        .collect();
    for key in gone {
        draft.change(Change::Public(key, None));
    }
}

/// Ends the first phase once every node has acknowledged.
pub(super) fn finish(draft: &mut Draft<'_>) {
    let Retirement {
        retiring_through,
        retired_through,
        waiting_for,
    } = progress(draft);
    if retired_through < retiring_through && waiting_for.is_empty() {
        draft.change(Change::Retired(retiring_through));
        let message = format!("versions up to {retiring_through} are retired");
        draft.event_by(
            "server".to_owned(),
            EventKind::UpgradeRetired,
            None,
            Some(retiring_through),
            message,
        );
    }
}

/// How far it has come, the changes of this decision included.
fn progress(draft: &Draft<'_>) -> Retirement {
    let (mut retiring, mut retired) = (draft.state.retiring_through, draft.state.retired_through);
    for change in &draft.changes {
        match change {
            Change::Retiring(version) => retiring = *version,
            Change::Retired(version) => retired = *version,
            _ => {}
        }
    }
    let waits = |acknowledged: Version| retired < retiring && acknowledged < retiring;
    let nodes = draft.nodes().into_iter();
    Retirement {
        retiring_through: retiring,
        retired_through: retired,
        waiting_for: nodes
            .filter(|fact| waits(fact.report.retired_acknowledged))
            .map(|fact| fact.name)
            .collect(),
    }
}

fn refused(detail: String) -> RequestRefusal {
    refuse(Kind::RETIRE_REFUSED, detail)
}

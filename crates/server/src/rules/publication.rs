//! Publishing: the next number on the newest version, or a revision with the same versions and interfaces.

use super::{Draft, Publication, public};
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::state::scope;
use crate::udb::Change;
use model::api::{EventKind, UpgradeSummary};
use model::bundle::Upgrade;
use model::ids::{Place, Revision, Version};
use model::release::History;

/// Publishes; the same bundle again is the same.
pub(super) fn publish(
    draft: &mut Draft<'_>,
    publication: &Publication,
) -> Result<UpgradeSummary, RequestRefusal> {
    let state = draft.state;
    let upgrade = &publication.upgrade;
    let there = state.summary(upgrade.version);
    if let Some(there) = &there
        && there.manifest_sha256 == publication.manifest_sha256
        && !there.withdrawn
    {
        return Ok(there.clone());
    }
    of_this_system(draft, upgrade)?;
    let revision = match (publication.revise, &there) {
        (true, Some(there)) => revises(draft, upgrade, there)?,
        (true, None) => return Err(super::unknown_version(state, upgrade.version)),
        (false, Some(there)) => return Err(taken(there)),
        (false, None) => follows(draft, upgrade)?,
    };
    nobody_runs_another(draft, publication, revision)?;
    let history = state
        .history_with(Some(upgrade), None)
        .map_err(|error| refused(format!("{}.", with_cause(&error))))?;
    if publication.revise {
        same_interfaces(draft, upgrade)?;
    }
    has_room_for_nodes(draft, &history)?;
    let summary = UpgradeSummary {
        version: upgrade.version,
        from: upgrade.from,
        revision,
        manifest_sha256: publication.manifest_sha256.clone(),
        description: upgrade.description.clone(),
        withdrawn: publication.is_withdrawn,
        published_at_ms: draft.now_ms(),
        author: draft.context.author.clone(),
    };
    record(draft, publication, &summary, &history);
    Ok(summary)
}

fn record(
    draft: &mut Draft<'_>,
    publication: &Publication,
    summary: &UpgradeSummary,
    history: &History,
) {
    let upgrade = &publication.upgrade;
    if draft.state.system.is_none() {
        draft.change(Change::System {
            name: upgrade.system.clone(),
            id: publication.system_id,
        });
    }
    draft.change(Change::Publish {
        summary: summary.clone(),
        proved: std::sync::Arc::clone(upgrade),
    });
    for text in &publication.texts {
        draft.change(Change::Text(text.clone()));
    }
    let (version, revision) = (summary.version, summary.revision);
    if publication.revise {
        let message = format!("version {version} is revised (revision {revision})");
        draft.event(EventKind::UpgradeRevised, None, Some(version), message);
    } else {
        let message = format!("version {version} of {} is published", upgrade.system);
        draft.event(EventKind::UpgradePublished, None, Some(version), message);
        if publication.is_withdrawn {
            draft.change(Change::Withdraw(version));
            let message = format!("version {version} is withdrawn, as its publishers have signed");
            draft.event(EventKind::UpgradeWithdrawn, None, Some(version), message);
        } else {
            public::begin(draft, history, version);
        }
    }
}

fn of_this_system(draft: &Draft<'_>, upgrade: &Upgrade) -> Result<(), RequestRefusal> {
    match &draft.state.system {
        Some((name, _)) if *name != upgrade.system => Err(refused(format!(
            "The bundle is of system `{}`, this server serves `{name}`; ask the server of `{}`, or mend `system` in upgrade.toml.",
            upgrade.system, upgrade.system
        ))),
        _ => Ok(()),
    }
}

/// The first revision of the next number, on the newest version that is not withdrawn.
fn follows(draft: &Draft<'_>, upgrade: &Upgrade) -> Result<Revision, RequestRefusal> {
    let next = Version(draft.state.newest_number().0 + 1);
    let newest = draft.state.history.newest();
    if upgrade.version != next && next.0 == 1 {
        return Err(refused(format!(
            "Nothing is published yet, and the bundle says version {}; publish version 1 first.",
            upgrade.version
        )));
    }
    if upgrade.version != next {
        return Err(refused(format!(
            "The next version is {next}, the bundle says {}; numbers follow one another and are never reused: write `version = {next}`.",
            upgrade.version
        )));
    }
    if upgrade.from != newest {
        return Err(refused(format!(
            "The newest version in use is {newest}, the bundle starts from {}; write `from = {newest}`.",
            upgrade.from
        )));
    }
    Ok(Revision(1))
}

/// Numbers of a history that was lost are not given to other contents: nodes run them.
fn nobody_runs_another(
    draft: &Draft<'_>,
    publication: &Publication,
    revision: Revision,
) -> Result<(), RequestRefusal> {
    let version = publication.upgrade.version;
    let other = |fact: &&std::sync::Arc<model::api::NodeFact>| {
        let mut holds = fact.report.holds.iter();
        holds.any(|held| {
            held.in_use
                && (held.version, held.revision) == (version, revision)
                && held.manifest_sha256 != publication.manifest_sha256
        })
    };
    let Some(fact) = draft.state.nodes.values().find(other) else {
        return Ok(());
    };
    let place = Place { version, revision };
    Err(refused(format!(
        "Node {} has another upgrade {place}, which this server has lost. Publish that one again first, from its folder (a copy is in versions/{place}/bundle of the node's data directory), then this one as the next version or revision.",
        fact.name
    )))
}

fn taken(there: &UpgradeSummary) -> RequestRefusal {
    let version = there.version;
    refused(if there.withdrawn {
        format!(
            "Version {version} was withdrawn and its number is never reused; publish the next number."
        )
    } else {
        format!(
            "Version {version} is published with other contents; publish a revision (`--revise`), or the next number."
        )
    })
}

fn revises(
    draft: &Draft<'_>,
    upgrade: &Upgrade,
    there: &UpgradeSummary,
) -> Result<Revision, RequestRefusal> {
    let version = there.version;
    if there.withdrawn {
        return Err(refused(format!(
            "Version {version} is withdrawn; publish the next number."
        )));
    }
    if version <= draft.state.retiring_through {
        return Err(refused(format!(
            "Version {version} is retired; there is nothing to revise."
        )));
    }
    if upgrade.from != there.from {
        return Err(refused(format!(
            "Version {version} starts from {}; a revision keeps that: write `from = {}`.",
            there.from, there.from
        )));
    }
    Ok(Revision(there.revision.0 + 1))
}

/// What nodes and other versions rely on stays as it is.
fn same_interfaces(draft: &Draft<'_>, upgrade: &Upgrade) -> Result<(), RequestRefusal> {
    let old = draft.state.newest_revision(upgrade.version);
    let differences = old
        .map(|old| upgrade.differences_from(&old.upgrade))
        .unwrap_or_default();
    if differences.is_empty() {
        return Ok(());
    }
    let differences: Vec<String> = differences.iter().map(ToString::to_string).collect();
    Err(refused(format!("{}.", super::some_of(&differences))))
}

/// Nodes must find their class in the new version.
fn has_room_for_nodes(draft: &Draft<'_>, history: &History) -> Result<(), RequestRefusal> {
    let scopes: Vec<_> = draft.state.nodes.values().map(|fact| scope(fact)).collect();
    let problems: Vec<String> = history
        .check_nodes(&scopes)
        .iter()
        .map(|error| with_cause(error))
        .collect();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(refused(format!(
            "No class of this upgrade takes these nodes: {}. Correct the filters, or forget the nodes.",
            super::some_of(&problems)
        )))
    }
}

/// An error with its causes in one line.
fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", with_cause(cause)),
        None => error.to_string(),
    }
}

fn refused(detail: String) -> RequestRefusal {
    refuse(Kind::PUBLISH_REFUSED, detail)
}

//! The history that is planned with: what is published, earlier folders, and the upgrade in question on top.

use super::fleet::{SavedFleet, SavedUpgrade};
use super::shown;
use crate::commands::check::prove;
use crate::failure::{failure, refusal};
use model::api::UpgradeSummary;
use model::bundle::{Upgrade, UpgradeFile};
use model::ids::{Revision, Version};
use model::release::{History, HistoryError};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// The history, and the upgrades as they are listed with the one in question.
pub(super) fn of(
    saved: &SavedFleet,
    after: &[PathBuf],
    upgrade: Option<&Upgrade>,
) -> anyhow::Result<(History, Vec<UpgradeSummary>)> {
    let mut upgrades: BTreeMap<Version, Upgrade> = BTreeMap::new();
    let mut withdrawn = BTreeSet::new();
    for one in &saved.upgrades {
        match published(one)? {
            Some(published) => {
                upgrades.insert(one.summary.version, published);
            }
            None => {
                withdrawn.insert(one.summary.version);
            }
        }
    }
    for directory in after {
        match prove(directory)? {
            Ok(proved) => {
                let upgrade = proved.checked.upgrade;
                upgrades.entry(upgrade.version).or_insert(upgrade);
            }
            Err(errors) => {
                return Err(refusal(
                    format!("{} is not sound: {}", shown(directory), errors[0]),
                    format!(
                        "mend it first: `upstart check {}` says everything",
                        shown(directory)
                    ),
                ));
            }
        }
    }
    let listed = saved.upgrades.iter().map(|one| one.summary.clone());
    let mut listed: Vec<UpgradeSummary> = listed.collect();
    if let Some(upgrade) = upgrade {
        let version = upgrade.version;
        let before = upgrades.insert(version, upgrade.clone());
        // What is published under that number already is revised.
        let is_revised = before.is_some_and(|before| before != *upgrade);
        for summary in listed
            .iter_mut()
            .filter(|summary| summary.version == version)
        {
            summary.revision = Revision(summary.revision.0 + u32::from(is_revised));
        }
        // What comes after it is not planned.
        upgrades.retain(|other, _| *other <= version);
    }
    let all = upgrades.into_values().map(Arc::new);
    let history = History::new(all, &withdrawn).map_err(|error| {
        let is_missing = matches!(
            error,
            HistoryError::Gap { .. } | HistoryError::WrongFrom { .. }
        );
        refusal(
            format!("the upgrades do not follow on each other: {error}"),
            if is_missing {
                "give the folder of every earlier upgrade that is not published: `--after v1`"
            } else {
                "mend that upgrade's `upgrade.toml`, as the message says"
            },
        )
    })?;
    Ok((history, listed))
}

/// An upgrade that is published; none where it was withdrawn.
fn published(one: &SavedUpgrade) -> anyhow::Result<Option<Upgrade>> {
    let Some(bundle) = &one.published else {
        return Ok(None);
    };
    let read = UpgradeFile::parse(&bundle.upgrade_toml)
        .and_then(|file| file.prove(&bundle.manifest.listing()));
    read.map(Some).map_err(|errors| {
        let first = errors.first().map(ToString::to_string).unwrap_or_default();
        failure(
            format!("version {} is not understood: {first}", one.summary.version),
            "plan with the version of `upstart` that has published it",
        )
    })
}

//! What the database has published, beside what is signed.

use crate::state::{PublishedRevision, SystemState};
use ::repository::{Catalogue, SignedManifest, SignedUpgrade};
use model::api::UpgradeSummary;
use model::ids::{Place, Revision, Version};
use model::manifest::Digest;
use std::collections::BTreeMap;

/// What the database has published, as far as it must agree with what is signed.
#[derive(Clone, Debug)]
pub(crate) struct PublishedUpgrades {
    /// The manifests' digests.
    revisions: BTreeMap<Place, String>,
    /// Each upgrade's newest revision, withdrawn ones included.
    summaries: Vec<UpgradeSummary>,
}

impl PublishedUpgrades {
    /// What this state has published.
    pub(crate) fn of(state: &SystemState) -> Self {
        let place = |(&(version, revision), it): (&(Version, Revision), &PublishedRevision)| {
            let digest = it.summary.manifest_sha256.clone();
            (Place { version, revision }, digest)
        };
        Self {
            revisions: state.revisions.iter().map(place).collect(),
            summaries: state.summaries(),
        }
    }

    /// Every revision's place and manifest.
    pub(crate) fn manifests(&self) -> Vec<(Place, Digest)> {
        let revisions = self.revisions.iter();
        let manifest = |(place, sha256): (&Place, &String)| Some((*place, sha256.parse().ok()?));
        revisions.filter_map(manifest).collect()
    }

    /// An upgrade's newest revision.
    pub(super) fn summary(&self, version: Version) -> Option<&UpgradeSummary> {
        let mut all = self.summaries.iter();
        all.find(|summary| summary.version == version)
    }

    /// Whether everything that is signed is published, as it is signed.
    pub(super) fn has_all_of(&self, catalogue: &Catalogue) -> bool {
        let known = |(place, signed): (Place, SignedManifest)| {
            self.revisions.get(&place) == Some(&signed.sha256.to_string())
        };
        let stands = |(version, upgrade): (&Version, &SignedUpgrade)| {
            let there = self.summary(*version);
            there.is_some_and(|there| there.withdrawn == upgrade.withdrawn)
        };
        catalogue.manifests().all(known) && catalogue.upgrades.iter().all(stands)
    }
}

//! Staging: everything that a version needs is fetched, verified and unpacked before anything is served by it.

use super::adapters::{AdapterError, AdapterLoader};
use super::bundles::{Bundles, UnusableBundle};
use super::catalog_updates::CatalogUpdate;
use super::surroundings::{NothingHeard, Surroundings};
use crate::error_chain::chain;
use crate::fetch::{self, FetchError, FetchedBundle, Fetcher, HeldForms, WantedFile};
use model::bundle::SoftwareKind;
use model::ids::Version;
use model::machine::{Place, ProbeMode, StageOutcome, StageRequest, Step};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::task::JoinError;

/// What staging needs of the node.
pub(super) struct Staging {
    pub(super) surroundings: Arc<Surroundings>,
    pub(super) bundles: Arc<Bundles>,
    pub(super) adapters: Arc<AdapterLoader>,
}

/// Why a version is not staged.
#[derive(Debug, thiserror::Error)]
enum StageError {
    /// Nothing is known of it yet.
    #[error(transparent)]
    NothingHeard(#[from] NothingHeard),
    /// Another revision has come.
    #[error("revision {place} is not what the repository lists any more")]
    Outdated {
        /// Which was asked for.
        place: Place,
    },
    /// It is not there.
    #[error("version {version} is not in the repository")]
    Unpublished {
        /// Which.
        version: Version,
    },
    /// Its files are not there.
    #[error("version {place} is not known")]
    Unknown {
        /// Which.
        place: Place,
    },
    /// The node has no place in it.
    #[error("{0}")]
    Unfit(String),
    /// Nobody knows what the node is in it.
    #[error("the node's class is not known")]
    NoClass,
    /// Its bundle is not what it should be.
    #[error(transparent)]
    Bundle(#[from] UnusableBundle),
    /// Its files cannot be had, or not laid out.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Its adapters cannot be used.
    #[error(transparent)]
    Adapters(#[from] AdapterError),
    /// Unpacking it broke.
    #[error("{0}")]
    Broken(JoinError),
}

impl Staging {
    /// Stages one version, and whatever of older versions it stands on.
    pub(super) async fn run(&self, request: StageRequest) -> StageOutcome {
        let result = self.stage(request).await;
        self.surroundings.progress.clear();
        match result {
            Ok(step) => StageOutcome::Staged(step),
            Err(error) => StageOutcome::Failed {
                reason: chain(&error),
            },
        }
    }

    async fn stage(&self, request: StageRequest) -> Result<Step, StageError> {
        let update = self.surroundings.catalog_update()?;
        let place = Place {
            version: request.version,
            revision: request.revision,
        };
        if update.catalog.newest_place(request.version) != Some(place) {
            return Err(StageError::Outdated { place });
        }
        fits(&update, request.version)?;
        for version in needed(&update, request) {
            let place = update
                .catalog
                .newest_place(version)
                .ok_or(StageError::Unpublished { version })?;
            self.bring(&update, place).await?;
        }
        let mut step = step(&update, place)?;
        if let Some(running) = request.running.filter(|it| it.version == place.version) {
            step.as_running = self.bundles.runs_as(place, running)?;
        }
        Ok(step)
    }

    /// Fetches and lays out one bundle; what is there already is kept.
    async fn bring(&self, update: &CatalogUpdate, place: Place) -> Result<(), StageError> {
        let published = update
            .upgrades
            .get(&place.version)
            .ok_or(StageError::Unknown { place })?;
        let layout = &self.surroundings.layout;
        let bundle = layout.bundle(place);
        if !bundle.is_dir() {
            self.bundles.keep_manifest(place, &published.manifest)?;
            let fetcher = Fetcher::new(self.surroundings.client.clone(), layout.artifacts())
                .with_chunks_of(&published.manifest)
                .for_bundle(FetchedBundle {
                    node: self.surroundings.identity.node,
                    manifest_sha256: published.manifest.digest().to_string(),
                });
            let shown = self.surroundings.clone();
            let progress = move |done: u64, total: u64| {
                let what = format!("fetch version {place}");
                shown.progress.show_bytes(what, done, total);
            };
            (fetcher.fetch(&WantedFile::all(&published.manifest), progress)).await?;
            let artifacts = layout.artifacts();
            let forms = HeldForms::of(&published.manifest, &bundle, &artifacts);
            fetch::assemble(&artifacts, &forms, &published.manifest, &bundle)?;
        } else {
            self.bundles.check_bundle(place).await?;
        }
        let Some(class) = update.catalog.class_at(place.version) else {
            return Ok(());
        };
        if class.provided_by != place.version {
            return Ok(());
        }
        if let Some(source) = &class.definition.software.source {
            let gzip = source.kind == SoftwareKind::TarGz;
            let target = layout.unpacked(place, &source.path);
            if source.kind != SoftwareKind::Folder && !target.is_dir() {
                let archive = bundle.join(&source.path);
                // What is in it may lie in its place.
                let gzip = gzip && fetch::is_gzip(&archive);
                tokio::task::spawn_blocking(move || fetch::unpack(&archive, gzip, &target))
                    .await
                    .map_err(StageError::Broken)??;
            }
        }
        let what = format!("prepare the adapters of version {place}");
        self.surroundings.progress.show(what);
        let files = published.upgrade.adapter_files();
        let files = files.into_iter().map(str::to_owned).collect();
        Ok(self.adapters.prepare(place, files).await?)
    }
}

/// The node has a place in the version: its class is one of those that a split leaves, its ports can be computed.
fn fits(update: &CatalogUpdate, version: Version) -> Result<(), StageError> {
    if let Some(problem) = update.catalog.problem(version) {
        return Err(StageError::Unfit(problem.to_owned()));
    }
    let problem = update
        .catalog
        .lineage()
        .and_then(|lineage| lineage.problem());
    match problem {
        Some((broken, error)) if version >= *broken => Err(StageError::Unfit(error.to_string())),
        _ => Ok(()),
    }
}

/// The versions whose bundles must lie here: the version itself; the one that provides the files of a class that it only
/// renumbers; and, for a node that joins, those whose adapters callers at older versions need.
fn needed(update: &CatalogUpdate, request: StageRequest) -> BTreeSet<Version> {
    let catalog = &update.catalog;
    let mut needed = BTreeSet::from([request.version]);
    needed.extend(
        catalog
            .class_at(request.version)
            .map(|class| class.provided_by),
    );
    if request.join {
        let retired = update
            .view
            .retired_through
            .max(update.view.retiring_through);
        let older = catalog.history().versions();
        needed.extend(older.filter(|version| *version > retired && *version < request.version));
    }
    needed
}

fn step(update: &CatalogUpdate, place: Place) -> Result<Step, StageError> {
    let catalog = &update.catalog;
    let release = catalog
        .history()
        .release(place.version)
        .ok_or(StageError::Unpublished {
            version: place.version,
        })?;
    let work = catalog
        .lineage()
        .map(|lineage| lineage.work(place.version))
        .ok_or(StageError::NoClass)?;
    let probe = catalog
        .class_at(place.version)
        .map_or(ProbeMode::Alone, |class| {
            class.definition.lifecycle.probe.mode
        });
    let provided_by = catalog
        .class_at(place.version)
        .map(|class| class.provided_by);
    let bundle = match provided_by.filter(|version| *version != place.version) {
        Some(older) => {
            (catalog.newest_place(older)).ok_or(StageError::Unpublished { version: older })?
        }
        None => place,
    };
    Ok(Step {
        version: place.version,
        revision: place.revision,
        from: release.from,
        work,
        probe,
        bundle,
        as_running: false,
    })
}

//! Staging: everything that a version needs is fetched, verified and unpacked before anything is served by it.

use super::Node;
use super::catalog_updates::CatalogUpdate;
use crate::error_chain::chain;
use crate::fetch::{self, Fetcher, Wanted};
use model::api::Progress;
use model::bundle::SoftwareKind;
use model::ids::Version;
use model::machine::{Place, ProbeMode, StageOutcome, StageRequest, Step};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Stages one version, and whatever of older versions it stands on.
pub(super) async fn stage(node: &Arc<Node>, request: StageRequest) -> StageOutcome {
    let result = run(node, request).await;
    node.set_progress(None);
    match result {
        Ok(step) => StageOutcome::Staged(step),
        Err(reason) => StageOutcome::Failed { reason },
    }
}

async fn run(node: &Arc<Node>, request: StageRequest) -> Result<Step, String> {
    let update = node.catalog_updates.borrow().clone();
    let update = update.ok_or("nothing has been heard from the server since the agent started")?;
    let place = Place {
        version: request.version,
        revision: request.revision,
    };
    if update.catalog.newest_place(request.version) != Some(place) {
        return Err(format!(
            "revision {place} is not what the repository lists any more"
        ));
    }
    fits(&update, request.version)?;
    for version in needed(&update, request) {
        let place = update
            .catalog
            .newest_place(version)
            .ok_or_else(|| format!("version {version} is not in the repository"))?;
        bring(node, &update, place).await?;
    }
    let mut step = step(&update, place)?;
    if let Some(running) = request.running.filter(|it| it.version == place.version) {
        step.as_running = node.runs_as(place, running)?;
    }
    Ok(step)
}

/// The node has a place in the version: its class is one of those that a split leaves, its ports can be computed.
fn fits(update: &CatalogUpdate, version: Version) -> Result<(), String> {
    if let Some(problem) = update.catalog.problem(version) {
        return Err(problem.to_owned());
    }
    let problem = update
        .catalog
        .lineage()
        .and_then(|lineage| lineage.problem());
    match problem {
        Some((broken, error)) if version >= *broken => Err(error.to_string()),
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

/// Fetches and lays out one bundle; what is there already is kept.
async fn bring(node: &Arc<Node>, update: &CatalogUpdate, place: Place) -> Result<(), String> {
    let published = update
        .upgrades
        .get(&place.version)
        .ok_or_else(|| format!("version {place} is not known"))?;
    let bundle = node.layout.bundle(place);
    if !bundle.is_dir() {
        super::revisions::keep_manifest(&node.layout, place, &published.manifest)?;
        let fetcher = Fetcher::new(node.client.clone(), node.layout.artifacts());
        let shown = node.clone();
        let progress = move |done: u64, total: u64| {
            shown.set_progress(Some(Progress {
                what: format!("fetch version {place}"),
                done,
                total: Some(total),
                unit: "bytes".to_owned(),
            }));
        };
        (fetcher
            .fetch(&Wanted::all(&published.manifest), progress)
            .await)
            .map_err(|error| chain(&error))?;
        fetch::assemble(&node.layout.artifacts(), &published.manifest, &bundle)
            .map_err(|error| chain(&error))?;
    } else {
        node.check_bundle(place).await?;
    }
    let Some(class) = update.catalog.class_at(place.version) else {
        return Ok(());
    };
    if class.provided_by != place.version {
        return Ok(());
    }
    if let Some(source) = &class.definition.software.source {
        let gzip = source.kind == SoftwareKind::TarGz;
        let target = node.layout.unpacked(place, &source.path);
        if source.kind != SoftwareKind::Folder && !target.is_dir() {
            let archive = bundle.join(&source.path);
            tokio::task::spawn_blocking(move || fetch::unpack(&archive, gzip, &target))
                .await
                .map_err(|error| error.to_string())?
                .map_err(|error| chain(&error))?;
        }
    }
    node.set_progress(Some(Progress {
        what: format!("prepare the adapters of version {place}"),
        done: 0,
        total: None,
        unit: String::new(),
    }));
    let files = published.upgrade.adapter_files();
    let files = files.into_iter().map(str::to_owned).collect();
    super::adapters::prepare(node, place, files).await
}

fn step(update: &CatalogUpdate, place: Place) -> Result<Step, String> {
    let catalog = &update.catalog;
    let release = catalog
        .history()
        .release(place.version)
        .ok_or_else(|| format!("version {} is not in the repository", place.version))?;
    let work = catalog
        .lineage()
        .map(|lineage| lineage.work(place.version))
        .ok_or("the node's class is not known")?;
    let probe = catalog
        .class_at(place.version)
        .map_or(ProbeMode::Alone, |class| {
            class.definition.lifecycle.probe.mode
        });
    let provided_by = catalog
        .class_at(place.version)
        .map(|class| class.provided_by);
    let bundle = match provided_by.filter(|version| *version != place.version) {
        Some(older) => (catalog.newest_place(older))
            .ok_or_else(|| format!("version {older} is not in the repository"))?,
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

//! Bundles are proved from their artifacts: what is published is what was checked.

use super::RepositoryFolder;
use crate::problem::{Kind, RequestRefusal, refuse};
use model::bundle::folder::UPGRADE_FILE_BYTES_MAX;
use model::bundle::{BundleError, Upgrade, UpgradeFile};
use model::manifest::{Manifest, ManifestError, UPGRADE_FILE};
use std::sync::Arc;

/// How many missing artifacts a refusal names.
const MISSING_SHOWN: usize = 20;

/// How many mistakes a refusal names.
const MISTAKES_SHOWN: usize = 20;

/// Reads the manifest, checks that all artifacts are there with their sizes, and proves the bundle.
pub(crate) async fn prove(
    repository: &RepositoryFolder,
    manifest: &str,
) -> Result<Arc<Upgrade>, RequestRefusal> {
    let manifest = parse(manifest)?;
    artifacts_are_there(repository, &manifest).await?;
    upgrade(repository, &manifest, false).await
}

/// Proves a bundle that was published before; of its artifacts only `upgrade.toml` must still be there.
pub(crate) async fn prove_again(
    repository: &RepositoryFolder,
    manifest: &str,
) -> Result<Arc<Upgrade>, RequestRefusal> {
    upgrade(repository, &parse(manifest)?, true).await
}

fn parse(manifest: &str) -> Result<Manifest, RequestRefusal> {
    Manifest::parse(manifest).map_err(|error| match error {
        ManifestError::TooLarge { .. } => refuse(Kind::TOO_LARGE, format!("{error}.")),
        error => refuse(Kind::BUNDLE_REFUSED, format!("{error}.")),
    })
}

async fn upgrade(
    repository: &RepositoryFolder,
    manifest: &Manifest,
    again: bool,
) -> Result<Arc<Upgrade>, RequestRefusal> {
    let upgrade_file = manifest
        .file(UPGRADE_FILE)
        .ok_or_else(|| bundle_refused("it has no upgrade.toml"))?;
    if upgrade_file.size > UPGRADE_FILE_BYTES_MAX {
        return Err(bundle_refused(&format!(
            "upgrade.toml is larger than {UPGRADE_FILE_BYTES_MAX} bytes"
        )));
    }
    let text = repository.text(upgrade_file.sha256).await?;
    let mistakes = |errors: Vec<BundleError>| {
        let shown = errors.iter().take(MISTAKES_SHOWN).map(ToString::to_string);
        bundle_refused(&shown.collect::<Vec<_>>().join("\n"))
    };
    let file = UpgradeFile::parse(&text).map_err(mistakes)?;
    let files = manifest.listing();
    let proved = if again {
        file.prove_again(&files)
    } else {
        file.prove(&files)
    };
    let upgrade = proved.map_err(mistakes)?;
    if upgrade.manifest(&manifest.listing()) != *manifest {
        return Err(bundle_refused(
            "the manifest and upgrade.toml name different systems, versions or descriptions",
        ));
    }
    Ok(Arc::new(upgrade))
}

async fn artifacts_are_there(
    repository: &RepositoryFolder,
    manifest: &Manifest,
) -> Result<(), RequestRefusal> {
    let mut missing = Vec::new();
    for file in &manifest.files {
        match repository.size(file.sha256).await? {
            Some(size) if size == file.size => {}
            Some(size) => {
                return Err(bundle_refused(&format!(
                    "{} has {size} bytes, the manifest says {}",
                    file.path, file.size
                )));
            }
            None => missing.push(format!("{} ({})", file.path, file.sha256)),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let shown = missing
        .iter()
        .take(MISSING_SHOWN)
        .cloned()
        .collect::<Vec<_>>();
    Err(refuse(
        Kind::ARTIFACTS_MISSING,
        format!(
            "{} files are not uploaded: {}; PUT each under /v1/artifacts/SHA256, then publish again.",
            missing.len(),
            shown.join(", ")
        ),
    ))
}

fn bundle_refused(problem: &str) -> RequestRefusal {
    refuse(
        Kind::BUNDLE_REFUSED,
        format!("{problem}; mend it, and try `upstart check DIR` before publishing."),
    )
}

//! Bundles are proved from their artifacts: what is published is what was checked.

use super::{RepositoryFolder, RepositoryTexts};
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::udb::KeptText;
use model::bundle::folder::UPGRADE_FILE_BYTES_MAX;
use model::bundle::{BundleError, Upgrade, UpgradeFile};
use model::manifest::{Digest, Manifest, ManifestError, UPGRADE_FILE};
use std::sync::Arc;

/// How many missing artifacts a refusal names.
const MISSING_SHOWN: usize = 20;

/// How many mistakes a refusal names.
const MISTAKES_SHOWN: usize = 20;

/// A bundle that was proved, and the texts from which it can be proved again.
#[derive(Clone, Debug)]
pub(crate) struct ProvedBundle {
    pub(crate) upgrade: Arc<Upgrade>,
    /// The manifest and `upgrade.toml`.
    pub(crate) texts: Vec<KeptText>,
}

/// Reads the manifest, checks that all artifacts are there with their sizes, and proves the bundle.
pub(crate) async fn prove(
    repository: &RepositoryFolder,
    text: &str,
) -> Result<ProvedBundle, RequestRefusal> {
    let manifest = parse(text)?;
    artifacts_are_there(repository, &manifest).await?;
    let upgrade_file = repository.text(upgrade_file(&manifest)?).await?;
    let upgrade = upgrade(&manifest, &upgrade_file, false)?;
    Ok(proved(upgrade, text, upgrade_file))
}

/// Proves a bundle that was published before, from its texts alone.
pub(crate) async fn prove_again(
    manifest: Digest,
    texts: &RepositoryTexts<'_>,
) -> Result<ProvedBundle, RequestRefusal> {
    let text = texts.nearest(manifest, "its manifest").await?;
    let manifest = parse(&text)?;
    let upgrade_file = upgrade_file(&manifest)?;
    let upgrade_file = texts.nearest(upgrade_file, UPGRADE_FILE).await?;
    let upgrade = upgrade(&manifest, &upgrade_file, true)?;
    Ok(proved(upgrade, &text, upgrade_file))
}

fn proved(upgrade: Arc<Upgrade>, manifest: &str, upgrade_file: String) -> ProvedBundle {
    let kept = |text: String| KeptText {
        sha256: Digest::of(text.as_bytes()).to_string(),
        text,
    };
    ProvedBundle {
        upgrade,
        texts: vec![kept(manifest.to_owned()), kept(upgrade_file)],
    }
}

fn parse(manifest: &str) -> Result<Manifest, RequestRefusal> {
    Manifest::parse(manifest).map_err(|error| match error {
        ManifestError::TooLarge { .. } => refuse(Kind::TOO_LARGE, format!("{error}.")),
        error => refuse(Kind::BUNDLE_REFUSED, format!("{error}.")),
    })
}

/// The digest of a manifest's `upgrade.toml`.
fn upgrade_file(manifest: &Manifest) -> Result<Digest, RequestRefusal> {
    let upgrade_file = manifest
        .file(UPGRADE_FILE)
        .ok_or_else(|| bundle_refused("it has no upgrade.toml"))?;
    if upgrade_file.size > UPGRADE_FILE_BYTES_MAX {
        return Err(bundle_refused(&format!(
            "upgrade.toml is larger than {UPGRADE_FILE_BYTES_MAX} bytes"
        )));
    }
    Ok(upgrade_file.sha256)
}

fn upgrade(manifest: &Manifest, text: &str, again: bool) -> Result<Arc<Upgrade>, RequestRefusal> {
    let mistakes = |errors: Vec<BundleError>| {
        let shown = errors.iter().take(MISTAKES_SHOWN).map(ToString::to_string);
        bundle_refused(&shown.collect::<Vec<_>>().join("\n"))
    };
    let file = UpgradeFile::parse(text).map_err(mistakes)?;
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

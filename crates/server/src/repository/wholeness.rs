//! Whether the repository has every file of what is published: one that is gone stops no server, and is told until it is back.

use super::{RepositoryFolder, RepositoryTexts};
use crate::problem::RequestRefusal;
use model::ids::Place;
use model::manifest::{Digest, Manifest, UPGRADE_FILE};
use std::collections::BTreeSet;

/// A file of a published version that is missing or damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DamagedFile {
    /// Whose.
    place: Place,
    /// Its path in the bundle.
    path: String,
    digest: Digest,
    /// How long it should be; a text is read as a whole.
    size: Option<u64>,
}

/// The files of these upgrades, by place and manifest, that are not as they were published; each content once. Texts are put back where the
/// database has them.
///
/// # Errors
/// The place that they lie at cannot be used, so that nothing is known of them.
pub(crate) async fn damaged(
    texts: &RepositoryTexts<'_>,
    published: &[(Place, Digest)],
) -> Result<Vec<DamagedFile>, RequestRefusal> {
    let mut damaged = Vec::new();
    let mut seen = BTreeSet::new();
    for &(place, digest) in published {
        let file = |path: &str, digest, size| DamagedFile {
            place,
            path: path.to_owned(),
            digest,
            size,
        };
        if texts.repository.elsewhere().is_some() {
            texts.repository.size(digest).await?;
        }
        let manifest = texts.text(digest, "a manifest").await;
        let Some(manifest) = manifest.ok().and_then(|text| Manifest::parse(&text).ok()) else {
            damaged.push(file("manifest.json", digest, None));
            continue;
        };
        for listed in manifest.files {
            if !seen.insert(listed.sha256) {
                continue;
            }
            let is_text = listed.path == UPGRADE_FILE;
            if is_text {
                // What cannot be put back is found missing below.
                let _ = texts.text(listed.sha256, UPGRADE_FILE).await;
            }
            let size = (!is_text).then_some(listed.size);
            let file = file(&listed.path, listed.sha256, size);
            if file.problem(texts.repository).await?.is_some() {
                damaged.push(file);
            }
        }
    }
    Ok(damaged)
}

impl DamagedFile {
    /// What is the matter with it now, and what to do; none once it is back.
    ///
    /// # Errors
    /// The place that it should lie at cannot be used, so that nothing is known of it.
    pub(crate) async fn problem(
        &self,
        repository: &RepositoryFolder,
    ) -> Result<Option<String>, RequestRefusal> {
        let Self { place, path, .. } = self;
        let there = match repository.size(self.digest).await {
            Err(refusal) if repository.elsewhere().is_some() => return Err(refusal),
            there => there,
        };
        let what = match (self.size, there) {
            (None, _) => match repository.text(self.digest).await {
                Ok(_) => return Ok(None),
                Err(_) => "is missing or damaged".to_owned(),
            },
            (Some(size), Ok(Some(found))) if found == size => return Ok(None),
            (Some(size), Ok(Some(found))) => format!("has {found} bytes in the place of {size}"),
            (Some(_), Ok(None)) => "is missing".to_owned(),
            (Some(_), Err(refusal)) => refusal.detail,
        };
        Ok(Some(format!(
            "{path} of version {place} {what}: publish the same folder again (`upstart publish DIR`; remove a damaged file first), or put the file back as {} from a backup, or from a node that has it",
            repository.artifact(self.digest)
        )))
    }
}

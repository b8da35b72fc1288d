//! Whether the repository has every file of what is published: one that is gone stops no server, and is told until it is back.

use super::{RepositoryFolder, RepositoryTexts};
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
pub(crate) async fn damaged(
    texts: &RepositoryTexts<'_>,
    published: &[(Place, Digest)],
) -> Vec<DamagedFile> {
    let mut damaged = Vec::new();
    let mut seen = BTreeSet::new();
    for &(place, digest) in published {
        let file = |path: &str, digest, size| DamagedFile {
            place,
            path: path.to_owned(),
            digest,
            size,
        };
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
            if file.problem(texts.repository).await.is_some() {
                damaged.push(file);
            }
        }
    }
    damaged
}

impl DamagedFile {
    /// What is the matter with it now, and what to do; none once it is back.
    pub(crate) async fn problem(&self, repository: &RepositoryFolder) -> Option<String> {
        let Self { place, path, .. } = self;
        let what = match self.size {
            None => match repository.text(self.digest).await {
                Ok(_) => return None,
                Err(_) => "is missing or damaged".to_owned(),
            },
            Some(size) => match repository.size(self.digest).await {
                Ok(Some(found)) if found == size => return None,
                Ok(Some(found)) => format!("has {found} bytes in the place of {size}"),
                Ok(None) => "is missing".to_owned(),
                Err(refusal) => refusal.detail,
            },
        };
        Some(format!(
            "{path} of version {place} {what}: publish the same folder again (`upstart publish DIR`; remove a damaged file first), or put the file back as {} from a backup, or from a node that has it",
            repository.artifact(self.digest).display()
        ))
    }
}

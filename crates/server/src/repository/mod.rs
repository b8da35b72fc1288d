//! The repository on disk: artifacts by digest, and what publishers have signed; any web server can serve the folder.

mod download;
mod expiry;
mod placing;
mod proof;
mod published;
mod signed;
mod texts;
mod upload;
mod wholeness;

pub(crate) use download::{Range, range};
pub(crate) use expiry::ExpiryWarnings;
pub(crate) use proof::{ProvedBundle, prove, prove_again};
pub(crate) use published::PublishedUpgrades;
pub(crate) use signed::{SignedChange, SignedRepository};
pub(crate) use texts::RepositoryTexts;
pub(crate) use wholeness::{DamagedFile, damaged};

use crate::problem::{Kind, RequestRefusal, refuse};
use model::ids::Place;
use model::manifest::Digest;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::fs;

/// An upload into a shared repository that was not written for so long is nobody's: one that stands still is given up much sooner.
const UPLOAD_AGE_MAX: Duration = Duration::from_secs(60 * 60);

/// The repository's folder.
#[derive(Clone, Debug)]
pub(crate) struct RepositoryFolder {
    root: PathBuf,
    artifact_bytes_max: u64,
}

impl RepositoryFolder {
    /// Opens, or makes, the repository in this folder; what an interrupted upload has left is removed.
    pub(crate) async fn open(root: PathBuf, artifact_bytes_max: u64) -> io::Result<Self> {
        let repository = Self::at(root, artifact_bytes_max);
        match fs::remove_dir_all(repository.uploads()).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        repository.made().await
    }

    /// The same with a folder that other servers use, too: uploads may be under way, but none stands still for long.
    pub(crate) async fn open_shared(root: PathBuf, artifact_bytes_max: u64) -> io::Result<Self> {
        let repository = Self::at(root, artifact_bytes_max).made().await?;
        let mut uploads = fs::read_dir(repository.uploads()).await?;
        while let Some(upload) = uploads.next_entry().await? {
            let written = upload.metadata().await.and_then(|about| about.modified());
            let age = written.ok().and_then(|written| written.elapsed().ok());
            if age.is_some_and(|age| age > UPLOAD_AGE_MAX) {
                // Another server may have removed it, too.
                let _ = fs::remove_file(upload.path()).await;
            }
        }
        Ok(repository)
    }

    fn at(root: PathBuf, artifact_bytes_max: u64) -> Self {
        Self {
            root,
            artifact_bytes_max,
        }
    }

    async fn made(self) -> io::Result<Self> {
        fs::create_dir_all(self.uploads()).await?;
        fs::create_dir_all(self.root.join("artifacts")).await?;
        sync_folder(&self.root).await?;
        Ok(self)
    }

    fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    /// Where an artifact is, or would be.
    pub(crate) fn artifact(&self, digest: Digest) -> PathBuf {
        self.root.join("artifacts").join(digest.to_string())
    }

    /// An artifact's size; `None` when it is not there.
    pub(crate) async fn size(&self, digest: Digest) -> Result<Option<u64>, RequestRefusal> {
        match fs::metadata(self.artifact(digest)).await {
            Ok(found) => Ok(Some(found.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unusable(&error)),
        }
    }

    /// A small artifact as text, checked against its digest.
    pub(crate) async fn text(&self, digest: Digest) -> Result<String, RequestRefusal> {
        let text = fs::read_to_string(self.artifact(digest)).await;
        let text = text.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => refuse(
                Kind::REPOSITORY_UNAVAILABLE,
                format!(
                    "The artifact {digest} is missing: put it back as {}, from a backup or from a node that has it (`artifacts`, or `versions/N.R/bundle` of its data directory).",
                    self.artifact(digest).display()
                ),
            ),
            _ => unusable(&error),
        })?;
        if Digest::of(text.as_bytes()) == digest {
            return Ok(text);
        }
        let detail = format!(
            "The artifact {digest} is damaged on the server; remove it (repository/artifacts in the server's data directory) and publish the same folder again."
        );
        Err(refuse(Kind::REPOSITORY_UNAVAILABLE, detail))
    }

    /// Puts a manifest where clients of the signed repository look for it.
    pub(crate) async fn place_manifest(
        &self,
        place: Place,
        text: &str,
    ) -> Result<(), RequestRefusal> {
        let placed = placing::place_manifest(&self.root, place, text).await;
        placed.map_err(|error| unusable(&error))
    }
}

/// Makes names in a folder survive a power cut.
async fn sync_folder(folder: &Path) -> io::Result<()> {
    fs::File::open(folder).await?.sync_all().await
}

/// The repository's files cannot be used: full is another thing than broken.
pub(crate) fn unusable(error: &io::Error) -> RequestRefusal {
    tracing::error!(%error, "the repository's files cannot be used");
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => refuse(
            Kind::STORAGE_FULL,
            "The repository's disk is full; make room and upload again. Nothing was stored.",
        ),
        _ => refuse(
            Kind::REPOSITORY_UNAVAILABLE,
            format!(
                "The repository cannot be used ({error}); look at the server's log and ask again."
            ),
        ),
    }
}

//! The repository: artifacts by digest, and what publishers have signed. In a folder any web server can serve both.

mod artifacts;
mod download;
mod expiry;
mod placing;
mod proof;
mod published;
mod shared;
mod signed;
mod texts;
mod turn;
mod upload;
mod wholeness;

pub(crate) use artifacts::ArtifactsElsewhere;
pub use artifacts::ArtifactsError;
pub(crate) use download::{Range, range};
pub(crate) use expiry::ExpiryWarnings;
pub(crate) use proof::{ProvedBundle, prove, prove_again};
pub(crate) use published::PublishedUpgrades;
pub(crate) use shared::SharedDocuments;
pub(crate) use signed::{SignedChange, SignedRepository};
pub(crate) use texts::RepositoryTexts;
pub(crate) use wholeness::{DamagedFile, damaged};

use crate::problem::{Kind, RequestRefusal, refuse};
use artifacts::{ArtifactStore, DocumentStore, FolderArtifacts, StoredDocument};
use axum::body::Body;
use model::ids::Place;
use model::manifest::Digest;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::fs;

/// The repository: its folder, and its artifacts, which may lie elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct RepositoryFolder {
    root: PathBuf,
    artifacts: Arc<dyn ArtifactStore>,
    elsewhere: Option<Arc<dyn DocumentStore>>,
    artifact_bytes_max: u64,
}

impl RepositoryFolder {
    /// Opens, or makes, the repository in this folder, with its artifacts in it; what an interrupted upload has left is removed.
    pub(crate) async fn open(root: PathBuf, artifact_bytes_max: u64) -> io::Result<Self> {
        fs::create_dir_all(&root).await?;
        let artifacts = FolderArtifacts::open(&root).await?;
        Ok(Self::with(root, Arc::new(artifacts), artifact_bytes_max))
    }

    /// The same with a folder that other servers use, too.
    pub(crate) async fn open_shared(root: PathBuf, artifact_bytes_max: u64) -> io::Result<Self> {
        fs::create_dir_all(&root).await?;
        let artifacts = FolderArtifacts::open_shared(&root).await?;
        Ok(Self::with(root, Arc::new(artifacts), artifact_bytes_max))
    }

    /// Opens, or makes, the repository in this folder, with its artifacts there.
    pub(crate) async fn open_with(
        root: PathBuf,
        there: ArtifactsElsewhere,
        artifact_bytes_max: u64,
    ) -> io::Result<Self> {
        fs::create_dir_all(&root).await?;
        Ok(Self {
            elsewhere: Some(there.documents),
            ..Self::with(root, there.artifacts, artifact_bytes_max)
        })
    }

    /// Where documents lie beside the artifacts, if those lie elsewhere than in its folder.
    pub(crate) fn elsewhere(&self) -> Option<&Arc<dyn DocumentStore>> {
        self.elsewhere.as_ref()
    }

    fn with(root: PathBuf, artifacts: Arc<dyn ArtifactStore>, artifact_bytes_max: u64) -> Self {
        Self {
            root,
            artifacts,
            elsewhere: None,
            artifact_bytes_max,
        }
    }

    /// Where an artifact is, or would be, for people.
    pub(crate) fn artifact(&self, digest: Digest) -> String {
        self.artifacts.place(digest)
    }

    /// An artifact's size; `None` when it is not there.
    pub(crate) async fn size(&self, digest: Digest) -> Result<Option<u64>, RequestRefusal> {
        let size = self.artifacts.size(digest).await;
        size.map_err(|error| unusable(&error))
    }

    /// So many bytes of an artifact from this one on; `None` when it is not there.
    pub(crate) async fn read(
        &self,
        digest: Digest,
        first: u64,
        count: u64,
    ) -> Result<Option<Body>, RequestRefusal> {
        let read = self.artifacts.read(digest, first, count).await;
        read.map_err(|error| unusable(&error))
    }

    /// A small artifact as text, checked against its digest.
    pub(crate) async fn text(&self, digest: Digest) -> Result<String, RequestRefusal> {
        let bytes = self.artifacts.whole(digest).await;
        let bytes = bytes.map_err(|error| unusable(&error))?.ok_or_else(|| {
            refuse(
                Kind::REPOSITORY_UNAVAILABLE,
                format!(
                    "The artifact {digest} is missing: put it back as {}, from a backup or from a node that has it (`artifacts`, or `versions/N.R/bundle` of its data directory).",
                    self.artifact(digest)
                ),
            )
        })?;
        if Digest::of(&bytes) == digest
            && let Ok(text) = String::from_utf8(bytes)
        {
            return Ok(text);
        }
        let detail = format!(
            "The artifact {digest} is damaged on the server; remove it ({}) and publish the same folder again.",
            self.artifact(digest)
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

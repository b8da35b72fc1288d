//! Where artifacts lie: in a folder, as objects in S3, or as blobs in an OCI registry. Each is named by its digest, and is there as a
//! whole or not at all, whatever happens to whoever uploads it.

mod address;
mod error;
mod folder;
mod objects;
mod registry;
#[cfg(test)]
mod suite;
#[cfg(test)]
pub(super) mod tests;

pub use error::ArtifactsError;
pub(crate) use folder::FolderArtifacts;

use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use model::manifest::Digest;
use objects::ObjectArtifacts;
use registry::{RegistryArtifacts, is_registry};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Keeps artifacts. The bytes are the caller's business: it checks the digest before it gives an upload its name.
#[async_trait]
pub(crate) trait ArtifactStore: Debug + Send + Sync {
    /// An artifact's size in bytes; none when it is not there.
    async fn size(&self, digest: Digest) -> io::Result<Option<u64>>;

    /// So many bytes of an artifact from this one on, as they come; none when it is not there.
    async fn read(&self, digest: Digest, first: u64, count: u64) -> io::Result<Option<Body>>;

    /// A small artifact; none when it is not there.
    async fn whole(&self, digest: Digest) -> io::Result<Option<Vec<u8>>>;

    /// Begins an upload that nobody sees before it is finished; one that is dropped leaves nothing that could be seen.
    async fn begin(&self, digest: Digest) -> io::Result<Box<dyn ArtifactUpload>>;

    /// Where an artifact is, or would be, for people.
    fn place(&self, digest: Digest) -> String;
}

/// An artifact on its way.
#[async_trait]
pub(crate) trait ArtifactUpload: Send {
    /// Adds what comes next.
    async fn add(&mut self, data: Bytes) -> io::Result<()>;

    /// Makes it durable, then gives it its name; in the place of one that was there.
    async fn finish(self: Box<Self>) -> io::Result<()>;
}

/// Keeps documents beside artifacts, by name. Unlike artifacts they may change; one server at a time changes them.
#[async_trait]
pub(crate) trait DocumentStore: Debug + Send + Sync {
    /// What there is, each with what tells its content from another.
    async fn documents(&self) -> io::Result<BTreeMap<String, Option<String>>>;

    /// A document; none when it is not there.
    async fn document(&self, name: &str) -> io::Result<Option<StoredDocument>>;

    /// Has these documents there from now on: those with new content as it is, in this order; the others as they are. Those that are gone are
    /// removed; what else is not listed may stay. What tells the new contents from others.
    async fn replace(
        &self,
        documents: Vec<(String, Option<Vec<u8>>)>,
        gone: &[String],
    ) -> io::Result<BTreeMap<String, Option<String>>>;
}

/// A document as it is where all servers have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredDocument {
    pub(crate) bytes: Vec<u8>,
    /// How the store tells one content from another.
    pub(crate) tag: Option<String>,
}

/// Artifacts elsewhere than in the repository's folder, and the documents beside them.
#[derive(Clone, Debug)]
pub(crate) struct ArtifactsElsewhere {
    pub(crate) artifacts: Arc<dyn ArtifactStore>,
    pub(crate) documents: Arc<dyn DocumentStore>,
}

impl ArtifactsElsewhere {
    /// Those at `s3://BUCKET/PREFIX` or `oci://HOST/NAME`; uploads under way may be noted in this folder, which is this server's alone. What
    /// does not answer is waited for when it is asked: a server starts without it.
    ///
    /// # Errors
    /// The address, or what lets a server in there, is of no use, or the bucket is not there.
    pub(crate) async fn open(address: &str, notes: PathBuf) -> Result<Self, ArtifactsError> {
        if is_registry(address) {
            return Ok(Self::of(RegistryArtifacts::open(address).await?));
        }
        Ok(Self::of(ObjectArtifacts::open(address, notes).await?))
    }

    fn of<S: ArtifactStore + DocumentStore + Clone + 'static>(store: S) -> Self {
        Self {
            artifacts: Arc::new(store.clone()),
            documents: Arc::new(store),
        }
    }
}

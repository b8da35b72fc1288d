//! Where artifacts lie: in a folder, or as objects in S3. Each is named by its digest, and is there as a whole or not at all,
//! whatever happens to whoever uploads it.

mod address;
mod folder;
mod objects;
#[cfg(test)]
mod suite;
#[cfg(test)]
pub(super) mod tests;

pub use address::ObjectsError;
pub(crate) use folder::FolderArtifacts;
pub(crate) use objects::ObjectArtifacts;

use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use model::manifest::Digest;
use std::fmt::Debug;
use std::io;

/// Keeps artifacts. The bytes are the caller's business: it checks the digest before it gives an upload its name.
#[async_trait]
pub(crate) trait ArtifactStore: Debug + Send + Sync {
    /// An artifact's size in bytes; none when it is not there.
    async fn size(&self, digest: Digest) -> io::Result<Option<u64>>;

    /// So many bytes of an artifact from this one on, as they come; none when it is not there.
    async fn read(&self, digest: Digest, first: u64, count: u64) -> io::Result<Option<Body>>;

    /// A small artifact; none when it is not there.
    async fn whole(&self, digest: Digest) -> io::Result<Option<Vec<u8>>>;

    /// Begins an upload that nobody sees before it is finished; one that is dropped leaves nothing.
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

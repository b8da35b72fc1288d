//! Artifacts in a folder: streamed to a file of their own, made durable, and only then given their name.

use super::super::sync_folder;
use super::{ArtifactStore, ArtifactUpload};
use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use model::manifest::Digest;
use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio_util::io::ReaderStream;

/// An upload into a shared repository that was not written for so long is nobody's: one that stands still is given up much sooner.
const UPLOAD_AGE_MAX: Duration = Duration::from_secs(60 * 60);

/// How much is read from the disk at once.
const CHUNK_BYTES: usize = 64 << 10;

/// A folder of artifacts, in the repository's.
#[derive(Clone, Debug)]
pub(crate) struct FolderArtifacts {
    artifacts: PathBuf,
    uploads: PathBuf,
}

impl FolderArtifacts {
    /// Opens, or makes, the folders in this one; what an interrupted upload has left is removed.
    pub(crate) async fn open(root: &Path) -> io::Result<Self> {
        let store = Self::at(root);
        match fs::remove_dir_all(&store.uploads).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        store.made(root).await
    }

    /// The same with a folder that other servers use, too: uploads may be under way, but none stands still for long.
    pub(crate) async fn open_shared(root: &Path) -> io::Result<Self> {
        let store = Self::at(root).made(root).await?;
        let mut uploads = fs::read_dir(&store.uploads).await?;
        while let Some(upload) = uploads.next_entry().await? {
            let written = upload.metadata().await.and_then(|about| about.modified());
            let age = written.ok().and_then(|written| written.elapsed().ok());
            if age.is_some_and(|age| age > UPLOAD_AGE_MAX) {
                // Another server may have removed it, too.
                let _ = fs::remove_file(upload.path()).await;
            }
        }
        Ok(store)
    }

    fn at(root: &Path) -> Self {
        Self {
            artifacts: root.join("artifacts"),
            uploads: root.join("uploads"),
        }
    }

    async fn made(self, root: &Path) -> io::Result<Self> {
        fs::create_dir_all(&self.uploads).await?;
        fs::create_dir_all(&self.artifacts).await?;
        sync_folder(root).await?;
        Ok(self)
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.artifacts.join(digest.to_string())
    }
}

/// None in the place of a file that is not there.
fn there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[async_trait]
impl ArtifactStore for FolderArtifacts {
    async fn size(&self, digest: Digest) -> io::Result<Option<u64>> {
        let about = there(fs::metadata(self.path(digest)).await)?;
        Ok(about.map(|about| about.len()))
    }

    async fn read(&self, digest: Digest, first: u64, count: u64) -> io::Result<Option<Body>> {
        let Some(mut file) = there(File::open(self.path(digest)).await)? else {
            return Ok(None);
        };
        file.seek(SeekFrom::Start(first)).await?;
        let stream = ReaderStream::with_capacity(file.take(count), CHUNK_BYTES);
        Ok(Some(Body::from_stream(stream)))
    }

    async fn whole(&self, digest: Digest) -> io::Result<Option<Vec<u8>>> {
        there(fs::read(self.path(digest)).await)
    }

    async fn begin(&self, digest: Digest) -> io::Result<Box<dyn ArtifactUpload>> {
        let path = self
            .uploads
            .join(format!("{:032x}", rand::random::<u128>()));
        let file = File::create(&path).await?;
        Ok(Box::new(FileUpload {
            file,
            temporary: Temporary(Some(path)),
            artifacts: self.artifacts.clone(),
            place: self.path(digest),
        }))
    }

    fn place(&self, digest: Digest) -> String {
        self.path(digest).display().to_string()
    }
}

/// Removes an upload's file unless it has got its name.
struct Temporary(Option<PathBuf>);

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            // A file that stays is removed at the next start.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A file on its way to its name.
struct FileUpload {
    file: File,
    temporary: Temporary,
    artifacts: PathBuf,
    place: PathBuf,
}

#[async_trait]
impl ArtifactUpload for FileUpload {
    async fn add(&mut self, data: Bytes) -> io::Result<()> {
        self.file.write_all(&data).await
    }

    async fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        if let Some(path) = &self.temporary.0 {
            fs::rename(path, &self.place).await?;
        }
        self.temporary.0 = None;
        sync_folder(&self.artifacts).await
    }
}

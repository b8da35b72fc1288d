//! Uploads: streamed to a file of their own, checked, made durable, and only then given their name.

use super::{RepositoryFolder, sync_folder, unusable};
use crate::problem::{Kind, RequestRefusal, refuse};
use axum::body::Body;
use http_body_util::BodyExt;
use model::manifest::Digest;
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

/// How long an upload may stand still before it is given up.
const STALL_LIMIT: Duration = Duration::from_secs(60);

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

impl RepositoryFolder {
    /// Stores an artifact whose bytes must have this digest.
    pub(crate) async fn receive(&self, digest: Digest, body: Body) -> Result<(), RequestRefusal> {
        let path = self
            .uploads()
            .join(format!("{:032x}", rand::random::<u128>()));
        let mut temporary = Temporary(Some(path.clone()));
        let mut file = File::create(&path)
            .await
            .map_err(|error| unusable(&error))?;
        let found = self.copy(body, &mut file).await?;
        if found != digest {
            return Err(refuse(
                Kind::DIGEST_MISMATCH,
                format!(
                    "The content's SHA-256 is {found}; upload it under that name, or the right content."
                ),
            ));
        }
        file.sync_all().await.map_err(|error| unusable(&error))?;
        drop(file);
        self.name(&path, digest).await?;
        temporary.0 = None;
        Ok(())
    }

    /// Stores a small artifact from memory.
    pub(crate) async fn store(&self, content: &str) -> Result<Digest, RequestRefusal> {
        let digest = Digest::of(content.as_bytes());
        if self.size(digest).await?.is_none() {
            self.receive(digest, Body::from(content.to_owned())).await?;
        }
        Ok(digest)
    }

    async fn name(&self, path: &Path, digest: Digest) -> Result<(), RequestRefusal> {
        let place = self.artifact(digest);
        fs::rename(path, &place)
            .await
            .map_err(|error| unusable(&error))?;
        let folder = self.root.join("artifacts");
        sync_folder(&folder).await.map_err(|error| unusable(&error))
    }

    async fn copy(&self, mut body: Body, file: &mut File) -> Result<Digest, RequestRefusal> {
        let mut hasher = Sha256::new();
        let mut size: u64 = 0;
        loop {
            let frame = timeout(STALL_LIMIT, body.frame()).await.map_err(|_| {
                refuse(
                    Kind::BAD_REQUEST,
                    "The upload stood still for a minute; upload it again.",
                )
            })?;
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|error| {
                refuse(
                    Kind::BAD_REQUEST,
                    format!("The upload broke off ({error}); upload it again."),
                )
            })?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            size += data.len() as u64;
            if size > self.artifact_bytes_max {
                let detail = format!(
                    "An artifact has at most {} bytes on this server.",
                    self.artifact_bytes_max
                );
                return Err(refuse(Kind::TOO_LARGE, detail));
            }
            hasher.update(&data);
            file.write_all(&data)
                .await
                .map_err(|error| unusable(&error))?;
        }
        file.flush().await.map_err(|error| unusable(&error))?;
        Ok(Digest(hasher.finalize().into()))
    }
}

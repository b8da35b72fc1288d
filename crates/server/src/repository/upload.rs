//! Uploads: streamed to where artifacts lie, checked, made durable, and only then given their name.

use super::artifacts::ArtifactUpload;
use super::{RepositoryFolder, unusable};
use crate::problem::{Kind, RequestRefusal, refuse};
use axum::body::Body;
use http_body_util::BodyExt;
use model::manifest::Digest;
use sha2::{Digest as _, Sha256};
use std::time::Duration;
use tokio::time::timeout;

/// How long an upload may stand still before it is given up.
const STALL_LIMIT: Duration = Duration::from_secs(60);

impl RepositoryFolder {
    /// Stores an artifact whose bytes must have this digest.
    pub(crate) async fn receive(&self, digest: Digest, body: Body) -> Result<(), RequestRefusal> {
        let upload = self.artifacts.begin(digest).await;
        let mut upload = upload.map_err(|error| unusable(&error))?;
        let found = self.copy(body, &mut *upload).await?;
        if found != digest {
            return Err(refuse(
                Kind::DIGEST_MISMATCH,
                format!(
                    "The content's SHA-256 is {found}; upload it under that name, or the right content."
                ),
            ));
        }
        upload.finish().await.map_err(|error| unusable(&error))
    }

    /// Stores a small artifact from memory.
    pub(crate) async fn store(&self, content: &str) -> Result<Digest, RequestRefusal> {
        let digest = Digest::of(content.as_bytes());
        if self.size(digest).await?.is_none() {
            self.receive(digest, Body::from(content.to_owned())).await?;
        }
        Ok(digest)
    }

    async fn copy(
        &self,
        mut body: Body,
        upload: &mut dyn ArtifactUpload,
    ) -> Result<Digest, RequestRefusal> {
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
            let added = upload.add(data).await;
            added.map_err(|error| unusable(&error))?;
        }
        Ok(Digest(hasher.finalize().into()))
    }
}

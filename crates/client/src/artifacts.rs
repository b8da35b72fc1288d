//! Artifacts by digest: upload, presence, download with resume. Digests are not checked here: the receiver does that.

use crate::transport::{OutgoingRequest, broken};
use crate::{Client, ClientError};
use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_LENGTH, RANGE};
use std::path::Path;

impl Client {
    /// Whether the repository has an artifact (`HEAD /v1/artifacts/{sha256}`, lower-case hex).
    ///
    /// # Errors
    /// As every request.
    pub async fn has_artifact(&self, sha256: &str) -> Result<bool, ClientError> {
        let path = ["v1", "artifacts", sha256];
        let call = OutgoingRequest::new(Method::HEAD, &path, false);
        match self.send(&call, |request| request).await {
            Ok(_) => Ok(true),
            // The answer to HEAD has no body, hence no problem in it.
            Err(ClientError::Unexpected { reason, .. }) if reason.starts_with("status 404") => {
                Ok(false)
            }
            // The answer to GET says why.
            Err(ClientError::Unexpected { reason, .. }) if reason.starts_with("status 5") => {
                match self.artifact(sha256, 0).await {
                    Err(error) if error.status() == Some(404) => Ok(false),
                    answer => answer.map(|_| true),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Uploads an artifact from memory (`PUT /v1/artifacts/{sha256}`).
    ///
    /// # Errors
    /// 422 `/problems/digest-mismatch`, 413 `/problems/too-large`, 507 `/problems/storage-full`.
    pub async fn put_artifact(&self, sha256: &str, content: Bytes) -> Result<(), ClientError> {
        let path = ["v1", "artifacts", sha256];
        self.send(&OutgoingRequest::put(&path), |request| {
            request.body(content.clone())
        })
        .await
        .map(|_| ())
    }

    /// Uploads an artifact from a file, as a stream (`PUT /v1/artifacts/{sha256}`).
    ///
    /// # Errors
    /// As [`Client::put_artifact`], and a file that cannot be read.
    pub async fn put_artifact_file(&self, sha256: &str, path: &Path) -> Result<(), ClientError> {
        let unreadable = |source| ClientError::File {
            path: path.to_owned(),
            source,
        };
        let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
        let length = file.metadata().await.map_err(unreadable)?.len();
        let file = file.into_std().await;
        let segments = ["v1", "artifacts", sha256];
        let attempt = |request: reqwest::RequestBuilder| {
            use std::io::Seek;
            // Each attempt reads its own duplicate from the start; the attempts follow one another.
            let mut again = match file.try_clone() {
                Ok(again) => again,
                Err(_) => return request,
            };
            match again.rewind() {
                Ok(()) => request
                    .header(CONTENT_LENGTH, length)
                    .body(tokio::fs::File::from_std(again)),
                Err(_) => request,
            }
        };
        self.send(&OutgoingRequest::put(&segments), attempt)
            .await
            .map(|_| ())
    }

    /// Downloads an artifact from `offset` on (`GET /v1/artifacts/{sha256}` with `Range`).
    ///
    /// # Errors
    /// 404 `/problems/unknown-artifact`; 416 `/problems/range-not-satisfiable`: `offset` lies behind its end.
    pub async fn artifact(&self, sha256: &str, offset: u64) -> Result<ArtifactBody, ClientError> {
        let path = ["v1", "artifacts", sha256];
        let response = self
            .send(&OutgoingRequest::get(&path), |request| match offset {
                0 => request,
                _ => request.header(RANGE, format!("bytes={offset}-")),
            })
            .await?;
        if offset > 0 {
            is_part(&response)?;
        }
        Ok(ArtifactBody { response })
    }

    /// Downloads `count` bytes of an artifact from `first` on (`GET /v1/artifacts/{sha256}` with `Range`).
    ///
    /// # Errors
    /// As [`Client::artifact`].
    pub async fn artifact_part(
        &self,
        sha256: &str,
        first: u64,
        count: u64,
    ) -> Result<ArtifactBody, ClientError> {
        let path = ["v1", "artifacts", sha256];
        let last = first.saturating_add(count).saturating_sub(1);
        let response = self
            .send(&OutgoingRequest::get(&path), |request| {
                request.header(RANGE, format!("bytes={first}-{last}"))
            })
            .await?;
        is_part(&response)?;
        Ok(ArtifactBody { response })
    }
}

/// Whether an answer is the part that was asked for.
fn is_part(response: &reqwest::Response) -> Result<(), ClientError> {
    if response.status() == http::StatusCode::PARTIAL_CONTENT {
        return Ok(());
    }
    Err(ClientError::Unexpected {
        url: response.url().to_string(),
        reason: "it ignores Range".to_owned(),
    })
}

/// An artifact on its way.
#[derive(Debug)]
pub struct ArtifactBody {
    response: reqwest::Response,
}

impl ArtifactBody {
    /// The bytes still to come in all, where the server says so.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] when the connection breaks: ask again from where it broke.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        match self.response.chunk().await {
            Ok(chunk) => Ok(chunk),
            Err(error) => Err(broken(self.response.url().as_str(), &error)),
        }
    }
}

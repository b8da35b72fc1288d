//! The small texts that published versions are proved from. The repository has them for everybody, the database for the server: a file
//! that is lost or damaged in the repository is put back, and stops nobody.

use super::RepositoryFolder;
use crate::problem::RequestRefusal;
use crate::udb::Udb;
use axum::body::Body;
use model::manifest::Digest;

/// The repository's texts, with the database behind it.
pub(crate) struct RepositoryTexts<'a> {
    /// Where they lie.
    pub(crate) repository: &'a RepositoryFolder,
    /// Where they are kept, too.
    pub(crate) udb: &'a dyn Udb,
}

impl<'a> RepositoryTexts<'a> {
    /// The texts of a repository.
    pub(crate) fn of(repository: &'a RepositoryFolder, udb: &'a dyn Udb) -> Self {
        Self { repository, udb }
    }

    /// A text by its digest; `what` says in the log what it is.
    ///
    /// # Errors
    /// The repository does not have it as it was, and the database does not have it either.
    pub(crate) async fn text(&self, digest: Digest, what: &str) -> Result<String, RequestRefusal> {
        let refusal = match self.repository.text(digest).await {
            Ok(text) => return Ok(text),
            Err(refusal) => refusal,
        };
        match self.udb.text(&digest.to_string()).await {
            Ok(Some(text)) if Digest::of(text.as_bytes()) == digest => {
                self.put_back(digest, &text, what).await;
                Ok(text)
            }
            Ok(_) => Err(refusal),
            Err(error) => {
                tracing::warn!(%error, "the database gives no text in the place of one that the repository lacks");
                Err(refusal)
            }
        }
    }

    /// A text to decide by: the database's own where artifacts lie elsewhere, which may be away for long.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub(crate) async fn nearest(
        &self,
        digest: Digest,
        what: &str,
    ) -> Result<String, RequestRefusal> {
        if self.repository.elsewhere().is_some()
            && let Ok(Some(text)) = self.udb.text(&digest.to_string()).await
            && Digest::of(text.as_bytes()) == digest
        {
            return Ok(text);
        }
        self.text(digest, what).await
    }

    /// A server that cannot write serves all the same.
    async fn put_back(&self, digest: Digest, text: &str, what: &str) {
        let path = self.repository.artifact(digest);
        let stored = self.repository.receive(digest, Body::from(text.to_owned()));
        let stored = match stored.await {
            // Where blobs are named by their digests, what is damaged may stay in the place of what is sent.
            Ok(()) => self.repository.text(digest).await.map(drop),
            refused => refused,
        };
        match stored {
            Ok(()) => {
                tracing::warn!(%path, what, "was missing or damaged, and is put back from the database")
            }
            Err(refusal) => tracing::error!(
                %path,
                what,
                detail = refusal.detail,
                "is missing or damaged, and cannot be put back from the database"
            ),
        }
    }
}

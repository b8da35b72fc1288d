//! What a registry answers if it does not do what it is asked, in words for those who run the server.

use super::Registry;
use oci_client::errors::{OciDistributionError, OciErrorCode};
use std::io;

/// The kinds of trouble that make a difference.
pub(super) trait RegistryTrouble {
    /// Whether something is not there.
    fn is_absence(&self) -> bool;

    /// Whether this server may not do it.
    fn is_refusal(&self) -> bool;

    /// Whether the registry does not take a manifest for what it names.
    fn is_of_content(&self) -> bool;

    /// Whether something is empty, so that there is no part of it.
    fn is_of_nothing(&self) -> bool;

    /// Whether the connection broke before an answer came, which says nothing about the registry: one that has been restarted leaves
    /// connections behind that were kept for the next question.
    fn is_broken_off(&self) -> bool;

    /// The answer's HTTP status, where there is one.
    fn status(&self) -> Option<u16>;
}

impl RegistryTrouble for OciDistributionError {
    fn is_absence(&self) -> bool {
        self.status() == Some(404)
    }

    fn is_refusal(&self) -> bool {
        matches!(self.status(), Some(401 | 403)) || matches!(self, Self::AuthenticationFailure(_))
    }

    fn is_of_content(&self) -> bool {
        matches!(self.status(), Some(400 | 404 | 422))
    }

    fn is_of_nothing(&self) -> bool {
        self.status() == Some(416)
    }

    fn is_broken_off(&self) -> bool {
        let Self::RequestError(error) = self else {
            return false;
        };
        error.is_request() && !error.is_connect() && !error.is_timeout()
    }

    fn status(&self) -> Option<u16> {
        match self {
            Self::ServerError { code, .. } => Some(*code),
            Self::UnauthorizedError { .. } => Some(401),
            Self::ImageManifestNotFoundError(_) => Some(404),
            Self::RequestError(error) => error.status().map(|status| status.as_u16()),
            Self::RegistryError { envelope, .. } => {
                envelope.errors.first().map(|error| match error.code {
                    OciErrorCode::BlobUnknown
                    | OciErrorCode::ManifestUnknown
                    | OciErrorCode::NameUnknown
                    | OciErrorCode::NotFound => 404,
                    OciErrorCode::Unauthorized => 401,
                    OciErrorCode::Denied => 403,
                    _ => 400,
                })
            }
            _ => None,
        }
    }
}

/// Asks, and asks again where the connection broke off; what is asked may be done twice. More than two connections are seldom kept.
pub(super) async fn asked<T, F>(ask: impl Fn() -> F) -> Result<T, OciDistributionError>
where
    F: Future<Output = Result<T, OciDistributionError>>,
{
    for _ in 0..2 {
        match ask().await {
            Err(error) if error.is_broken_off() => {
                tracing::debug!(%error, "the connection to the registry broke off, asking again");
            }
            other => return other,
        }
    }
    ask().await
}

impl Registry {
    /// Nothing where something is not there, and what else is wrong in words.
    pub(super) fn there<T>(&self, found: Result<T, OciDistributionError>) -> io::Result<Option<T>> {
        match found {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_absence() => Ok(None),
            Err(error) => Err(self.told(error)),
        }
    }

    pub(super) fn told(&self, error: OciDistributionError) -> io::Error {
        let shown = &self.address;
        let why = innermost(&error);
        io::Error::other(if error.is_refusal() {
            format!(
                "{shown} refuses this server: give it a login that may read and write there, in the file that REGISTRY_AUTH_FILE names ({why})"
            )
        } else if error.status().is_none() && matches!(error, OciDistributionError::RequestError(_))
        {
            format!(
                "{shown} does not answer: see that the registry runs and can be reached from this host ({why})"
            )
        } else {
            format!("{shown} does not do what it is asked: {why}")
        })
    }
}

/// The last cause, on one line.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let text = cause.to_string();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

//! Which upgrades this node may use: those that the system's publishers have signed. What was trusted before is on disk, so that an agent
//! whose server is away, or whose metadata has expired, starts and goes back with what it has; only what is new needs the server.

use super::RepositoryError;
use crate::error_chain::chain;
use client::Client;
use jiff::Timestamp;
use model::api::{NodeView, UpgradeSummary};
use model::ids::Place;
use model::manifest::Digest;
use repository::{Catalogue, TrustError, Verifier, first_root};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often it is looked for a new root although nothing new is published: keys that are rotated away must not be trusted for long.
pub(crate) const REFRESH_EVERY: Duration = Duration::from_secs(6 * 3600);

/// What this node trusts.
#[derive(Debug)]
pub(super) struct TrustedUpgrades {
    client: Arc<Client>,
    /// Where it is kept.
    path: PathBuf,
    /// The first root, where the agent was given one; else the server is believed once.
    root: Option<PathBuf>,
    verifier: Option<Verifier>,
    /// When it was refreshed last. An agent that starts needs no answer for what it trusts already: a silent server holds nothing up.
    refreshed: Instant,
}

impl TrustedUpgrades {
    pub(super) fn new(client: Arc<Client>, path: PathBuf, root: Option<PathBuf>) -> Self {
        Self {
            client,
            path,
            root,
            verifier: None,
            refreshed: Instant::now(),
        }
    }

    /// Makes sure that all that a view lists is signed as the view says.
    ///
    /// # Errors
    /// Something is not, or the server's metadata is not to be trusted.
    pub(super) async fn check(&mut self, view: &NodeView) -> Result<(), RepositoryError> {
        if view.upgrades.is_empty() {
            return Ok(());
        }
        let client = self.client.clone();
        let is_old = self.refreshed.elapsed() >= REFRESH_EVERY;
        let verifier = self.verifier().await?;
        if verifier.system().number != view.system_id {
            return Err(RepositoryError::OtherSystem {
                trusted: verifier.system().to_string(),
                found: view.system_id,
            });
        }
        let is_new = unsigned(&verifier.catalogue(), view).is_some();
        if !is_new && !is_old {
            return Ok(());
        }
        let refreshed = verifier.refresh(client.as_ref(), Timestamp::now()).await;
        let missing = unsigned(&verifier.catalogue(), view);
        self.refreshed = Instant::now();
        match (missing, refreshed) {
            (None, Ok(())) => Ok(()),
            // Nothing new is wanted: what runs goes on, whatever is the matter with the metadata.
            (None, Err(error)) => {
                let problem = chain(&error);
                tracing::warn!(problem, "the signed repository cannot be refreshed");
                Ok(())
            }
            (Some(_), Err(error)) => Err(RepositoryError::Untrusted(error)),
            (Some(summary), Ok(())) => Err(RepositoryError::Unsigned {
                place: Place {
                    version: summary.version,
                    revision: summary.revision,
                },
            }),
        }
    }

    async fn verifier(&mut self) -> Result<&mut Verifier, RepositoryError> {
        let verifier = match self.verifier.take() {
            Some(verifier) => verifier,
            None => self.open().await.map_err(RepositoryError::Untrusted)?,
        };
        Ok(self.verifier.insert(verifier))
    }

    async fn open(&self) -> Result<Verifier, TrustError> {
        if self.path.exists() {
            let given = self.root.as_ref().and_then(|root| std::fs::read(root).ok());
            return match given {
                // Whoever gives a root means this one: another system's is refused.
                Some(root) => Verifier::pin(&self.path, &root),
                None => Verifier::open(&self.path),
            };
        }
        let root = match &self.root {
            Some(file) => std::fs::read(file).map_err(|source| TrustError::Transport {
                name: file.display().to_string(),
                source,
            })?,
            None => first_root(self.client.as_ref()).await?,
        };
        let verifier = Verifier::pin(&self.path, &root)?;
        tracing::info!(
            system = %verifier.system(),
            root = %Digest::of(&root),
            "trusts this root from now on, and what it vouches for"
        );
        Ok(verifier)
    }
}

/// The first upgrade of a view that is not signed as the view says.
fn unsigned<'v>(catalogue: &Catalogue, view: &'v NodeView) -> Option<&'v UpgradeSummary> {
    view.upgrades.iter().find(|summary| {
        let place = Place {
            version: summary.version,
            revision: summary.revision,
        };
        let signed = catalogue.manifest(place);
        let is_it = signed.is_some_and(|it| it.sha256.to_string() == summary.manifest_sha256);
        let upgrade = catalogue.upgrades.get(&summary.version);
        !is_it || upgrade.is_none_or(|it| it.withdrawn != summary.withdrawn)
    })
}

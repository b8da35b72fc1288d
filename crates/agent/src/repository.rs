//! The repository as this node has it: manifests and upgrade files of every version, as publishers signed them, on disk.

mod trusted;

use crate::layout::Layout;
use client::{Client, ClientError};
use model::api::{NodeView, UpgradeSummary};
use model::bundle::{Upgrade, UpgradeFile};
use model::ids::{Place, Version};
use model::manifest::{Digest, MANIFEST_BYTES_MAX, Manifest, UPGRADE_FILE};
use model::release::{History, HistoryError};
use repository::TrustError;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
pub(crate) use trusted::REFRESH_EVERY;
use trusted::TrustedUpgrades;

/// Why the repository cannot be used as it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RepositoryError {
    /// The server has not given something that is needed.
    #[error("upgrade {version} cannot be fetched")]
    Fetch {
        /// Which version's.
        version: Version,
        /// Why.
        #[source]
        source: ClientError,
    },
    /// What came is not what the repository lists.
    #[error("upgrade {version}: {problem}")]
    Altered {
        /// Which version's.
        version: Version,
        /// What is wrong.
        problem: String,
    },
    /// Its publishers have not signed what the server lists.
    #[error("upgrade {place} is not signed as the server lists it")]
    Unsigned {
        /// Which one.
        place: Place,
    },
    /// What the server has as signed metadata is not to be trusted.
    #[error("the signed repository is not trusted")]
    Untrusted(#[source] TrustError),
    /// The server is another system's.
    #[error(
        "this node trusts the publishers of system {trusted}, and the server's has the number {found}"
    )]
    OtherSystem {
        /// The system that is trusted.
        trusted: String,
        /// The number that the server says.
        found: u64,
    },
    /// The upgrades do not follow on one another.
    #[error("the upgrades do not follow on one another")]
    History(#[from] HistoryError),
}

impl RepositoryError {
    /// The publishers' signatures are in the way: nothing new is taken until somebody has seen to it.
    pub(crate) fn is_distrust(&self) -> bool {
        match self {
            Self::Unsigned { .. } | Self::OtherSystem { .. } => true,
            Self::Untrusted(error) => !matches!(
                error,
                TrustError::Transport { .. }
                    | TrustError::TooSlow { .. }
                    | TrustError::Unkept { .. }
            ),
            _ => false,
        }
    }
}

/// One upgrade with its manifest.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    /// The manifest.
    pub(crate) manifest: Arc<Manifest>,
    /// The upgrade.
    pub(crate) upgrade: Arc<Upgrade>,
}

/// The upgrades that are known, by the manifest's digest.
#[derive(Debug)]
pub(crate) struct Repository {
    client: Arc<Client>,
    folder: PathBuf,
    known: BTreeMap<String, Published>,
    trusted: TrustedUpgrades,
}

impl Repository {
    /// A repository that keeps what it learns with what else came from the server, and what it trusts beside; `root` is the first root if it was given.
    pub(crate) fn new(client: Arc<Client>, layout: &Layout, root: Option<PathBuf>) -> Self {
        Self {
            trusted: TrustedUpgrades::new(client.clone(), layout.trusted(), root, Instant::now()),
            client,
            folder: layout.heard().join("repository"),
            known: BTreeMap::new(),
        }
    }

    /// Makes sure that all that a view lists is signed as the view says.
    ///
    /// # Errors
    /// Something is not, or what the server has as signed metadata is not to be trusted.
    pub(crate) async fn check(&mut self, view: &NodeView) -> Result<(), RepositoryError> {
        self.trusted.check(view, Instant::now()).await
    }

    /// Learns every upgrade that a view lists which was checked, from the disk where it is there, and builds the history. Also gives
    /// each upgrade by its version.
    ///
    /// # Errors
    /// An upgrade that is neither on disk nor to be had, or that is not what the view says.
    pub(crate) async fn history(
        &mut self,
        view: &NodeView,
    ) -> Result<(History, BTreeMap<Version, Published>), RepositoryError> {
        let mut upgrades = BTreeMap::new();
        for summary in view.upgrades.iter().filter(|upgrade| !upgrade.withdrawn) {
            upgrades.insert(summary.version, self.upgrade(summary).await?);
        }
        let withdrawn: BTreeSet<Version> = (view.upgrades.iter())
            .filter(|upgrade| upgrade.withdrawn)
            .map(|upgrade| upgrade.version)
            .collect();
        let history = History::new(
            upgrades.values().map(|published| published.upgrade.clone()),
            &withdrawn,
        )?;
        Ok((history, upgrades))
    }

    async fn upgrade(&mut self, summary: &UpgradeSummary) -> Result<Published, RepositoryError> {
        if let Some(known) = self.known.get(&summary.manifest_sha256) {
            return Ok(known.clone());
        }
        let version = summary.version;
        let altered = |problem: String| RepositoryError::Altered { version, problem };
        let manifest = self.manifest(summary).await?;
        let manifest = Manifest::parse(&manifest).map_err(|error| altered(error.to_string()))?;
        let file = manifest
            .file(UPGRADE_FILE)
            .ok_or_else(|| altered(format!("its manifest lists no {UPGRADE_FILE}")))?;
        let text = self.document(version, &file.sha256.to_string()).await?;
        let upgrade = UpgradeFile::parse(&text)
            .and_then(|file| file.prove_again(&manifest.listing()))
            .map_err(|errors| {
                let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
                altered(lines.join("; "))
            })?;
        let published = Published {
            manifest: Arc::new(manifest),
            upgrade: Arc::new(upgrade),
        };
        self.known
            .insert(summary.manifest_sha256.clone(), published.clone());
        Ok(published)
    }

    async fn manifest(&self, summary: &UpgradeSummary) -> Result<String, RepositoryError> {
        let version = summary.version;
        if let Some(text) = self.cached(&summary.manifest_sha256) {
            return Ok(text);
        }
        let text = (self.client.manifest(version, summary.revision).await)
            .map_err(|source| RepositoryError::Fetch { version, source })?;
        self.keep(version, &summary.manifest_sha256, text)
    }

    /// A small text artifact.
    async fn document(&self, version: Version, sha256: &str) -> Result<String, RepositoryError> {
        if let Some(text) = self.cached(sha256) {
            return Ok(text);
        }
        let fetch = |source| RepositoryError::Fetch { version, source };
        let mut body = self.client.artifact(sha256, 0).await.map_err(fetch)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = body.chunk().await.map_err(fetch)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MANIFEST_BYTES_MAX {
                let problem = format!("{sha256} is longer than {MANIFEST_BYTES_MAX} bytes");
                return Err(RepositoryError::Altered { version, problem });
            }
        }
        let text = String::from_utf8(bytes).map_err(|_| RepositoryError::Altered {
            version,
            problem: format!("{sha256} is not text"),
        })?;
        self.keep(version, sha256, text)
    }

    fn path(&self, sha256: &str) -> PathBuf {
        self.folder.join(sha256)
    }

    fn cached(&self, sha256: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.path(sha256)).ok()?;
        (Digest::of(text.as_bytes()).to_string() == sha256).then_some(text)
    }

    fn keep(
        &self,
        version: Version,
        sha256: &str,
        text: String,
    ) -> Result<String, RepositoryError> {
        if Digest::of(text.as_bytes()).to_string() != sha256 {
            return Err(RepositoryError::Altered {
                version,
                problem: format!("what the server gave is not {sha256}"),
            });
        }
        if let Err(error) = write(&self.path(sha256), text.as_bytes()) {
            // Known for this agent's life; the next one fetches it again.
            tracing::warn!(%error, "cannot keep a document of the repository");
        }
        Ok(text)
    }
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, bytes)?;
    std::fs::rename(fresh, path)
}

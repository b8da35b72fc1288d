//! Which upgrades this node may use: those that the system's publishers have signed. What was trusted before is on disk, so that an agent
//! whose server is away, or whose metadata has expired, starts and goes back with what it has; only what is new needs the server.

use super::RepositoryError;
use crate::error_chain::chain;
use client::Client;
use jiff::Timestamp;
use model::api::{NodeView, UpgradeSummary};
use model::ids::Place;
use model::manifest::Digest;
use repository::{Catalogue, Transport, TrustError, Verifier, first_root};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often it is looked for a new root although nothing new is published: keys that are rotated away must not be trusted for long.
pub(crate) const REFRESH_EVERY: Duration = Duration::from_secs(6 * 3600);

/// What this node trusts.
#[derive(Debug)]
pub(super) struct TrustedUpgrades<T = Client> {
    /// The way to the signed repository.
    client: Arc<T>,
    /// Where it is kept.
    path: PathBuf,
    /// The first root, where the agent was given one; else the server is believed once.
    root: Option<PathBuf>,
    verifier: Option<Verifier>,
    /// When it was refreshed last. An agent that starts needs no answer for what it trusts already: a silent server holds nothing up.
    refreshed: Instant,
}

impl<T: Transport> TrustedUpgrades<T> {
    /// What is kept at `path`, as an agent finds it that starts at this time.
    pub(super) fn new(client: Arc<T>, path: PathBuf, root: Option<PathBuf>, now: Instant) -> Self {
        Self {
            client,
            path,
            root,
            verifier: None,
            refreshed: now,
        }
    }

    /// Makes sure, at this time, that all that a view lists is signed as the view says.
    ///
    /// # Errors
    /// Something is not, or the server's metadata is not to be trusted.
    pub(super) async fn check(
        &mut self,
        view: &NodeView,
        now: Instant,
    ) -> Result<(), RepositoryError> {
        if view.upgrades.is_empty() {
            return Ok(());
        }
        let client = self.client.clone();
        let is_old = now.saturating_duration_since(self.refreshed) >= REFRESH_EVERY;
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
        self.refreshed = now;
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

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use model::ids::{Revision, Version};
    use model::manifest::{FORMAT, Manifest, ManifestFile, Mode, UPGRADE_FILE};
    use parking_lot::Mutex;
    use repository::{
        Bytes, DirectoryTransport, RepositoryWriter, RoleRule, RoleType, RootChange, Signer,
        SystemIdentity, make_key,
    };
    use tempfile::TempDir;

    /// A repository in a folder; whether anything is asked of it is seen, and it can be away.
    #[derive(Debug)]
    struct Watched {
        folder: DirectoryTransport,
        asked: Mutex<u32>,
        is_away: Mutex<bool>,
    }

    #[async_trait]
    impl Transport for Watched {
        async fn open(&self, name: &str) -> std::io::Result<Option<Bytes>> {
            *self.asked.lock() += 1;
            if *self.is_away.lock() {
                return Err(std::io::Error::other("nobody answers"));
            }
            self.folder.open(name).await
        }
    }

    /// A system with version 1, one key for everything, and an agent of it.
    struct Shop {
        folder: TempDir,
        writer: RepositoryWriter,
        server: Arc<Watched>,
        view: NodeView,
    }

    impl Shop {
        async fn open() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let key = make_key(&folder.path().join("key.pem")).expect("a key");
            let rule = |role| RoleRule {
                role,
                keys: vec![key.clone()],
                threshold: 1,
            };
            let rules = repository::ROLES.map(rule);
            let system = SystemIdentity {
                name: "shop".to_owned(),
                number: 7,
            };
            let signers = Signer::read(folder.path()).expect("keys");
            let path = folder.path().join("repository");
            let now = Timestamp::now();
            let writer = RepositoryWriter::create(&path, &system, &rules, &signers, now).await;
            let mut writer = writer.expect("begun");
            let manifest = manifest();
            let published = writer.publish(&manifest, false, &signers, now).await;
            published.expect("published");
            let watched = Watched {
                folder: DirectoryTransport { path },
                asked: Mutex::new(0),
                is_away: Mutex::new(false),
            };
            Self {
                folder,
                writer,
                server: Arc::new(watched),
                view: NodeView {
                    system_id: 7,
                    upgrades: vec![UpgradeSummary {
                        version: Version(1),
                        from: Version(0),
                        revision: Revision(1),
                        manifest_sha256: manifest.digest().to_string(),
                        description: String::new(),
                        withdrawn: false,
                        published_at_ms: 0,
                        author: String::new(),
                    }],
                    ..NodeView::default()
                },
            }
        }

        fn agent(&self, now: Instant) -> TrustedUpgrades<Watched> {
            let path = self.folder.path().join("trusted.json");
            TrustedUpgrades::new(Arc::clone(&self.server), path, None, now)
        }

        /// Writes the next root.
        async fn rotate(&mut self) {
            let key = make_key(&self.folder.path().join("next.pem")).expect("a key");
            let change = RootChange {
                add: vec![(RoleType::Root, key)],
                ..RootChange::default()
            };
            let signers = Signer::read(self.folder.path()).expect("keys");
            let rotated = self
                .writer
                .rotate(&change, &signers, Timestamp::now())
                .await;
            rotated.expect("rotated");
        }

        /// How often something was asked for since this was asked last.
        fn asked(&self) -> u32 {
            std::mem::take(&mut *self.server.asked.lock())
        }
    }

    fn manifest() -> Manifest {
        Manifest {
            format: FORMAT,
            system: "shop".to_owned(),
            version: Version(1),
            from: Version(0),
            description: String::new(),
            files: vec![ManifestFile {
                path: UPGRADE_FILE.to_owned(),
                mode: Mode::Plain,
                size: 1,
                sha256: Digest::of(b"a"),
            }],
        }
    }

    fn root_version(agent: &TrustedUpgrades<Watched>) -> u64 {
        let verifier = agent.verifier.as_ref().expect("opened");
        verifier.root_version().get()
    }

    #[tokio::test]
    async fn a_new_root_is_looked_for_every_six_hours_though_nothing_is_new() {
        let mut shop = Shop::open().await;
        let start = Instant::now();
        let mut agent = shop.agent(start);
        agent.check(&shop.view, start).await.expect("trusted");
        assert!(shop.asked() > 0, "it is new");
        shop.rotate().await;
        let shortly_before = start + REFRESH_EVERY - Duration::from_secs(1);
        agent
            .check(&shop.view, shortly_before)
            .await
            .expect("known");
        assert_eq!((shop.asked(), root_version(&agent)), (0, 1));
        let then = start + REFRESH_EVERY;
        agent.check(&shop.view, then).await.expect("known");
        assert_eq!(root_version(&agent), 2);
        assert!(shop.asked() > 0);
        agent.check(&shop.view, then).await.expect("known");
        assert_eq!(shop.asked(), 0, "once in six hours");
        // Whoever is away then costs nothing.
        *shop.server.is_away.lock() = true;
        let next = then + REFRESH_EVERY;
        agent.check(&shop.view, next).await.expect("it goes on");
        assert!(shop.asked() > 0);
    }

    #[tokio::test]
    async fn an_agent_that_starts_asks_nothing_of_what_it_trusts_already() {
        let shop = Shop::open().await;
        let start = Instant::now();
        let first = shop.agent(start).check(&shop.view, start).await;
        first.expect("trusted");
        shop.asked();
        *shop.server.is_away.lock() = true;
        let again = shop.agent(start).check(&shop.view, start).await;
        again.expect("trusted from the disk");
        assert_eq!(shop.asked(), 0);
    }
}

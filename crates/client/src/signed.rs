//! The signed repository at a server: how a publisher signs, and how its files are read. What a server gives is not believed here either:
//! a publisher signs on top of what verified against the root that its keys began with.

use crate::publisher_keys::{PublisherKeys, ROOT_KEYS};
use crate::transport::OutgoingRequest;
use crate::{Client, ClientError};
use async_trait::async_trait;
use bytes::Bytes as Chunk;
use futures_util::TryStreamExt;
use model::api::{
    BeginRepositoryRequest, PublishRequest, RepositoryView, SealedRequest, SignRequest,
    SignedSystem, UpgradeSummary, WithdrawRequest,
};
use model::ids::Version;
use model::manifest::Manifest;
use repository::{
    Bytes, FirstDocuments, PublicKey, RoleRule, RoleType, SignError, SignedByPeople, Transport,
    TrustError, Verifier, new_system, sign_first, sign_upgrade, sign_withdrawal,
};
use std::io::Error;
use std::path::{Path, PathBuf};

/// How often a change is signed anew because somebody else has signed meanwhile.
const TRIES_MAX: u32 = 5;

/// The problem that says so.
const SIGNED_MEANWHILE: &str = "/problems/signed-meanwhile";

/// The problems that say that there is no such file.
const UNKNOWN: [&str; 2] = ["/problems/unknown-metadata", "/problems/unknown-artifact"];

/// Why something could not be signed and published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The server says no, or nothing.
    #[error(transparent)]
    Server(#[from] ClientError),
    /// The keys, or what is to be signed on top of, say no.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl From<TrustError> for PublishError {
    fn from(error: TrustError) -> Self {
        Self::Sign(error.into())
    }
}

/// What came of publishing.
#[derive(Debug)]
pub struct SignedPublication {
    /// The upgrade as the server lists it.
    pub summary: UpgradeSummary,
    /// Why it could not be noted beside the keys that this was sealed, if it could not.
    pub unremembered: Option<SignError>,
    /// The system began with this publication, with keys that were made for it.
    pub made_keys: bool,
}

impl Client {
    /// What a publisher needs to know before signing (`GET /v1/repository`).
    ///
    /// # Errors
    /// As every request.
    pub async fn repository(&self) -> Result<RepositoryView, ClientError> {
        self.ask(OutgoingRequest::get(&["v1", "repository"])).await
    }

    /// Begins the signed repository (`POST /v1/repository`). The same again is no error.
    ///
    /// # Errors
    /// 422 `/problems/unsigned`: it has begun with another root, or this is not what the server has published before.
    pub async fn begin_repository(
        &self,
        first: &FirstDocuments,
    ) -> Result<RepositoryView, ClientError> {
        let request = BeginRepositoryRequest {
            root: text(first.root.clone()),
            targets: text(first.targets.clone()),
        };
        self.tell(OutgoingRequest::post(&["v1", "repository"]), &request)
            .await
    }

    /// Signs an upgrade whose artifacts are uploaded, or a revision of one, and publishes it. The first upgrade of a system begins it.
    ///
    /// # Errors
    /// The keys do not suffice, what the server has cannot be trusted, or the server refuses it.
    pub async fn publish_signed(
        &self,
        keys: &PublisherKeys,
        manifest: &Manifest,
        revise: bool,
    ) -> Result<SignedPublication, PublishError> {
        let has_keys = keys.folder.join("root-1.pem").exists();
        let mut begun = false;
        let mut tries = 1;
        loop {
            let mut view = self.repository().await?;
            if view.system.is_none() {
                view = self.begin(keys, &manifest.system).await?;
                begun = true;
            }
            let request = self.signed(keys, view, manifest, revise).await?;
            match self.publish(&request).await {
                Err(error) if error.kind() == Some(SIGNED_MEANWHILE) && tries < TRIES_MAX => {
                    tries += 1;
                }
                answer => {
                    let summary = answer?;
                    return Ok(SignedPublication {
                        unremembered: self.remember(keys).await,
                        summary,
                        made_keys: begun && !has_keys,
                    });
                }
            }
        }
    }

    /// Signs an upgrade as for publishing it, and throws that away: what keys here cannot sign need not be uploaded. Commands that sign are
    /// not asked, since they may ask people; nor is anything begun.
    ///
    /// # Errors
    /// As for publishing.
    pub async fn rehearse_publication(
        &self,
        keys: &PublisherKeys,
        manifest: &Manifest,
        revise: bool,
    ) -> Result<(), PublishError> {
        let view = self.repository().await?;
        if view.system.is_none() || !keys.commands.is_empty() {
            return Ok(());
        }
        self.signed(keys, view, manifest, revise).await.map(drop)
    }

    async fn begin(
        &self,
        keys: &PublisherKeys,
        name: &str,
    ) -> Result<RepositoryView, PublishError> {
        let [roots, publishers] = keys.make()?;
        let rule = |role, keys, threshold| RoleRule {
            role,
            keys,
            threshold,
        };
        let rules = [
            rule(RoleType::Root, roots, ROOT_KEYS.1),
            rule(RoleType::Targets, publishers, 1),
        ];
        self.begin_signed(keys, name, &rules).await
    }

    async fn signed(
        &self,
        keys: &PublisherKeys,
        view: RepositoryView,
        manifest: &Manifest,
        revise: bool,
    ) -> Result<PublishRequest, PublishError> {
        let system = view.system.ok_or_else(|| ClientError::Unexpected {
            url: self.servers().join(", "),
            reason: "it has begun no repository".to_owned(),
        })?;
        let verifier = self.trusted(keys, &system).await?;
        let signers = keys.signers()?;
        let now = jiff::Timestamp::now();
        let (_, targets) = sign_upgrade(verifier.trust(), manifest, revise, &signers, now).await?;
        Ok(PublishRequest {
            manifest: manifest.text(),
            revise,
            targets: targets.map(text),
        })
    }

    /// Signs that the newest upgrade is withdrawn, and withdraws it.
    ///
    /// # Errors
    /// As for publishing.
    pub async fn withdraw_signed(
        &self,
        keys: &PublisherKeys,
        version: Version,
    ) -> Result<UpgradeSummary, PublishError> {
        // Whom the server does not know, or nobody has signed, it refuses by itself.
        let known = self.upgrade(version).await?;
        let view = self.repository().await?;
        let Some(system) = view.system else {
            let request = WithdrawRequest::default();
            return Ok(self.withdraw(version, &request).await?);
        };
        let verifier = self.trusted(keys, &system).await?;
        let signers = keys.signers()?;
        let now = jiff::Timestamp::now();
        let signed = if known.withdrawn {
            None
        } else {
            sign_withdrawal(verifier.trust(), version, &signers, now).await?
        };
        let targets = signed.map(text);
        let summary = self.withdraw(version, &WithdrawRequest { targets }).await?;
        // The withdrawal stands; the next one notes it.
        let _ = self.remember(keys).await;
        Ok(summary)
    }

    /// Begins a system with these keys and the server's own for sealing. `rules` are those of root and targets.
    ///
    /// # Errors
    /// The keys do not suffice, the name cannot be one, or the server has begun already or refuses it.
    pub async fn begin_signed(
        &self,
        keys: &PublisherKeys,
        name: &str,
        rules: &[RoleRule],
    ) -> Result<RepositoryView, PublishError> {
        if let Some((path, system)) = keys.has_published(name)? {
            let path = path.display();
            return Err(SignError::Refused {
                problem: format!(
                    "the server has no signed repository, and with these keys upgrades of system {system} were published, as {path} says: its nodes take nothing of another system"
                ),
                advice: "if the server has lost its folder `repository`, put that back from a backup; if this is to be another system of the same name, give other keys (`--keys DIR`), or remove that file",
            }
            .into());
        }
        let server = PublicKey::parse(&self.repository().await?.server_key)?;
        let seals = |role| RoleRule {
            role,
            keys: vec![server.clone()],
            threshold: 1,
        };
        let mut rules = rules.to_vec();
        rules.extend([RoleType::Snapshot, RoleType::Timestamp].map(seals));
        let system = new_system(name)?;
        let now = jiff::Timestamp::now();
        let first = sign_first(&system, &rules, &keys.signers()?, now).await?;
        // Trusted before anybody else has a say in it.
        keys.make_folder()?;
        Verifier::pin(&keys.trusted(system.number), &first.root)?;
        // Before the server has begun: without this file nobody could pin what it has.
        keys.keep_root(&first.root)?;
        Ok(self.begin_repository(&first).await?)
    }

    /// What is trusted of a server's repository, brought forward. What has expired may be signed anew, so it is no error here.
    ///
    /// # Errors
    /// Nothing is trusted here of this system yet, and no root was given; or what the server has cannot be trusted.
    pub async fn trusted(
        &self,
        keys: &PublisherKeys,
        system: &SignedSystem,
    ) -> Result<Verifier, PublishError> {
        keys.check()?;
        let path = keys.trusted(system.system_id);
        let mut verifier = match (&keys.root, path.exists()) {
            (Some(root), _) => {
                keys.make_folder()?;
                let root = std::fs::read(root).map_err(|source| TrustError::Transport {
                    name: root.display().to_string(),
                    source,
                })?;
                Verifier::pin(&path, &root)?
            }
            (None, true) => Verifier::open(&path)?,
            // Whoever signs on top of what somebody else made up signs that, too.
            (None, false) => return Err(nothing_trusted(keys, system).into()),
        };
        if verifier.system().number != system.system_id {
            return Err(SignError::Refused {
                problem: format!(
                    "the server is of system {} (number {}), the root of {}",
                    system.name,
                    system.system_id,
                    verifier.system()
                ),
                advice: "give the root of the server's system, or name another server",
            }
            .into());
        }
        let now = jiff::Timestamp::MIN;
        match verifier.refresh(self, now).await {
            // The server was set back: it gets back what it has lost.
            Err(TrustError::Rollback { .. }) if verifier.sealed().is_some() => {
                self.take_back(&verifier).await?;
                verifier.refresh(self, now).await?;
            }
            refreshed => refreshed?,
        }
        Ok(verifier)
    }

    /// Remembers what was sealed just now, so that a server which loses it can get it back. Says why not where the keys' folder is in the way;
    /// for everything else the next one tries again.
    async fn remember(&self, keys: &PublisherKeys) -> Option<SignError> {
        let system = self.repository().await.ok()?.system?;
        match self.trusted(keys, &system).await {
            Err(PublishError::Sign(
                error @ (SignError::Trust(TrustError::Unkept { .. }) | SignError::Disk { .. }),
            )) => Some(error),
            _ => None,
        }
    }

    async fn take_back(&self, verifier: &Verifier) -> Result<(), PublishError> {
        let Some(sealed) = verifier.sealed() else {
            return Ok(());
        };
        let request = SealedRequest {
            root: text(sealed.root),
            targets: text(sealed.targets),
            snapshot: text(sealed.snapshot),
            timestamp: text(sealed.timestamp),
        };
        let path = ["v1", "repository", "sealed"];
        let _: RepositoryView = self.tell(OutgoingRequest::post(&path), &request).await?;
        Ok(())
    }

    /// Has the server take a root and targets that people have signed (`POST /v1/repository/metadata`).
    ///
    /// # Errors
    /// 422 `/problems/unsigned`: they cannot be trusted; 409 `/problems/signed-meanwhile`: they follow on an older state.
    pub async fn sign(&self, signed: &SignedByPeople) -> Result<RepositoryView, ClientError> {
        let request = SignRequest {
            root: signed.root.clone().map(text),
            targets: signed.targets.clone().map(text),
        };
        let path = ["v1", "repository", "metadata"];
        self.tell(OutgoingRequest::post(&path), &request).await
    }

    /// The first root of a server's signed repository. Whoever pins it believes the server this once.
    ///
    /// # Errors
    /// Nobody has begun to sign there, or it cannot be read.
    pub async fn first_root(&self) -> Result<Vec<u8>, TrustError> {
        repository::first_root(self).await
    }
}

/// A server as a way to the signed repository.
#[async_trait]
impl Transport for Client {
    async fn open(&self, name: &str) -> std::io::Result<Option<Bytes>> {
        let folder = if name.starts_with("artifacts/") {
            &["v1"][..]
        } else {
            &["v1", "repository"][..]
        };
        let path: Vec<&str> = folder.iter().copied().chain(name.split('/')).collect();
        let response = match self
            .send(&OutgoingRequest::get(&path), |request| request)
            .await
        {
            Ok(response) => response,
            Err(error) if error.kind().is_some_and(|kind| UNKNOWN.contains(&kind)) => {
                return Ok(None);
            }
            Err(error) => return Err(Error::other(error)),
        };
        let body = response.bytes_stream().map_ok(Chunk::from);
        let body = Box::pin(body.map_err(Error::other));
        Ok(Some(Box::new(tokio_util::io::StreamReader::new(body))))
    }
}

fn nothing_trusted(keys: &PublisherKeys, system: &SignedSystem) -> SignError {
    SignError::Refused {
        problem: format!(
            "{} holds nothing that is trusted of system {} (number {})",
            keys.folder.display(),
            system.name,
            system.system_id
        ),
        advice: "give the folder of that system's keys (`--keys DIR`); if they are these, and another publisher has begun the system, give its first root once (`--root FILE`: `1.root.json` beside the first publisher's keys)",
    }
}

/// Metadata as text, which JSON always is.
fn text(metadata: Vec<u8>) -> String {
    String::from_utf8_lossy(&metadata).into_owned()
}

/// The folder in which a system's keys are kept when nobody says otherwise, below the user's configuration.
#[must_use]
pub fn usual_keys(configuration: &Path, system: &str) -> PathBuf {
    configuration.join("upstart").join("keys").join(system)
}

//! The signed repository at a server: how a publisher signs, and how its files are read. What a server gives is not believed here either:
//! a publisher signs on top of what verified against the root that its keys began with.

use crate::transport::OutgoingRequest;
use crate::{Client, ClientError};
use async_trait::async_trait;
use bytes::Bytes as Chunk;
use futures_util::TryStreamExt;
use model::api::{
    BeginRepositoryRequest, PublishRequest, RepositoryView, UpgradeSummary, WithdrawRequest,
};
use model::ids::{Place, Version};
use model::manifest::Manifest;
use repository::{
    Bytes, EarlierUpgrade, FirstDocuments, PublicKey, RoleRule, RoleType, SignError, Signer,
    SystemIdentity, Transport, TrustError, Verifier, make_key, new_system, sign_first,
    sign_upgrade, sign_withdrawal,
};
use std::io::Error;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// How many root keys a new system gets, and how many of them must sign: one may be lost.
const ROOT_KEYS: (u32, u64) = (3, 2);

/// How often a change is signed anew because somebody else has signed meanwhile.
const TRIES_MAX: u32 = 5;

/// The problem that says so.
const SIGNED_MEANWHILE: &str = "/problems/signed-meanwhile";

/// The problem that says that the signed repository has no such file.
const UNKNOWN_METADATA: &str = "/problems/unknown-metadata";

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

/// A publisher's keys: those in a folder, and others.
#[derive(Debug)]
pub struct PublisherKeys {
    /// The folder: keys as `*.pem`, and what was trusted of each system with them. A new system's keys are made here.
    pub folder: PathBuf,
    /// Commands that sign, beside the folder's keys.
    pub commands: Vec<String>,
}

/// What came of publishing.
#[derive(Debug)]
pub struct Published {
    /// The upgrade as the server lists it.
    pub summary: UpgradeSummary,
    /// The system began with this publication, with keys that were made for it.
    pub made_keys: bool,
}

impl PublisherKeys {
    fn signers(&self) -> Result<Vec<Signer>, SignError> {
        let mut signers = match self.folder.is_dir() {
            true => Signer::read(&self.folder)?,
            false => Vec::new(),
        };
        signers.extend(self.commands.iter().cloned().map(Signer::Command));
        Ok(signers)
    }

    fn trusted(&self, system_id: u64) -> PathBuf {
        self.folder.join(format!("trusted-{system_id}.json"))
    }

    /// The folder, which only its owner enters.
    fn make_folder(&self) -> Result<(), SignError> {
        let mut make = std::fs::DirBuilder::new();
        let made = make.recursive(true).mode(0o700).create(&self.folder);
        made.map_err(|source| SignError::Disk {
            path: self.folder.clone(),
            source,
        })
    }

    /// The keys of a new system: root keys and a publisher's. Those that are there stay.
    fn make(&self) -> Result<[Vec<PublicKey>; 2], SignError> {
        self.make_folder()?;
        let key = |name: String| make_key(&self.folder.join(format!("{name}.pem")));
        let roots = (1..=ROOT_KEYS.0).map(|number| key(format!("root-{number}")));
        let roots: Result<_, _> = roots.collect();
        Ok([roots?, vec![key("publisher-1".to_owned())?]])
    }
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
    ) -> Result<Published, PublishError> {
        let has_keys = keys.folder.join("root-1.pem").exists();
        let mut begun = false;
        let mut tries = 1;
        loop {
            let mut view = self.repository().await?;
            if view.system_id.is_none() {
                view = self.begin(keys, &manifest.system, &view).await?;
                begun = true;
            }
            let system_id = view.system_id.unwrap_or_default();
            let request = self.signed(keys, system_id, manifest, revise).await?;
            match self.publish(&request).await {
                Err(error) if error.kind() == Some(SIGNED_MEANWHILE) && tries < TRIES_MAX => {
                    tries += 1;
                }
                answer => {
                    return Ok(Published {
                        summary: answer?,
                        made_keys: begun && !has_keys,
                    });
                }
            }
        }
    }

    async fn signed(
        &self,
        keys: &PublisherKeys,
        system_id: u64,
        manifest: &Manifest,
        revise: bool,
    ) -> Result<PublishRequest, PublishError> {
        let verifier = self.trusted(keys, system_id).await?;
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
        let Some(system_id) = view.system_id else {
            let request = WithdrawRequest::default();
            return Ok(self.withdraw(version, &request).await?);
        };
        let verifier = self.trusted(keys, system_id).await?;
        let signers = keys.signers()?;
        let now = jiff::Timestamp::now();
        let signed = match known.withdrawn {
            true => None,
            false => sign_withdrawal(verifier.trust(), version, &signers, now).await?,
        };
        let targets = signed.map(text);
        Ok(self.withdraw(version, &WithdrawRequest { targets }).await?)
    }

    /// Begins a system: with keys in the publisher's folder, and the server's own key for sealing.
    async fn begin(
        &self,
        keys: &PublisherKeys,
        name: &str,
        view: &RepositoryView,
    ) -> Result<RepositoryView, PublishError> {
        let [roots, publishers] = keys.make()?;
        let server = PublicKey::parse(&view.server_key)?;
        let rule = |role, keys: &[PublicKey], threshold| RoleRule {
            role,
            keys: keys.to_vec(),
            threshold,
        };
        let server = std::slice::from_ref(&server);
        let rules = [
            rule(RoleType::Root, &roots, ROOT_KEYS.1),
            rule(RoleType::Targets, &publishers, 1),
            rule(RoleType::Snapshot, server, 1),
            rule(RoleType::Timestamp, server, 1),
        ];
        let (system, earlier) = self.earlier(name).await?;
        let now = jiff::Timestamp::now();
        let first = sign_first(&system, &rules, &earlier, &keys.signers()?, now).await?;
        // Trusted before anybody else has a say in it.
        Verifier::pin(&keys.trusted(system.number), &first.root)?;
        Ok(self.begin_repository(&first).await?)
    }

    /// What a server published before anything was signed; nothing at a new one.
    async fn earlier(
        &self,
        name: &str,
    ) -> Result<(SystemIdentity, Vec<EarlierUpgrade>), PublishError> {
        let view = match self.system().await {
            Ok(view) => view,
            Err(error) if error.kind() == Some("/problems/no-system") => {
                return Ok((new_system(name)?, Vec::new()));
            }
            Err(error) => return Err(error.into()),
        };
        if view.upgrades.is_empty() {
            return Ok((new_system(name)?, Vec::new()));
        }
        let mut earlier = Vec::new();
        for summary in &view.upgrades {
            let text = self.manifest(summary.version, summary.revision).await?;
            let manifest = Manifest::parse(&text).map_err(|error| TrustError::Altered {
                name: format!("the manifest of version {}", summary.version),
                problem: error.to_string(),
            })?;
            earlier.push(EarlierUpgrade {
                place: Place {
                    version: summary.version,
                    revision: summary.revision,
                },
                manifest,
                withdrawn: summary.withdrawn,
            });
        }
        let system = SystemIdentity {
            name: view.system,
            number: view.system_id,
        };
        Ok((system, earlier))
    }

    /// What is trusted of a server's repository, brought forward. What has expired may be signed anew, so it is no error here.
    async fn trusted(
        &self,
        keys: &PublisherKeys,
        system_id: u64,
    ) -> Result<Verifier, PublishError> {
        let path = keys.trusted(system_id);
        let mut verifier = match path.exists() {
            true => Verifier::open(&path)?,
            // Whoever has the keys and not yet this file: whether they fit this root shows when they sign.
            false => {
                keys.make_folder()?;
                Verifier::pin(&path, &self.first_root().await?)?
            }
        };
        verifier.refresh(self, jiff::Timestamp::MIN).await?;
        Ok(verifier)
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
        let path: Vec<&str> = ["v1", "repository"].into_iter().chain(name.split('/')).collect();
        let response = match self.send(&OutgoingRequest::get(&path), |request| request).await {
            Ok(response) => response,
            Err(error) if error.kind() == Some(UNKNOWN_METADATA) => return Ok(None),
            Err(error) => return Err(Error::other(error)),
        };
        let body = response.bytes_stream().map_ok(Chunk::from);
        let body = Box::pin(body.map_err(Error::other));
        Ok(Some(Box::new(tokio_util::io::StreamReader::new(body))))
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

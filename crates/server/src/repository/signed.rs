//! What publishers have signed, sealed with the server's own key: the server decides which state is the current one, and nothing else.
//!
//! A change is signed before the database has it, and sealed after: a server that dies in between finds what it had begun in a file,
//! and seals it if the database agrees.

use super::placing::write_whole;
use super::{PublishedUpgrades, SharedDocuments};
use crate::problem::{Kind, RequestRefusal, refuse};
use ::repository::{
    Catalogue, FirstDocuments, PublicKey, RepositoryWriter, RoleType, SealedDocuments, SignError,
    SignedByPeople, SignedManifest, SignedUpgrade, Signer, SystemIdentity, TrustError, make_key,
};
use jiff::{SignedDuration, Timestamp};
use model::bundle::Upgrade;
use model::ids::{Revision, Version};
use model::manifest::Digest;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use tokio::fs;
use tokio::sync::{Mutex, Notify};

/// The server's part of the metadata is sealed anew when it is so old: somebody who has taken the server can hide what is new for no
/// longer than its time.
const RENEW_AGE: SignedDuration = SignedDuration::from_hours(24);

/// The signed repository in the server's folder.
#[derive(Debug)]
pub(crate) struct SignedRepository {
    pub(super) folder: PathBuf,
    signers: Vec<Signer>,
    key: PublicKey,
    pub(super) turn: Mutex<()>,
    /// Rung when what is signed here has changed.
    pub(crate) changed: Notify,
    /// Until when each role's signatures are good, as was seen last.
    pub(crate) until: parking_lot::Mutex<Vec<(String, Timestamp)>>,
    /// Where the documents are that all servers have, if this folder is one server's alone.
    pub(super) shared: Option<SharedDocuments>,
}

/// A change that publishers have signed, and the database does not have yet.
#[derive(Debug)]
pub(crate) struct SignedChange {
    writer: RepositoryWriter,
    targets: Vec<u8>,
}

impl SignedRepository {
    /// The repository in this folder, sealed with the key in this file, which is made at the first start. Where the folder is not all
    /// servers', it has a copy of what they share.
    ///
    /// # Errors
    /// The key cannot be read or made.
    pub(crate) fn open(
        folder: &Path,
        key: &Path,
        shared: Option<SharedDocuments>,
    ) -> Result<Self, SignError> {
        Ok(Self {
            shared,
            folder: folder.to_owned(),
            key: make_key(key)?,
            signers: Signer::read(key)?,
            turn: Mutex::new(()),
            changed: Notify::new(),
            until: parking_lot::Mutex::default(),
        })
    }

    /// The key that seals, as metadata lists it.
    pub(crate) fn key(&self) -> String {
        self.key.text()
    }

    /// The system whose upgrades are signed here; none before publishers have begun.
    pub(crate) async fn system(
        &self,
        is_new: bool,
    ) -> Result<Option<SystemIdentity>, RequestRefusal> {
        if !self.is_begun() {
            self.check_beginning(is_new)?;
            return Ok(None);
        }
        Ok(Some(self.writer().await?.trust().system().clone()))
    }

    /// Without a timestamp, a repository was only begun; where something is published already, it has lost it.
    fn check_beginning(&self, is_new: bool) -> Result<(), RequestRefusal> {
        let root = self.folder.join("metadata/1.root.json");
        if is_new || !root.exists() {
            return Ok(());
        }
        let place = self.folder.join("metadata/timestamp.json");
        Err(refuse(
            Kind::REPOSITORY_UNAVAILABLE,
            format!(
                "The signed repository has lost {}: put the folder `metadata` back from a backup.",
                place.display()
            ),
        ))
    }

    /// Whether publishers have begun.
    pub(crate) fn is_begun(&self) -> bool {
        RepositoryWriter::exists(&self.folder)
    }

    /// Takes back what a publisher has seen sealed and this folder has lost, by a backup that was restored.
    ///
    /// # Errors
    /// It does not follow on what is there, or the folder cannot be written.
    pub(crate) async fn take_back(&self, sealed: &SealedDocuments) -> Result<(), RequestRefusal> {
        let mut writer = self.begun().await?;
        writer.take_sealed(sealed).map_err(refused)?;
        self.push().await
    }

    /// A file as all servers have it: metadata, or a manifest; none when it is not there.
    pub(crate) async fn file(&self, folder: &str, name: &str) -> io::Result<Option<Vec<u8>>> {
        if let Some(shared) = self.shared.as_ref().filter(|_| folder == "metadata")
            && let Some(bytes) = shared.document(name).await?
        {
            return Ok(Some(bytes));
        }
        match fs::read(self.folder.join(folder).join(name)).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn writer(&self) -> Result<RepositoryWriter, RequestRefusal> {
        let writer = RepositoryWriter::open(&self.folder)
            .await
            .map_err(refused)?;
        if writer.has_ended_a_change() {
            tracing::warn!(root = %writer.trust().root_version(), "a change of the signed repository was interrupted, and is ended now");
        }
        Ok(writer)
    }

    /// What is signed and not sealed yet; nobody who reads a repository looks for this name.
    fn pending(&self) -> PathBuf {
        self.folder.join("metadata").join("pending.json")
    }

    /// Begins with what publishers have signed; the same once more changes nothing. `is_new` says that nothing was published yet.
    pub(crate) async fn begin(
        &self,
        first: &FirstDocuments,
        is_new: bool,
    ) -> Result<(), RequestRefusal> {
        if RepositoryWriter::exists(&self.folder) {
            return match fs::read(self.folder.join("metadata/1.root.json")).await {
                Ok(there) if there == first.root => Ok(()),
                Ok(_) => Err(refuse(
                    Kind::UNSIGNED,
                    "This server's upgrades are signed already, with another root; publish with the keys of that one (`--keys DIR`).",
                )),
                Err(error) => Err(super::unusable(&error)),
            };
        }
        self.check_beginning(is_new)?;
        if !is_new {
            return Err(refuse(
                Kind::UNSIGNED,
                "What this server has published is from before upgrades were signed; start a server with a new data directory, and enrol the nodes there.",
            ));
        }
        let now = Timestamp::now();
        let begun = RepositoryWriter::begin(&self.folder, first, &self.signers, now).await;
        match begun {
            Ok(_) => {
                self.changed.notify_one();
                self.push().await
            }
            Err(error @ SignError::KeysMissing { .. }) => Err(refuse(
                Kind::UNSIGNED,
                format!(
                    "The root does not let this server's key seal: {error}; take the key from GET /v1/repository."
                ),
            )),
            Err(error) => Err(refused(error)),
        }
    }

    /// Takes what people have signed of a rotation or a renewal, and seals it.
    pub(crate) async fn take(&self, signed: &SignedByPeople) -> Result<(), RequestRefusal> {
        let mut writer = self.begun().await?;
        let now = Timestamp::now();
        let taken = writer.take_signed(signed, &self.signers, now).await;
        taken.map_err(refused)?;
        self.changed.notify_one();
        self.push().await
    }

    /// Checks that publishers have signed exactly this publication, on top of what they have signed before; none where they had
    /// signed it already.
    pub(crate) async fn publication(
        &self,
        targets: Option<&str>,
        upgrade: &Upgrade,
        (sha256, bytes): (Digest, usize),
        published: &PublishedUpgrades,
    ) -> Result<Option<SignedChange>, RequestRefusal> {
        let writer = self.begun().await?;
        let system = writer.trust().system();
        if system.name != upgrade.system {
            return Err(refuse(
                Kind::PUBLISH_REFUSED,
                format!(
                    "The bundle is of system `{}`, this server serves `{}`; ask the server of `{}`, or mend `system` in upgrade.toml.",
                    upgrade.system, system.name, upgrade.system
                ),
            ));
        }
        let signed = SignedManifest {
            sha256,
            bytes: bytes as u64,
        };
        let version = upgrade.version;
        let mut wanted = writer.trust().catalogue();
        // One that the database has, and that could not be sealed, is signed once more.
        let revision = match published.summary(version) {
            Some(there) if there.manifest_sha256 == sha256.to_string() => there.revision,
            Some(there) => Revision(there.revision.0 + 1),
            None => Revision(1),
        };
        let entry = wanted.upgrades.entry(version).or_insert(SignedUpgrade {
            from: upgrade.from,
            withdrawn: false,
            revisions: BTreeMap::new(),
        });
        match entry.revisions.insert(revision, signed) {
            Some(there) if there == signed => return Ok(None),
            Some(_) => {
                return Err(refuse(
                    Kind::PUBLISH_REFUSED,
                    format!(
                        "Revision {revision} of version {version} is next here, and is signed with other contents; publish what was signed before, one revision after the other, from their folders."
                    ),
                ));
            }
            None => {}
        }
        self.change(writer, targets, &wanted, "published")
            .await
            .map(Some)
    }

    /// Whether publishers have signed that a version is withdrawn.
    pub(crate) async fn is_withdrawn(&self, version: Version) -> Result<bool, RequestRefusal> {
        let catalogue = self.begun().await?.trust().catalogue();
        let there = catalogue.upgrades.get(&version);
        Ok(there.is_some_and(|upgrade| upgrade.withdrawn))
    }

    /// Checks that publishers have signed exactly this withdrawal; none where they had signed it already.
    pub(crate) async fn withdrawal(
        &self,
        targets: Option<&str>,
        version: Version,
    ) -> Result<Option<SignedChange>, RequestRefusal> {
        let writer = self.begun().await?;
        let mut wanted = writer.trust().catalogue();
        match wanted.upgrades.get_mut(&version) {
            Some(there) if !there.withdrawn => there.withdrawn = true,
            _ => return Ok(None),
        }
        self.change(writer, targets, &wanted, "withdrawn")
            .await
            .map(Some)
    }

    async fn begun(&self) -> Result<RepositoryWriter, RequestRefusal> {
        if RepositoryWriter::exists(&self.folder) {
            return self.writer().await;
        }
        Err(refuse(
            Kind::UNSIGNED,
            "No publisher has begun to sign here yet; `upstart publish` does that with the first upgrade.",
        ))
    }

    /// A change that leads to this catalogue, remembered until it is sealed or given up.
    async fn change(
        &self,
        writer: RepositoryWriter,
        targets: Option<&str>,
        wanted: &Catalogue,
        deed: &str,
    ) -> Result<SignedChange, RequestRefusal> {
        let Some(targets) = targets else {
            return Err(refuse(
                Kind::UNSIGNED,
                format!(
                    "This is not signed, and nothing unsigned is {deed}; use `upstart` with the system's keys (`--keys DIR`)."
                ),
            ));
        };
        self.check_key(&writer)?;
        let found = writer.following(targets.as_bytes()).map_err(refused)?;
        if found != *wanted {
            return Err(refuse(
                Kind::UNSIGNED,
                format!(
                    "What is signed is not what is to be {deed}; sign it again, on what is there now."
                ),
            ));
        }
        let kept = write_whole(&self.pending(), targets.as_bytes()).await;
        kept.map_err(|error| super::unusable(&error))?;
        self.push().await?;
        Ok(SignedChange {
            writer,
            targets: targets.as_bytes().to_vec(),
        })
    }

    /// Why this server can seal nothing, if that is so.
    pub(crate) async fn trouble(&self) -> Option<String> {
        let checked = match self.begun().await {
            Ok(writer) => self.check_key(&writer),
            Err(refusal) => Err(refusal),
        };
        checked.err().map(|refusal| refusal.detail)
    }

    /// Whether the root lets this server's key seal: better asked before the database has what could not be sealed.
    fn check_key(&self, writer: &RepositoryWriter) -> Result<(), RequestRefusal> {
        let standing = writer.standing();
        let is_strange = standing.iter().any(|role| {
            let is_own = matches!(role.role, RoleType::Snapshot | RoleType::Timestamp);
            is_own && !role.keys.iter().any(|key| key.id == self.key.id)
        });
        if !is_strange {
            return Ok(());
        }
        Err(refuse(
            Kind::REPOSITORY_UNAVAILABLE,
            "The root does not let this server's key seal; let it: `upstart keys rotate --remove OLD --add snapshot:server --add timestamp:server`, where OLD is the key that `upstart keys list` shows for the timestamp.",
        ))
    }

    /// Seals a change that the database has.
    pub(crate) async fn seal(&self, mut change: SignedChange) -> Result<(), RequestRefusal> {
        let now = Timestamp::now();
        let sealed = change.writer.seal(&change.targets, &self.signers, now);
        sealed.await.map_err(refused)?;
        self.forget_pending().await;
        self.changed.notify_one();
        self.push().await
    }

    /// Forgets a change that the database does not have.
    pub(crate) async fn give_up(&self) {
        self.forget_pending().await;
        if let Err(refusal) = self.push().await {
            // Whoever has the turn next finds it, and that the database does not have it.
            tracing::warn!(
                detail = refusal.detail,
                "a signed change that is over stays where artifacts lie"
            );
        }
    }

    async fn forget_pending(&self) {
        if let Err(error) = fs::remove_file(self.pending()).await
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "a signed change that is over stays on the disk");
        }
    }

    /// Ends what was begun and not sealed, by a server before this one or for want of room.
    ///
    /// # Errors
    /// It can be neither sealed nor read.
    pub(crate) async fn recover(
        &self,
        published: &PublishedUpgrades,
    ) -> Result<(), RequestRefusal> {
        let targets = match fs::read(self.pending()).await {
            Ok(targets) => targets,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(super::unusable(&error)),
        };
        let writer = self.begun().await?;
        match writer.following(&targets) {
            Ok(catalogue) if published.has_all_of(&catalogue) => {
                tracing::info!("what was signed before the server ended is sealed now");
                self.seal(SignedChange { writer, targets }).await
            }
            _ => {
                self.give_up().await;
                Ok(())
            }
        }
    }

    /// Seals anew what is a day old, so that its time never runs out while the server runs.
    ///
    /// # Errors
    /// The server's key may not seal any more, or the folder cannot be written.
    pub(crate) async fn renew(&self) -> Result<(), RequestRefusal> {
        if !RepositoryWriter::exists(&self.folder) {
            return Ok(());
        }
        let _turn = self.turn().await?;
        let mut writer = self.writer().await?;
        let now = Timestamp::now();
        let usual = SignedDuration::from_hours(i64::from(::repository::SIGNED_BY_SERVER_DAYS) * 24);
        let is_old = writer.standing().iter().any(|role| {
            let is_own = matches!(role.role, RoleType::Snapshot | RoleType::Timestamp);
            is_own && now.duration_until(role.expires) < usual - RENEW_AGE
        });
        if !is_old {
            return Ok(());
        }
        let own = [RoleType::Snapshot, RoleType::Timestamp];
        let renewed = writer.renew(&own, None, &self.signers, now).await;
        renewed.map_err(refused)?;
        self.push().await
    }

    /// When each role's metadata ends.
    ///
    /// # Errors
    /// The repository cannot be read.
    pub(crate) async fn ends(&self) -> Result<Vec<(String, Timestamp)>, RequestRefusal> {
        if !RepositoryWriter::exists(&self.folder) {
            return Ok(Vec::new());
        }
        let standing = self.writer().await?.standing().into_iter();
        Ok(standing
            .map(|it| (it.role.to_string(), it.expires))
            .collect())
    }
}

/// Why something is not taken: what is signed wrongly apart from what the server cannot do.
fn refused(error: SignError) -> RequestRefusal {
    let kind = match &error {
        SignError::Disk { source, .. } | SignError::Trust(TrustError::Transport { source, .. }) => {
            return super::unusable(source);
        }
        SignError::KeyFile { .. } | SignError::Command { .. } => Kind::REPOSITORY_UNAVAILABLE,
        SignError::KeysMissing { .. } => {
            tracing::error!(%error, "the root does not let this server's key seal");
            Kind::REPOSITORY_UNAVAILABLE
        }
        SignError::Outdated { .. } => Kind::SIGNED_MEANWHILE,
        SignError::Trust(TrustError::RootSkipped { .. }) => Kind::SIGNED_MEANWHILE,
        SignError::Refused { .. } | SignError::Trust(_) => Kind::UNSIGNED,
    };
    refuse(kind, format!("{error}; {}.", error.advice()))
}

//! A repository as those write it who hold its keys: a folder of files that any web server can serve, with the timestamp written last.
//!
//! Publishers sign targets where they are ([`sign_upgrade`]), whoever serves the repository seals them with a snapshot and a timestamp
//! ([`RepositoryWriter::seal`]); one hand that holds all keys does both.

use crate::catalogue::Catalogue;
use crate::error::{SignError, TrustError};
use crate::following::{
    FirstDocuments, SIGNED_BY_SERVER_DAYS, after, next_snapshot, next_timestamp, sign_first,
    sign_upgrade, sign_withdrawal,
};
use crate::keys::PublicKey;
use crate::metadata::{Metadata, SignedDocument, TIMESTAMP_PATH, next};
use crate::roots::{self, RoleRule, RootChange};
use crate::sign::{Signer, keys_of, sign, threshold};
use crate::store::{end_replacing, is_replacing, replace, replace_all};
use crate::system::SystemIdentity;
use crate::transport::DirectoryTransport;
use crate::trust::Trust;
use crate::verifier::SealedDocuments;
use crate::{manifest_path, verifier};
use jiff::Timestamp as Time;
use model::ids::{Place, Version};
use model::manifest::Manifest;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use tough::schema::{RoleType, Root, Snapshot, Targets, Timestamp};

/// A repository with what it vouches for now.
#[derive(Debug)]
pub struct RepositoryWriter {
    path: PathBuf,
    pub(crate) trust: Trust,
    ended: bool,
}

/// One role of a repository as it stands.
#[derive(Clone, Debug)]
pub struct RoleStanding {
    /// The role.
    pub role: RoleType,
    /// The keys that may sign.
    pub keys: Vec<PublicKey>,
    /// How many of them must.
    pub threshold: u64,
    /// The version of its document.
    pub version: u64,
    /// When that expires.
    pub expires: Time,
}

/// Documents that follow on those that are there.
#[derive(Default)]
pub(crate) struct FollowingDocuments {
    pub(crate) root: Option<SignedDocument<Root>>,
    pub(crate) targets: Option<SignedDocument<Targets>>,
    pub(crate) snapshot: Option<SignedDocument<Snapshot>>,
    pub(crate) timestamp: Option<SignedDocument<Timestamp>>,
}

impl RepositoryWriter {
    /// Begins a repository: its first root, and no upgrade yet.
    ///
    /// # Errors
    /// The keys do not suffice, or the folder cannot be written.
    pub async fn create(
        path: &Path,
        system: &SystemIdentity,
        rules: &[RoleRule],
        signers: &[Signer],
        now: Time,
    ) -> Result<Self, SignError> {
        let first = sign_first(system, rules, signers, now).await?;
        Self::begin(path, &first, signers, now).await
    }

    /// Begins a repository with a root and targets that people have signed elsewhere.
    ///
    /// # Errors
    /// They are none, do not belong to each other, or do not let these keys seal them; or the folder cannot be written.
    pub async fn begin(
        path: &Path,
        first: &FirstDocuments,
        signers: &[Signer],
        now: Time,
    ) -> Result<Self, SignError> {
        let trust = Trust::pin(&first.root)?;
        if trust.root_version() != NonZeroU64::MIN {
            return Err(TrustError::RootSkipped {
                trusted: 0,
                found: trust.root_version().get(),
            }
            .into());
        }
        let targets = SignedDocument::<Targets>::read(&first.targets)?;
        trust.vouched_for(&targets)?;
        let mut writer = Self {
            path: path.to_owned(),
            trust,
            ended: false,
        };
        let sealed = writer.sealed(&writer.trust, targets, signers, now).await?;
        if Self::exists(path) {
            return Err(SignError::Refused {
                problem: format!("{} holds a repository already", path.display()),
                advice: "choose another folder: a repository keeps its first root",
            });
        }
        write(
            &path.join(writer.trust.root.path()),
            &writer.trust.root.bytes,
        )?;
        writer.commit(&sealed, now)?;
        Ok(writer)
    }

    /// Whether a folder holds a repository. The timestamp is written last: without it, one was only begun, and may be begun anew.
    pub fn exists(path: &Path) -> bool {
        path.join(TIMESTAMP_PATH).exists()
    }

    /// The repository in this folder. What has expired may be renewed, so it is no error here. A change that was interrupted is ended.
    ///
    /// # Errors
    /// There is none, or something in it cannot be trusted.
    pub async fn open(path: &Path) -> Result<Self, SignError> {
        let ended = end_interrupted(path)?;
        let transport = DirectoryTransport {
            path: path.to_owned(),
        };
        let mut trust = Trust::pin(&verifier::first_root(&transport).await?)?;
        verifier::bring_forward(&mut trust, &transport, Time::MIN).await?;
        Ok(Self {
            path: path.to_owned(),
            trust,
            ended,
        })
    }

    /// Whether a change that was interrupted before was ended when this was opened.
    pub fn has_ended_a_change(&self) -> bool {
        self.ended
    }

    /// What is trusted of it.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Its root, as agents pin it.
    pub fn root(&self) -> &[u8] {
        &self.trust.root.bytes
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether an earlier root had a key whose number begins so, and this one has not.
    ///
    /// # Errors
    /// An earlier root cannot be read.
    pub async fn had_key(&self, beginning: &str) -> Result<bool, SignError> {
        let has = |root: &Root| roots::named(root, beginning).is_ok();
        if has(&self.trust.root.content.signed) {
            return Ok(false);
        }
        let transport = DirectoryTransport {
            path: self.path.clone(),
        };
        for (_, bytes) in crate::mirror::chain(&self.trust, &transport).await? {
            if has(&SignedDocument::<Root>::read(&bytes)?.content.signed) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Every role with its keys.
    pub fn standing(&self) -> Vec<RoleStanding> {
        let root = &self.trust.root.content.signed;
        let role = |role, (version, expires): (NonZeroU64, Time)| RoleStanding {
            role,
            keys: keys_of(root, role),
            threshold: threshold(root, role),
            version: version.get(),
            expires,
        };
        let root = role(RoleType::Root, dated(&self.trust.root));
        let targets = (self.trust.targets.as_ref()).map(|it| role(RoleType::Targets, dated(it)));
        let snapshot = (self.trust.snapshot.as_ref()).map(|it| role(RoleType::Snapshot, dated(it)));
        let timestamp =
            (self.trust.timestamp.as_ref()).map(|it| role(RoleType::Timestamp, dated(it)));
        let rest = [targets, snapshot, timestamp].into_iter().flatten();
        std::iter::once(root).chain(rest).collect()
    }

    /// Signs an upgrade or a revision, and seals it. The same once more changes nothing.
    ///
    /// # Errors
    /// The number cannot be, the keys do not suffice, or the folder cannot be written.
    pub async fn publish(
        &mut self,
        manifest: &Manifest,
        revise: bool,
        signers: &[Signer],
        now: Time,
    ) -> Result<Place, SignError> {
        let (place, targets) = sign_upgrade(&self.trust, manifest, revise, signers, now).await?;
        if let Some(targets) = targets {
            let path = self.path.join(manifest_path(place, manifest.digest()));
            write(&path, manifest.text().as_bytes())?;
            self.seal(&targets, signers, now).await?;
        }
        Ok(place)
    }

    /// Signs that the newest version is withdrawn, and seals it.
    ///
    /// # Errors
    /// It is not the newest one, the keys do not suffice, or the folder cannot be written.
    pub async fn withdraw(
        &mut self,
        version: Version,
        signers: &[Signer],
        now: Time,
    ) -> Result<(), SignError> {
        match sign_withdrawal(&self.trust, version, signers, now).await? {
            Some(targets) => self.seal(&targets, signers, now).await,
            None => Ok(()),
        }
    }

    /// What would be vouched for after these targets were sealed.
    ///
    /// # Errors
    /// They are none, not signed by the publishers, or do not follow on the ones that are there.
    pub fn following(&self, targets: &[u8]) -> Result<Catalogue, SignError> {
        let targets = SignedDocument::<Targets>::read(targets)?;
        self.trust.vouched_for(&targets)?;
        let there = (self.trust.targets.as_ref()).map(SignedDocument::version);
        if Some(targets.version()) != there.map(next) {
            return Err(SignError::Outdated {
                problem: format!(
                    "targets {} do not follow on targets {}",
                    targets.version(),
                    there.map_or(0, NonZeroU64::get)
                ),
            });
        }
        Ok(Catalogue::of(&targets.content.signed)?)
    }

    /// Takes targets that publishers have signed, and seals them with a snapshot and a timestamp.
    ///
    /// # Errors
    /// They cannot be trusted, the server's keys are missing, or the folder cannot be written.
    pub async fn seal(
        &mut self,
        targets: &[u8],
        signers: &[Signer],
        now: Time,
    ) -> Result<(), SignError> {
        let targets = SignedDocument::<Targets>::read(targets)?;
        self.trust.vouched_for(&targets)?;
        let sealed = self.sealed(&self.trust, targets, signers, now).await?;
        self.commit(&sealed, now)
    }

    /// Gives these roles' documents a new time, each for this many days or for the usual ones.
    ///
    /// # Errors
    /// The keys do not suffice, or the folder cannot be written.
    pub async fn renew(
        &mut self,
        roles: &[RoleType],
        days: Option<u32>,
        signers: &[Signer],
        now: Time,
    ) -> Result<(), SignError> {
        let signed = self.sign_renewal(roles, days, signers, now).await?;
        let (root, targets) = signed.read()?;
        let mut following = FollowingDocuments {
            root,
            targets,
            ..FollowingDocuments::default()
        };
        let by_server = [RoleType::Targets, RoleType::Snapshot, RoleType::Timestamp];
        if by_server.iter().any(|role| roles.contains(role)) {
            let days = days.unwrap_or(SIGNED_BY_SERVER_DAYS);
            let root = &self.trust.root.content.signed;
            let end = after(now, days);
            if following.targets.is_some() || roles.contains(&RoleType::Snapshot) {
                let targets = following.targets.as_ref().or(self.trust.targets.as_ref());
                let snapshot = next_snapshot(&self.trust, targets, end);
                following.snapshot = Some(sign(snapshot, &[root], signers).await?);
            }
            let snapshot = following.snapshot.as_ref().or(self.trust.snapshot.as_ref());
            let timestamp = next_timestamp(&self.trust, snapshot, end);
            following.timestamp = Some(sign(timestamp, &[root], signers).await?);
        }
        self.commit(&following, now)
    }

    /// Writes the next root, signed by the keys of the old and of the new one. What the new root does not vouch for any more is signed anew.
    ///
    /// # Errors
    /// The change cannot be, the keys do not suffice, or the folder cannot be written.
    pub async fn rotate(
        &mut self,
        change: &RootChange,
        signers: &[Signer],
        now: Time,
    ) -> Result<(), SignError> {
        let signed = self.sign_rotation(change, signers, now).await?;
        self.take_signed(&signed, signers, now).await
    }

    /// Takes what was sealed here before, as somebody has seen it who still has it: this folder was set back since.
    ///
    /// # Errors
    /// It does not follow on what is there, or cannot be written.
    pub fn take_sealed(&mut self, sealed: &SealedDocuments) -> Result<(), SignError> {
        let root = SignedDocument::<Root>::read(&sealed.root)?;
        let is_known = root.version() == self.trust.root_version();
        let following = FollowingDocuments {
            root: (!is_known).then_some(root),
            targets: Some(SignedDocument::read(&sealed.targets)?),
            snapshot: Some(SignedDocument::read(&sealed.snapshot)?),
            timestamp: Some(SignedDocument::read(&sealed.timestamp)?),
        };
        // What has expired meanwhile was good when it was sealed; it is sealed anew.
        self.commit(&following, Time::MIN)
    }

    /// A snapshot and a timestamp for these targets, vouched for by this root, numbered after those that are there.
    pub(crate) async fn sealed(
        &self,
        vouching: &Trust,
        targets: SignedDocument<Targets>,
        signers: &[Signer],
        now: Time,
    ) -> Result<FollowingDocuments, SignError> {
        let root = &vouching.root.content.signed;
        let end = after(now, SIGNED_BY_SERVER_DAYS);
        let snapshot = next_snapshot(&self.trust, Some(&targets), end);
        let snapshot = sign(snapshot, &[root], signers).await?;
        let timestamp = next_timestamp(&self.trust, Some(&snapshot), end);
        let timestamp = sign(timestamp, &[root], signers).await?;
        Ok(FollowingDocuments {
            root: None,
            targets: Some(targets),
            snapshot: Some(snapshot),
            timestamp: Some(timestamp),
        })
    }

    /// Writes what an agent would take, and nothing else; and only on top of what was read.
    pub(crate) fn commit(
        &mut self,
        following: &FollowingDocuments,
        now: Time,
    ) -> Result<(), SignError> {
        let metadata = self.path.join(METADATA_FOLDER);
        let disk = |source| SignError::Disk {
            path: metadata.clone(),
            source,
        };
        // Held until the end of this function; it ends with its holder, too.
        let lock = std::fs::File::open(&metadata).map_err(disk)?;
        lock.lock().map_err(disk)?;
        // By somebody else, after this was opened: what follows does not follow on it.
        end_replacing(&metadata).map_err(disk)?;
        let there = std::fs::read(self.path.join(TIMESTAMP_PATH)).ok();
        let known = self.trust.timestamp.as_ref().map(|known| &known.bytes);
        let next_root = Root::path(next(self.trust.root_version()));
        if there.as_ref() != known || self.path.join(next_root).exists() {
            return Err(SignError::Outdated {
                problem: format!("{} was changed meanwhile", self.path.display()),
            });
        }
        self.take(following, now)?;
        self.write(following)
    }

    fn take(&mut self, following: &FollowingDocuments, now: Time) -> Result<(), TrustError> {
        let mut trust = self.trust.clone();
        if let Some(root) = &following.root {
            trust.take_root(&root.bytes)?;
        }
        if let Some(timestamp) = &following.timestamp {
            trust.take_timestamp(&timestamp.bytes, now)?;
        }
        if let Some(snapshot) = &following.snapshot {
            trust.take_snapshot(&snapshot.bytes, now)?;
        }
        if let Some(targets) = &following.targets {
            trust.take_targets(&targets.bytes, now)?;
        }
        // Keys that went took the numbers with them; the documents are the same.
        trust.snapshot = trust.snapshot.or_else(|| self.trust.snapshot.clone());
        trust.timestamp = trust.timestamp.or_else(|| self.trust.timestamp.clone());
        self.trust = trust;
        Ok(())
    }

    /// In the order in which a reader may meet them: the timestamp, which names all others, last.
    fn write(&self, following: &FollowingDocuments) -> Result<(), SignError> {
        let FollowingDocuments {
            root,
            targets,
            snapshot,
            timestamp,
        } = following;
        let documents = [
            root.as_ref().map(|it| (it.path(), &it.bytes)),
            targets.as_ref().map(|it| (it.path(), &it.bytes)),
            snapshot.as_ref().map(|it| (it.path(), &it.bytes)),
            timestamp.as_ref().map(|it| (it.path(), &it.bytes)),
        ];
        let files: Vec<(String, &[u8])> = (documents.into_iter().flatten())
            .map(|(name, bytes)| {
                (
                    name.trim_start_matches(METADATA_FOLDER).to_owned(),
                    &bytes[..],
                )
            })
            .collect();
        let metadata = self.path.join(METADATA_FOLDER);
        replace_all(&metadata, &files).map_err(|source| SignError::Disk {
            path: metadata,
            source,
        })
    }
}

/// The folder of the metadata, as its documents' names begin.
const METADATA_FOLDER: &str = "metadata/";

/// Ends a change that was interrupted when its documents were about to be put into their places. Readers take the new root at once, and
/// nothing else until the timestamp is there.
fn end_interrupted(path: &Path) -> Result<bool, SignError> {
    let metadata = path.join(METADATA_FOLDER);
    if !is_replacing(&metadata) {
        return Ok(false);
    }
    let disk = |source| SignError::Disk {
        path: metadata.clone(),
        source,
    };
    let lock = std::fs::File::open(&metadata).map_err(disk)?;
    lock.lock().map_err(disk)?;
    // Whoever was doing it has ended it now, or has died.
    end_replacing(&metadata).map_err(disk)
}

fn dated<T: Metadata>(document: &SignedDocument<T>) -> (NonZeroU64, Time) {
    (document.version(), document.content.signed.expires())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), SignError> {
    replace(path, bytes).map_err(|source| SignError::Disk {
        path: path.to_owned(),
        source,
    })
}

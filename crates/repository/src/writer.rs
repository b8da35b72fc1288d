//! A repository as those write it who hold its keys: a folder of files that any web server can serve, with the timestamp written last.
//!
//! Publishers sign targets where they are ([`sign_upgrade`]), whoever serves the repository seals them with a snapshot and a timestamp
//! ([`RepositoryWriter::seal`]); one hand that holds all keys does both.

use crate::catalogue::{self, Catalogue};
use crate::error::{SignError, TrustError};
use crate::keys::PublicKey;
use crate::metadata::{
    Document, Metadata, SNAPSHOT_META, SPECIFICATION, SystemIdentity, TARGETS_META, TIMESTAMP_PATH,
    next,
};
use crate::roots::{self, RoleRule, RootChange};
use crate::sign::{Signer, keys_of, sign, threshold};
use crate::store::replace;
use crate::transport::DirectoryTransport;
use crate::trust::{Trust, signed_by};
use crate::{manifest_path, verifier};
use jiff::{SignedDuration, Timestamp as Time};
use model::ids::{Place, Version};
use model::manifest::Manifest;
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use tough::schema::{RoleType, Root, Snapshot, Targets, Timestamp};

/// For how many days roots and targets are good: what people sign by hand.
pub const SIGNED_BY_PEOPLE_DAYS: u32 = 365;
/// For how many days snapshots and timestamps are good: for so long may somebody who has taken the server hide what is new.
pub const SIGNED_BY_SERVER_DAYS: u32 = 30;
/// The longest time that metadata is good for, in days.
pub const DAYS_MAX: u32 = 3650;

/// A repository with what it vouches for now.
#[derive(Debug)]
pub struct RepositoryWriter {
    path: PathBuf,
    trust: Trust,
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
struct Following {
    root: Option<Document<Root>>,
    targets: Option<Document<Targets>>,
    snapshot: Option<Document<Snapshot>>,
    timestamp: Option<Document<Timestamp>>,
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
        let root = roots::first(system, rules, after(now, SIGNED_BY_PEOPLE_DAYS))?;
        let root = sign(root.clone(), &[&root], signers).await?;
        let targets = Targets {
            delegations: None,
            _extra: system.fields(),
            ..Targets::new(
                SPECIFICATION.to_owned(),
                NonZeroU64::MIN,
                after(now, SIGNED_BY_PEOPLE_DAYS),
            )
        };
        let targets = sign(targets, &[&root.content.signed], signers).await?;
        let trust = Trust::pin(&root.bytes)?;
        let mut writer = Self {
            path: path.to_owned(),
            trust,
        };
        let sealed = writer.sealed(&writer.trust, targets, signers, now).await?;
        if Self::exists(path) {
            return Err(SignError::Refused {
                problem: format!("{} holds a repository already", path.display()),
                advice: "choose another folder: a repository keeps its first root",
            });
        }
        let first = path.join(writer.trust.root.path());
        write(&first, &writer.trust.root.bytes)?;
        writer.commit(&sealed, now)?;
        Ok(writer)
    }

    /// Whether a folder holds a repository. The timestamp is written last: without it, one was only begun, and may be begun anew.
    pub fn exists(path: &Path) -> bool {
        path.join(TIMESTAMP_PATH).exists()
    }

    /// The repository in this folder. What has expired may be renewed, so it is no error here.
    ///
    /// # Errors
    /// There is none, or something in it cannot be trusted.
    pub async fn open(path: &Path) -> Result<Self, SignError> {
        let transport = DirectoryTransport {
            path: path.to_owned(),
        };
        let name = Root::path(NonZeroU64::MIN);
        let first = verifier::needed(&transport, &name, Root::BYTES_MAX).await?;
        let mut trust = Trust::pin(&first)?;
        verifier::bring_forward(&mut trust, &transport, Time::MIN).await?;
        Ok(Self {
            path: path.to_owned(),
            trust,
        })
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
            if has(&Document::<Root>::read(&bytes)?.content.signed) {
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
        let targets = Document::<Targets>::read(targets)?;
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
        let mut following = Following::default();
        let people = after(now, days.unwrap_or(SIGNED_BY_PEOPLE_DAYS));
        if roles.contains(&RoleType::Root) {
            let before = &self.trust.root.content.signed;
            let root = roots::following(before, &RootChange::default(), people)?;
            following.root = Some(sign(root.clone(), &[before, &root], signers).await?);
        }
        if roles.contains(&RoleType::Targets) {
            let targets = next_targets(&self.trust, people)?;
            let root = &self.trust.root.content.signed;
            following.targets = Some(sign(targets, &[root], signers).await?);
        }
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
        let before = &self.trust.root.content.signed;
        let root = roots::following(before, change, after(now, SIGNED_BY_PEOPLE_DAYS))?;
        let root = sign(root.clone(), &[before, &root], signers).await?;
        let mut rotated = self.trust.clone();
        rotated.take_root(&root.bytes)?;
        let vouching = &root.content.signed;
        let is_good = [
            self.trust
                .targets
                .as_ref()
                .is_some_and(|it| signed_by(vouching, it).is_ok()),
            self.trust
                .snapshot
                .as_ref()
                .is_some_and(|it| signed_by(vouching, it).is_ok()),
            self.trust
                .timestamp
                .as_ref()
                .is_some_and(|it| signed_by(vouching, it).is_ok()),
        ];
        let mut following = Following::default();
        if is_good != [true; 3] {
            let targets = match &self.trust.targets {
                Some(targets) if is_good[0] => targets.clone(),
                _ => {
                    let end = after(now, SIGNED_BY_PEOPLE_DAYS);
                    sign(next_targets(&self.trust, end)?, &[vouching], signers).await?
                }
            };
            following = self.sealed(&rotated, targets, signers, now).await?;
        }
        following.root = Some(root);
        self.commit(&following, now)
    }

    /// A snapshot and a timestamp for these targets, vouched for by this root, numbered after those that are there.
    async fn sealed(
        &self,
        vouching: &Trust,
        targets: Document<Targets>,
        signers: &[Signer],
        now: Time,
    ) -> Result<Following, SignError> {
        let root = &vouching.root.content.signed;
        let end = after(now, SIGNED_BY_SERVER_DAYS);
        let snapshot = next_snapshot(&self.trust, Some(&targets), end);
        let snapshot = sign(snapshot, &[root], signers).await?;
        let timestamp = next_timestamp(&self.trust, Some(&snapshot), end);
        let timestamp = sign(timestamp, &[root], signers).await?;
        Ok(Following {
            root: None,
            targets: Some(targets),
            snapshot: Some(snapshot),
            timestamp: Some(timestamp),
        })
    }

    /// Writes what an agent would take, and nothing else.
    fn commit(&mut self, following: &Following, now: Time) -> Result<(), SignError> {
        self.take(following, now)?;
        self.write(following)
    }

    fn take(&mut self, following: &Following, now: Time) -> Result<(), TrustError> {
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
    fn write(&self, following: &Following) -> Result<(), SignError> {
        let Following {
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
        for (name, bytes) in documents.into_iter().flatten() {
            write(&self.path.join(name), bytes)?;
        }
        Ok(())
    }
}

/// Signs targets with an upgrade or a revision added: none where it is signed already. This is a publisher's part, and needs no other key.
///
/// # Errors
/// The number cannot be, or the keys do not suffice.
pub async fn sign_upgrade(
    trust: &Trust,
    manifest: &Manifest,
    revise: bool,
    signers: &[Signer],
    now: Time,
) -> Result<(Place, Option<Vec<u8>>), SignError> {
    if manifest.system != trust.system.name {
        return Err(SignError::Refused {
            problem: format!(
                "the upgrade is of system {}, the repository of {}",
                manifest.system, trust.system.name
            ),
            advice: "use the repository of that system, or mend `system` in upgrade.toml",
        });
    }
    let mut targets = next_targets(trust, after(now, SIGNED_BY_PEOPLE_DAYS))?;
    let place = catalogue::add(&mut targets, manifest, revise)?;
    Ok((place, signed_if_changed(trust, targets, signers).await?))
}

/// Signs targets with the newest version withdrawn: none where it is already.
///
/// # Errors
/// It is not the newest version, or the keys do not suffice.
pub async fn sign_withdrawal(
    trust: &Trust,
    version: Version,
    signers: &[Signer],
    now: Time,
) -> Result<Option<Vec<u8>>, SignError> {
    let mut targets = next_targets(trust, after(now, SIGNED_BY_PEOPLE_DAYS))?;
    catalogue::withdraw(&mut targets, version)?;
    signed_if_changed(trust, targets, signers).await
}

async fn signed_if_changed(
    trust: &Trust,
    targets: Targets,
    signers: &[Signer],
) -> Result<Option<Vec<u8>>, SignError> {
    if Catalogue::of(&targets)? == trust.catalogue() {
        return Ok(None);
    }
    let signed = sign(targets, &[&trust.root.content.signed], signers).await?;
    Ok(Some(signed.bytes))
}

/// The targets that are trusted, with the next number.
fn next_targets(trust: &Trust, expires: Time) -> Result<Targets, SignError> {
    let there = trust.targets.as_ref().ok_or_else(|| TrustError::Missing {
        name: TARGETS_META.to_owned(),
    })?;
    let mut targets = there.content.signed.clone();
    targets.version = next(targets.version);
    targets.expires = expires;
    Ok(targets)
}

fn next_snapshot(trust: &Trust, of: Option<&Document<Targets>>, expires: Time) -> Snapshot {
    let before = trust.snapshot.as_ref();
    let version = before.map_or(NonZeroU64::MIN, |before| next(before.version()));
    let mut snapshot = Snapshot::new(SPECIFICATION.to_owned(), version, expires);
    let named = of.map(|targets| (TARGETS_META.to_owned(), targets.reference()));
    snapshot.meta = named.into_iter().collect::<HashMap<_, _>>();
    snapshot._extra = trust.system.fields();
    snapshot
}

fn next_timestamp(trust: &Trust, of: Option<&Document<Snapshot>>, expires: Time) -> Timestamp {
    let before = trust.timestamp.as_ref();
    let version = before.map_or(NonZeroU64::MIN, |before| next(before.version()));
    let mut timestamp = Timestamp::new(SPECIFICATION.to_owned(), version, expires);
    let named = of.map(|snapshot| (SNAPSHOT_META.to_owned(), snapshot.reference()));
    timestamp.meta = named.into_iter().collect::<HashMap<_, _>>();
    timestamp._extra = trust.system.fields();
    timestamp
}

/// The end of a time of so many days, in whole seconds as metadata has them.
fn after(now: Time, days: u32) -> Time {
    let seconds = i64::from(days.min(DAYS_MAX)) * 24 * 60 * 60;
    let now = Time::from_second(now.as_second()).unwrap_or(now);
    now.saturating_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Time::MAX)
}

fn dated<T: Metadata>(document: &Document<T>) -> (NonZeroU64, Time) {
    (document.version(), document.content.signed.expires())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), SignError> {
    replace(path, bytes).map_err(|source| SignError::Disk {
        path: path.to_owned(),
        source,
    })
}

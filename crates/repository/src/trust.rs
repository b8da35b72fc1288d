//! What an agent trusts, as pure decisions: pinned root, chain of roots, timestamp, snapshot, targets. No document is taken that
//! the ones before do not vouch for, and none that is older than what was taken already. Bytes and time come in as arguments.

use crate::catalogue::Catalogue;
use crate::error::TrustError;
use crate::metadata::{Metadata, SNAPSHOT_META, SignedDocument, TARGETS_META};
use crate::system::SystemIdentity;
use model::manifest::Digest;
use std::num::NonZeroU64;
use tough::schema::{Error, Metafile, RoleType, Root, Snapshot, Targets, Timestamp};

/// The state of one who verifies. It only moves forward.
#[derive(Clone, Debug)]
pub struct Trust {
    pub(crate) system: SystemIdentity,
    pub(crate) root: SignedDocument<Root>,
    pub(crate) timestamp: Option<SignedDocument<Timestamp>>,
    pub(crate) snapshot: Option<SignedDocument<Snapshot>>,
    /// What was taken last. It stays when keys are rotated, so that what runs can be started again.
    pub(crate) targets: Option<SignedDocument<Targets>>,
    /// The lowest version of targets that is taken.
    pub(crate) targets_floor: u64,
}

/// Metadata that was good for a time that is over. It holds up new versions only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpiredMetadata {
    /// Which document.
    pub document: String,
    /// When it expired.
    pub expired: jiff::Timestamp,
}

impl Trust {
    /// Trusts this root from now on, and what it vouches for. Whoever calls has it from where it can be believed.
    ///
    /// # Errors
    /// It is no root, or not signed by itself.
    pub fn pin(bytes: &[u8]) -> Result<Self, TrustError> {
        let root = SignedDocument::<Root>::read(bytes)?;
        signed_by(&root.content.signed, &root)?;
        let fields = root.content.signed.extra();
        let system = SystemIdentity::of(fields).ok_or_else(|| TrustError::Malformed {
            document: "root".to_owned(),
            problem: "it names no system of Upstart".to_owned(),
        })?;
        Ok(Self {
            system,
            root,
            timestamp: None,
            snapshot: None,
            targets: None,
            targets_floor: 0,
        })
    }

    /// The system that is trusted.
    pub fn system(&self) -> &SystemIdentity {
        &self.system
    }

    /// The number of the root that is trusted.
    pub fn root_version(&self) -> NonZeroU64 {
        self.root.version()
    }

    /// The upgrades that are trusted: none before the first targets were taken.
    pub fn catalogue(&self) -> Catalogue {
        let targets = self.targets.as_ref().map(|found| &found.content.signed);
        // Targets are only taken when their catalogue can be read.
        targets
            .and_then(|targets| Catalogue::of(targets).ok())
            .unwrap_or_default()
    }

    /// The documents below the root, by their names in a repository: the timestamp last.
    pub(crate) fn documents(&self) -> impl Iterator<Item = (String, &[u8])> {
        let targets = self.targets.as_ref().map(named);
        let snapshot = self.snapshot.as_ref().map(named);
        let timestamp = self.timestamp.as_ref().map(named);
        [targets, snapshot, timestamp].into_iter().flatten()
    }

    /// What of the trusted metadata has expired by this time. What it says stays trusted: only nothing new is taken.
    pub fn expired(&self, now: jiff::Timestamp) -> Vec<ExpiredMetadata> {
        let ends = [
            Some(end(&self.root)),
            self.targets.as_ref().map(end),
            self.snapshot.as_ref().map(end),
            self.timestamp.as_ref().map(end),
        ];
        let over = ends.into_iter().flatten().filter(|(_, end)| *end <= now);
        over.map(|(document, expired)| ExpiredMetadata { document, expired })
            .collect()
    }

    /// Takes the next root: signed by the trusted one, by itself, and with the next number.
    pub(crate) fn take_root(&mut self, bytes: &[u8]) -> Result<(), TrustError> {
        let root = SignedDocument::<Root>::read(bytes)?;
        signed_by(&self.root.content.signed, &root)?;
        if root.version() != crate::metadata::next(self.root.version()) {
            return Err(TrustError::RootSkipped {
                trusted: self.root.version().get(),
                found: root.version().get(),
            });
        }
        signed_by(&root.content.signed, &root)?;
        self.of_this_system(&root)?;
        let (old, new) = (&self.root.content.signed, &root.content.signed);
        let lost = |role| has_lost_key(old, new, role);
        // A thief of these keys may have given out numbers that nobody reaches: the numbers go with the keys.
        if lost(RoleType::Targets) {
            self.targets_floor = 0;
        }
        if lost(RoleType::Timestamp) || lost(RoleType::Snapshot) || lost(RoleType::Targets) {
            self.timestamp = None;
            self.snapshot = None;
        }
        self.root = root;
        Ok(())
    }

    /// Whether the root, as the last of its chain, may vouch for anything new.
    pub(crate) fn root_is_current(&self, now: jiff::Timestamp) -> Result<(), TrustError> {
        current(&self.root, now)
    }

    /// Takes a timestamp; the same once more changes nothing.
    pub(crate) fn take_timestamp(
        &mut self,
        bytes: &[u8],
        now: jiff::Timestamp,
    ) -> Result<(), TrustError> {
        let new = SignedDocument::<Timestamp>::read(bytes)?;
        self.vouched_for(&new)?;
        let reference = reference(&new, &new.content.signed.meta, SNAPSHOT_META)?;
        if let Some(old) = &self.timestamp {
            not_older("timestamp", old.version(), new.version())?;
            if old.version() == new.version() && old.content.signed != new.content.signed {
                return Err(TrustError::Contradiction {
                    document: "timestamp".to_owned(),
                    version: new.version().get(),
                });
            }
            let named = old.content.signed.meta.get(SNAPSHOT_META);
            let named = named.map_or(NonZeroU64::MIN, |old| old.version);
            not_older("snapshot", named, reference.version)?;
        }
        current(&new, now)?;
        self.timestamp = Some(new);
        Ok(())
    }

    /// The snapshot that the timestamp names, unless it is there already.
    pub(crate) fn wanted_snapshot(&self) -> Option<&Metafile> {
        let timestamp = self.timestamp.as_ref()?;
        let wanted = timestamp.content.signed.meta.get(SNAPSHOT_META)?;
        let is_there = self.snapshot.as_ref().is_some_and(|there| {
            matches("snapshot", wanted, there).is_ok() && self.vouched_for(there).is_ok()
        });
        (!is_there).then_some(wanted)
    }

    /// Takes the snapshot that the timestamp names.
    pub(crate) fn take_snapshot(
        &mut self,
        bytes: &[u8],
        now: jiff::Timestamp,
    ) -> Result<(), TrustError> {
        let new = SignedDocument::<Snapshot>::read(bytes)?;
        if let Some(wanted) = self.wanted_snapshot() {
            matches("snapshot", wanted, &new)?;
        }
        self.vouched_for(&new)?;
        let named = reference(&new, &new.content.signed.meta, TARGETS_META)?.version;
        if let Some(old) = &self.snapshot {
            not_older("snapshot", old.version(), new.version())?;
            let before = old.content.signed.meta.get(TARGETS_META);
            not_older("targets", before.map_or(named, |old| old.version), named)?;
        }
        current(&new, now)?;
        self.snapshot = Some(new);
        Ok(())
    }

    /// The targets that the snapshot names, unless they are there already, vouched for by the root of today.
    pub(crate) fn wanted_targets(&self) -> Option<&Metafile> {
        let snapshot = self.snapshot.as_ref()?;
        let wanted = snapshot.content.signed.meta.get(TARGETS_META)?;
        let is_there = self.targets.as_ref().is_some_and(|there| {
            matches("targets", wanted, there).is_ok() && self.vouched_for(there).is_ok()
        });
        (!is_there).then_some(wanted)
    }

    /// Takes the targets that the snapshot names.
    pub(crate) fn take_targets(
        &mut self,
        bytes: &[u8],
        now: jiff::Timestamp,
    ) -> Result<(), TrustError> {
        let new = SignedDocument::<Targets>::read(bytes)?;
        if let Some(wanted) = self.wanted_targets() {
            matches("targets", wanted, &new)?;
        }
        self.vouched_for(&new)?;
        if new.version().get() < self.targets_floor {
            return Err(TrustError::Rollback {
                document: "targets".to_owned(),
                trusted: self.targets_floor,
                found: new.version().get(),
            });
        }
        current(&new, now)?;
        Catalogue::of(&new.content.signed)?;
        self.targets_floor = new.version().get();
        self.targets = Some(new);
        Ok(())
    }

    /// Whether all of what is trusted is good at this time.
    pub(crate) fn nothing_has_expired(&self, now: jiff::Timestamp) -> Result<(), TrustError> {
        match self.expired(now).pop() {
            Some(ExpiredMetadata { document, expired }) => {
                Err(TrustError::Expired { document, expired })
            }
            None => Ok(()),
        }
    }

    /// Whether the root vouches for it, as a document of this system.
    pub(crate) fn vouched_for<T: Metadata>(
        &self,
        document: &SignedDocument<T>,
    ) -> Result<(), TrustError> {
        signed_by(&self.root.content.signed, document)?;
        self.of_this_system(document)
    }

    fn of_this_system<T: Metadata>(&self, document: &SignedDocument<T>) -> Result<(), TrustError> {
        let found = SystemIdentity::of(document.content.signed.extra());
        if found.as_ref() == Some(&self.system) {
            return Ok(());
        }
        Err(TrustError::OtherSystem {
            document: T::TYPE.to_string(),
            expected: self.system.clone(),
            found,
        })
    }
}

/// Whether as many keys of the role have signed as the root asks for.
pub(crate) fn signed_by<T: Metadata>(
    root: &Root,
    document: &SignedDocument<T>,
) -> Result<(), TrustError> {
    let name = T::TYPE.to_string();
    root.verify_role(&document.content)
        .map_err(|error| match error {
            Error::SignatureThreshold { valid: 0, .. } => TrustError::UnknownKey { document: name },
            Error::SignatureThreshold {
                threshold, valid, ..
            } => TrustError::TooFewKeys {
                document: name,
                valid,
                threshold,
            },
            other => TrustError::Malformed {
                document: name,
                problem: other.to_string(),
            },
        })
}

/// Whether a key that might sign for a role may not any more.
fn has_lost_key(old: &Root, new: &Root, role: RoleType) -> bool {
    let now = new.roles.get(&role);
    let mut before = old.roles.get(&role).into_iter();
    before.any(|before| {
        let is_gone = |id| now.is_none_or(|now| !now.keyids.contains(id));
        before.keyids.iter().any(is_gone)
    })
}

fn reference<'a, T: Metadata>(
    document: &SignedDocument<T>,
    meta: &'a std::collections::HashMap<String, Metafile>,
    name: &str,
) -> Result<&'a Metafile, TrustError> {
    meta.get(name).ok_or_else(|| TrustError::Malformed {
        document: T::TYPE.to_string(),
        problem: format!("version {} names no {name}", document.version()),
    })
}

fn matches<T: Metadata>(
    name: &str,
    wanted: &Metafile,
    found: &SignedDocument<T>,
) -> Result<(), TrustError> {
    let mixed = |problem| TrustError::Mixed {
        document: name.to_owned(),
        problem,
    };
    if wanted.version != found.version() {
        let (wanted, found) = (wanted.version, found.version());
        return Err(mixed(format!(
            "version {wanted} is wanted, this is {found}"
        )));
    }
    let digest = Digest::of(&found.bytes);
    match &wanted.hashes {
        Some(hashes) if hashes.sha256.as_ref() != digest.0.as_slice() => Err(mixed(format!(
            "its digest is {digest}, another one was signed"
        ))),
        _ => Ok(()),
    }
}

fn not_older(document: &str, trusted: NonZeroU64, found: NonZeroU64) -> Result<(), TrustError> {
    if found >= trusted {
        return Ok(());
    }
    Err(TrustError::Rollback {
        document: document.to_owned(),
        trusted: trusted.get(),
        found: found.get(),
    })
}

fn current<T: Metadata>(
    document: &SignedDocument<T>,
    now: jiff::Timestamp,
) -> Result<(), TrustError> {
    let (document, expired) = end(document);
    if now < expired {
        return Ok(());
    }
    Err(TrustError::Expired { document, expired })
}

fn end<T: Metadata>(document: &SignedDocument<T>) -> (String, jiff::Timestamp) {
    (T::TYPE.to_string(), document.content.signed.expires())
}

fn named<T: Metadata>(document: &SignedDocument<T>) -> (String, &[u8]) {
    (document.path(), &document.bytes)
}

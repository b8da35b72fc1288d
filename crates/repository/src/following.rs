//! What follows on a state: the next targets as publishers sign them, the next snapshot and timestamp as a server does.

use crate::catalogue::{self, Catalogue};
use crate::error::{SignError, TrustError};
use crate::metadata::{SNAPSHOT_META, SPECIFICATION, SignedDocument, TARGETS_META, next};
use crate::roots::{self, RoleRule};
use crate::sign::{Signer, sign};
use crate::system::SystemIdentity;
use crate::trust::Trust;
use jiff::{SignedDuration, Timestamp as Time};
use model::ids::{Place, Version};
use model::manifest::Manifest;
use std::collections::HashMap;
use std::num::NonZeroU64;
use tough::schema::{Snapshot, Targets, Timestamp};

/// For how many days roots and targets are good: what people sign by hand.
pub const SIGNED_BY_PEOPLE_DAYS: u32 = 365;
/// For how many days snapshots and timestamps are good: for so long may somebody who has taken the server hide what is new.
pub const SIGNED_BY_SERVER_DAYS: u32 = 30;
/// The longest time that metadata is good for, in days.
pub const DAYS_MAX: u32 = 3650;

/// What a repository begins with: as people sign it, before a server has sealed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstDocuments {
    /// The first root.
    pub root: Vec<u8>,
    /// The first targets.
    pub targets: Vec<u8>,
}

/// Signs the first root of a system, and its first targets, which list nothing.
///
/// # Errors
/// The keys do not suffice.
pub async fn sign_first(
    system: &SystemIdentity,
    rules: &[RoleRule],
    signers: &[Signer],
    now: Time,
) -> Result<FirstDocuments, SignError> {
    let end = after(now, SIGNED_BY_PEOPLE_DAYS);
    let root = roots::first(system, rules, end)?;
    let root = sign(root.clone(), &[&root], signers).await?;
    let targets = Targets {
        delegations: None,
        _extra: system.fields(),
        ..Targets::new(SPECIFICATION.to_owned(), NonZeroU64::MIN, end)
    };
    let targets = sign(targets, &[&root.content.signed], signers).await?;
    Ok(FirstDocuments {
        root: root.bytes,
        targets: targets.bytes,
    })
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
pub(crate) fn next_targets(trust: &Trust, expires: Time) -> Result<Targets, SignError> {
    let there = trust.targets.as_ref().ok_or_else(|| TrustError::Missing {
        name: TARGETS_META.to_owned(),
    })?;
    let mut targets = there.content.signed.clone();
    targets.version = next(targets.version);
    targets.expires = expires;
    Ok(targets)
}

pub(crate) fn next_snapshot(
    trust: &Trust,
    of: Option<&SignedDocument<Targets>>,
    expires: Time,
) -> Snapshot {
    let before = trust.snapshot.as_ref();
    let version = before.map_or(NonZeroU64::MIN, |before| next(before.version()));
    let mut snapshot = Snapshot::new(SPECIFICATION.to_owned(), version, expires);
    let named = of.map(|targets| (TARGETS_META.to_owned(), targets.reference()));
    snapshot.meta = named.into_iter().collect::<HashMap<_, _>>();
    snapshot._extra = trust.system.fields();
    snapshot
}

pub(crate) fn next_timestamp(
    trust: &Trust,
    of: Option<&SignedDocument<Snapshot>>,
    expires: Time,
) -> Timestamp {
    let before = trust.timestamp.as_ref();
    let version = before.map_or(NonZeroU64::MIN, |before| next(before.version()));
    let mut timestamp = Timestamp::new(SPECIFICATION.to_owned(), version, expires);
    let named = of.map(|snapshot| (SNAPSHOT_META.to_owned(), snapshot.reference()));
    timestamp.meta = named.into_iter().collect::<HashMap<_, _>>();
    timestamp._extra = trust.system.fields();
    timestamp
}

/// The end of a time of so many days, in whole seconds as metadata has them.
pub(crate) fn after(now: Time, days: u32) -> Time {
    let seconds = i64::from(days.min(DAYS_MAX)) * 24 * 60 * 60;
    let now = Time::from_second(now.as_second()).unwrap_or(now);
    now.saturating_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Time::MAX)
}

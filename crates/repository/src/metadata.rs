//! What all metadata has in common: its names in a repository, its bytes, the limits of its size.

use crate::error::TrustError;
use crate::system::ExtraFields;
use model::manifest::Digest;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::num::NonZeroU64;
use tough::schema::{Hashes, Metafile, Role, RoleType, Root, Signed, Snapshot, Targets, Timestamp};

/// The version of the TUF specification that is followed.
pub(crate) const SPECIFICATION: &str = "1.0.33";
/// The largest root, in bytes: some hundred keys.
pub(crate) const ROOT_BYTES_MAX: u64 = 512 << 10;
/// The largest timestamp, in bytes: it names one document.
pub(crate) const TIMESTAMP_BYTES_MAX: u64 = 16 << 10;
/// The largest snapshot, in bytes: it names one document too.
pub(crate) const SNAPSHOT_BYTES_MAX: u64 = 64 << 10;
/// The largest targets, in bytes: some 40,000 revisions.
pub(crate) const TARGETS_BYTES_MAX: u64 = 16 << 20;
/// The most roots that one refresh follows, so that a chain without an end ends; the next refresh goes on.
pub(crate) const ROOTS_MAX: u32 = 1024;
/// What snapshots call the targets.
pub(crate) const TARGETS_META: &str = "targets.json";
/// What timestamps call the snapshot.
pub(crate) const SNAPSHOT_META: &str = "snapshot.json";

/// The roles of every repository, in the order in which they trust each other.
pub const ROLES: [RoleType; 4] = [
    RoleType::Root,
    RoleType::Targets,
    RoleType::Snapshot,
    RoleType::Timestamp,
];

/// One kind of metadata: how large it may be, and where it says of which system it is.
pub(crate) trait Metadata: Role + Clone + DeserializeOwned {
    /// The most bytes of it that are read.
    const BYTES_MAX: u64;

    /// The fields beyond the specification's.
    fn extra(&self) -> &ExtraFields;

    /// Its name in a repository.
    fn path(version: NonZeroU64) -> String;
}

macro_rules! metadata {
    ($kind:ty, $bytes_max:expr, $version:ident => $path:expr) => {
        impl Metadata for $kind {
            const BYTES_MAX: u64 = $bytes_max;

            fn extra(&self) -> &ExtraFields {
                &self._extra
            }

            fn path($version: NonZeroU64) -> String {
                $path
            }
        }
    };
}

metadata!(Root, ROOT_BYTES_MAX, version => format!("metadata/{version}.root.json"));
metadata!(Targets, TARGETS_BYTES_MAX, version => format!("metadata/{version}.targets.json"));
metadata!(Snapshot, SNAPSHOT_BYTES_MAX, version => format!("metadata/{version}.snapshot.json"));
metadata!(Timestamp, TIMESTAMP_BYTES_MAX, _version => TIMESTAMP_PATH.to_owned());

/// Where the timestamp is: the one document whose name stays when it changes.
pub(crate) const TIMESTAMP_PATH: &str = "metadata/timestamp.json";

/// Signed metadata with the bytes that it was read from, or is written as.
#[derive(Clone, Debug)]
pub(crate) struct SignedDocument<T> {
    /// What was read.
    pub(crate) content: Signed<T>,
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
}

impl<T: Metadata> SignedDocument<T> {
    /// Reads metadata. Nothing of it is believed yet.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, TrustError> {
        let content: Signed<T> =
            serde_json::from_slice(bytes).map_err(|error| TrustError::Malformed {
                document: T::TYPE.to_string(),
                problem: error.to_string(),
            })?;
        Ok(Self {
            content,
            bytes: bytes.to_vec(),
        })
    }

    /// Writes metadata.
    pub(crate) fn write(content: Signed<T>) -> Self {
        // By way of a value, whose keys are sorted: one content has one spelling. Plain data with string keys always serialises.
        let bytes = serde_json::to_value(&content)
            .and_then(|value| serde_json::to_vec_pretty(&value))
            .unwrap_or_default();
        Self { content, bytes }
    }

    /// Its number.
    pub(crate) fn version(&self) -> NonZeroU64 {
        self.content.signed.version()
    }

    /// Its name in a repository.
    pub(crate) fn path(&self) -> String {
        T::path(self.version())
    }

    /// How it is named in the document that vouches for it.
    pub(crate) fn reference(&self) -> Metafile {
        Metafile {
            length: Some(self.bytes.len() as u64),
            hashes: Some(Hashes {
                sha256: Digest::of(&self.bytes).0.to_vec().into(),
                _extra: HashMap::new(),
            }),
            version: self.version(),
            _extra: HashMap::new(),
        }
    }
}

/// The target's name of an upgrade's manifest.
pub(crate) fn manifest_target(place: model::ids::Place) -> String {
    format!("upgrades/{place}.json")
}

/// Where the manifest lies in a repository: by its digest, as clients of TUF look for it.
pub fn manifest_path(place: model::ids::Place, sha256: Digest) -> String {
    format!("targets/upgrades/{sha256}.{place}.json")
}

/// Where an artifact lies in a repository.
pub fn artifact_path(sha256: Digest) -> String {
    format!("artifacts/{sha256}")
}

/// The number after this one.
pub(crate) fn next(version: NonZeroU64) -> NonZeroU64 {
    version.saturating_add(1)
}

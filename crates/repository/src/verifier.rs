//! How an agent comes to trust: what was trusted before is on disk, and each refresh brings it forward, reading the timestamp first.

use crate::catalogue::{Catalogue, SignedManifest};
use crate::error::TrustError;
use crate::metadata::{Metadata, ROOTS_MAX, TIMESTAMP_PATH, next};
use crate::system::SystemIdentity;
use crate::transport::{Transport, copy_verified, read};
use crate::trust::{ExpiredMetadata, Trust};
use crate::{artifact_path, manifest_path, store};
use model::ids::Place;
use model::manifest::{Digest, MANIFEST_BYTES_MAX, Manifest, ManifestFile};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use tokio::io::AsyncWrite;
use tough::schema::{Root, Snapshot, Targets, Timestamp};

/// One who verifies, with its trusted state on disk.
#[derive(Debug)]
pub struct Verifier {
    path: PathBuf,
    trust: Trust,
}

/// A whole state as it was sealed: the last root and what follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedDocuments {
    /// The root.
    pub root: Vec<u8>,
    /// The targets.
    pub targets: Vec<u8>,
    /// The snapshot.
    pub snapshot: Vec<u8>,
    /// The timestamp.
    pub timestamp: Vec<u8>,
}

impl Verifier {
    /// The state that is trusted, for a repository that has lost it; none where it is not whole.
    pub fn sealed(&self) -> Option<SealedDocuments> {
        Some(SealedDocuments {
            root: self.trust.root.bytes.clone(),
            targets: self.trust.targets.as_ref()?.bytes.clone(),
            snapshot: self.trust.snapshot.as_ref()?.bytes.clone(),
            timestamp: self.trust.timestamp.as_ref()?.bytes.clone(),
        })
    }

    /// Trusts what the file says was trusted before.
    ///
    /// # Errors
    /// There is no such file, or it is damaged.
    pub fn open(path: &Path) -> Result<Self, TrustError> {
        let trust = store::load(path)?;
        Ok(Self {
            path: path.to_owned(),
            trust,
        })
    }

    /// Pins a root in a new file. Where the file is there already, it must be of the same system, and stays as it is.
    ///
    /// # Errors
    /// The root is none, or of another system; or the file cannot be read or written.
    pub fn pin(path: &Path, root: &[u8]) -> Result<Self, TrustError> {
        let pinned = Trust::pin(root)?;
        if !path.exists() {
            store::save(path, &pinned)?;
            return Self::open(path);
        }
        let there = Self::open(path)?;
        if there.trust.system == pinned.system {
            return Ok(there);
        }
        Err(TrustError::OtherSystem {
            document: "root".to_owned(),
            expected: there.trust.system,
            found: Some(pinned.system),
        })
    }

    /// The system that is trusted.
    pub fn system(&self) -> &SystemIdentity {
        self.trust.system()
    }

    /// What is trusted.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The root that is trusted, as it was signed.
    pub fn root(&self) -> &[u8] {
        &self.trust.root.bytes
    }

    /// The number of the root that is trusted.
    pub fn root_version(&self) -> NonZeroU64 {
        self.trust.root_version()
    }

    /// The upgrades that are trusted, also when their metadata has expired.
    pub fn catalogue(&self) -> Catalogue {
        self.trust.catalogue()
    }

    /// What of the trusted metadata has expired by this time.
    pub fn expired(&self, now: jiff::Timestamp) -> Vec<ExpiredMetadata> {
        self.trust.expired(now)
    }

    /// Takes what is new in a repository. What was good is kept, also when something after it is not.
    ///
    /// # Errors
    /// Something is not to be trusted, has expired, or is not there. What was trusted before stays trusted.
    pub async fn refresh(
        &mut self,
        transport: &dyn Transport,
        now: jiff::Timestamp,
    ) -> Result<(), TrustError> {
        let outcome = bring_forward(&mut self.trust, transport, now).await;
        store::save(&self.path, &self.trust)?;
        outcome
    }

    /// A manifest that is trusted.
    ///
    /// # Errors
    /// It is not signed, not there, or not what was signed.
    pub async fn manifest(
        &self,
        transport: &dyn Transport,
        place: Place,
    ) -> Result<Manifest, TrustError> {
        let signed = self.catalogue().manifest(place);
        let signed = signed.ok_or_else(|| TrustError::Missing {
            name: format!("upgrade {place}"),
        })?;
        manifest(&self.trust, transport, place, signed).await
    }

    /// Copies an artifact that a trusted manifest lists.
    ///
    /// # Errors
    /// It is not there, not what was signed, or cannot be written.
    pub async fn artifact(
        &self,
        transport: &dyn Transport,
        file: &ManifestFile,
        to: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> Result<(), TrustError> {
        let name = artifact_path(file.sha256);
        copy_verified(transport, &name, (file.sha256, file.size), to).await
    }
}

/// The client's workflow of the TUF specification, in its order.
pub(crate) async fn bring_forward(
    trust: &mut Trust,
    transport: &dyn Transport,
    now: jiff::Timestamp,
) -> Result<(), TrustError> {
    for _ in 0..ROOTS_MAX {
        let name = Root::path(next(trust.root_version()));
        match read(transport, &name, Root::BYTES_MAX).await? {
            Some(bytes) => trust.take_root(&bytes)?,
            None => break,
        }
    }
    trust.root_is_current(now)?;
    let bytes = needed(transport, TIMESTAMP_PATH, Timestamp::BYTES_MAX).await?;
    trust.take_timestamp(&bytes, now)?;
    if let Some(wanted) = trust.wanted_snapshot() {
        let bytes_max = length(wanted.length, Snapshot::BYTES_MAX);
        let bytes = needed(transport, &Snapshot::path(wanted.version), bytes_max).await?;
        trust.take_snapshot(&bytes, now)?;
    }
    if let Some(wanted) = trust.wanted_targets() {
        let bytes_max = length(wanted.length, Targets::BYTES_MAX);
        let bytes = needed(transport, &Targets::path(wanted.version), bytes_max).await?;
        trust.take_targets(&bytes, now)?;
    }
    trust.nothing_has_expired(now)
}

/// What is read of a document: no more than was signed, and never more than the limit.
fn length(signed: Option<u64>, bytes_max: u64) -> u64 {
    signed.map_or(bytes_max, |signed| signed.min(bytes_max))
}

/// The first root of a repository. Whoever pins it believes this way to it once.
///
/// # Errors
/// There is none, or it cannot be read.
pub async fn first_root(transport: &dyn Transport) -> Result<Vec<u8>, TrustError> {
    let name = Root::path(NonZeroU64::MIN);
    needed(transport, &name, Root::BYTES_MAX).await
}

/// A document that must be there.
pub(crate) async fn needed(
    transport: &dyn Transport,
    name: &str,
    bytes_max: u64,
) -> Result<Vec<u8>, TrustError> {
    let found = read(transport, name, bytes_max).await?;
    found.ok_or_else(|| TrustError::Missing {
        name: name.to_owned(),
    })
}

/// A manifest as it was signed.
pub(crate) async fn manifest(
    trust: &Trust,
    transport: &dyn Transport,
    place: Place,
    signed: SignedManifest,
) -> Result<Manifest, TrustError> {
    let name = manifest_path(place, signed.sha256);
    let bytes_max = signed.bytes.min(MANIFEST_BYTES_MAX as u64);
    let bytes = needed(transport, &name, bytes_max).await?;
    let altered = |problem: String| TrustError::Altered {
        name: name.clone(),
        problem,
    };
    if Digest::of(&bytes) != signed.sha256 {
        return Err(altered("its digest is another one".to_owned()));
    }
    let text = String::from_utf8(bytes).map_err(|error| altered(error.to_string()))?;
    let manifest = Manifest::parse(&text).map_err(|error| altered(error.to_string()))?;
    if manifest.system != trust.system.name || manifest.version != place.version {
        let (system, version) = (&manifest.system, manifest.version);
        return Err(altered(format!("it is version {version} of {system}")));
    }
    Ok(manifest)
}

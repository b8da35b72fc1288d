//! The signed repository: what publishers sign, and how agents come to trust it. The formats and rules are those of The Update Framework
//! (TUF), so that other clients can read a repository too.
//!
//! ```text
//! metadata/N.root.json             who may sign what; each signed by the keys of the one before too
//! metadata/N.targets.json          the upgrades: signed by publishers
//! metadata/N.snapshot.json         which targets are the current ones: signed by the server
//! metadata/timestamp.json          which snapshot is: signed by the server, written last, read first
//! targets/upgrades/SHA256.V.R.json the manifest of version V, revision R
//! artifacts/SHA256                 the files that manifests list
//! ```

mod archive;
mod by_people;
mod catalogue;
mod drill;
mod error;
mod following;
mod keys;
mod metadata;
mod mirror;
mod roots;
mod sign;
mod store;
mod system;
mod transport;
mod trust;
mod verifier;
mod writer;

#[cfg(test)]
mod tests;

pub use archive::{ArchiveTransport, pack};
pub use by_people::SignedByPeople;
pub use catalogue::{Catalogue, SignedManifest, SignedUpgrade};
pub use drill::{DrillOutcome, drill};
pub use error::{SignError, TrustError};
pub use following::{
    DAYS_MAX, FirstDocuments, SIGNED_BY_PEOPLE_DAYS, SIGNED_BY_SERVER_DAYS, sign_first,
    sign_upgrade, sign_withdrawal,
};
pub use keys::{PublicKey, make_key, read_public_key, short};
pub use metadata::{ROLES, artifact_path, manifest_path};
pub use mirror::{Mirrored, copy_metadata, mirror, store_artifact};
pub use roots::{RoleRule, RootChange, new_system};
pub use sign::Signer;
pub use store::replace;
pub use system::SystemIdentity;
pub use tough::schema::RoleType;
pub use transport::{Bytes, DirectoryTransport, Transport, WebTransport, copy_verified};
pub use trust::{ExpiredMetadata, Trust};
pub use verifier::{SealedDocuments, Verifier, first_root};
pub use writer::{RepositoryWriter, RoleStanding};

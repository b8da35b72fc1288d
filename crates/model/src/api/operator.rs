//! What operators and publishers ask for.

use crate::ids::Version;
use serde::{Deserialize, Serialize};

/// `POST /v1/upgrades`: publishes an upgrade whose artifacts have been uploaded (`PUT /v1/artifacts/{sha256}`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PublishRequest {
    /// The canonical manifest, as text (its SHA-256 is the upgrade's digest).
    pub manifest: String,
    /// It revises an upgrade that is there already.
    #[serde(default)]
    pub revise: bool,
    /// The targets that publishers have signed with this upgrade in them (TUF metadata, as text); none where they have it already.
    #[serde(default)]
    pub targets: Option<String>,
}

/// `POST /v1/upgrades/{version}/withdraw`: withdraws the newest upgrade.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct WithdrawRequest {
    /// The targets that publishers have signed with the upgrade withdrawn; none where it is signed so already.
    #[serde(default)]
    pub targets: Option<String>,
}

/// `GET /v1/repository`: what a publisher needs to know before signing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RepositoryView {
    /// The key with which the server seals, as metadata lists it (JSON): the first root lets it sign snapshots and timestamps.
    pub server_key: String,
    /// The system whose upgrades are signed here; none before publishers have begun.
    pub system: Option<SignedSystem>,
}

/// The system of a signed repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignedSystem {
    /// Its name.
    pub name: String,
    /// Its number.
    pub system_id: u64,
}

/// `POST /v1/repository/sealed`: what was sealed here, and was lost with a backup that was restored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SealedRequest {
    /// The last root (TUF metadata, as text).
    pub root: String,
    /// The targets.
    pub targets: String,
    /// The snapshot.
    pub snapshot: String,
    /// The timestamp.
    pub timestamp: String,
}

/// `POST /v1/repository/metadata`: the next root, the next targets, or both, with the upgrades as they are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SignRequest {
    /// The next root (TUF metadata, as text), signed by the keys of the one before and by its own.
    #[serde(default)]
    pub root: Option<String>,
    /// The next targets.
    #[serde(default)]
    pub targets: Option<String>,
}

/// `POST /v1/repository`: begins the signed repository.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct BeginRepositoryRequest {
    /// The first root (TUF metadata, as text).
    pub root: String,
    /// The first targets, which list nothing.
    pub targets: String,
}

/// `POST /v1/pause`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PauseRequest {
    /// Why, for people.
    pub reason: String,
}

/// `POST /v1/approvals`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ApproveRequest {
    /// The version.
    pub version: Version,
    /// Only this class.
    pub class: Option<String>,
    /// Only this node, by name.
    pub node: Option<String>,
}

/// `PUT /v1/public`: moves the public version of a service, or of all services when none is named.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PublicRequest {
    /// `class/service`; every service when absent.
    pub service: Option<String>,
    /// The version that unlabelled callers get.
    pub version: Version,
}

/// `POST /v1/retire`: retires every version up to this one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RetireRequest {
    /// The newest version to retire.
    pub version: Version,
    /// Close what is still open at these versions instead of refusing (status 409 otherwise says what holds them).
    #[serde(default)]
    pub close: bool,
}

/// The answer to [`RetireRequest`]: how far retirement has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Retirement {
    /// Every version up to this one is being retired.
    pub retiring_through: Version,
    /// Every version up to this one is retired: all nodes have acknowledged.
    pub retired_through: Version,
    /// Nodes that have not acknowledged yet, by name.
    pub waiting_for: Vec<String>,
}

/// `POST /v1/page-links`: a one-time link that signs a browser in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PageLink {
    /// Path and query, at the server that was asked.
    pub path: String,
    /// How long it can be used.
    pub expires_in_ms: u64,
}

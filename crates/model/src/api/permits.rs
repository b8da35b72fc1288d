//! Leave for one node to be unavailable: a node asks whether it may go, and gets a permit, or why not.

use super::Moment;
use crate::ids::{PermitId, Place, Version};
use serde::{Deserialize, Serialize};

/// The most versions that a node asks for at once: more are not alive at any time.
pub const AHEAD_MAX: usize = 1024;

/// `POST /v1/nodes/{id}/verdict`: a node asks whether it may go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct VerdictRequest {
    /// The staged versions from where the node is on, in order, each in the revision that is staged; or the one revision of
    /// what it runs.
    pub ahead: Vec<Place>,
    /// The version behind them that the node is making ready: one that was away may wait for it, to go further at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coming: Option<Version>,
    /// It is a revision of what the node runs.
    #[serde(default)]
    pub mends: bool,
    /// The role that the node has just now, where the schedule asks for it (`role`); empty where its software does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The newest moment that the agent has seen: a server that has begun anew since wants to be told everything first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moment: Option<Moment>,
}

/// The answer to [`VerdictRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum VerdictAnswer {
    /// The node may go. It confirms the permit before it leaves, and ends it when it is where it wanted to be, or back.
    Go {
        /// How far: the first version that was asked for, or a later one for a node that was away.
        to: Version,
        /// Its leave.
        permit: PermitId,
        /// The permit ends by itself after this time unless it is confirmed before.
        expires_in_ms: u64,
    },
    /// Not yet.
    Wait {
        /// For which version.
        to: Version,
        /// Every part of the schedule that waits; at least one.
        reasons: Vec<WaitCause>,
        /// When it can be over at the earliest, by the server's clock, where that is known.
        until_ms: Option<u64>,
        /// How soon it is worth asking again.
        ask_again_ms: u64,
    },
}

/// Why a node waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WaitCause {
    /// What kind of reason, for programs; see `WaitCode`.
    #[cfg_attr(feature = "openapi", schema(schema_with = super::WaitCode::schema))]
    pub code: String,
    /// The reason, for people.
    pub text: String,
    /// How many nodes it is about, where it is about nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Of how many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
}

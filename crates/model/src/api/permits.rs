//! Leave for one node to be unavailable.

use crate::ids::{NodeId, PermitId, Revision, Version};
use serde::{Deserialize, Serialize};

/// `POST /v1/permits`: a node asks for leave to be unavailable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PermitRequest {
    /// The node that asks.
    pub node: NodeId,
    /// The version it wants to upgrade to, or whose revision it wants to try.
    pub version: Version,
    /// The revision of it.
    #[serde(default)]
    pub revision: Revision,
    /// The group in which unavailability is limited: the class and, where the schedule says so, an attribute's value
    /// (`storage`, `storage/replica_group=a`).
    pub group: String,
    /// The members of the group, so that crashed or unreachable ones count as unavailable.
    pub members: Vec<NodeId>,
    /// At most so many of the group may be unavailable at once, this node included.
    pub max_unavailable: u32,
    /// Where a soak time must pass: the last time that any node settled, by the server's clock, as the schedule knew it
    /// (milliseconds since 1970). Refused if one has settled since: the soak time has begun anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_settled_at_ms: Option<u64>,
}

/// A permit as it is given. A refusal is a 409 problem whose `detail` says why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Permit {
    /// Its number.
    pub permit: PermitId,
    /// It ends by itself after this time unless it is confirmed before.
    pub expires_in_ms: u64,
}

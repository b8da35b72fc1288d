//! What is done once for the whole system, at one node, when every node has settled at a version.

use crate::ids::{Revision, Version};
use serde::{Deserialize, Serialize};

/// What one node is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OnceOrder {
    /// Of which version's upgrade.
    pub version: Version,
    /// In which revision.
    pub revision: Revision,
    /// Its name in the upgrade file.
    pub name: String,
    /// Which attempt it is, counted from 1.
    pub attempt: u32,
}

/// `POST /v1/nodes/{id}/once`: how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct OnceEnded {
    /// Of which version's upgrade.
    pub version: Version,
    /// Its name in the upgrade file.
    pub name: String,
    /// Which attempt it was.
    pub attempt: u32,
    /// Why it has failed; absent where it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum OnceState {
    /// A node was told to do it.
    Given,
    /// The last attempt has failed; another one follows.
    Failed,
    /// It is done.
    Done,
}

/// Where something that is done once stands; there is none before the first attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OnceFact {
    /// Of which version's upgrade.
    pub version: Version,
    /// In which revision it was tried last.
    pub revision: Revision,
    /// Its name in the upgrade file.
    pub name: String,
    /// How far it is.
    pub state: OnceState,
    /// How many attempts there were.
    pub attempts: u32,
    /// The node of the last attempt.
    pub node: String,
    /// Since when it is so, by the server's clock.
    pub at_ms: u64,
    /// Why the last attempt has failed; empty where none has.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

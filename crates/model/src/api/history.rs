//! What happened, as an append-only history.

use crate::ids::Version;
use serde::{Deserialize, Serialize};

/// Something that happened, as its author tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewEvent {
    /// What happened; see `EventKind`.
    #[cfg_attr(feature = "openapi", schema(schema_with = super::EventKind::schema))]
    pub kind: String,
    /// The version it is about.
    pub version: Option<Version>,
    /// One line for people.
    pub message: String,
    /// The node's clock when it happened, for ordering at the node; the server stamps its own time too.
    pub node_at_ms: u64,
}

/// An entry of the append-only history. `GET /v1/events?after=SEQUENCE&limit=N`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// Its place in the history, from 1: the cursor.
    pub sequence: u64,
    /// The server's time.
    pub at_ms: u64,
    /// Who: a node's name, or an operator.
    pub author: String,
    /// Who that is, where it was proven: `operator:NAME` or `node:NAME` by a certificate or a web token, `server` for what the server did
    /// by itself. Absent where whoever has the server's token said who he is, and in entries of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven: Option<String>,
    /// The node it is about.
    pub node: Option<String>,
    /// What happened; see `EventKind`.
    #[cfg_attr(feature = "openapi", schema(schema_with = super::EventKind::schema))]
    pub kind: String,
    /// The version it is about.
    pub version: Option<Version>,
    /// One line for people.
    pub message: String,
}

/// A page of a list: `items`, and the cursor of the next page when there is more (`?after=CURSOR`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Where to go on.
    pub next: Option<String>,
}

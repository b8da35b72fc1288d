//! Where a node fetches what an upgrade consists of: from the server, or from a node of the same site that has it.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// The attribute that says where a node is. Nodes with the same value serve each other, and so do those that have none.
pub const SITE: &str = "site";

/// `POST /v1/nodes/{id}/source`: a node is about to fetch a large bundle, or still fetches it, or has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SourceRequest {
    /// Which bundle: the digest of its manifest, lower-case hex.
    pub manifest_sha256: String,
    /// The nodes from which it did not come, by name, the last one last (at most [`FAILED_MAX`]).
    #[serde(default)]
    pub failed: Vec<String>,
    /// The node does not fetch any more.
    #[serde(default)]
    pub done: bool,
}

/// How many nodes that have failed are told.
pub const FAILED_MAX: usize = 16;

/// From where a node is to fetch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", tag = "from")]
pub enum SourceAnswer {
    /// From the server.
    Server {
        /// After so long it is to say that it still fetches.
        again_ms: u64,
    },
    /// From another node.
    Node(Box<NodeSource>),
    /// From nobody yet: those that have it are busy with others, or fetch it themselves.
    Wait {
        /// After so long it is to ask again.
        again_ms: u64,
    },
}

/// A node that serves artifacts to others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeSource {
    /// Its name.
    pub node: String,
    /// The SHA-256 digest of its key, lower-case hex: whoever has another one is not that node.
    pub key: String,
    /// Where it serves them.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub address: SocketAddr,
    /// What the fetching node shows there.
    pub pass: String,
    /// After so long it is to say that it still fetches; it gets another pass then.
    pub again_ms: u64,
}

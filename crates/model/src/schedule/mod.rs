//! When a node may upgrade: a table of parts, each of which must agree.

use crate::api::PermitRequest;
use serde::{Deserialize, Serialize};

/// A schedule's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The node may begin now.
    Go,
    /// The node may begin once it holds this permit.
    Acquire(PermitRequest),
    /// Not yet.
    Wait {
        /// Why, for people.
        reason: String,
        /// When it is worth asking again, by the server's clock, when that is known.
        until_ms: Option<u64>,
    },
}

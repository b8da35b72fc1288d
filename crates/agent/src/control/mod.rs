//! The agent's control socket: how commands on the node's own machine speak to its agent.
//!
//! A Unix socket `agent.sock` in the data directory, for root and the agent's own user. One JSON value a line: the command
//! says what it wants in the first, the agent answers with as many as there are. The end of the connection, however it comes
//! about, ends what was asked for.

mod ask;
mod serve;

pub use ask::{ControlError, Recordings, record};
pub(crate) use serve::{RecordableNode, serve};

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The most conversations of one recording.
pub const RECORDED_MAX: u64 = 10_000;
/// The longest recording, in seconds: it is a look at live traffic, not a log.
pub const RECORDED_SECONDS_MAX: u64 = 3_600;
/// The most bytes of one recording.
pub const RECORDED_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The longest line of the protocol, in bytes: the largest conversation fits, both bodies in base64 and in two forms.
const LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Where the agent of a data directory listens.
pub fn socket_path(data: &Path) -> PathBuf {
    data.join("agent.sock")
}

/// What a command wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlRequest {
    /// Conversations of a service's live traffic.
    Record(RecordRequest),
}

/// What is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordRequest {
    /// The service, as its class calls it.
    pub service: String,
    /// End after so many conversations.
    pub count: u64,
    /// End after so many seconds.
    pub seconds: u64,
    /// Headers whose values are replaced before anything leaves the agent, in lower case.
    pub secrets: Vec<String>,
}

/// What the agent answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlAnswer {
    /// No, and why, and what to do.
    Refused {
        /// Why.
        reason: String,
        /// What to do.
        next: String,
    },
    /// From now on new connections are recorded.
    Recording {
        /// The service, `class/service`.
        service: String,
        /// The node's version.
        version: u32,
    },
    /// One conversation: its file's text.
    Conversation {
        /// The text.
        toml: String,
    },
    /// The recording has ended.
    Ended {
        /// Why, in words.
        why: String,
        /// Calls that could not be told whole.
        incomplete: u64,
        /// Conversations that the command was too slow for.
        dropped: u64,
    },
}

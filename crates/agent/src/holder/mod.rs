//! The holder: a tiny process for each node, without policy, that outlives agents.
//!
//! It is the parent of the child and owns what must survive an agent's death: duplicates of listeners, connections that
//! the accept hook handed over, the child's output file. It never waits for an agent: what it sends is queued, bounded
//! and sent without blocking. A peer that speaks nonsense loses its connection and nothing else.

pub(crate) mod packet;

use std::io;
use std::path::{Path, PathBuf};

/// What stops a holder.
#[derive(Debug, thiserror::Error)]
pub enum HolderError {
    /// One holder a data directory.
    #[error("another holder owns {data}")]
    AlreadyRunning {
        /// The data directory.
        data: PathBuf,
    },
    /// A step failed.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The started process ended before it was ready.
    #[error("the holder did not start: {0}")]
    NotReady(String),
}

/// The socket at which the holder listens for its agent.
pub fn socket_path(data: &Path) -> PathBuf {
    data.join("holder.sock")
}

/// The file with the name of the abstract socket at which it listens for hooks.
pub fn name_path(data: &Path) -> PathBuf {
    data.join("holder.name")
}

/// Runs the holder of a data directory until an agent asks it to end.
///
/// # Errors
/// When another holder owns the directory, or its sockets cannot be made.
pub fn run(data: &Path) -> Result<(), HolderError> {
    Err(HolderError::NotReady(data.display().to_string()))
}

/// Starts `upstart holder --data DATA` detached (a session of its own, no child of the caller), and waits until it listens.
///
/// # Errors
/// When it cannot be started, or another one owns the directory.
pub fn spawn(upstart_binary: &Path, data: &Path) -> Result<(), HolderError> {
    let _ = upstart_binary;
    Err(HolderError::NotReady(data.display().to_string()))
}

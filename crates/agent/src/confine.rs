//! The transform runner's own process: `upstart confine`.

use std::ffi::OsString;
use std::io;

/// Why a confined program was not run.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// The orders on stdin are no orders: not started by an agent.
    #[error("confine is started by an agent, not by hand: {0}")]
    NoOrders(String),
    /// A step failed.
    #[error("cannot {what}: {source}")]
    Step {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
}

/// Runs `upstart confine` with what follows on its command line.
///
/// # Errors
/// When it was not started by an agent; what happens to the confined program is told to the agent instead.
pub fn run(arguments: &[OsString]) -> Result<(), ConfineError> {
    Err(ConfineError::NoOrders(format!("{arguments:?}")))
}

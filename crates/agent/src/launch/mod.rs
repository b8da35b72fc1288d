//! Becoming the child: `upstart launch`, started by the holder, sets up what a supervisor sets up and executes the software.
//!
//! It reads its orders from its stdin (a socket of the holder's), and on failure writes why into it. Success is the
//! socket's closing by exec.

use std::convert::Infallible;
use std::io;

/// The exit code of a launch that could not execute the software, as a shell's.
pub const EXIT_CODE_NOT_EXECUTED: i32 = 127;

/// Why the software was not executed.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The orders on stdin are no orders: not started by a holder.
    #[error("launch is started by a holder, not by hand: {0}")]
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

/// Runs `upstart launch`: does not return when the software is executed.
///
/// # Errors
/// The caller should exit with [`EXIT_CODE_NOT_EXECUTED`]; the holder has been told already.
pub fn run() -> Result<Infallible, LaunchError> {
    Err(LaunchError::NoOrders("not there".to_owned()))
}

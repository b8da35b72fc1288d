//! The transform runner's own process: `upstart confine`.
//!
//! Two processes. The outer one ([`runner`]) reads its orders from its stdin (a socket of the agent's), starts the inner
//! one, keeps the time and the end of its output, and kills all of it when the time is over or the agent has gone. The
//! inner one ([`inside`]) gives up everything that the contract does not allow, and becomes the program.

mod inside;
mod isolation;
mod runner;
mod tail;
mod walls;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

/// The argument that makes the inner process.
const INSIDE: &str = "inside";

/// How much of the output's end is kept.
pub(crate) const OUTPUT_BYTES_MAX: usize = 16 * 1024;

/// What the agent orders.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ConfineOrders {
    /// The name of the group of processes: the same for every attempt at a node, so that one left behind is found.
    pub(crate) group: String,
    pub(crate) command: Vec<String>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) directory: PathBuf,
    pub(crate) user: Option<String>,
    /// Directories that must not change at all; readable.
    pub(crate) frozen: Vec<PathBuf>,
    /// What else may be read and executed, beside the system.
    pub(crate) readable: Vec<PathBuf>,
    /// What may be written.
    pub(crate) writable: Vec<PathBuf>,
    pub(crate) time_limit_ms: u64,
}

/// What the outer process tells the inner one.
#[derive(Debug, Serialize, Deserialize)]
struct InnerOrders {
    group_entry: Option<PathBuf>,
    orders: ConfineOrders,
}

/// What became of the program.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RunVerdict {
    pub(crate) ended: ProgramEnded,
    /// The end of what it printed.
    pub(crate) output: String,
}

/// How it ended.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ProgramEnded {
    Exited(i32),
    Killed(i32),
    TimedOut,
    /// It was not started at all.
    NotRun(String),
}

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
    if arguments
        .first()
        .is_some_and(|argument| argument.as_os_str() == INSIDE)
    {
        match inside::run()? {}
    }
    runner::run()
}

fn step<T>(what: impl Into<String>, result: io::Result<T>) -> Result<T, ConfineError> {
    result.map_err(|source| ConfineError::Step {
        what: what.into(),
        source,
    })
}

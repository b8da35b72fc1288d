//! Running a transform by its contract: old state in, new state out, nothing else touched.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Names of the environment variables of the contract.
pub mod variable {
    /// The old state's directory, read-only.
    pub const OLD_STATE: &str = "UPSTART_OLD_STATE";
    /// The new state's directory, which begins as a copy of the old.
    pub const NEW_STATE: &str = "UPSTART_NEW_STATE";
    /// The state of the adapter that served before, read-only.
    pub const ADAPTER_STATE_IN: &str = "UPSTART_ADAPTER_STATE_IN";
    /// The state that the adapter begins with afterwards.
    pub const ADAPTER_STATE_OUT: &str = "UPSTART_ADAPTER_STATE_OUT";
}

/// One run of a transform.
#[derive(Clone, Debug)]
pub struct Transform {
    /// The `upstart` program, whose `confine` command becomes the transform.
    pub upstart_binary: PathBuf,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The environment; `PATH` and the contract's variables are added where they are missing.
    pub environment: BTreeMap<String, String>,
    /// The working directory, usually the bundle; readable.
    pub directory: PathBuf,
    /// What else may be read and executed: the software's folders.
    pub readable: Vec<PathBuf>,
    /// The user that the software runs as; the agent's own when absent.
    pub user: Option<String>,
    /// The old state; is not changed.
    pub old_state: PathBuf,
    /// The new state: a snapshot of the old one before.
    pub new_state: PathBuf,
    /// The state of the adapter that served before.
    pub adapter_state_in: PathBuf,
    /// Where the adapter's first state goes.
    pub adapter_state_out: PathBuf,
    /// A directory for temporary files (`TMPDIR`), made before and removed afterwards.
    pub scratch: PathBuf,
    /// After this all of it is killed.
    pub time_limit: Duration,
}

/// How a transform failed.
#[derive(Debug, thiserror::Error)]
pub enum TransformError {
    /// It said no, or crashed.
    #[error("the transform {ended}; its last output:\n{output}")]
    Failed {
        /// "ended with exit code 1", "was killed by signal 9".
        ended: String,
        /// The exit code, unless a signal killed it.
        exit_code: Option<i32>,
        /// The end of what it printed.
        output: String,
    },
    /// It took too long and was killed.
    #[error("the transform was stopped after {limit_ms} ms; its last output:\n{output}")]
    TimedOut {
        /// The limit.
        limit_ms: u64,
        /// The end of what it printed.
        output: String,
    },
    /// It failed because the disk is full: no attempt of the transform's own.
    #[error("the disk is full; the transform's last output:\n{output}")]
    NoSpace {
        /// The end of what it printed.
        output: String,
    },
    /// It could not be run under the contract at all.
    #[error("the transform cannot be run: {0}")]
    NotRun(String),
}

impl Transform {
    /// Runs it. Dropping the future kills what runs. The caller makes the new tree durable afterwards
    /// ([`crate::snapshot::sync_tree`]).
    ///
    /// # Errors
    /// As [`TransformError`] tells apart.
    pub async fn run(&self) -> Result<(), TransformError> {
        Err(TransformError::NotRun("not there".to_owned()))
    }
}

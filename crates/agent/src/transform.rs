//! Running a transform by its contract: old state in, new state out, nothing else touched.

use crate::confine::{ConfineOrders, ProgramEnded, RunVerdict};
use crate::environment;
use crate::holder;
use crate::snapshot::FreeRoom;
use crate::tree;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

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

/// A failed transform that leaves less than this free has met a full disk.
const FULL_BYTES: u64 = 1024 * 1024;

/// What programs print when the disk is full: strerror(ENOSPC), SQLite, strerror(EDQUOT).
const FULL_WORDS: [&str; 3] = [
    "No space left on device",
    "database or disk is full",
    "Disk quota exceeded",
];

/// The longest verdict: the output's end in JSON, which may write six bytes for one.
const VERDICT_BYTES_MAX: u64 = 8 * crate::confine::OUTPUT_BYTES_MAX as u64;

/// One run of a transform.
#[derive(Clone, Debug)]
pub struct TransformRun {
    /// The `upstart` program, whose `confine` command becomes the transform.
    pub upstart_binary: PathBuf,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The environment, to which the contract's variables are added.
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
    #[error("no space left: the transform met a full disk; its last output:\n{output}")]
    NoSpace {
        /// The end of what it printed.
        output: String,
    },
    /// It could not be run under the contract at all.
    #[error("the transform cannot be run: {0}")]
    NotRun(String),
}

impl TransformRun {
    /// Runs it. Dropping the future kills what runs. The caller makes the new tree durable afterwards
    /// ([`crate::snapshot::sync_tree`]).
    ///
    /// # Errors
    /// As [`TransformError`] tells apart.
    pub async fn run(&self) -> Result<(), TransformError> {
        self.prepare().map_err(not_run("prepare its folders"))?;
        let verdict = self.confined().await;
        // A run that was killed half-way leaves it, and the next run removes it first.
        let _ = tree::remove(&self.scratch);
        self.judge(verdict?)
    }

    fn prepare(&self) -> io::Result<()> {
        // Of an attempt before: somebody else may have it open still.
        tree::remove(&self.scratch)?;
        tree::remove(&self.adapter_state_out)?;
        let ids = self.user.as_deref().map(crate::launch::user::ids);
        let ids = ids.transpose()?;
        for folder in [&self.scratch, &self.adapter_state_out] {
            std::fs::DirBuilder::new().mode(0o700).create(folder)?;
            if let Some(ids) = ids {
                tree::give_away(folder, ids)?;
            }
        }
        std::fs::create_dir_all(&self.adapter_state_in)
    }

    async fn confined(&self) -> Result<RunVerdict, TransformError> {
        let orders = serde_json::to_string(&self.orders()).map_err(io::Error::from);
        let orders = orders.map_err(not_run("write its orders"))? + "\n";
        let (ours, theirs) = StdUnixStream::pair().map_err(not_run("make a socket"))?;
        ours.set_nonblocking(true)
            .map_err(not_run("make a socket"))?;
        let mut ours = UnixStream::from_std(ours).map_err(not_run("make a socket"))?;
        let mut command = tokio::process::Command::new(&self.upstart_binary);
        command
            .arg("confine")
            .env_clear()
            .envs(environment::of_our_own())
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null());
        crate::limits::restored(command.as_std_mut());
        let mut runner = command.spawn().map_err(not_run("start its runner"))?;
        // The runner's end of the socket is its alone, so that its end is heard.
        drop(command);
        ours.write_all(orders.as_bytes())
            .await
            .map_err(not_run("give its orders"))?;
        let mut text = Vec::new();
        ours.take(VERDICT_BYTES_MAX)
            .read_to_end(&mut text)
            .await
            .map_err(not_run("hear its verdict"))?;
        let status = runner
            .wait()
            .await
            .map_err(not_run("wait for its runner"))?;
        serde_json::from_slice(&text)
            .map_err(|_| TransformError::NotRun(format!("its runner ended early ({status})")))
    }

    fn orders(&self) -> ConfineOrders {
        let mut environment = self.environment.clone();
        for (name, path) in [
            (variable::OLD_STATE, &self.old_state),
            (variable::NEW_STATE, &self.new_state),
            (variable::ADAPTER_STATE_IN, &self.adapter_state_in),
            (variable::ADAPTER_STATE_OUT, &self.adapter_state_out),
            ("TMPDIR", &self.scratch),
        ] {
            environment.insert(name.to_owned(), path.to_string_lossy().into_owned());
        }
        ConfineOrders {
            group: holder::group_name(&self.new_state, "-transform"),
            command: self.command.clone(),
            environment,
            directory: self.directory.clone(),
            user: self.user.clone(),
            frozen: vec![self.old_state.clone(), self.adapter_state_in.clone()],
            readable: self.readable.clone(),
            writable: vec![
                self.new_state.clone(),
                self.adapter_state_out.clone(),
                self.scratch.clone(),
            ],
            time_limit_ms: self.limit_ms(),
        }
    }

    fn judge(&self, verdict: RunVerdict) -> Result<(), TransformError> {
        let RunVerdict { ended, output } = verdict;
        let (ended, exit_code) = match ended {
            ProgramEnded::Exited(0) => return Ok(()),
            ProgramEnded::NotRun(why) => return Err(TransformError::NotRun(why)),
            ProgramEnded::TimedOut => {
                return Err(TransformError::TimedOut {
                    limit_ms: self.limit_ms(),
                    output,
                });
            }
            ProgramEnded::Exited(code) => (format!("ended with exit code {code}"), Some(code)),
            ProgramEnded::Killed(signal) => (format!("was killed by signal {signal}"), None),
        };
        if is_full(&self.new_state) || FULL_WORDS.iter().any(|words| output.contains(words)) {
            return Err(TransformError::NoSpace { output });
        }
        Err(TransformError::Failed {
            ended,
            exit_code,
            output,
        })
    }

    fn limit_ms(&self) -> u64 {
        u64::try_from(self.time_limit.as_millis()).unwrap_or(u64::MAX)
    }
}

fn is_full(path: &Path) -> bool {
    FreeRoom::at(path).is_ok_and(|free| free.bytes < FULL_BYTES || free.files == Some(0))
}

fn not_run(what: &'static str) -> impl FnOnce(io::Error) -> TransformError {
    move |error| TransformError::NotRun(format!("cannot {what}: {error}"))
}

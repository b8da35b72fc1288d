//! Starting a holder so that it outlives whoever started it.
//!
//! Two steps: `upstart holder` with [`STEP_VARIABLE`] set to `detach` starts itself once more and ends, so that the holder is
//! nobody's child but init's; the second (`ready`) begins a session and says on its stdout when it listens.

use super::HolderError;
use crate::environment;
use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Says which step of the start a process is.
const STEP_VARIABLE: &str = "UPSTART_HOLDER_STEP";
const STEP_DETACH: &str = "detach";
const STEP_READY: &str = "ready";

/// What the second step says when it listens.
const READY: &str = "ready";

/// How long the holder's log may grow before it is moved away: days of a node with trouble.
pub(super) const LOG_BYTES_MAX: u64 = 1024 * 1024;

/// Which step this process is.
pub(super) enum DetachStep {
    /// Started by hand or by a supervisor: just the holder.
    Plain,
    /// Starts the holder and ends.
    Detach,
    /// The holder, whose starter waits for a word.
    Ready,
}

pub(super) fn step() -> DetachStep {
    match std::env::var(STEP_VARIABLE).as_deref() {
        Ok(STEP_DETACH) => DetachStep::Detach,
        Ok(STEP_READY) => DetachStep::Ready,
        _ => DetachStep::Plain,
    }
}

/// Starts the first step and waits for its end.
pub(super) fn begin(upstart_binary: &Path, data: &Path) -> Result<(), HolderError> {
    let mut starter = Command::new(upstart_binary);
    starter
        .arg("holder")
        .arg("--data")
        .arg(data)
        .env_clear()
        .envs(environment::of_our_own())
        .env(STEP_VARIABLE, STEP_DETACH)
        .stdin(Stdio::null());
    // The software gets the limit back that the holder begins with.
    let output = crate::limits::restored(&mut starter)
        .output()
        .map_err(|source| HolderError::Io {
            what: format!("execute {}", upstart_binary.display()),
            source,
        })?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(HolderError::NotReady(text.trim().to_owned()))
}

/// The first step: starts the second and waits until it listens.
pub(super) fn detach(data: &Path) -> Result<(), HolderError> {
    let io = |what: &str, source| HolderError::Io {
        what: what.to_owned(),
        source,
    };
    let mut holder = Command::new("/proc/self/exe")
        .arg0("upstart")
        .arg("holder")
        .arg("--data")
        .arg(data)
        .env(STEP_VARIABLE, STEP_READY)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(open_log(data))
        .spawn()
        .map_err(|source| io("execute the holder", source))?;
    let mut word = String::new();
    if let Some(stdout) = holder.stdout.take() {
        BufReader::new(stdout)
            .read_line(&mut word)
            .map_err(|source| io("hear from the holder", source))?;
    }
    match word.trim() {
        READY => Ok(()),
        "" => Err(HolderError::NotReady(format!(
            "see {}",
            log_path(data).display()
        ))),
        why => Err(HolderError::NotReady(why.to_owned())),
    }
}

/// The second step begins its own session, without what the starter had open.
pub(super) fn leave_session() -> Result<(), HolderError> {
    crate::launch::descriptors::close_inherited().map_err(|source| HolderError::Io {
        what: "close what was inherited".to_owned(),
        source,
    })?;
    rustix::process::setsid().map_err(|error| HolderError::Io {
        what: "begin a session".to_owned(),
        source: error.into(),
    })?;
    Ok(())
}

/// The second step says how it went, and gives up its stdout.
pub(super) fn report(outcome: Result<(), &HolderError>) {
    let word = outcome.map_or_else(ToString::to_string, |()| READY.to_owned());
    let mut stdout = io::stdout();
    // A starter that has gone away needs no word.
    let _ = writeln!(stdout, "{}", word.replace('\n', " "));
    let _ = stdout.flush();
    if let Ok(null) = OpenOptions::new().write(true).open("/dev/null") {
        // Should this fail, stdout is a pipe that nobody reads, and nothing is written to it.
        let _ = rustix::stdio::dup2_stdout(&null);
    }
}

pub(super) fn log_path(data: &Path) -> std::path::PathBuf {
    data.join("holder.log")
}

/// The log; a disk without room for it is no reason to have no holder.
fn open_log(data: &Path) -> Stdio {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(log_path(data));
    log.map_or_else(|_| Stdio::null(), Stdio::from)
}

//! Becoming the child: `upstart launch`, started by the holder, sets up what a supervisor sets up and executes the software.
//!
//! It reads its orders from its stdin (a socket of the holder's), and on failure writes why into it. Success is the
//! socket's closing by exec. Nothing else is set up than what [`LaunchOrders`] say: the software gets a session of its own, default
//! signals, the group, the filter, the user, the directory and the environment.
//!
//! The filter goes under everything that follows, the user's change included, so that root's needs nothing else ([`net`]). From
//! then on nothing may be done here that the filter catches, until the holder has its descriptor: that is told first of all.

pub(crate) mod descriptors;
mod net;
pub(crate) mod seccomp;
pub(crate) mod user;

pub use user::become_owner;

use crate::packet;
use rustix::process::{Resource, Rlimit};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// The exit code of a launch that could not execute the software, as a shell's.
pub const EXIT_CODE_NOT_EXECUTED: i32 = 127;

/// What the holder orders.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LaunchOrders {
    /// The `cgroup.procs` of the group to enter.
    pub(crate) group_entry: Option<PathBuf>,
    /// The soft limit of open files to go back to (the holder raises its own).
    pub(crate) open_files: Option<u64>,
    pub(crate) command: Vec<String>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) directory: String,
    pub(crate) user: Option<String>,
    pub(crate) refuse_io_uring: bool,
    /// `NO_NEW_PRIVS` may be set.
    pub(crate) no_new_privileges: bool,
}

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
    let (mut socket, orders) = take_orders()?;
    let error = become_child(&orders, &socket);
    // A holder that is gone hears nothing; the exit code still says it.
    let _ = socket.write_all(error.to_string().as_bytes());
    Err(error)
}

fn take_orders() -> Result<(UnixStream, LaunchOrders), LaunchError> {
    let no_orders = |error: io::Error| LaunchError::NoOrders(error.to_string());
    let mut socket = descriptors::take_socket().map_err(no_orders)?;
    let mut text = String::new();
    socket.read_to_string(&mut text).map_err(no_orders)?;
    let orders =
        serde_json::from_str(&text).map_err(|error| LaunchError::NoOrders(error.to_string()))?;
    Ok((socket, orders))
}

fn become_child(orders: &LaunchOrders, socket: &UnixStream) -> LaunchError {
    match prepare(orders, socket) {
        Err(error) => error,
        Ok(mut command) => step(
            format!("execute {}", orders.command[0]),
            Err::<Infallible, _>(command.exec()),
        )
        .map_or_else(|error| error, |never| match never {}),
    }
}

fn prepare(orders: &LaunchOrders, socket: &UnixStream) -> Result<Command, LaunchError> {
    let (program, arguments) = orders
        .command
        .split_first()
        .ok_or_else(|| LaunchError::NoOrders("the command is empty".to_owned()))?;
    if let Some(entry) = &orders.group_entry {
        step(
            format!("enter the control group {}", entry.display()),
            fs::write(entry, "0"),
        )?;
    }
    // Without this the software's kill(0, ...) would reach the holder.
    step(
        "begin a session",
        rustix::process::setsid().map_err(io::Error::from),
    )?;
    step("reset the signals", reset_signals())?;
    reset_limits(orders.open_files);
    let become_user = format!("become the user {}", orders.user.as_deref().unwrap_or(""));
    let identity = orders.user.as_deref().map(user::look_up).transpose();
    let identity = step(become_user.clone(), identity)?;
    step("set the seccomp filter", lay_net(orders, socket))?;
    if let Some(identity) = identity {
        step(become_user, identity.assume())?;
    }
    step(
        format!("change to the directory {}", orders.directory),
        std::env::set_current_dir(&orders.directory),
    )?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(&orders.environment);
    Ok(command)
}

/// Lays the net and tells the holder, before anything else is said: one line, with the descriptor if there is one.
fn lay_net(orders: &LaunchOrders, socket: &UnixStream) -> io::Result<()> {
    let (interception, notices) = net::lay(orders.refuse_io_uring, orders.no_new_privileges)?;
    let mut line = serde_json::to_vec(&interception)?;
    line.push(b'\n');
    packet::send(socket, &line, notices.as_ref().map(AsFd::as_fd))
}

fn step<T>(what: impl Into<String>, result: io::Result<T>) -> Result<T, LaunchError> {
    result.map_err(|source| LaunchError::Step {
        what: what.into(),
        source,
    })
}

/// No signal blocked, none ignored. Exec gives a signal that is caught its default action but leaves an ignored one
/// ignored, so those are caught first (SIGPIPE is reset by the standard library).
pub(crate) fn reset_signals() -> io::Result<()> {
    nix::sys::signal::SigSet::empty().thread_set_mask()?;
    let ignored = ignored_signals();
    if ignored.is_empty() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let _entered = runtime.enter();
    for signal in ignored {
        // One that cannot be caught cannot be ignored either.
        let _ = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(signal));
    }
    Ok(())
}

fn ignored_signals() -> Vec<i32> {
    const SIGPIPE: i32 = 13;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    (1..=64)
        .filter(|signal| mask >> (signal - 1) & 1 == 1 && *signal != SIGPIPE)
        .collect()
}

/// A software that dies of hunger before its agent does is the wrong victim, and the limit of files is not the holder's.
fn reset_limits(open_files: Option<u64>) {
    let score = "/proc/self/oom_score_adj";
    let protected = fs::read_to_string(score)
        .ok()
        .and_then(|text| text.trim().parse::<i32>().ok())
        .is_some_and(|score| score < 0);
    if protected {
        // A score may always be raised; where it may not, the software starts all the same.
        let _ = fs::write(score, "0");
    }
    if let Some(current) = open_files {
        let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
        let limit = Rlimit {
            current: Some(current),
            maximum,
        };
        // Lowering a soft limit is always allowed.
        let _ = rustix::process::setrlimit(Resource::Nofile, limit);
    }
}

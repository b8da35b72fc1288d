//! The child: started by `upstart launch`, known by its process descriptor until it is reaped.

use super::output::Output;
use crate::launch::Orders;
use intercept::holder::{ChildExit, ChildSpec, Killed};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, pidfd_open};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The longest reason that a launch gives for its failure.
const REASON_BYTES_MAX: u64 = 4096;

/// A child that was started and of which something is left.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) generation: u64,
    main: Option<Main>,
    /// How the main process ended.
    pub(super) exit: Option<ChildExit>,
    pub(super) launch: Option<Launch>,
    pub(super) output: Option<Output>,
    /// The user that it runs as.
    pub(super) uid: Option<u32>,
    /// Why it could not be started, and who is to be told so when nothing of it is left.
    pub(super) unborn: Option<((u64, u64), String)>,
    /// What had to be killed.
    pub(super) killed: Option<Killed>,
}

#[derive(Debug)]
struct Main {
    pid: Pid,
    pidfd: OwnedFd,
}

/// A launch of which we do not know yet whether it executes the software.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) socket: UnixStream,
    /// Whom to answer: the agent's number and its request's.
    pub(super) asker: (u64, u64),
    /// The process that becomes the software.
    pub(super) pid: i32,
}

impl Child {
    /// Starts the software; how that ended is read from [`Child::launch`] later.
    pub(super) fn start(
        spec: ChildSpec,
        group_entry: Option<PathBuf>,
        open_files: Option<u64>,
        asker: (u64, u64),
    ) -> io::Result<Self> {
        let uid = spec.user.as_deref().map(uid_of).transpose()?;
        let output = Output::open(Path::new(&spec.output))
            .map_err(|error| io::Error::other(format!("cannot open {}: {error}", spec.output)))?;
        let (ours, theirs) = UnixStream::pair()?;
        let generation = spec.generation;
        let orders = Orders {
            group_entry,
            open_files,
            command: spec.command,
            environment: spec.environment,
            directory: spec.directory,
            user: spec.user,
            refuse_io_uring: spec.refuse_io_uring,
        };
        let orders = serde_json::to_vec(&orders)?;
        super::packet::make_room(&ours, orders.len());
        ours.set_nonblocking(true)?;
        (&ours)
            .write_all(&orders)
            .map_err(|error| io::Error::other(format!("the orders are too long: {error}")))?;
        ours.shutdown(Shutdown::Write)?;
        let process = Command::new("/proc/self/exe")
            .arg0("upstart")
            .arg("launch")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(output.handle()?)
            .stderr(output.handle()?)
            .spawn()?;
        let pid = i32::try_from(process.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| io::Error::other("no process number"))?;
        // Not reaped yet, so the number is still this process.
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Self {
            generation,
            main: Some(Main { pid, pidfd }),
            exit: None,
            launch: Some(Launch {
                socket: ours,
                asker,
                pid: pid.as_raw_nonzero().get(),
            }),
            output: Some(output),
            uid,
            unborn: None,
            killed: None,
        })
    }

    /// What a former holder has left behind in the group.
    pub(super) fn left_behind() -> Self {
        Self {
            generation: 0,
            main: None,
            exit: Some(ChildExit {
                generation: 0,
                code: None,
                signal: None,
                killed: None,
            }),
            launch: None,
            output: None,
            uid: None,
            unborn: None,
            killed: None,
        }
    }

    /// The main process, while it lives.
    pub(super) fn pid(&self) -> Option<i32> {
        self.main
            .as_ref()
            .map(|main| main.pid.as_raw_nonzero().get())
    }

    /// Readable when the main process has ended.
    pub(super) fn ending(&self) -> Option<BorrowedFd<'_>> {
        self.main.as_ref().map(|main| main.pidfd.as_fd())
    }

    /// Sends a signal to the main process.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        let main = self
            .main
            .as_ref()
            .ok_or_else(|| io::Error::other("the child's main process has ended"))?;
        rustix::process::pidfd_send_signal(&main.pidfd, signal)?;
        Ok(())
    }

    /// Takes the end of a process into account, if it is the main one.
    pub(super) fn note_end(&mut self, pid: Pid, status: WaitStatus) {
        if self.main.as_ref().is_some_and(|main| main.pid == pid) {
            self.main = None;
            self.exit = Some(ChildExit {
                generation: self.generation,
                code: status.exit_status(),
                signal: status.terminating_signal(),
                killed: None,
            });
        }
    }
}

impl Launch {
    /// How the launch ended, if it has: `Ok` when the software was executed (or the launch died; its end tells that).
    pub(super) fn outcome(&self) -> Option<Result<(), String>> {
        let mut reason = Vec::new();
        match (&self.socket)
            .take(REASON_BYTES_MAX)
            .read_to_end(&mut reason)
        {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && reason.is_empty() => None,
            _ if reason.is_empty() => Some(Ok(())),
            _ => Some(Err(String::from_utf8_lossy(&reason).into_owned())),
        }
    }
}

/// Reaps every process that has ended and that is ours to reap, orphans of the child included.
pub(super) fn reap(mut ended: impl FnMut(Pid, WaitStatus)) {
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        ended(pid, status);
    }
}

fn uid_of(user: &str) -> io::Result<u32> {
    let found = nix::unistd::User::from_name(user)?;
    let user = found.ok_or_else(|| io::Error::other(format!("there is no user {user}")))?;
    Ok(user.uid.as_raw())
}

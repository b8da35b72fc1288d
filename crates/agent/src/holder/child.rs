//! The child: started by `upstart launch`, known by its process descriptor until it is reaped.

use super::net::{self, Net};
use super::output::{OUTPUT_BYTES_MAX, OutputFile};
use crate::launch::LaunchOrders;
use crate::packet;
use intercept::holder::{ChildExit, ChildSpec, Interception, Killed};
use interpose::net::target::Target;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, pidfd_open};
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The longest reason that a launch gives for its failure.
const REASON_BYTES_MAX: usize = 4096;

/// Why a net is of no use.
const NO_TABLE: &str = "the holder cannot read the member table; it is of another version than the agent: stop the node with \
     `upstart stop`, then start its agent again";

const MUST_NOT_LOOK: &str =
    "the holder must not look into the software's processes: as their user it needs CAP_SYS_PTRACE";

/// A child that was started and of which something is left.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) generation: u64,
    main: Option<Main>,
    /// How the main process ended.
    pub(super) exit: Option<ChildExit>,
    pub(super) launch: Option<Launch>,
    pub(super) output: Option<OutputFile>,
    /// The user that it runs as.
    pub(super) uid: Option<u32>,
    /// How it is intercepted.
    pub(super) interception: Interception,
    /// The library that it got signs labels.
    pub(super) signs: bool,
    net: Option<Net>,
    /// Its table can be looked at here.
    has_table: bool,
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
    /// What it has said: a line about the net, then why it has failed, if it has.
    said: Vec<u8>,
    notices: Option<OwnedFd>,
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
        let output = open_output(&spec.output)?;
        // Had here from now on, they last while the software runs, whoever else has them.
        let has_table = net::learn_files(&spec.environment);
        let (ours, theirs) = UnixStream::pair()?;
        let (generation, signs) = (spec.generation, spec.signs);
        let orders = LaunchOrders {
            group_entry,
            open_files,
            command: spec.command,
            environment: spec.environment.clone(),
            directory: spec.directory,
            user: spec.user,
            refuse_io_uring: spec.refuse_io_uring,
            no_new_privileges: spec.no_new_privileges,
        };
        let orders = serde_json::to_vec(&orders)?;
        packet::make_room(&ours, orders.len());
        ours.set_nonblocking(true)?;
        (&ours)
            .write_all(&orders)
            .map_err(|error| io::Error::other(format!("the orders are too long: {error}")))?;
        ours.shutdown(Shutdown::Write)?;
        let mut launch = Command::new("/proc/self/exe");
        launch
            .arg0("upstart")
            .arg("launch")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(stream_to(output.as_ref())?)
            .stderr(stream_to(output.as_ref())?);
        let process = crate::limits::restored(&mut launch).spawn()?;
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
                said: Vec::new(),
                notices: None,
            }),
            output,
            uid,
            interception: Interception::default(),
            signs,
            net: None,
            has_table,
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
            interception: Interception::default(),
            signs: false,
            net: None,
            has_table: false,
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

    /// Hears what the launch says. The outcome, if it is known: `Ok` when the software was executed (or the launch died; its end
    /// tells that).
    pub(super) fn hear_launch(&mut self) -> Option<Result<(), String>> {
        let launch = self.launch.as_mut()?;
        let ended = launch.hear();
        let notices = launch.notices.take();
        let (interception, failure) = launch.told();
        if let Some(notices) = notices {
            self.interception = interception.unwrap_or_default();
            self.serve(notices);
        } else if self.net.is_none() {
            self.interception = interception.unwrap_or_default();
        }
        match ended {
            false => None,
            true if failure.is_empty() => {
                self.check_net();
                Some(Ok(()))
            }
            true => Some(Err(failure)),
        }
    }

    /// A net that must not look into the software, as the user that it runs as, is of no use.
    fn check_net(&mut self) {
        let Some(pid) = self.pid().filter(|_| self.interception.net) else {
            return;
        };
        let looked = Target::open(pid).and_then(|target| target.duplicate(0));
        if looked.err() == Some(libc::EPERM) {
            self.interception.net = false;
            self.interception.why_no_net = Some(MUST_NOT_LOOK.to_owned());
        }
    }

    fn serve(&mut self, notices: OwnedFd) {
        if !self.has_table {
            self.interception.net = false;
            self.interception.why_no_net = Some(NO_TABLE.to_owned());
        }
        match Net::start(notices) {
            Ok(net) => self.net = Some(net),
            // Its calls answer ENOSYS now: it will not get far, and says so.
            Err(error) => tracing::error!(%error, "the net cannot be served"),
        }
    }

    /// Nothing of it is left: nobody serves its calls any more.
    pub(super) fn take_net(&mut self) {
        self.net = None;
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
    /// Reads what there is; says whether it was all.
    fn hear(&mut self) -> bool {
        let mut buffer = [0; REASON_BYTES_MAX];
        loop {
            match packet::receive(&self.socket, &mut buffer) {
                Ok(Some(part)) => {
                    self.notices = part.descriptor.or(self.notices.take());
                    if self.said.len() < 2 * REASON_BYTES_MAX {
                        self.said.extend(&buffer[..part.length]);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Ok(None) | Err(_) => return true,
            }
        }
    }

    /// What it has said of the net, and why it has failed.
    fn told(&self) -> (Option<Interception>, String) {
        let line = self.said.split_inclusive(|byte| *byte == b'\n').next();
        let line = line.unwrap_or_default();
        let interception = serde_json::from_slice(line).ok();
        let rest = match interception {
            Some(_) => &self.said[line.len()..],
            None => &self.said[..],
        };
        (interception, String::from_utf8_lossy(rest).into_owned())
    }
}

/// The file that takes the output; none where a full disk has no room to make it, which is no reason not to run.
fn open_output(path: &str) -> io::Result<Option<OutputFile>> {
    match OutputFile::open(Path::new(path)) {
        Ok(output) => {
            output.look_after(OUTPUT_BYTES_MAX);
            Ok(Some(output))
        }
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            tracing::warn!(path, %error, "what the software prints is lost until it is started again");
            Ok(None)
        }
        Err(error) => Err(io::Error::other(format!("cannot open {path}: {error}"))),
    }
}

fn stream_to(output: Option<&OutputFile>) -> io::Result<Stdio> {
    match output {
        Some(output) => Ok(Stdio::from(output.handle()?)),
        None => Ok(Stdio::null()),
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

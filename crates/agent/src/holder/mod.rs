//! The holder: a tiny process for each node, without policy, that outlives agents.
//!
//! It is the parent of the child and owns what must survive an agent's death: duplicates of listeners, connections that
//! the accept hook handed over, the child's output file. It never waits for an agent: what it sends is queued, bounded
//! and sent without blocking. A peer that speaks nonsense loses its connection and nothing else.
//!
//! In the data directory it has `holder.sock` (for its agent), `holder.name` (the abstract socket for hooks),
//! `holder.lock` (one holder a directory) and `holder.log` (what it says of itself).

mod agents;
mod child;
mod detach;
pub(crate) mod group;
mod hand_overs;
mod hooks;
mod keeping;
mod keyring;
mod listeners;
mod net;
mod output;
mod remains;
mod requests;
mod service;
mod sockets;
mod steering;
mod stopping;
mod upkeep;

pub use remains::Original;
pub(crate) use remains::locker_of;

use detach::DetachStep;
use output::OutputFile;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Resource, Rlimit};
use sha2::{Digest, Sha256};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The backlog of the holder's own sockets: a burst of hooks waits here, never in the software.
const BACKLOG: i32 = 4096;

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
    let data = &fs::canonicalize(data).map_err(failed(format!("find {}", data.display())))?;
    let step = detach::step();
    if matches!(step, DetachStep::Detach) {
        return detach::detach(data);
    }
    crate::limits::tighten_umask();
    let waited_for = matches!(step, DetachStep::Ready);
    let begun = if waited_for {
        detach::leave_session().and_then(|()| begin(data, true))
    } else {
        begin(data, false)
    };
    if waited_for {
        detach::report(begun.as_ref().map(|_| ()));
    }
    let (service, lock) = begun?;
    let home = service.home;
    let ended = service.serve().map_err(failed("serve"));
    // Removed before the lock goes, so that no successor's socket is removed. A path that stays is replaced by it.
    if crate::birth::is_in_place(data, home) {
        let _ = fs::remove_file(socket_path(data));
    }
    drop(lock);
    ended
}

/// Who has locked a data directory as its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockOwner {
    /// Its holder, whether it answers or not; 0 where only the kernel's lock says that there is one.
    Holder(i32),
    /// Somebody else, who keeps any holder from starting.
    Stranger {
        /// Its process.
        process: i32,
        /// The user whose rights it has.
        user: u32,
        /// The name of its program.
        program: String,
    },
}

/// Who has locked a data directory as its holder.
pub fn owner(data: &Path) -> Option<LockOwner> {
    let locker = remains::locker_of(&lock_path(data))?;
    let own = rustix::process::geteuid().as_raw();
    Some(match crate::kernel::user(locker) {
        Some(user) if ![0, own].contains(&user) || !is_holder(locker) => LockOwner::Stranger {
            process: locker,
            user,
            program: crate::kernel::program(locker),
        },
        _ => LockOwner::Holder(locker),
    })
}

/// Whether a process was started as a holder.
fn is_holder(process: i32) -> bool {
    let words = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    words.split(|byte| *byte == 0).nth(1) == Some(b"holder")
}

/// Processes of a node's software that are left although no holder runs.
///
/// # Errors
/// It cannot be said.
pub(crate) fn left_behind(data: &Path) -> io::Result<Vec<i32>> {
    let group = remains::group(data)?;
    let members = group.members()?;
    if members.is_empty() {
        group.remove();
    }
    Ok(members)
}

/// Who runs on this machine for the directory that this one is a copy of, or for itself.
pub(crate) fn original(data: &Path) -> Option<Original> {
    remains::original(data)
}

/// A holder that was started for the directory that was at this path before: that one was moved away, or something was mounted over it.
///
/// # Errors
/// It cannot be said.
pub(crate) fn of_what_was_here(data: &Path) -> io::Result<Option<Original>> {
    remains::of_what_was_here(data)
}

/// Whether what is noted in a directory was noted by a holder of this very one, of which it is no copy.
pub(crate) fn is_its_own(data: &Path) -> bool {
    remains::is_its_own(data)
}

/// Forgets who holds a directory, and what it shares with its software: of a copy, all of that is the original's.
pub(crate) fn forget(data: &Path) -> Result<(), (PathBuf, io::Error)> {
    remains::forget(data)
}

/// Starts `upstart holder --data DATA` detached (a session of its own, no child of the caller), and waits until it listens.
///
/// # Errors
/// When it cannot be started, or another one owns the directory.
pub fn spawn(upstart_binary: &Path, data: &Path) -> Result<(), HolderError> {
    detach::begin(upstart_binary, data)
}

/// The name of the group of processes that belongs to a data directory: the same at every start, so that a new holder finds
/// what an old one left behind.
pub(crate) fn group_name(data: &Path, suffix: &str) -> String {
    let digest = Sha256::digest(data.as_os_str().as_encoded_bytes());
    format!("upstart-{}{suffix}", hex::encode(&digest[..8]))
}

/// A Unix socket's address in a directory, however long the directory's path is (an address holds 107 bytes).
pub(crate) fn socket_address(path: &Path) -> io::Result<(SocketAddrUnix, Option<OwnedFd>)> {
    if let Ok(address) = SocketAddrUnix::new(path) {
        return Ok((address, None));
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory, flags, Mode::empty())?;
    let short = Path::new("/proc/self/fd")
        .join(directory.as_raw_fd().to_string())
        .join(name);
    Ok((SocketAddrUnix::new(&short)?, Some(directory)))
}

fn begin(data: &Path, has_log: bool) -> Result<(service::HolderService, File), HolderError> {
    crate::environment::conceal();
    let lock = lock(data)?;
    let own = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(own))
        .map_err(|error| failed("adopt orphans")(error.into()))?;
    remains::forget_anothers(data).map_err(failed("forget what it was copied from"))?;
    let agents = listen_for_agents(data).map_err(failed("listen for agents"))?;
    let hooks = listen_for_hooks(data).map_err(failed("listen for hooks"))?;
    let group = remains::group(data).map_err(failed("look for what was left"))?;
    group.claim(data);
    let notes = remains::Notes::begin(data).map_err(failed("start a thread for notes"))?;
    notes.note(&group, None, None);
    let open_files = raise_open_files();
    // So that no file system is kept busy by the directory that the agent was started in.
    std::env::set_current_dir("/").map_err(failed("change to /"))?;
    // Opened by whoever started a holder that is waited for; another one's stderr is its supervisor's.
    let log = OutputFile::open(&detach::log_path(data)).ok();
    let mut service = service::HolderService::new(data, agents, hooks, (group, notes), open_files);
    service.log = log.filter(|_| has_log);
    Ok((service, lock))
}

fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> HolderError {
    let what = what.into();
    move |source| HolderError::Io { what, source }
}

/// The file that one holder a directory has locked.
pub(crate) fn lock_path(data: &Path) -> PathBuf {
    data.join("holder.lock")
}

fn lock(data: &Path) -> Result<File, HolderError> {
    let path = lock_path(data);
    let file = File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&path)
        .map_err(failed(format!("open {}", path.display())))?;
    // Whoever can open it can lock it; one of a former holder may be open to all.
    file.set_permissions(Permissions::from_mode(0o600))
        .map_err(failed(format!("set the mode of {}", path.display())))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(HolderError::AlreadyRunning {
            data: data.to_owned(),
        }),
        Err(error) => Err(failed(format!("lock {}", path.display()))(error.into())),
    }
}

fn seqpacket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        flags,
        None,
    )?)
}

fn listen_for_agents(data: &Path) -> io::Result<OwnedFd> {
    let path = socket_path(data);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = seqpacket()?;
    let (address, _directory) = socket_address(&path)?;
    rustix::net::bind(&socket, &address)?;
    // Nobody can connect before it listens.
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Listens at the former holder's name where it is free (a child that was left behind knows it), else at a new one.
fn listen_for_hooks(data: &Path) -> io::Result<OwnedFd> {
    let path = name_path(data);
    let former = fs::read_to_string(&path).unwrap_or_default();
    if is_name(&former) {
        let socket = seqpacket()?;
        if rustix::net::bind(
            &socket,
            &SocketAddrUnix::new_abstract_name(former.as_bytes())?,
        )
        .is_ok()
        {
            rustix::net::listen(&socket, BACKLOG)?;
            return Ok(socket);
        }
    }
    let socket = seqpacket()?;
    let name = format!("upstart-{:016x}", rand::random::<u64>());
    let address = SocketAddrUnix::new_abstract_name(name.as_bytes())?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    let new = data.join("holder.name.new");
    fs::write(&new, &name)?;
    fs::rename(&new, &path)?;
    Ok(socket)
}

fn is_name(text: &str) -> bool {
    text.strip_prefix("upstart-").is_some_and(|digits| {
        digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
    })
}

/// Raises the limit of open files as far as allowed: every waiting connection is one. Gives what the child goes back to.
fn raise_open_files() -> Option<u64> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    rustix::process::setrlimit(Resource::Nofile, raised).ok()?;
    limit.current
}

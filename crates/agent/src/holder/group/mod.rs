//! All processes that came out of one program: "stopped" means that this group is empty.
//!
//! A control group (cgroup v2) where the system lets us make one; else the descendants of this process, which must then be a
//! subreaper, so that nobody's parent but ours can be lost.

use crate::kernel::{self, is_out_of_sight};
use rustix::fs::{Access, XattrFlags, getxattr, setxattr};
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The attribute of a group that names the data directory that it belongs to.
const OWNER: &str = "user.upstart.data";

/// The place of `startstack` in `/proc/<pid>/stat`, counted from the state on.
const STACK_FIELD: usize = 25;

/// The place of `starttime` there, counted from what follows the parent on.
const BEGAN_FIELD: usize = 17;

/// The longest path (PATH_MAX).
const PATH_BYTES_MAX: usize = 4096;

/// A group of processes.
#[derive(Debug)]
pub(crate) struct Group {
    bounds: Bounds,
    /// Processes that belong to it though they are outside: a lost holder has left them.
    strays: Vec<Stray>,
}

/// A process that cannot be taken for a later one of its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stray {
    pub(super) pid: i32,
    /// When it began, in ticks since the boot.
    began: u64,
}

impl Stray {
    /// The process of this number, while it lives.
    pub(super) fn of(pid: i32) -> Option<Self> {
        let process = process(pid).filter(|process| process.lives)?;
        Some(Self {
            pid,
            began: process.began,
        })
    }

    /// Whether it lives, as far as can be seen.
    pub(super) fn lives(&self) -> bool {
        self.still_lives().unwrap_or(true)
    }

    /// Whether it lives.
    fn still_lives(&self) -> io::Result<bool> {
        let process = read_process(self.pid)?.filter(|process| process.lives);
        Ok(process.is_some_and(|process| process.began == self.began))
    }
}

/// What decides who is in it.
#[derive(Debug)]
enum Bounds {
    /// A control group of our own.
    Control {
        /// Its directory.
        directory: PathBuf,
        /// Its path as `/proc/<pid>/cgroup` tells it to this process: whose path begins so is in it. A name alone says nothing, since
        /// anybody to whom a group is delegated may give it to one of his own.
        path: PathBuf,
        /// Its `cgroup.events`, which signals changes as priority data.
        events: File,
    },
    /// Every descendant of this process.
    Descendants {
        /// The subreaper.
        root: i32,
    },
}

impl Group {
    /// The group of this name: made, or found with what is left in it. Falls back to the descendants of this process.
    pub(crate) fn open(name: &str) -> Self {
        match control_group(name) {
            Ok(bounds) => Self::within(bounds),
            Err(error) => {
                tracing::info!(%error, "no control group: the child is known by its descent");
                Self::within(Bounds::Descendants {
                    root: rustix::process::getpid().as_raw_nonzero().get(),
                })
            }
        }
    }

    /// The control group in this directory, wherever it is.
    pub(super) fn at(directory: PathBuf) -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let (root, mount) =
            control_mount(&mounts).ok_or_else(|| io::Error::other("cgroup2 is not mounted"))?;
        let below = directory.strip_prefix(&mount).map_err(io::Error::other)?;
        let path = root.join(below);
        Ok(Self::within(control(directory, path)?))
    }

    fn within(bounds: Bounds) -> Self {
        Self {
            bounds,
            strays: Vec::new(),
        }
    }

    /// Takes in what a lost holder has left outside.
    pub(super) fn take_in(&mut self, strays: Vec<Stray>) {
        let outside = |stray: &Stray| self.contains(stray.pid) != Some(true);
        self.strays = strays.into_iter().filter(outside).collect();
    }

    /// Notes whose group it is, and removes empty groups of directories that are gone: what holders leave that were killed,
    /// and whose data directory was deleted then, nobody else would ever remove.
    pub(crate) fn claim(&self, data: &Path) {
        let Bounds::Control { directory, .. } = &self.bounds else {
            return;
        };
        let owner = data.as_os_str().as_encoded_bytes();
        if let Err(error) = setxattr(directory, OWNER, owner, XattrFlags::empty()) {
            // Not every kernel keeps attributes of control groups; the group then stays as long as its directory's name.
            tracing::debug!(%error, "cannot note whose group this is");
        }
        let beside = directory.parent().map(directories).transpose();
        // Those that cannot be listed now are removed by whoever comes next.
        let beside = beside.ok().flatten().unwrap_or_default();
        for other in beside.iter().filter(|other| *other != directory) {
            if owner_of(other).is_some_and(|owner| !owner.exists()) {
                remove_control_group(other);
            }
        }
    }

    /// Makes the group again where somebody has removed it while it was empty (service managers tidy up), or put one of his own there.
    pub(crate) fn renew(&mut self) {
        if let Bounds::Control { directory, .. } = &self.bounds
            && !is_ours(directory)
            && let Some(name) = directory.file_name().and_then(|name| name.to_str())
        {
            *self = Self::open(name);
        }
    }

    /// The control group's directory.
    pub(crate) fn directory(&self) -> Option<&Path> {
        match &self.bounds {
            Bounds::Control { directory, .. } => Some(directory),
            Bounds::Descendants { .. } => None,
        }
    }

    /// The data directory that it belongs to, where one is noted.
    pub(super) fn owner(&self) -> Option<PathBuf> {
        owner_of(self.directory()?)
    }

    /// The file that a process writes `0` into to enter; `None` where descent decides.
    pub(crate) fn entry(&self) -> Option<PathBuf> {
        Some(self.directory()?.join("cgroup.procs"))
    }

    /// What to poll for priority data to hear of changes; `None`: look from time to time.
    pub(crate) fn changes(&self) -> Option<BorrowedFd<'_>> {
        match &self.bounds {
            Bounds::Control { events, .. } if self.strays.is_empty() => Some(events.as_fd()),
            _ => None,
        }
    }

    /// Whether no live process is in it (a zombie does not live). Arms the next notice of [`changes`](Self::changes).
    ///
    /// # Errors
    /// It cannot be said.
    pub(crate) fn is_empty(&self) -> io::Result<bool> {
        let nobody = match &self.bounds {
            Bounds::Control { events, .. } => {
                let mut text = [0; 256];
                match events.read_at(&mut text, 0) {
                    Err(error) if has_vanished(&error) => true,
                    read => says_empty(&text[..read?]),
                }
            }
            Bounds::Descendants { root } => below(*root)?.is_empty(),
        };
        Ok(nobody && self.strayed()?.is_empty())
    }

    /// The processes in it now.
    ///
    /// # Errors
    /// It cannot be said.
    pub(crate) fn members(&self) -> io::Result<Vec<i32>> {
        let mut members = match &self.bounds {
            Bounds::Control { directory, .. } => control_members(directory)?,
            Bounds::Descendants { root } => below(*root)?,
        };
        members.extend(self.strayed()?);
        Ok(members)
    }

    /// What lives of the strays, and below them.
    fn strayed(&self) -> io::Result<Vec<i32>> {
        let mut families = BTreeSet::new();
        for stray in &self.strays {
            if stray.still_lives()? {
                families.insert(stray.pid);
                families.extend(below(stray.pid)?);
            }
        }
        Ok(families.into_iter().collect())
    }

    /// Whether this process is in it, or one of the strays; `None` when it is gone already.
    pub(crate) fn contains(&self, pid: i32) -> Option<bool> {
        let inside = self.encloses(pid)?;
        let strayed = || self.strayed().is_ok_and(|strayed| strayed.contains(&pid));
        Some(inside || (!self.strays.is_empty() && strayed()))
    }

    /// Whether this process is within its bounds, which nobody enters by himself; `None` when it is gone already.
    pub(super) fn encloses(&self, pid: i32) -> Option<bool> {
        Some(match &self.bounds {
            Bounds::Control { path, .. } => {
                match fs::read_to_string(format!("/proc/{pid}/cgroup")) {
                    Err(error) if is_out_of_sight(&error) => return None,
                    // That it cannot be read does not say that it is gone.
                    Err(_) => false,
                    Ok(text) => control_path(&text)?.starts_with(path),
                }
            }
            Bounds::Descendants { root } => descends(pid, *root)?,
        })
    }

    /// Kills every process in it. To be repeated until it is empty: where the kernel has no `cgroup.kill`, a process that
    /// forks may slip through once.
    pub(crate) fn kill(&self) {
        let killed = self
            .directory()
            .is_some_and(|directory| fs::write(directory.join("cgroup.kill"), "1").is_ok());
        let left = if killed {
            self.strayed()
        } else {
            self.members()
        };
        // What cannot be seen now is killed the next time.
        for pid in left.unwrap_or_default() {
            if let Some(pid) = Pid::from_raw(pid) {
                // It may have ended by itself.
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
    }

    /// Removes an empty control group.
    pub(crate) fn remove(self) {
        if let Bounds::Control { directory, .. } = self.bounds {
            remove_control_group(&directory);
        }
    }
}

/// Whether a process is below another; `None` when it is gone already.
fn descends(pid: i32, root: i32) -> Option<bool> {
    let mut ancestor = pid;
    loop {
        match process(ancestor)?.parent {
            parent if parent == root => return Some(true),
            parent if parent <= 1 => return Some(false),
            parent => ancestor = parent,
        }
    }
}

fn says_empty(events: &[u8]) -> bool {
    events
        .split(|byte| *byte == b'\n')
        .any(|line| line == b"populated 0")
}

fn control_group(name: &str) -> io::Result<Bounds> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let (root, mount) =
        control_mount(&mounts).ok_or_else(|| io::Error::other("cgroup2 is not mounted"))?;
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let own = control_path(&own)
        .ok_or_else(|| io::Error::other("this process is in no cgroup2 group"))?;
    let inside = mount.join(own.strip_prefix(&root).map_err(io::Error::other)?);
    // Beside our own group, so that what ends that one spares the child; inside it where only that is delegated to us.
    let beside = match (own.parent(), inside.parent()) {
        (Some(path), Some(directory)) if inside != mount => Some(make(directory, path, name)),
        _ => None,
    };
    match beside {
        Some(Ok(group)) => Ok(group),
        _ => make(&inside, own, name),
    }
}

/// The group of the second version in a process's `/proc/<pid>/cgroup`.
fn control_path(text: &str) -> Option<&Path> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(Path::new(path))
}

/// The group of this name in a directory, whose path the kernel tells as `path`.
fn make(parent: &Path, path: &Path, name: &str) -> io::Result<Bounds> {
    // A process may be moved only by who may write to the nearest group above both.
    rustix::fs::access(parent.join("cgroup.procs"), Access::WRITE_OK)?;
    let directory = parent.join(name);
    match fs::create_dir(&directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    control(directory, path.join(name))
}

/// The control group in this directory, whose path the kernel tells as `path`.
fn control(directory: PathBuf, path: PathBuf) -> io::Result<Bounds> {
    if !is_ours(&directory) {
        return Err(io::Error::other(format!(
            "{} belongs to another user, who could put processes into it",
            directory.display()
        )));
    }
    rustix::fs::access(directory.join("cgroup.procs"), Access::WRITE_OK)?;
    let events = File::open(directory.join("cgroup.events"))?;
    Ok(Bounds::Control {
        path,
        directory,
        events,
    })
}

/// Whether a group is there, and nobody but this user and root can put a process into it.
fn is_ours(directory: &Path) -> bool {
    let own = rustix::process::geteuid().as_raw();
    fs::metadata(directory).is_ok_and(|about| [0, own].contains(&about.uid()))
}

/// Root and mount point of the first cgroup2 file system in a `mountinfo` (proc(5)).
fn control_mount(mounts: &str) -> Option<(PathBuf, PathBuf)> {
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        if right.split(' ').next()? != "cgroup2" {
            return None;
        }
        let mut fields = left.split(' ').skip(3);
        Some((unescape(fields.next()?), unescape(fields.next()?)))
    })
}

fn unescape(field: &str) -> PathBuf {
    PathBuf::from(
        field
            .replace("\\040", " ")
            .replace("\\011", "\t")
            .replace("\\012", "\n")
            .replace("\\134", "\\"),
    )
}

/// Whether an error says that a control group has been removed, with nobody in it.
fn has_vanished(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV))
}

/// The members of a control group and of the groups that they made below it; none where it has vanished.
///
/// # Errors
/// They cannot be read.
pub(crate) fn control_members(directory: &Path) -> io::Result<Vec<i32>> {
    let text = match fs::read_to_string(directory.join("cgroup.procs")) {
        Err(error) if has_vanished(&error) => return Ok(Vec::new()),
        text => text?,
    };
    let mut members: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    for below in directories(directory)? {
        members.extend(control_members(&below)?);
    }
    Ok(members)
}

/// The groups in a control group; none where it has vanished.
fn directories(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(directory) {
        Err(error) if has_vanished(&error) => return Ok(found),
        entries => entries?,
    };
    for entry in entries {
        let entry = match entry {
            Err(error) if has_vanished(&error) => break,
            entry => entry?,
        };
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn remove_control_group(directory: &Path) {
    for below in directories(directory).unwrap_or_default() {
        remove_control_group(&below);
    }
    // A group with somebody in it stays; the next holder finds it by its name.
    let _ = fs::remove_dir(directory);
}

/// The data directory that a group belongs to, where one is noted.
fn owner_of(directory: &Path) -> Option<PathBuf> {
    let mut bytes = [0; PATH_BYTES_MAX];
    let length = getxattr(directory, OWNER, &mut bytes[..]).ok()?;
    Some(PathBuf::from(OsStr::from_bytes(&bytes[..length])))
}

/// The user whose rights a process has now.
pub(crate) fn user(pid: i32) -> Option<u32> {
    Some(users(pid)?[1])
}

/// The users that a process is: really, by its rights, by those it has saved, and for files (proc(5)).
pub(super) fn users(pid: i32) -> Option<[u32; 4]> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let users = users.split_ascii_whitespace().map(|user| user.parse().ok());
    users.collect::<Option<Vec<u32>>>()?.try_into().ok()
}

/// The parent of a process.
pub(crate) fn parent(pid: i32) -> Option<i32> {
    Some(process(pid)?.parent)
}

/// What a process executes: another one after `execve`, the same after `fork`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    program: Option<PathBuf>,
    /// Where its stack began, which is random (proc(5)).
    stack: Option<String>,
}

/// What a process executes, as far as that can be seen.
pub(crate) fn image(pid: i32) -> Image {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    let stack = stat.as_deref().and_then(|stat| {
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        Some(fields.nth(STACK_FIELD)?.to_owned())
    });
    Image {
        program: fs::read_link(format!("/proc/{pid}/exe")).ok(),
        stack,
    }
}

/// The name of a process's program.
pub(crate) fn program(pid: i32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim_end().to_owned()
}

struct Process {
    pid: i32,
    parent: i32,
    lives: bool,
    /// When it began, in ticks since the boot.
    began: u64,
}

/// What can be seen of a process.
fn process(pid: i32) -> Option<Process> {
    read_process(pid).ok().flatten()
}

/// One line of `/proc/<pid>/stat`: the name in it may contain anything, so what follows its last parenthesis counts. `None` where the
/// process has ended, or may not be looked at.
fn read_process(pid: i32) -> io::Result<Option<Process>> {
    let text = match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Err(error) if is_out_of_sight(&error) => return Ok(None),
        text => text?,
    };
    Ok(parse_process(pid, &text))
}

fn parse_process(pid: i32, text: &str) -> Option<Process> {
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    Some(Process {
        pid,
        parent: fields.next()?.parse().ok()?,
        began: fields.nth(BEGAN_FIELD)?.parse().ok()?,
        lives: !matches!(state, "Z" | "X" | "x"),
    })
}

/// The live processes below this one.
///
/// # Errors
/// They cannot be read.
pub(crate) fn below(root: i32) -> io::Result<Vec<i32>> {
    let mut all = Vec::new();
    for pid in kernel::processes()? {
        all.extend(read_process(pid)?);
    }
    let mut found = Vec::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for child in all.iter().filter(|process| process.parent == parent) {
            parents.push(child.pid);
            if child.lives {
                found.push(child.pid);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{Bounds, Group, Stray, control_mount, control_path, owner_of, process, user};
    use std::path::{Path, PathBuf};
    use std::process::Command;

    #[test]
    fn the_mount_is_found_beside_the_first_version() {
        let mounts = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
            32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
            41 31 0:38 /a\\040b /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(
            control_mount(mounts),
            Some((
                PathBuf::from("/a b"),
                PathBuf::from("/sys/fs/cgroup/unified")
            ))
        );
        assert_eq!(control_mount(""), None);
    }

    #[test]
    fn a_group_is_known_by_its_whole_path() {
        let ours = Path::new("/system.slice/upstart-1");
        let is_in = |text: &str| control_path(text).is_some_and(|path| path.starts_with(ours));
        assert!(is_in("1:cpu:/elsewhere\n0::/system.slice/upstart-1\n"));
        assert!(is_in("0::/system.slice/upstart-1/workers\n"));
        assert!(!is_in("0::/user.slice/system.slice/upstart-1\n"));
        assert!(!is_in("0::/upstart-1\n"));
        assert!(!is_in("0::/system.slice/upstart-10\n"));
        assert!(!is_in("0::/../system.slice/upstart-1\n"));
        assert!(!is_in("1:name=systemd:/system.slice/upstart-1\n"));
    }

    #[test]
    fn the_user_of_a_process_is_the_one_whose_rights_it_has() {
        let own = i32::try_from(std::process::id()).expect("a pid");
        let effective = rustix::process::geteuid().as_raw();
        assert_eq!(user(own), Some(effective));
        assert_eq!(user(-1), None);
    }

    #[test]
    fn empty_groups_of_directories_that_are_gone_are_removed() {
        let folder = tempfile::tempdir().expect("a directory");
        let names = ["left", "alive", "next"]
            .map(|name| format!("upstart-test-{name}-{}", std::process::id()));
        let [left, alive, next] = names.each_ref().map(|name| Group::open(name));
        let directory = |group: &Group| group.directory().map(Path::to_owned);
        let (Some(gone), Some(kept), Some(last)) =
            (directory(&left), directory(&alive), directory(&next))
        else {
            println!(
                "SKIPPED: empty_groups_of_directories_that_are_gone_are_removed: no control group can be made here"
            );
            return;
        };
        left.claim(&folder.path().join("was-deleted"));
        alive.claim(folder.path());
        if owner_of(&kept).is_none() {
            println!(
                "SKIPPED: empty_groups_of_directories_that_are_gone_are_removed: groups have no attributes here"
            );
        } else {
            next.claim(folder.path());
            assert!(!gone.exists() && kept.exists() && last.exists());
        }
        [left, alive, next].into_iter().for_each(Group::remove);
        assert!(!kept.exists() && !last.exists());
    }

    #[test]
    fn descent_finds_and_kills_a_child() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep");
        let pid = i32::try_from(child.id()).expect("a pid");
        let own = i32::try_from(std::process::id()).expect("a pid");
        let group = Group::within(Bounds::Descendants { root: own });
        assert!(group.members().expect("seen").contains(&pid));
        assert_eq!(group.contains(pid), Some(true));
        assert_eq!(group.contains(1), Some(false));
        // Only this child: other tests of this process may have children too.
        let stray = Stray::of(pid).expect("it lives");
        assert!(stray.lives());
        let mut other = Group::within(Bounds::Descendants { root: pid });
        assert_eq!(other.contains(pid), Some(false));
        other.take_in(vec![stray]);
        assert_eq!(other.members().expect("seen"), [pid]);
        assert_eq!(other.contains(pid), Some(true));
        other.kill();
        child.wait().expect("reaped");
        assert!(!stray.lives() && other.is_empty().expect("seen"));
        assert!(!group.members().expect("seen").contains(&pid));
        assert!(process(pid).is_none());
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_nobody() {
        let name = format!("upstart-test-unseen-{}", std::process::id());
        let own = i32::try_from(std::process::id()).expect("a pid");
        let descent = Group::within(Bounds::Descendants { root: own });
        let control = Group::open(&name);
        let folder = control.directory().map(Path::to_owned);
        // A descriptor that is opened would have a number beyond the limit.
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let none = rustix::process::Rlimit {
            current: Some(0),
            maximum: limit.maximum,
        };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, none).expect("set");
        let seen = [&descent, &control].map(|group| group.members().is_ok());
        let is_empty = descent.is_empty();
        let gone = control.encloses(own);
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).expect("set");
        assert_eq!(seen, [false, false]);
        assert!(is_empty.is_err(), "{is_empty:?}");
        assert!(folder.is_none() || gone == Some(false), "{gone:?}");
        // One that has vanished has nobody.
        let Some(folder) = folder else { return };
        std::fs::remove_dir(&folder).expect("removed");
        assert!(control.members().expect("said").is_empty());
        assert!(control.is_empty().expect("said"));
    }
}

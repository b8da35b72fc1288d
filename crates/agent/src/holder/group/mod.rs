//! All processes that came out of one program: "stopped" means that this group is empty.
//!
//! A control group (cgroup v2) where the system lets us make one; else the descendants of this process, which must then be a
//! subreaper, so that nobody's parent but ours can be lost.

mod control;

pub(crate) use control::control_members;

use crate::kernel::{below, descends, is_out_of_sight, process, read_process};
use control::{
    OWNER, control, control_group, control_mount, control_path, directories, has_vanished, is_ours,
    owner_of, remove_control_group, says_empty,
};
use rustix::fs::{XattrFlags, setxattr};
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A group of processes.
#[derive(Debug)]
pub(crate) struct Group {
    bounds: GroupBounds,
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
enum GroupBounds {
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
                Self::within(GroupBounds::Descendants {
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

    fn within(bounds: GroupBounds) -> Self {
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
        let GroupBounds::Control { directory, .. } = &self.bounds else {
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
        if let GroupBounds::Control { directory, .. } = &self.bounds
            && !is_ours(directory)
            && let Some(name) = directory.file_name().and_then(|name| name.to_str())
        {
            *self = Self::open(name);
        }
    }

    /// The control group's directory.
    pub(crate) fn directory(&self) -> Option<&Path> {
        match &self.bounds {
            GroupBounds::Control { directory, .. } => Some(directory),
            GroupBounds::Descendants { .. } => None,
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
            GroupBounds::Control { events, .. } if self.strays.is_empty() => Some(events.as_fd()),
            _ => None,
        }
    }

    /// Whether no live process is in it (a zombie does not live). Arms the next notice of [`changes`](Self::changes).
    ///
    /// # Errors
    /// It cannot be said.
    pub(crate) fn is_empty(&self) -> io::Result<bool> {
        let nobody = match &self.bounds {
            GroupBounds::Control { events, .. } => {
                let mut text = [0; 256];
                match events.read_at(&mut text, 0) {
                    Err(error) if has_vanished(&error) => true,
                    read => says_empty(&text[..read?]),
                }
            }
            GroupBounds::Descendants { root } => below(*root)?.is_empty(),
        };
        Ok(nobody && self.strayed()?.is_empty())
    }

    /// The processes in it now.
    ///
    /// # Errors
    /// It cannot be said.
    pub(crate) fn members(&self) -> io::Result<Vec<i32>> {
        let mut members = match &self.bounds {
            GroupBounds::Control { directory, .. } => control_members(directory)?,
            GroupBounds::Descendants { root } => below(*root)?,
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
            GroupBounds::Control { path, .. } => {
                match fs::read_to_string(format!("/proc/{pid}/cgroup")) {
                    Err(error) if is_out_of_sight(&error) => return None,
                    // That it cannot be read does not say that it is gone.
                    Err(_) => false,
                    Ok(text) => control_path(&text)?.starts_with(path),
                }
            }
            GroupBounds::Descendants { root } => descends(pid, *root)?,
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
        if let GroupBounds::Control { directory, .. } = self.bounds {
            remove_control_group(&directory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Group, GroupBounds, Stray, owner_of, process};
    use std::path::Path;
    use std::process::Command;

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
        let group = Group::within(GroupBounds::Descendants { root: own });
        assert!(group.members().expect("seen").contains(&pid));
        assert_eq!(group.contains(pid), Some(true));
        assert_eq!(group.contains(1), Some(false));
        // Only this child: other tests of this process may have children too.
        let stray = Stray::of(pid).expect("it lives");
        assert!(stray.lives());
        let mut other = Group::within(GroupBounds::Descendants { root: pid });
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
        let descent = Group::within(GroupBounds::Descendants { root: own });
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

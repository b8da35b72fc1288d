//! What a lost holder has left behind, found by what the kernel knows: nobody's software is taken for stopped because nobody answers
//! for it.
//!
//! A holder notes in `holder.child` its control group and its child's main process, with what tells them from later ones of the same
//! name or number, and which directory it is the holder of: what a copy of that has of it leads to somebody else's software. Besides,
//! everything that runs with the name of this node's holder in its environment, as a user of the node, is the node's software.

use super::group::{Group, Stray};
use super::group_name;
use crate::birth::{Birth, boot, is_in_place};
use crate::cached;
use intercept::environment;
use rustix::fs::FlockOperation;
use rustix::net::SocketAddrUnix;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

/// What a holder notes for its successors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HolderNote {
    /// The boot of which it is true.
    boot: String,
    /// The control group's directory and the number that the kernel gave it.
    group: Option<(PathBuf, u64)>,
    /// The main process.
    main: Option<Stray>,
    /// The user that it was started as, where that is another than the holder's.
    #[serde(default)]
    user: Option<u32>,
    /// The data directory.
    #[serde(default)]
    home: Option<Birth>,
}

impl HolderNote {
    /// What is noted in a directory, whosever it is, of this boot.
    fn read(data: &Path) -> Option<Self> {
        cached::load(&path(data)).filter(|noted: &Self| noted.boot == boot())
    }

    /// Whether it was noted in another directory, of which this is a copy.
    fn is_anothers(&self, data: &Path) -> bool {
        let here = Birth::at(data);
        self.home
            .zip(here)
            .is_some_and(|(noted, here)| !noted.is_of(&here))
    }

    /// The group that is noted, if it is there still and somebody is left in it.
    fn group(&self) -> Option<Group> {
        let (directory, at) = self.group.as_ref()?;
        let there = number(directory) == Some(*at);
        let group = Group::at(directory.clone()).ok().filter(|_| there)?;
        (!group.is_empty().unwrap_or(false)).then_some(group)
    }
}

/// Where it is noted.
fn path(data: &Path) -> PathBuf {
    data.join("holder.child")
}

/// Writes notes in a thread of its own: a disk may take seconds, and the holder never waits.
#[derive(Debug)]
pub(super) struct Notes {
    sender: mpsc::Sender<HolderNote>,
    home: Option<Birth>,
}

impl Notes {
    /// The notes of a data directory; they end with the holder.
    pub(super) fn begin(data: &Path) -> io::Result<Self> {
        let (sender, notes) = mpsc::channel::<HolderNote>();
        let (data, home) = (data.to_owned(), Birth::at(data));
        std::thread::Builder::new()
            .name("notes".to_owned())
            .spawn(move || {
                for noted in notes.iter().filter(|_| is_in_place(&data, home)) {
                    cached::save_small(&path(&data), &noted);
                }
            })?;
        Ok(Self { sender, home })
    }

    /// Notes where the child is to be found.
    pub(super) fn note(&self, group: &Group, main: Option<i32>, user: Option<u32>) {
        let directory = group.directory();
        let noted = HolderNote {
            boot: boot(),
            group: directory.and_then(|group| Some((group.to_owned(), number(group)?))),
            main: main.and_then(Stray::of),
            user,
            home: self.home,
        };
        // Without its thread nothing is noted; the software is found by its environment all the same.
        let _ = self.sender.send(noted);
    }
}

/// The group of a node: the one that a former holder has left somebody in, else the usual one. With everything that it left outside.
///
/// # Errors
/// It cannot be said what was left.
pub(super) fn group(data: &Path) -> io::Result<Group> {
    let noted = HolderNote::read(data)
        .filter(|noted| !noted.is_anothers(data))
        .unwrap_or_default();
    // Another directory may have been in this place, and what it has left is not this one's.
    let suffix = Birth::at(data).map(|birth| format!("-{:x}", birth.inode));
    let usual = || Group::open(&group_name(data, &suffix.unwrap_or_default()));
    let mut group = noted.group().unwrap_or_else(usual);
    let main = noted.main.filter(Stray::lives);
    let strays = main
        .into_iter()
        .chain(carriers(data, noted.user)?)
        .collect();
    group.take_in(strays);
    Ok(group)
}

/// Forgets what is noted in a copy of another directory, so that this one's holder has a name of its own.
pub(super) fn forget_anothers(data: &Path) -> io::Result<()> {
    let noted: Option<HolderNote> = cached::load(&path(data));
    if noted.is_some_and(|noted| noted.is_anothers(data)) {
        forget(data).map_err(|(_, error)| error)
    } else {
        Ok(())
    }
}

/// Forgets who holds a directory, and what it shares with its software: of a copy, all of that is the original's.
pub(super) fn forget(data: &Path) -> Result<(), (PathBuf, io::Error)> {
    let names = ["holder.child", "holder.name", "holder.sock", "shared"];
    for path in names.map(|name| data.join(name)) {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err((path, error)),
            _ => {}
        }
    }
    Ok(())
}

/// Somebody who runs for the directory that this one is a copy of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Original {
    /// Its holder, or a process of its software.
    pub process: i32,
    /// The directory, where that can be seen.
    pub data: Option<PathBuf>,
}

/// Who runs on this machine for the directory that this one is a copy of, or for itself.
pub(super) fn original(data: &Path) -> Option<Original> {
    let name = fs::read(super::name_path(data)).unwrap_or_default();
    if let Some(holder) = listener(&name).filter(|pid| super::is_holder(*pid)) {
        let data = data_of(holder);
        return Some(Original {
            process: holder,
            data,
        });
    }
    let noted = HolderNote::read(data)?;
    let group = noted.group();
    let main = noted.main.filter(Stray::lives).map(|main| main.pid);
    let left = group
        .as_ref()
        .and_then(|group| group.members().ok()?.first().copied());
    Some(Original {
        process: main.or(left)?,
        data: group.and_then(|group| group.owner()),
    })
}

/// A holder that was started for the directory that was at this path before: that one was moved away, or something was mounted over it.
pub(super) fn of_what_was_here(data: &Path) -> io::Result<Option<Original>> {
    let own = locker_of(&super::lock_path(data));
    let processes = crate::kernel::processes()?.into_iter();
    // A path of another mount namespace (a container's) leads to another directory anyway.
    let mounts = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    let here = mounts("self");
    let found = processes
        .filter(|process| Some(*process) != own && super::is_holder(*process))
        .filter(|process| mounts(&process.to_string()) == here)
        .find(|holder| data_of(*holder).as_deref() == Some(data));
    Ok(found.map(|process| Original {
        process,
        data: Some(data.to_owned()),
    }))
}

/// Whether what is noted in a directory was noted by a holder of this very one, of which it is no copy.
pub(super) fn is_its_own(data: &Path) -> bool {
    let noted_in = HolderNote::read(data).and_then(|noted| noted.home);
    let here = Birth::at(data);
    noted_in
        .zip(here)
        .is_some_and(|(noted, here)| noted.is_of(&here))
}

/// The process that listens at an abstract name.
fn listener(name: &[u8]) -> Option<i32> {
    if name.is_empty() {
        return None;
    }
    let socket = super::seqpacket().ok()?;
    let address = SocketAddrUnix::new_abstract_name(name).ok()?;
    rustix::net::connect(&socket, &address).ok()?;
    let peer = rustix::net::sockopt::socket_peercred(&socket).ok()?;
    Some(peer.pid.as_raw_nonzero().get())
}

/// The directory that a holder was started for.
fn data_of(holder: i32) -> Option<PathBuf> {
    let words = fs::read(format!("/proc/{holder}/cmdline")).ok()?;
    let mut words = words.split(|byte| *byte == 0);
    words.find(|word| *word == b"--data")?;
    Some(PathBuf::from(OsStr::from_bytes(words.next()?)))
}

/// The processes that run with the node's holder in their environment, as root, as the agent's user or as the software's. Everybody can
/// read the holder's name, so that of other users it says nothing.
fn carriers(data: &Path, user: Option<u32>) -> io::Result<Vec<Stray>> {
    let name = fs::read(super::name_path(data)).unwrap_or_default();
    if name.is_empty() {
        return Ok(Vec::new());
    }
    let mark = [environment::HOLDER.as_bytes(), b"=", &name].concat();
    let own = rustix::process::geteuid().as_raw();
    let is_of_the_node = |uid: &u32| [0, own].contains(uid) || Some(*uid) == user;
    let processes = crate::kernel::processes()?.into_iter();
    let carry = processes.filter(|pid| {
        // A program that is set-user-ID has rights of its own, and the environment of whoever began it.
        crate::kernel::users(*pid).is_some_and(|users| users.iter().all(is_of_the_node))
            && carries(*pid, &mark)
    });
    Ok(carry.filter_map(Stray::of).collect())
}

fn carries(pid: i32, mark: &[u8]) -> bool {
    let own = i64::from(pid) == i64::from(std::process::id());
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    !own && environment
        .split(|byte| *byte == 0)
        .any(|variable| variable == mark)
}

/// The process that has locked this file; 0 where the kernel does not say which it is. `None` where nobody has.
pub(crate) fn locker_of(path: &Path) -> Option<i32> {
    let file = fs::File::open(path).ok()?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Err(rustix::io::Errno::WOULDBLOCK) => {}
        _ => return None,
    }
    let inode = file.metadata().ok()?.ino();
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    Some(locker(&locks, inode).unwrap_or(0))
}

/// Who has locked the file of this inode, by the kernel's list (`/proc/locks`, proc(5)).
fn locker(locks: &str, inode: u64) -> Option<i32> {
    let end = format!(":{inode}");
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let at = fields.iter().position(|field| field.ends_with(&end))?;
        let is_lock = fields.get(1) == Some(&"FLOCK");
        let pid = fields.get(at.checked_sub(1)?)?.parse().ok();
        pid.filter(|pid| is_lock && *pid > 0)
    })
}

fn number(directory: &Path) -> Option<u64> {
    Some(fs::metadata(directory).ok()?.ino())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    #[test]
    fn the_kernel_says_who_has_locked_a_file() {
        let locks = "1: POSIX  ADVISORY  READ  77 08:01:128 0 EOF\n\
            2: FLOCK  ADVISORY  WRITE 4242 00:2c:129 0 EOF\n\
            3: FLOCK  ADVISORY  WRITE -1 00:2c:130 0 EOF\n";
        assert_eq!(locker(locks, 129), Some(4242));
        assert_eq!(locker(locks, 128), None);
        assert_eq!(locker(locks, 130), None);
        assert_eq!(locker(locks, 29), None);
    }

    #[test]
    fn software_is_found_by_its_environment_and_by_what_was_noted() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = fs::canonicalize(folder.path()).expect("there");
        fs::write(super::super::name_path(&data), "upstart-of-this-test").expect("written");
        let sleep = |environment: &[(&str, &str)]| {
            let mut command = Command::new("sleep");
            command.arg("60").envs(environment.iter().copied());
            // Not below whoever looks: as after the end of a holder.
            command.process_group(0).spawn().expect("sleep")
        };
        let mut carrier = sleep(&[(environment::HOLDER, "upstart-of-this-test")]);
        let mut other = sleep(&[(environment::HOLDER, "upstart-of-another")]);
        let pid = |child: &std::process::Child| i32::try_from(child.id()).expect("a pid");
        let found: Vec<i32> = carriers(&data, None)
            .expect("seen")
            .iter()
            .map(|stray| stray.pid)
            .collect();
        assert_eq!(found, [pid(&carrier)]);
        let nobody = Group::open(&format!("upstart-test-remains-{}", std::process::id()));
        let notes = Notes::begin(&data).expect("a thread");
        notes.note(&nobody, Some(pid(&other)), None);
        while !path(&data).exists() {
            std::thread::yield_now();
        }
        let left = group(&data).expect("seen");
        assert!(
            left.contains(pid(&other)) == Some(true) && left.contains(pid(&carrier)) == Some(true)
        );
        // In a copy of the directory all of it is the original's.
        let copy = tempfile::tempdir().expect("a folder");
        for name in ["holder.child", "holder.name"] {
            fs::copy(data.join(name), copy.path().join(name)).expect("copied");
        }
        forget_anothers(copy.path()).expect("forgotten");
        let of_the_copy = group(copy.path()).expect("seen");
        assert_eq!(of_the_copy.contains(pid(&other)), Some(false));
        assert_eq!(of_the_copy.contains(pid(&carrier)), Some(false));
        of_the_copy.remove();
        forget_anothers(&data).expect("looked");
        assert!(path(&data).exists(), "the original's notes");
        left.kill();
        carrier.wait().expect("reaped");
        other.wait().expect("reaped");
        left.remove();
        nobody.remove();
    }

    #[test]
    fn another_users_process_is_no_software_whatever_its_environment() {
        if !rustix::process::geteuid().is_root() {
            println!(
                "SKIPPED: another_users_process_is_no_software_whatever_its_environment: only root becomes others"
            );
            return;
        }
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(
            super::super::name_path(folder.path()),
            "upstart-of-a-stranger",
        )
        .expect("written");
        let mut stranger = Command::new("sleep")
            .arg("60")
            .env(environment::HOLDER, "upstart-of-a-stranger")
            .uid(1234)
            .spawn()
            .expect("sleep");
        let pid = i32::try_from(stranger.id()).expect("a pid");
        // As the user of the software it would be. (A program that has just begun has no environment yet.)
        let is_found = |user| {
            let found = carriers(folder.path(), user).expect("seen").into_iter();
            found.map(|stray| stray.pid).collect::<Vec<i32>>() == [pid]
        };
        let begun = std::time::Instant::now();
        while !is_found(Some(1234)) {
            assert!(begun.elapsed().as_secs() < 10, "not seen");
            std::thread::yield_now();
        }
        assert!(!is_found(None));
        stranger.kill().expect("killed");
        stranger.wait().expect("reaped");
    }
}

//! What a lost holder has left behind, found by what the kernel knows: nobody's software is taken for stopped because nobody answers
//! for it.
//!
//! A holder notes in `holder.child` its control group and its child's main process, with what tells them from later ones of the same
//! name or number. Besides, everything that runs with the name of this node's holder in its environment is the node's software.

use super::group::{Group, Stray};
use super::group_name;
use crate::sync;
use intercept::environment;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

/// What a holder notes for its successors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Noted {
    /// The boot of which it is true.
    boot: String,
    /// The control group's directory and the number that the kernel gave it.
    group: Option<(PathBuf, u64)>,
    /// The main process.
    main: Option<Stray>,
}

/// Where it is noted.
fn path(data: &Path) -> PathBuf {
    data.join("holder.child")
}

/// Writes notes in a thread of its own: a disk may take seconds, and the holder never waits.
#[derive(Debug)]
pub(super) struct Notes(mpsc::Sender<Noted>);

impl Notes {
    /// The notes of a data directory; they end with the holder.
    pub(super) fn begin(data: &Path) -> io::Result<Self> {
        let (sender, notes) = mpsc::channel::<Noted>();
        let path = path(data);
        std::thread::Builder::new()
            .name("notes".to_owned())
            .spawn(move || {
                notes
                    .iter()
                    .for_each(|noted| sync::save_small(&path, &noted))
            })?;
        Ok(Self(sender))
    }

    /// Notes where the child is to be found.
    pub(super) fn note(&self, group: &Group, main: Option<i32>) {
        let directory = group.directory();
        let noted = Noted {
            boot: boot(),
            group: directory.and_then(|group| Some((group.to_owned(), number(group)?))),
            main: main.and_then(Stray::of),
        };
        // Without its thread nothing is noted; the software is found by its environment all the same.
        let _ = self.0.send(noted);
    }
}

/// The group of a node: the one that a former holder has left somebody in, else the usual one. With everything that it left outside.
pub(super) fn group(data: &Path) -> Group {
    let noted: Noted = sync::load(&path(data))
        .filter(|noted: &Noted| noted.boot == boot())
        .unwrap_or_default();
    let left = noted
        .group
        .filter(|(directory, at)| number(directory) == Some(*at))
        .and_then(|(directory, _)| Group::at(directory).ok())
        .filter(|group| !group.is_empty());
    let mut group = left.unwrap_or_else(|| Group::open(&group_name(data, "")));
    let main = noted.main.filter(Stray::lives);
    let strays = main.into_iter().chain(carriers(data)).collect();
    group.take_in(strays);
    group
}

/// The processes that run with the node's holder in their environment; its name is like no other's.
fn carriers(data: &Path) -> Vec<Stray> {
    let name = fs::read(super::name_path(data)).unwrap_or_default();
    if name.is_empty() {
        return Vec::new();
    }
    let mark = [environment::HOLDER.as_bytes(), b"=", &name].concat();
    let processes = crate::kernel::processes().unwrap_or_default().into_iter();
    let carry = processes.filter(|pid| carries(*pid, &mark));
    carry.filter_map(Stray::of).collect()
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

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
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
        let found: Vec<i32> = carriers(&data).iter().map(|stray| stray.pid).collect();
        assert_eq!(found, [pid(&carrier)]);
        let nobody = Group::open(&format!("upstart-test-remains-{}", std::process::id()));
        let notes = Notes::begin(&data).expect("a thread");
        notes.note(&nobody, Some(pid(&other)));
        while !path(&data).exists() {
            std::thread::yield_now();
        }
        let left = group(&data);
        assert!(
            left.contains(pid(&other)) == Some(true) && left.contains(pid(&carrier)) == Some(true)
        );
        left.kill();
        carrier.wait().expect("reaped");
        other.wait().expect("reaped");
        left.remove();
        nobody.remove();
    }
}

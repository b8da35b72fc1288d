//! Control groups of the second version: where one can be made, who is in it, whose it is.

use super::GroupBounds;
use rustix::fs::{Access, getxattr};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The attribute of a group that names the data directory that it belongs to.
pub(super) const OWNER: &str = "user.upstart.data";

/// The longest path (PATH_MAX).
const PATH_BYTES_MAX: usize = 4096;

pub(super) fn says_empty(events: &[u8]) -> bool {
    events
        .split(|byte| *byte == b'\n')
        .any(|line| line == b"populated 0")
}

pub(super) fn control_group(name: &str) -> io::Result<GroupBounds> {
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
pub(super) fn control_path(text: &str) -> Option<&Path> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(Path::new(path))
}

/// The group of this name in a directory, whose path the kernel tells as `path`.
fn make(parent: &Path, path: &Path, name: &str) -> io::Result<GroupBounds> {
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
pub(super) fn control(directory: PathBuf, path: PathBuf) -> io::Result<GroupBounds> {
    if !is_ours(&directory) {
        return Err(io::Error::other(format!(
            "{} belongs to another user, who could put processes into it",
            directory.display()
        )));
    }
    rustix::fs::access(directory.join("cgroup.procs"), Access::WRITE_OK)?;
    let events = File::open(directory.join("cgroup.events"))?;
    Ok(GroupBounds::Control {
        path,
        directory,
        events,
    })
}

/// Whether a group is there, and nobody but this user and root can put a process into it.
pub(super) fn is_ours(directory: &Path) -> bool {
    let own = rustix::process::geteuid().as_raw();
    fs::metadata(directory).is_ok_and(|about| [0, own].contains(&about.uid()))
}

/// Root and mount point of the first cgroup2 file system in a `mountinfo` (proc(5)).
pub(super) fn control_mount(mounts: &str) -> Option<(PathBuf, PathBuf)> {
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
pub(super) fn has_vanished(error: &io::Error) -> bool {
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
pub(super) fn directories(directory: &Path) -> io::Result<Vec<PathBuf>> {
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

pub(super) fn remove_control_group(directory: &Path) {
    for below in directories(directory).unwrap_or_default() {
        remove_control_group(&below);
    }
    // A group with somebody in it stays; the next holder finds it by its name.
    let _ = fs::remove_dir(directory);
}

/// The data directory that a group belongs to, where one is noted.
pub(super) fn owner_of(directory: &Path) -> Option<PathBuf> {
    let mut bytes = [0; PATH_BYTES_MAX];
    let length = getxattr(directory, OWNER, &mut bytes[..]).ok()?;
    Some(PathBuf::from(OsStr::from_bytes(&bytes[..length])))
}

#[cfg(test)]
mod tests {
    use super::{control_mount, control_path};
    use std::path::{Path, PathBuf};

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
}

//! Which file or folder something is, by what no copy of it has: its inode and its time of birth, and where both are copied too
//! (snapshots, images of a disk), the subvolume or the device.

use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// What `statfs` says of FUSE (linux/magic.h), whose inode numbers need not last.
const FUSE: i64 = 0x6573_5546;

/// What it says of btrfs, whose snapshots keep inodes and times of birth, and are subvolumes of their own.
const BTRFS: i64 = 0x9123_683e;

/// What it says of overlayfs, where a folder may have another inode after each mount (filesystems/overlayfs in the kernel's manual).
const OVERLAY: i64 = 0x794c_7630;

/// A file that is no copy of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Birth {
    pub(crate) inode: u64,
    /// Nanoseconds since the epoch, where the file system keeps it.
    pub(crate) born_ns: Option<u64>,
    /// Of btrfs: which file system, and which subvolume of it.
    #[serde(default)]
    pub(crate) subvolume: Option<u64>,
    /// The device that it lies on, and the boot in which that number means it.
    #[serde(default)]
    pub(crate) device: Option<Device>,
}

/// A block device. Its number may be another's after a boot, and the same disk may get another one at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Device {
    pub(crate) number: u64,
    /// A checksum of the boot's name.
    pub(crate) boot: u32,
}

impl Birth {
    /// That of an open file; none where the file system knows no lasting identity.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub(crate) fn of(file: &File) -> io::Result<Option<Self>> {
        let system = rustix::fs::fstatfs(file)?;
        if system.f_type == FUSE {
            return Ok(None);
        }
        let about = file.metadata()?;
        let born = about.created().ok();
        let born = born.and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        let subvolume = match system.f_type {
            BTRFS => Some(rustix::fs::fstatvfs(file)?.f_fsid),
            _ => None,
        };
        Ok(Some(Self {
            inode: about.ino(),
            born_ns: born.and_then(|born| u64::try_from(born.as_nanos()).ok()),
            subvolume,
            device: Device::of(about.dev()),
        }))
    }

    /// That of whatever is at a path; none where it cannot be told.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        Self::of(&File::open(path).ok()?).ok()?
    }

    /// Whether this, which was noted, is of the same file as what is there now.
    pub(crate) fn is_of(&self, now: &Self) -> bool {
        let subvolumes = self.subvolume.zip(now.subvolume);
        let devices = self.device.zip(now.device);
        (self.inode, self.born_ns) == (now.inode, now.born_ns)
            && subvolumes.is_none_or(|(then, now)| then == now)
            && devices.is_none_or(|(then, now)| !then.is_beside(now))
    }
}

/// Whether the same folder as when this was noted is at its path still: it may have been moved away, or something mounted over it.
/// Where folders cannot be told apart, it is taken for the same.
pub(crate) fn is_in_place(path: &Path, noted: Option<Birth>) -> bool {
    match noted {
        None => true,
        Some(noted) => Birth::at(path).is_some_and(|there| noted.is_of(&there)),
    }
}

/// Whether the inodes of folders last there.
///
/// # Errors
/// It cannot be looked at.
pub(crate) fn folders_last(folder: &Path) -> io::Result<bool> {
    Ok(![FUSE, OVERLAY].contains(&rustix::fs::statfs(folder)?.f_type))
}

impl Device {
    /// None where the number stands for no disk: such numbers change whenever something is mounted.
    fn of(number: u64) -> Option<Self> {
        (rustix::fs::major(number) != 0).then(|| Self {
            number,
            boot: label::crc32c(boot().as_bytes()),
        })
    }

    /// Whether both are there: then what lies on one is not what lies on the other, however alike. A disk that was taken out and put
    /// back may have another number, but not two at once.
    fn is_beside(self, now: Self) -> bool {
        self.boot == now.boot && self.number != now.number && is_mounted(self.number)
    }
}

/// The name of this boot (random(4)); empty where it cannot be read.
pub(crate) fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

/// Whether a file system on this device is mounted where this process sees it (proc(5), mountinfo).
fn is_mounted(device: u64) -> bool {
    let named = format!(
        "{}:{}",
        rustix::fs::major(device),
        rustix::fs::minor(device)
    );
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts
        .lines()
        .any(|line| line.split(' ').nth(2) == Some(named.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_itself_and_its_twin_on_another_disk_is_not() {
        let file = tempfile::tempfile().expect("a file");
        let now = Birth::of(&file).expect("looked").expect("known");
        assert!(now.is_of(&now));
        // Before devices and subvolumes were noted.
        let old = Birth {
            subvolume: None,
            device: None,
            ..now
        };
        assert!(old.is_of(&now));
        let subvolume = |number| Birth {
            subvolume: Some(number),
            ..now
        };
        assert!(subvolume(1).is_of(&subvolume(1)) && !subvolume(1).is_of(&subvolume(2)));
        // The device of some mount that is there, and one that is not.
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        let mut numbers = mounts.lines().filter_map(|line| {
            let (major, minor) = line.split(' ').nth(2)?.split_once(':')?;
            Some(rustix::fs::makedev(
                major.parse().ok()?,
                minor.parse().ok()?,
            ))
        });
        let there = numbers.next().expect("a mount");
        let boot = label::crc32c(boot().as_bytes());
        let on = |number, boot| Birth {
            device: Some(Device { number, boot }),
            ..now
        };
        let here = on(rustix::fs::makedev(4000, 1), boot);
        assert!(!on(there, boot).is_of(&here));
        assert!(on(there, boot ^ 1).is_of(&here), "before the boot");
        let gone = rustix::fs::makedev(4000, 2);
        assert!(on(gone, boot).is_of(&here), "the same disk, put back");
    }
}

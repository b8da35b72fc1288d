//! Small disks of a test's own: loop-mounted file systems that can be filled.
//!
//! They are mounted in a mount namespace of the test's process, so that nothing of them is left when it ends, however.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How much is written at once when a disk is filled.
const BLOCK_BYTES: usize = 1 << 20;

/// A file system in a file.
#[derive(Debug)]
pub struct Disk {
    /// Where it is mounted.
    pub place: PathBuf,
}

impl Disk {
    /// Makes one of `kind` (`ext4`, `xfs`, `btrfs`) with so many MiB and mounts it at `place`. `None`, and a note, where
    /// that cannot be done.
    pub fn mount(test: &str, kind: &str, mebibytes: u64, place: &Path) -> Option<Self> {
        Self::make(test, kind, &[], mebibytes, place)
    }

    /// The same, an ext4 that can have so many files.
    pub fn with_files(test: &str, files: u64, place: &Path) -> Option<Self> {
        Self::make(test, "ext4", &["-N", &files.to_string()], 128, place)
    }

    fn make(
        test: &str,
        kind: &str,
        options: &[&str],
        mebibytes: u64,
        place: &Path,
    ) -> Option<Self> {
        if let Err(why) = own_mounts() {
            println!("SKIPPED: {test}: cannot mount: {why}");
            return None;
        }
        let image = place.with_extension("image");
        std::fs::create_dir_all(place).expect("a folder");
        let file = File::create(&image).expect("an image");
        file.set_len(mebibytes << 20).expect("a length");
        let quiet: &[&str] = match kind {
            "ext4" => &["-q", "-F", "-m", "0"],
            _ => &["-q", "-f"],
        };
        let mut make = Command::new(format!("/usr/sbin/mkfs.{kind}"));
        make.args(quiet).args(options).arg(&image);
        let mut mount = Command::new("mount");
        mount
            .args(["-t", kind, "-o", "loop"])
            .arg(&image)
            .arg(place);
        for command in [&mut make, &mut mount] {
            if let Err(why) = succeeds(command) {
                println!("SKIPPED: {test}: {why}");
                return None;
            }
        }
        // Freed as soon as the mount is gone.
        std::fs::remove_file(&image).expect("removed");
        Some(Self {
            place: place.to_owned(),
        })
    }

    /// Bytes that are free.
    #[expect(unsafe_code, reason = "no dependency of this package wraps statvfs(3)")]
    pub fn free(&self) -> u64 {
        let path = CString::new(self.place.as_os_str().as_encoded_bytes()).expect("no NUL");
        // SAFETY: statvfs is plain integers, for which zeros are valid.
        let mut figures: libc::statvfs = unsafe { std::mem::zeroed() };
        // SAFETY: the path ends in NUL and the struct is writable for the call's duration.
        let answer = unsafe { libc::statvfs(path.as_ptr(), &raw mut figures) };
        assert_eq!(answer, 0, "{}", io::Error::last_os_error());
        figures.f_bavail * figures.f_frsize
    }

    /// Writes a file of so many bytes, for good.
    pub fn write(&self, name: &str, bytes: u64) {
        write(&self.place.join(name), bytes, false).expect("there is room");
    }

    /// Writes a file until nothing more fits.
    pub fn fill(&self, name: &str) {
        let path = self.place.join(name);
        let full = write(&path, u64::MAX, true).expect_err("it ends");
        assert_eq!(full.kind(), io::ErrorKind::StorageFull, "{full}");
        // What is left of a block.
        let mut file = OpenOptions::new().append(true).open(path).expect("there");
        while file.write_all(&[1; 512]).is_ok() {}
    }

    /// Makes empty files in a folder until there can be no more.
    pub fn use_up_files(&self, folder: &str) {
        let folder = self.place.join(folder);
        std::fs::create_dir(&folder).expect("made");
        let full =
            (0..).find_map(|number: u64| File::create(folder.join(number.to_string())).err());
        let full = full.expect("it ends");
        assert_eq!(full.kind(), io::ErrorKind::StorageFull, "{full}");
    }

    /// Lets everything on it fail from now on, as when the device is gone (`EXT4_IOC_SHUTDOWN`, without a flush).
    #[expect(
        unsafe_code,
        reason = "no dependency of this package wraps this ioctl(2)"
    )]
    pub fn shut_down(&self) {
        const EXT4_IOC_SHUTDOWN: libc::c_ulong = 0x8004_587d;
        const NO_LOG_FLUSH: u32 = 2;
        let folder = File::open(&self.place).expect("there");
        let flag = NO_LOG_FLUSH;
        // SAFETY: the descriptor is open, and the pointer is to a u32 for the call's duration.
        let answer = unsafe { libc::ioctl(folder.as_raw_fd(), EXT4_IOC_SHUTDOWN, &raw const flag) };
        assert_eq!(answer, 0, "{}", io::Error::last_os_error());
    }

    /// Removes a file.
    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.place.join(name)).expect("removed");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let mut unmount = Command::new("umount");
        unmount.arg("--lazy").arg(&self.place);
        if let Err(why) = succeeds(&mut unmount) {
            eprintln!(
                "{} stays mounted until the test ends: {why}",
                self.place.display()
            );
        }
    }
}

/// Writes bytes that no file system leaves out.
fn write(path: &Path, bytes: u64, each_synced: bool) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    let block: Vec<u8> = (0..BLOCK_BYTES)
        .map(|at| ((at * 31) >> 3) as u8 | 1)
        .collect();
    let mut left = bytes;
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        file.write_all(&block[..length])?;
        left -= length as u64;
        if each_synced {
            // Not when the kernel gets to it: delayed allocation would hide that the disk is full.
            file.sync_data()?;
        }
    }
    file.sync_all()
}

/// Gives this thread, and what it starts, mounts of its own.
#[expect(unsafe_code, reason = "no dependency of this package wraps unshare(2)")]
fn own_mounts() -> io::Result<()> {
    // SAFETY: unshare() takes an integer and touches no memory of this process.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return Err(io::Error::last_os_error());
    }
    succeeds(Command::new("mount").args(["--make-rprivate", "/"]))
}

/// Takes the control groups away from this thread and from what it starts, as in many a container.
///
/// # Errors
/// Where this user may not: what the kernel, or the program that was to do it, says.
pub fn hide_control_groups() -> io::Result<()> {
    own_mounts()?;
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let groups = mounts.lines().filter(|line| line.contains(" cgroup2 "));
    for place in groups.filter_map(|line| line.split(' ').nth(1)) {
        succeeds(Command::new("umount").args(["--lazy", place]))?;
    }
    Ok(())
}

fn succeeds(command: &mut Command) -> io::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output =
        output.map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
    if output.status.success() {
        Ok(())
    } else {
        let said = String::from_utf8_lossy(&output.stderr)
            .trim()
            .replace('\n', "; ");
        Err(io::Error::other(format!("{name}: {said}")))
    }
}

//! Owner, mode, times and extended attributes.

use rustix::fs::{AtFlags, CWD, Gid, Mode, Timespec, Timestamps, Uid};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Gives `to` the attributes of `from`.
pub(super) fn carry_over(from: &Path, to: &Path, metadata: &Metadata) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(metadata.uid()), Gid::from_raw(metadata.gid()));
    match rustix::fs::chownat(CWD, to, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW) {
        // An ordinary user copies what it owns; a group that it is not in cannot be kept.
        Ok(()) | Err(rustix::io::Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    extended(from, to)?;
    if !metadata.is_symlink() {
        // After the owner, whose change clears the set-user-id bit.
        rustix::fs::chmod(to, Mode::from_raw_mode(metadata.mode()))?;
    }
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: metadata.atime(),
            tv_nsec: metadata.atime_nsec(),
        },
        last_modification: Timespec {
            tv_sec: metadata.mtime(),
            tv_nsec: metadata.mtime_nsec(),
        },
    };
    rustix::fs::utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

/// Extended attributes, access control lists among them. Those that only the system may set are left to it.
fn extended(from: &Path, to: &Path) -> io::Result<()> {
    let length = match rustix::fs::llistxattr_query(from) {
        Ok(0) | Err(rustix::io::Errno::OPNOTSUPP) => return Ok(()),
        Ok(length) => length,
        Err(error) => return Err(error.into()),
    };
    let mut names = vec![0_u8; length];
    let length = rustix::fs::llistxattr(from, &mut names[..])?;
    for name in names[..length].split(|byte| *byte == 0) {
        if name.is_empty() {
            continue;
        }
        let mut value = vec![0_u8; rustix::fs::lgetxattr_query(from, name)?];
        let length = rustix::fs::lgetxattr(from, name, &mut value[..])?;
        let flags = rustix::fs::XattrFlags::empty();
        match rustix::fs::lsetxattr(to, name, &value[..length], flags) {
            Ok(()) | Err(rustix::io::Errno::PERM | rustix::io::Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

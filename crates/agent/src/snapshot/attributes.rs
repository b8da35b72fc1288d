//! Owner, mode, times and extended attributes: of what is open, from what is open.

use crate::tree::kind;
use rustix::fd::AsFd;
use rustix::fs::{AtFlags, FileType, Gid, Mode, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io;

/// Set-user-ID and set-group-ID: what is executed runs as somebody else.
const SET_ID: u32 = 0o6000;

/// The attribute that gives a program capabilities.
const CAPABILITIES: &[u8] = b"security.capability";

/// Gives `to` the attributes of `from`, a file or a folder with this `stat`; bits and capabilities with which a program gets the
/// rights of another user only where `set_user_id` says so.
pub(super) fn carry_over(
    from: impl AsFd,
    to: impl AsFd,
    stat: &Stat,
    set_user_id: bool,
) -> io::Result<()> {
    let (uid, gid) = owner(stat);
    allowed(rustix::fs::fchown(&to, Some(uid), Some(gid)))?;
    extended(&from, &to, set_user_id)?;
    // After the owner, whose change clears the set-user-id bit.
    rustix::fs::fchmod(&to, mode(stat, set_user_id))?;
    rustix::fs::futimens(&to, &times(stat))?;
    Ok(())
}

/// The same for a link or a pipe, which is in the folder `to` by this name. Nobody else is in that folder yet.
pub(super) fn carry_over_at(to: impl AsFd, name: &OsStr, stat: &Stat) -> io::Result<()> {
    let (uid, gid) = owner(stat);
    let here = AtFlags::SYMLINK_NOFOLLOW;
    allowed(rustix::fs::chownat(&to, name, Some(uid), Some(gid), here))?;
    if kind(stat) != FileType::Symlink {
        rustix::fs::chmodat(&to, name, mode(stat, false), AtFlags::empty())?;
    }
    rustix::fs::utimensat(&to, name, &times(stat), here)?;
    Ok(())
}

fn owner(stat: &Stat) -> (Uid, Gid) {
    (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid))
}

/// An ordinary user copies what it owns; a group that it is not in cannot be kept.
fn allowed(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) | Err(Errno::PERM) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// On a folder set-group-ID says who owns what is made in it, and gives nobody any right.
fn mode(stat: &Stat, set_user_id: bool) -> Mode {
    let bits = match (kind(stat), set_user_id) {
        (FileType::Directory, _) | (_, true) => stat.st_mode,
        (_, false) => stat.st_mode & !SET_ID,
    };
    Mode::from_raw_mode(bits)
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds.cast_signed(),
    };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

/// Extended attributes, access control lists among them. Those that only the system may set are left to it.
fn extended(from: &impl AsFd, to: &impl AsFd, capabilities: bool) -> io::Result<()> {
    let mut names = Vec::new();
    match rustix::fs::flistxattr_query(from) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(()),
        Ok(length) => names.resize(length, 0_u8),
        Err(error) => return Err(error.into()),
    }
    let length = rustix::fs::flistxattr(from, &mut names[..])?;
    for name in names[..length].split(|byte| *byte == 0) {
        if name.is_empty() || name == CAPABILITIES && !capabilities {
            continue;
        }
        let mut value = vec![0_u8; rustix::fs::fgetxattr_query(from, name)?];
        let length = rustix::fs::fgetxattr(from, name, &mut value[..])?;
        let flags = rustix::fs::XattrFlags::empty();
        match rustix::fs::fsetxattr(to, name, &value[..length], flags) {
            Ok(()) | Err(Errno::PERM | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

//! Becoming another user, groups included.

use nix::unistd::{User, geteuid, initgroups, setgid, setuid};
use std::ffi::CString;
use std::io;

/// The number of a user of this name, and of its main group.
///
/// # Errors
/// When there is no such user.
pub(crate) fn ids(name: &str) -> io::Result<(u32, u32)> {
    let user = User::from_name(name)?
        .ok_or_else(|| io::Error::other(format!("there is no user {name}")))?;
    Ok((user.uid.as_raw(), user.gid.as_raw()))
}

/// Becomes the user of this name with all of its groups; nothing to do when this is the user already.
///
/// # Errors
/// When there is no such user, or this process may not.
pub(crate) fn switch_to(name: &str) -> io::Result<()> {
    let user = User::from_name(name)?
        .ok_or_else(|| io::Error::other(format!("there is no user {name}")))?;
    if user.uid == geteuid() && !user.uid.is_root() {
        return Ok(());
    }
    let name = CString::new(name)?;
    initgroups(&name, user.gid)?;
    setgid(user.gid)?;
    setuid(user.uid)?;
    Ok(())
}

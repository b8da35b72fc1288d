//! Becoming another user, groups included.

use access::hidden_owner;
use nix::unistd::{Gid, Uid, User, geteuid, getgrouplist, setgid, setgroups, setuid};
use std::ffi::CString;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A user as it was looked up: from here on nobody is asked any more.
#[derive(Debug)]
pub(crate) struct UserIdentity {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

/// The number of a user of this name, and of its main group.
///
/// # Errors
/// When there is no such user.
pub(crate) fn ids(name: &str) -> io::Result<(u32, u32)> {
    let user = find(name)?;
    Ok((user.uid.as_raw(), user.gid.as_raw()))
}

/// Looks up a user with all of its groups. It may ask a service over a socket.
///
/// # Errors
/// When there is no such user.
pub(crate) fn look_up(name: &str) -> io::Result<UserIdentity> {
    let user = find(name)?;
    let name = CString::new(name)?;
    let groups = getgrouplist(&name, user.gid)?;
    Ok(UserIdentity {
        uid: user.uid,
        gid: user.gid,
        groups,
    })
}

/// Becomes whoever owns this folder, for good, where this process is root and the folder is another's: what a command does in it may
/// follow what its owner has put there, so it must not be able to do more than the owner.
///
/// # Errors
/// The folder cannot be looked at, or this process may not.
pub fn become_owner(folder: &Path) -> io::Result<()> {
    let about = std::fs::metadata(folder)?;
    if !geteuid().is_root() || about.uid() == 0 || hidden_owner() == Some(about.uid()) {
        return Ok(());
    }
    let uid = Uid::from_raw(about.uid());
    let owner = match User::from_uid(uid)? {
        Some(user) => look_up(&user.name)?,
        None => UserIdentity {
            uid,
            gid: Gid::from_raw(about.gid()),
            groups: Vec::new(),
        },
    };
    owner.assume()
}

/// What people see of a user.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) name: String,
    pub(crate) home: String,
    pub(crate) shell: String,
}

/// What is known of the user of this name.
pub(crate) fn about(name: &str) -> Option<About> {
    User::from_name(name).ok().flatten().map(About::from)
}

/// What is known of the user whose rights this process has.
pub(crate) fn about_own() -> Option<About> {
    User::from_uid(geteuid()).ok().flatten().map(About::from)
}

impl From<User> for About {
    fn from(user: User) -> Self {
        Self {
            name: user.name,
            home: user.dir.to_string_lossy().into_owned(),
            shell: user.shell.to_string_lossy().into_owned(),
        }
    }
}

fn find(name: &str) -> io::Result<User> {
    User::from_name(name)?.ok_or_else(|| io::Error::other(format!("there is no user {name}")))
}

impl UserIdentity {
    /// Becomes this user; nothing to do when this process is it already.
    ///
    /// # Errors
    /// When this process may not.
    pub(crate) fn assume(&self) -> io::Result<()> {
        if self.uid == geteuid() && !self.uid.is_root() {
            return Ok(());
        }
        setgroups(&self.groups)?;
        setgid(self.gid)?;
        setuid(self.uid)?;
        Ok(())
    }
}

//! Namespaces: no network, and what must not change mounted read-only.

use super::ConfineOrders;
use crate::launch::seccomp;
use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountFlags, MountPropagationFlags};
use std::fs;
use std::io;
use std::path::Path;

/// Leaves the network, Unix sockets included. Says whether `/dev/shm` is private now.
///
/// As root by a network namespace, else within a user namespace. Where neither is allowed (some containers and some
/// distributions forbid them) a seccomp filter refuses every socket.
pub(super) fn isolate(orders: &ConfineOrders) -> io::Result<bool> {
    seccomp::refuse_unix_sockets()?;
    let spaces = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC;
    if unshare(spaces).is_ok() || (orders.user.is_none() && enter_user_namespace(spaces).is_ok()) {
        return Ok(freeze(orders));
    }
    seccomp::refuse_network()?;
    Ok(false)
}

/// A user namespace in which this user is itself.
fn enter_user_namespace(spaces: CloneFlags) -> io::Result<()> {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    unshare(spaces | CloneFlags::CLONE_NEWUSER)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
}

/// Mounts what must not change read-only: beyond Landlock, which knows nothing of modes, owners and times. Where a mount
/// is refused Landlock still keeps the contents. Says whether `/dev/shm` is private.
fn freeze(orders: &ConfineOrders) -> bool {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    if rustix::mount::mount_change("/", private).is_err() {
        return false;
    }
    for path in &orders.frozen {
        if let Err(error) = mount_read_only(path) {
            tracing::debug!(%error, path = %path.display(), "not mounted read-only");
        }
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount("none", "/dev/shm", "tmpfs", flags, c"mode=1777").is_ok()
}

fn mount_read_only(path: &Path) -> io::Result<()> {
    rustix::mount::mount_bind_recursive(path, path)?;
    // What the outer mount forbids must stay forbidden, or the kernel refuses the change in a user namespace.
    let now = rustix::fs::statvfs(path)?.f_flag.bits();
    let mut flags = MountFlags::BIND | MountFlags::RDONLY;
    for (bit, flag) in [
        (libc::ST_NOSUID, MountFlags::NOSUID),
        (libc::ST_NODEV, MountFlags::NODEV),
        (libc::ST_NOEXEC, MountFlags::NOEXEC),
        (libc::ST_NOATIME, MountFlags::NOATIME),
        (libc::ST_NODIRATIME, MountFlags::NODIRATIME),
        (libc::ST_RELATIME, MountFlags::RELATIME),
    ] {
        if now & bit != 0 {
            flags |= flag;
        }
    }
    rustix::mount::mount_remount(path, flags, c"")?;
    Ok(())
}

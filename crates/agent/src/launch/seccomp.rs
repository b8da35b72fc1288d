//! Errno-only seccomp filters: a call is answered with an error and nothing is ever delayed.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};
use std::collections::BTreeMap;
use std::io;

/// `socket` answers EACCES for everything but Unix sockets, too: where no network namespace is to be had.
pub(crate) fn refuse_network() -> io::Result<()> {
    let family = u64::try_from(libc::AF_UNIX).map_err(io::Error::other)?;
    let other = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, family)
        .map_err(io::Error::other)?;
    let rule = SeccompRule::new(vec![other]).map_err(io::Error::other)?;
    apply(libc::SYS_socket, vec![rule], libc::EACCES)
}

/// `socket` answers EACCES for Unix sockets, and io_uring is not there: whoever listens at a path (a service manager, a container's
/// engine) does what it is told, whatever namespace the caller is in. Pairs of sockets that are made connected are left.
pub(crate) fn refuse_unix_sockets() -> io::Result<()> {
    let family = u64::try_from(libc::AF_UNIX).map_err(io::Error::other)?;
    let unix = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, family)
        .map_err(io::Error::other)?;
    let rule = SeccompRule::new(vec![unix]).map_err(io::Error::other)?;
    apply(libc::SYS_socket, vec![rule], libc::EACCES)?;
    apply(libc::SYS_io_uring_setup, Vec::new(), libc::ENOSYS)
}

/// Applies a filter that answers this call with this error (under these conditions; none: always). Sets `NO_NEW_PRIVS`.
fn apply(call: i64, rules: Vec<SeccompRule>, errno: i32) -> io::Result<()> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let errno = u32::try_from(errno).map_err(io::Error::other)?;
    let filter = SeccompFilter::new(
        BTreeMap::from([(call, rules)]),
        SeccompAction::Allow,
        SeccompAction::Errno(errno),
        architecture,
    )
    .map_err(io::Error::other)?;
    let program = BpfProgram::try_from(filter).map_err(io::Error::other)?;
    apply_filter(&program).map_err(io::Error::other)
}

//! Binding a port whose listener the holder keeps over a restart: the software gets the same socket back, queue and all.

use crate::kernel::{self, Errno, Given};
use crate::{messenger, state};
use intercept::decide::on_bind;
use intercept::environment::CALL_MARK;
use intercept::hook_protocol::HookMessage;
use intercept::stats::Counter;
use libc::c_int;

/// Options that software sets before bind, and that the new process may want differently than the old one did.
const OPTIONS: &[(c_int, c_int)] = &[
    (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
    (libc::SOL_SOCKET, libc::SO_OOBINLINE),
    (libc::SOL_SOCKET, libc::SO_REUSEADDR),
    (libc::SOL_SOCKET, libc::SO_REUSEPORT),
    (libc::SOL_SOCKET, libc::SO_RCVLOWAT),
    (libc::IPPROTO_TCP, libc::TCP_NODELAY),
    (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
    (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
    (libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
    (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT),
    (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT),
    (libc::IPPROTO_TCP, libc::TCP_QUICKACK),
    (libc::IPPROTO_TCP, libc::TCP_FASTOPEN),
    (libc::IPPROTO_IP, libc::IP_TOS),
    (libc::IPPROTO_IP, libc::IP_TTL),
    (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
];

/// Buffer sizes: the kernel reports twice what was set.
const DOUBLED: &[(c_int, c_int)] = &[
    (libc::SOL_SOCKET, libc::SO_RCVBUF),
    (libc::SOL_SOCKET, libc::SO_SNDBUF),
];

/// The hook.
pub fn bind(fd: c_int, to: Given) -> Result<c_int, Errno> {
    if let Some(local) = to.address()
        && state::table(|table| on_bind(&table, local.port())) == Some(true)
        && kernel::is_tcp(fd)
    {
        match messenger::ask(&HookMessage::Bind { local }) {
            Ok(Some(kept)) => return take(fd, kept),
            _ => state::count(Counter::BindNotKept),
        }
    }
    // SAFETY: the software's own address; the kernel checks it.
    unsafe {
        kernel::call(
            libc::SYS_bind,
            [
                fd as usize,
                to.pointer as usize,
                to.length as usize,
                0,
                0,
                CALL_MARK,
            ],
        )
    }
    .map(|_| 0)
}

/// Puts the kept listener in the socket's place, with the socket's flags and options.
fn take(fd: c_int, kept: c_int) -> Result<c_int, Errno> {
    let status = kernel::status_flags(fd);
    let changed = kernel::status_flags(kept) & !libc::O_NONBLOCK | status & libc::O_NONBLOCK;
    kernel::fcntl(kept, libc::F_SETFL, changed)?;
    copy_options(fd, kept);
    let close_on_exec = kernel::fcntl(fd, libc::F_GETFD, 0)? & libc::FD_CLOEXEC != 0;
    kernel::replace(fd, kept, if close_on_exec { libc::O_CLOEXEC } else { 0 })?;
    state::count(Counter::BindKept);
    Ok(0)
}

fn copy_options(from: c_int, to: c_int) {
    for (options, divisor) in [(OPTIONS, 1), (DOUBLED, 2)] {
        for (level, name) in options {
            let wanted = kernel::option::<c_int>(from, *level, *name);
            if let Ok(value) = wanted
                && kernel::option::<c_int>(to, *level, *name) != wanted
            {
                let _ = kernel::set_option(to, *level, *name, &(value / divisor));
            }
        }
    }
    let linger = kernel::option::<libc::linger>(from, libc::SOL_SOCKET, libc::SO_LINGER);
    if let Ok(linger) = linger {
        let _ = kernel::set_option(to, libc::SOL_SOCKET, libc::SO_LINGER, &linger);
    }
}

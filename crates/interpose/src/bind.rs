//! Binding a service's port, beside what the holder keeps there over a restart and what is left of ended connections: room is made,
//! then the real call binds the software's own socket.

use crate::kernel::{self, Errno, Given};
use crate::{messenger, state};
use intercept::decide::on_bind;
use intercept::hook_protocol::HookMessage;
use intercept::stats::Counter;
use libc::c_int;

/// The call.
///
/// # Errors
/// The kernel's.
pub fn bind(fd: c_int, to: Given) -> Result<c_int, Errno> {
    if let Some(local) = to.address() {
        make_room(fd, local);
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
                state::mark(),
            ],
        )
    }
    .map(|_| 0)
}

/// Makes room for a socket that is about to be bound there, if that is a service's: the holder is asked where something is kept.
///
/// Connections that have ended (TIME_WAIT) keep the kernel from giving their address to a socket without `SO_REUSEADDR` for a minute:
/// the next version, and the same one after a crash, would have to wait for it. Whoever listens there keeps it all the same.
pub fn make_room(fd: c_int, local: std::net::SocketAddr) {
    if !is_service(local.port()) || !kernel::is_tcp(fd) {
        return;
    }
    if kernel::option::<c_int>(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR) == Ok(0) {
        let _ = kernel::set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, &1);
    }
    if state::table(|table| on_bind(&table, local.port())) != Some(true) {
        return;
    }
    let made = messenger::is_so(&HookMessage::Bind { local }, Some(fd));
    state::count(if made {
        Counter::BindKept
    } else {
        Counter::BindNotKept
    });
}

/// Whether a service of this node has that port.
pub fn is_service(port: u16) -> bool {
    state::table(|table| table.service(port).is_some()) == Some(true)
}

/// Whether `SO_REUSEPORT` is set on a socket only for what is kept beside it: the software has not set it.
pub fn is_lent(fd: c_int) -> bool {
    let Some(local) = kernel::local(fd).address() else {
        return false;
    };
    if state::table(|table| on_bind(&table, local.port())) != Some(true) {
        return false;
    }
    kernel::cookie(fd).is_some_and(|cookie| messenger::is_so(&HookMessage::Lent { cookie }, None))
}

/// Whether a connection to this address is one of the software to itself, at a port beside which something is kept: it reaches the
/// software then, however others are steered.
pub(crate) fn is_own(fd: c_int, to: std::net::SocketAddr) -> bool {
    state::table(|table| on_bind(&table, to.port())) == Some(true)
        && kernel::is_tcp(fd)
        && messenger::is_so(&HookMessage::Own { to }, Some(fd))
}

/// An accepted connection has no option that only its listener was lent.
pub(crate) fn return_lent(listener: c_int, new: c_int, local: std::net::SocketAddr) {
    if state::table(|table| on_bind(&table, local.port())) == Some(true)
        && kernel::option::<c_int>(new, libc::SOL_SOCKET, libc::SO_REUSEPORT) == Ok(1)
        && is_lent(listener)
    {
        let _ = kernel::set_option(new, libc::SOL_SOCKET, libc::SO_REUSEPORT, &0);
    }
}

/// Whether whoever connects there meets nobody of the software, only what is kept for it: bare, it would be refused.
pub fn is_only_kept(fd: c_int, to: std::net::SocketAddr) -> bool {
    state::table(|table| on_bind(&table, to.port())) == Some(true)
        && kernel::is_tcp(fd)
        && messenger::is_so(&HookMessage::Connect { to }, None)
}

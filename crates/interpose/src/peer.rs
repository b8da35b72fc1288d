//! Peer addresses: the agent's own connections show the true caller, in accept and in getpeername.

use crate::kernel::{self, Errno, Storage};
use crate::state;
use intercept::address::{RawAddress, V6_BYTES, to_sockaddr};
use libc::{c_int, sockaddr, socklen_t};
use std::net::SocketAddr;

/// Remembers for whom this connection was made.
pub(crate) fn remember(fd: c_int, caller: SocketAddr) {
    if let (Some(stats), Some(cookie)) = (state::stats(), kernel::cookie(fd)) {
        stats.remember_caller(cookie, caller);
    }
}

/// The getpeername hook.
///
/// # Errors
/// The kernel's.
///
/// # Safety
/// As the call.
pub unsafe fn getpeername(
    fd: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
) -> Result<c_int, Errno> {
    let Some(caller) = remembered(fd) else {
        let arguments = [
            fd as usize,
            address as usize,
            length as usize,
            0,
            0,
            state::mark(),
        ];
        // SAFETY: the software's own pointers; the kernel checks them.
        return unsafe { kernel::call(libc::SYS_getpeername, arguments) }.map(|_| 0);
    };
    let family = kernel::peer(fd)?.family();
    let shown = to_sockaddr(caller, family);
    if address.is_null() || length.is_null() {
        return Err(libc::EFAULT);
    }
    // SAFETY: the software's own pointers.
    unsafe { write(&shown.bytes, shown.length, address, length) }.map(|()| 0)
}

/// The address that getpeername shows in place of the kernel's.
pub fn shown(fd: c_int) -> Option<RawAddress> {
    let caller = remembered(fd)?;
    Some(to_sockaddr(caller, kernel::peer(fd).ok()?.family()))
}

/// Whether any connection shows another address than the kernel's.
pub fn any_shown() -> bool {
    state::stats().is_some_and(|stats| !stats.no_callers())
}

/// An address of the kernel's.
pub(crate) fn raw(from: &Storage) -> RawAddress {
    let mut raw = RawAddress {
        bytes: [0; V6_BYTES],
        length: (from.length as usize).min(V6_BYTES),
    };
    raw.bytes.copy_from_slice(&from.bytes[..V6_BYTES]);
    raw
}

fn remembered(fd: c_int) -> Option<SocketAddr> {
    let stats = state::stats()?;
    if stats.no_callers() {
        return None;
    }
    stats.caller(kernel::cookie(fd)?)
}

/// Writes an address of `whole` bytes, cut to the room that `length` tells, and sets `length`.
///
/// # Safety
/// `address` has `*length` bytes to be written; `length` may be null.
pub(crate) unsafe fn write(
    bytes: &[u8],
    whole: usize,
    address: *mut sockaddr,
    length: *mut socklen_t,
) -> Result<(), Errno> {
    if length.is_null() {
        return Err(libc::EFAULT);
    }
    // SAFETY: the software's own.
    let room = unsafe { length.read_unaligned() };
    if (room as c_int) < 0 {
        return Err(libc::EINVAL);
    }
    let cut = whole.min(room as usize).min(bytes.len());
    // SAFETY: `cut` is at most what the software gave room for and what there is.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), address.cast(), cut) };
    // SAFETY: the software's own.
    unsafe { length.write_unaligned(whole as socklen_t) };
    Ok(())
}

//! A connection whose caller had gone before it was accepted, as the kernel gives it: made of two sockets of our own.
//!
//! Where callers speak first this one has closed it and then reset it: software reads an end, as of any caller that asks nothing, and
//! has nothing to complain of. Elsewhere it was only reset: software that writes first would get SIGPIPE after an end (the kernel's
//! error is EPIPE then), and gets ECONNRESET.

use crate::kernel::{self, Errno, Storage};
use crate::state;
use intercept::environment::CALL_MARK;
use libc::c_int;

/// A descriptor of ours that is closed when it is not given away.
struct OwnSocket(c_int);

impl Drop for OwnSocket {
    fn drop(&mut self) {
        kernel::close(self.0);
    }
}

/// A connection at this listener's address (at another port) whose caller has gone, and that caller's address; `flags` are those of
/// accept4.
///
/// # Errors
/// What the kernel says where descriptors or ports have run out.
pub(crate) fn connection(listener: c_int, flags: c_int) -> Result<(c_int, Storage), Errno> {
    let mut at = kernel::local(listener);
    // The port stands at the same place in both families' addresses; 0 takes any.
    at.bytes[2..4].fill(0);
    let waiting = open(&at)?;
    call(libc::SYS_bind, &waiting, at.pointer(), at.length as usize)?;
    call(libc::SYS_listen, &waiting, 1, 0)?;
    let mut there = kernel::local(waiting.0);
    let caller = open(&at)?;
    call(
        libc::SYS_connect,
        &caller,
        there.pointer(),
        there.length as usize,
    )?;
    let mut from = Storage::new();
    let arguments = [
        waiting.0 as usize,
        from.pointer(),
        &raw mut from.length as usize,
        flags as usize,
        0,
        CALL_MARK,
    ];
    // SAFETY: an address of ours and its length. It does not wait: the caller is in the queue.
    let accepted = unsafe { kernel::call(libc::SYS_accept4, arguments) }?;
    if callers_begin(listener) {
        let arguments = [caller.0 as usize, libc::SHUT_WR as usize, 0, 0, 0, 0];
        // SAFETY: no pointers.
        unsafe { kernel::call(libc::SYS_shutdown, arguments) }?;
    }
    kernel::reset(caller.0);
    // Closed by now.
    std::mem::forget(caller);
    Ok((accepted as c_int, from))
}

fn callers_begin(listener: c_int) -> bool {
    let local = kernel::local(listener).address();
    local.is_some_and(|local| {
        let begin = state::table(|table| {
            table
                .service(local.port())
                .is_some_and(|it| it.callers_begin())
        });
        begin == Some(true)
    })
}

fn open(like: &Storage) -> Result<OwnSocket, Errno> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    let arguments = [like.family() as usize, kind as usize, 0, 0, 0, 0];
    // SAFETY: no pointers.
    unsafe { kernel::call(libc::SYS_socket, arguments) }.map(|socket| OwnSocket(socket as c_int))
}

fn call(
    number: libc::c_long,
    socket: &OwnSocket,
    first: usize,
    second: usize,
) -> Result<usize, Errno> {
    let arguments = [socket.0 as usize, first, second, 0, 0, CALL_MARK];
    // SAFETY: an address of ours and its length, or a number.
    unsafe { kernel::call(number, arguments) }
}

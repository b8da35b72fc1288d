//! The slow path: where the kernel will not queue a label, connect inside the hook, send the label, report success.
//!
//! Whatever goes wrong ends the attempt: an unlabelled connection never reaches a member.

use crate::connect::Encoded;
use crate::kernel::{self, Errno, Given};
use crate::state;
use intercept::stats::Counter;
use libc::c_int;

/// How long a non-blocking connect may hold its caller up: some round trips, not a lost SYN.
const NONBLOCKING_MS: u64 = 1000;

/// Connects and sends the label. The connection may have begun already.
pub(crate) fn connect(
    fd: c_int,
    to: Given,
    label: &Encoded,
    nonblocking: bool,
) -> Result<c_int, Errno> {
    let outcome = establish(fd, to, nonblocking).and_then(|()| send(fd, label));
    match outcome {
        Ok(()) => state::count(Counter::ConnectSlowPath),
        Err(_) => {
            state::count(Counter::ConnectSlowPathFailed);
            kernel::disconnect(fd);
        }
    }
    match outcome {
        Ok(()) if nonblocking => Err(libc::EINPROGRESS),
        other => other.map(|()| 0),
    }
}

/// Waits until the connection stands. An interrupted or timed-out wait is an error: the attempt is given up with it, so
/// that the next `connect` begins anew.
fn establish(fd: c_int, to: Given, nonblocking: bool) -> Result<(), Errno> {
    match kernel::connect(fd, to) {
        Ok(_) => Ok(()),
        Err(libc::EINPROGRESS | libc::EALREADY) if nonblocking => wait(fd),
        Err(libc::EINPROGRESS | libc::EALREADY) => Err(libc::ETIMEDOUT),
        Err(error) => Err(error),
    }
}

fn wait(fd: c_int) -> Result<(), Errno> {
    let until = kernel::now_ms() + NONBLOCKING_MS;
    loop {
        let left = until.saturating_sub(kernel::now_ms());
        match kernel::ready(fd, libc::POLLOUT, left) {
            Ok(true) => break,
            Err(libc::EINTR) if left > 0 => {}
            Ok(false) | Err(_) => return Err(libc::ETIMEDOUT),
        }
    }
    match kernel::option::<c_int>(fd, libc::SOL_SOCKET, libc::SO_ERROR)? {
        0 => Ok(()),
        error => Err(error),
    }
}

fn send(fd: c_int, label: &Encoded) -> Result<(), Errno> {
    match kernel::send(fd, label.bytes(), 0, None) {
        Ok(sent) if sent == label.bytes().len() => Ok(()),
        Ok(_) => Err(libc::ECONNABORTED),
        Err(libc::EPIPE) => Err(libc::ECONNRESET),
        Err(error) => Err(error),
    }
}

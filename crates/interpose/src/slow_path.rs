//! The slow path: where the kernel will not queue a label, connect inside the hook, send the label, report success.
//!
//! Whatever goes wrong ends the attempt: an unlabelled connection never reaches a member.

use crate::kernel::{self, Errno, Given};
use crate::labelling::{ConnectManner, Encoded};
use crate::state;
use intercept::stats::Counter;
use libc::c_int;

/// How long a non-blocking connect may hold its caller up where there is no other way: a lost SYN, which the kernel repeats
/// after a second, and some round trips.
const NONBLOCKING_MS: u64 = 1500;

/// The same where the fast path remains: some round trips only.
const BRIEF_MS: u64 = 300;

/// Connects and sends the label. The connection may have begun already.
pub(crate) fn connect(
    fd: c_int,
    to: Given,
    label: &Encoded,
    manner: ConnectManner,
) -> Result<c_int, Errno> {
    let outcome = establish(fd, to, patience(manner, NONBLOCKING_MS));
    report(fd, outcome.and_then(|()| send(fd, label)), manner)
}

/// Does the same where the fast path remains: on a path that is remembered to drop handshakes with data, or to ask for a cookie.
/// `None` when a non-blocking connect had no answer in a short time. A packet was lost, or the peer is away: the fast path, a second
/// slower here at worst, then takes as long as the software would without us, and holds nobody up.
pub(crate) fn connect_briefly(
    fd: c_int,
    to: Given,
    label: &Encoded,
    manner: ConnectManner,
) -> Option<Result<c_int, Errno>> {
    let outcome = establish(fd, to, patience(manner, BRIEF_MS));
    if manner != ConnectManner::Waits && outcome == Err(libc::ETIMEDOUT) {
        kernel::disconnect(fd);
        return None;
    }
    Some(report(fd, outcome.and_then(|()| send(fd, label)), manner))
}

/// A wait that is not the kernel's own has a bound.
fn patience(manner: ConnectManner, bound_ms: u64) -> Option<u64> {
    (manner != ConnectManner::Waits).then_some(bound_ms)
}

fn report(fd: c_int, outcome: Result<(), Errno>, manner: ConnectManner) -> Result<c_int, Errno> {
    match outcome {
        Ok(()) => state::count(Counter::ConnectSlowPath),
        Err(_) => {
            state::count(Counter::ConnectSlowPathFailed);
            kernel::disconnect(fd);
        }
    }
    match outcome {
        Ok(()) if manner == ConnectManner::Asks => Err(libc::EINPROGRESS),
        other => other.map(|()| 0),
    }
}

/// Waits until the connection stands. An interrupted or timed-out wait is an error: the attempt is given up with it, so
/// that the next `connect` begins anew. A blocking connect has no bound but the kernel's.
fn establish(fd: c_int, to: Given, patience_ms: Option<u64>) -> Result<(), Errno> {
    match (kernel::connect(fd, to, state::mark()), patience_ms) {
        (Ok(_), _) => Ok(()),
        // Interrupted: the net's alarm, on a socket that waits.
        (Err(libc::EINPROGRESS | libc::EALREADY | libc::EINTR), Some(patience_ms)) => {
            wait(fd, patience_ms)
        }
        (Err(libc::EINPROGRESS | libc::EALREADY), None) => Err(libc::ETIMEDOUT),
        (Err(error), _) => Err(error),
    }
}

fn wait(fd: c_int, patience_ms: u64) -> Result<(), Errno> {
    let until = kernel::now_ms() + patience_ms;
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

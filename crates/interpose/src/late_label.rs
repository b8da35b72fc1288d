//! Labels to this host that cannot be prompt any more: somebody has forbidden data in handshakes (`net.ipv4.tcp_fastopen`) while nodes
//! run. Until every agent of the host has noticed, their software takes a connection whose label is late for one without.

use crate::kernel::{self, Errno, Given, Storage};
use crate::labelling::ConnectManner;
use crate::state;
use libc::c_int;
use std::sync::atomic::{AtomicU64, Ordering};

/// When the table last said that labels are prompt although the kernel sent none, on the monotonic clock; 0: never.
static DENIED_AT_MS: AtomicU64 = AtomicU64::new(0);

/// How long after this process's own table the tables of other nodes may say otherwise: agents look once a second.
const OTHERS_MS: u64 = 2_000;

/// How long it is waited for an agent that does not notice, as one that has ended.
const WAIT_MS: u64 = 5_000;

const PAUSE_MS: u64 = 10;

/// Waits until a label that follows its handshake is expected at this address. The net does not wait: it serves others too.
///
/// # Errors
/// ECONNREFUSED when that takes too long: an unlabelled connection never reaches a member. EINTR after a signal.
pub(crate) fn wait_until_expected(to: Given, manner: ConnectManner) -> Result<(), Errno> {
    let begun_ms = kernel::now_ms();
    let wait_ms = if manner == ConnectManner::AsksTheNet {
        0
    } else {
        WAIT_MS
    };
    while !is_expected(kernel::now_ms()) && is_here(to) {
        if kernel::now_ms() >= begun_ms + wait_ms {
            return Err(libc::ECONNREFUSED);
        }
        kernel::ready(NO_DESCRIPTOR, 0, PAUSE_MS)?;
    }
    Ok(())
}

/// poll(2) passes it over, and waits.
const NO_DESCRIPTOR: c_int = -1;

fn is_expected(now_ms: u64) -> bool {
    if state::table(|table| table.local_labels_prompt()) == Some(true) {
        DENIED_AT_MS.store(now_ms, Ordering::Relaxed);
        return false;
    }
    let denied_at_ms = DENIED_AT_MS.load(Ordering::Relaxed);
    denied_at_ms == 0 || denied_at_ms + OTHERS_MS <= now_ms
}

/// Whether an address is this host's: what a datagram to it would come from. Where that cannot be found out it may be.
fn is_here(to: Given) -> bool {
    let (Some(address), Some(from)) = (to.address(), source(to)) else {
        return true;
    };
    let ip = address.ip().to_canonical();
    ip.is_loopback()
        || from
            .address()
            .is_none_or(|from| from.ip().to_canonical() == ip)
}

fn source(to: Given) -> Option<Storage> {
    let family = match to.address()? {
        std::net::SocketAddr::V4(_) => libc::AF_INET,
        std::net::SocketAddr::V6(_) => libc::AF_INET6,
    };
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
    let arguments = [family as usize, kind as usize, 0, 0, 0, 0];
    // SAFETY: no pointers.
    let socket = unsafe { kernel::call(libc::SYS_socket, arguments) }.ok()? as c_int;
    let connected = kernel::connect(socket, to, state::mark());
    let from = connected.is_ok().then(|| kernel::local(socket));
    kernel::close(socket);
    from
}

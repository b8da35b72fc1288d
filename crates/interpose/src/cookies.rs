//! TCP Fast Open's cookies: a member that gave one takes the label with the first packet, which saves both kernels work.
//!
//! Without a cookie the label goes out with the first packet too, but a listener does not believe it before the handshake has
//! shown where it comes from. Members are asked only where this host's own listeners give cookies: it is taken that the hosts of
//! a system are set alike. The kernel keeps cookies by host and forgets them as it likes; the stats remember who gives none.

use crate::kernel::{self, Errno};
use crate::state;
use intercept::decide::may_ask_for_cookie;
use intercept::stats::Counter;
use libc::c_int;
use std::net::{IpAddr, SocketAddr};

/// A label to this address is to go out with a cookie, or to ask for one.
pub(crate) fn wanted(to: SocketAddr, now_ms: u64) -> bool {
    state::table(|table| may_ask_for_cookie(&table, to)) == Some(true)
        && state::stats()
            .is_some_and(|stats| stats.is_cookie_wanted(to.ip().to_canonical(), now_ms))
}

/// Tells the kernel whether data in this socket's handshake needs a cookie. EINVAL when it is connecting already.
pub(crate) fn require(fd: c_int, cookie: bool) -> Result<(), Errno> {
    let without = c_int::from(!cookie);
    kernel::set_option(
        fd,
        libc::IPPROTO_TCP,
        libc::TCP_FASTOPEN_NO_COOKIE,
        &without,
    )
}

/// The kernel had a cookie of this address's host.
pub(crate) fn note_shown(to: SocketAddr, now_ms: u64) {
    state::count(Counter::ConnectCookie);
    note(to, false, now_ms);
}

/// The kernel had none and asks for it.
pub(crate) fn note_missing(to: SocketAddr, now_ms: u64) {
    state::count(Counter::ConnectCookieAsked);
    note(to, true, now_ms);
}

fn note(to: SocketAddr, missing: bool, now_ms: u64) {
    if let Some(stats) = state::stats() {
        stats.note_cookie(to.ip().to_canonical(), missing, now_ms);
    }
}

/// Lets a listener take labels with the first packet: from callers that show its host's cookie; on loopback, where no address can
/// be forged, from everybody. The kernel does either only where `net.ipv4.tcp_fastopen` has the server's bit. A listener whose
/// program chose for itself is left as it is.
pub(crate) fn give(listener: c_int, at: IpAddr, backlog: c_int) {
    if kernel::option::<c_int>(listener, libc::IPPROTO_TCP, libc::TCP_FASTOPEN) != Ok(0) {
        return;
    }
    let at_once = if backlog < 0 { c_int::MAX } else { backlog };
    let _ = kernel::set_option(listener, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, &at_once);
    if at.to_canonical().is_loopback() {
        let _ = require(listener, false);
    }
}

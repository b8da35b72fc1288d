//! Connecting: to a member the label goes out with the handshake.
//!
//! `TCP_FASTOPEN_NO_COOKIE`, then `sendto(label, MSG_FASTOPEN | MSG_DONTWAIT)`: the kernel queues the label and sends the SYN.
//! A non-blocking socket then answers EINPROGRESS, as always; a blocking one waits in the real `connect`, which a signal may
//! interrupt and restart without sending anything again.

use crate::kernel::{self, Errno, Given};
use crate::labelling::{ConnectManner, Encoded};
use crate::{bind, cookies, keyring, late_label, paths, slow_path, state};
use intercept::decide::{Bypass, Connect, on_connect, on_connect_to_itself};
use intercept::stats::{Counter, Deed};
use libc::c_int;
use std::net::SocketAddr;

/// What a socket is before its connect.
enum Freshness {
    /// TCP, not connecting yet.
    Fresh,
    /// TCP without fast open.
    WithoutFastOpen,
    /// Left alone.
    Other(Bypass),
}

/// The decision on a connect to this address.
pub fn decide(to: Option<SocketAddr>) -> Connect {
    let Some(to) = to else {
        return Connect::Bypass(Bypass::NotInternet);
    };
    state::table(|table| on_connect(&table, to)).unwrap_or(Connect::Bypass(Bypass::NoTable))
}

/// The same for a socket: what the software has to say to itself reaches it while it is probed too.
/// Says, too, whether labels are signed.
fn decide_for(fd: c_int, to: Option<SocketAddr>) -> (Connect, bool) {
    let no_table = (Connect::Bypass(Bypass::NoTable), false);
    let Some(to) = to else {
        return (Connect::Bypass(Bypass::NotInternet), false);
    };
    let decided = if bind::is_own(fd, to) {
        state::table(|table| (on_connect_to_itself(&table, to), table.signs()))
    } else {
        state::table(|table| (on_connect(&table, to), table.signs()))
    };
    decided.unwrap_or(no_table)
}

/// The hook. `nonblocking` overrides what the socket says.
///
/// # Errors
/// The kernel's; ECONNREFUSED too where a member must not be reached now, and what else ends a connect whose label could not be sent.
pub fn connect(fd: c_int, to: Given, nonblocking: Option<bool>) -> Result<c_int, Errno> {
    let manner = || {
        if nonblocking.unwrap_or_else(|| !kernel::is_blocking(fd)) {
            ConnectManner::Asks
        } else {
            ConnectManner::Waits
        }
    };
    let connected = label_and_connect(fd, to, manner);
    if let Some(address) = to.address() {
        state::note_connect(fd, address);
    }
    connected
}

fn label_and_connect(
    fd: c_int,
    to: Given,
    manner: impl Fn() -> ConnectManner,
) -> Result<c_int, Errno> {
    let address = to.address();
    if let Some(address) = address {
        // Members that the table does not know yet count too: the agent asks whether the hooks saw the program connect at all.
        state::note(Deed::Connect);
        if bind::is_only_kept(fd, address) {
            return Err(libc::ECONNREFUSED);
        }
    }
    let (decision, signs) = decide_for(fd, address);
    let (Some(address), Connect::Label(_) | Connect::Refuse(_)) = (address, decision) else {
        return match decision {
            Connect::Bypass(reason) => plain(fd, to, reason),
            _ => kernel::connect(fd, to, state::mark()),
        };
    };
    let now_ms = kernel::now_ms();
    let cookie = cookies::wanted(address, now_ms);
    let socket = socket(fd, cookie);
    if let Freshness::Other(reason) = socket {
        return plain(fd, to, reason);
    }
    let label = match decision {
        Connect::Label(label) => label,
        Connect::Refuse(counter) => {
            state::count(counter);
            return Err(libc::ECONNREFUSED);
        }
        Connect::Bypass(reason) => return plain(fd, to, reason),
    };
    let manner = manner();
    let label = &if signs {
        Encoded::new(&keyring::signed(label, address))
    } else {
        Encoded::new(&label)
    };
    if !matches!(socket, Freshness::Fresh) {
        return slow_path::connect(fd, to, label, manner);
    }
    if paths::is_slow(address, now_ms)
        && let Some(outcome) = slow_path::connect_briefly(fd, to, label, manner)
    {
        return outcome;
    }
    let attempt = Attempt {
        fd,
        to,
        address,
        label,
        manner,
        now_ms,
    };
    attempt.labelled(cookie)
}

fn plain(fd: c_int, to: Given, reason: Bypass) -> Result<c_int, Errno> {
    state::count(reason.connect_counter());
    kernel::connect(fd, to, state::mark())
}

fn socket(fd: c_int, cookie: bool) -> Freshness {
    match cookies::require(fd, cookie) {
        Ok(()) => Freshness::Fresh,
        Err(libc::EINVAL) => Freshness::Other(Bypass::Underway),
        Err(_) if kernel::is_tcp(fd) => Freshness::WithoutFastOpen,
        Err(_) => Freshness::Other(Bypass::NotTcp),
    }
}

/// A connect to a member that has not begun.
struct Attempt<'a> {
    fd: c_int,
    to: Given,
    address: SocketAddr,
    label: &'a Encoded,
    manner: ConnectManner,
    /// When it was asked for.
    now_ms: u64,
}

impl Attempt<'_> {
    /// Sends the label with the handshake; `cookie` is what the socket was told to require.
    fn labelled(&self, cookie: bool) -> Result<c_int, Errno> {
        let Self { fd, to, label, .. } = *self;
        match kernel::send(fd, label.bytes(), libc::MSG_FASTOPEN, Some(to)) {
            Ok(sent) if sent == label.bytes().len() => {
                state::count(Counter::ConnectLabelled);
                if cookie {
                    cookies::note_shown(self.address, self.now_ms);
                }
                self.finish()
            }
            // Not queued, for want of a cookie: the bare SYN that went out asks for one. No answer in a short time is no reason
            // to hold the caller up: without a cookie the label goes out at once.
            Err(libc::EINPROGRESS) if cookie => {
                cookies::note_missing(self.address, self.now_ms);
                let outcome = slow_path::connect_briefly(fd, to, label, self.manner);
                outcome.unwrap_or_else(|| {
                    let _ = cookies::require(fd, false);
                    self.labelled(false)
                })
            }
            // Not queued: fast open is switched off.
            Err(libc::EOPNOTSUPP) => late_label::wait_until_expected(to, self.manner)
                .and_then(|()| slow_path::connect(fd, to, label, self.manner)),
            // Not queued: the kernel distrusts the path and has sent a bare SYN.
            Err(libc::EINPROGRESS) => slow_path::connect(fd, to, label, self.manner),
            Err(libc::EALREADY) => plain(fd, to, Bypass::Underway),
            Err(error) => Err(error),
            // Half a label is worse than none.
            Ok(_) => {
                kernel::disconnect(fd);
                Err(libc::ECONNABORTED)
            }
        }
    }

    fn finish(&self) -> Result<c_int, Errno> {
        if self.manner != ConnectManner::Waits {
            paths::sample(self.fd, self.address, self.now_ms);
            return Err(libc::EINPROGRESS);
        }
        let connected = kernel::connect(self.fd, self.to, state::mark());
        let took_ms = kernel::now_ms() - self.now_ms;
        paths::note_blocking(self.fd, self.address, took_ms, connected.is_ok());
        match connected {
            Err(libc::EALREADY) => Err(libc::EINPROGRESS),
            other => other,
        }
    }
}

/// What the net does about a connect of which it has done its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BegunConnect {
    /// It is not for us: the kernel does it.
    Plain,
    /// The label is on its way and the socket connects.
    Labelled,
    /// This is the answer.
    Ended(Result<c_int, Errno>),
}

/// Begins a connect, as the hook does for a socket that does not wait. It has ended well only where the slow path was taken.
pub fn begin(fd: c_int, to: Given) -> BegunConnect {
    let member = match decide_for(fd, to.address()).0 {
        Connect::Bypass(reason) => Err(reason),
        Connect::Label(_) | Connect::Refuse(_) => match socket(fd, false) {
            Freshness::Other(reason) => Err(reason),
            Freshness::Fresh | Freshness::WithoutFastOpen => Ok(()),
        },
    };
    if let Err(reason) = member {
        state::count(reason.connect_counter());
        return BegunConnect::Plain;
    }
    match label_and_connect(fd, to, || ConnectManner::AsksTheNet) {
        Err(libc::EINPROGRESS) => BegunConnect::Labelled,
        ended => BegunConnect::Ended(ended),
    }
}

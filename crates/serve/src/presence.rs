//! What a caller's socket says of the caller while nothing is read from it, and how the socket was before it was served here.

use std::io;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use socket2::SockRef;
use tokio::net::TcpStream;

/// How often a caller whose call runs is looked after.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How long a caller that has ended its side may be silent before the kernel asks whether it is there, how often it asks
/// again, and how often in vain: a program that has gone shows when its kernel forgets the connection, after a minute.
const ASK_AFTER: Duration = Duration::from_secs(10);
const ASK_INTERVAL: Duration = Duration::from_secs(10);
const ASKED_IN_VAIN_MAX: u32 = 3;

/// Whether a peer is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Nothing says otherwise.
    There,
    /// It sends no more than what is unread here.
    Ending,
    /// It has ended its side, and all that it sent was read. It may wait for what it asked, or be gone.
    Ended,
    /// Its connection was reset, or its machine is not heard of any more.
    Gone,
}

/// What the kernel knows of a peer, without reading.
pub(crate) fn of(stream: &TcpStream) -> Presence {
    let mut polled = [PollFd::new(stream, PollFlags::RDHUP)];
    if !matches!(poll(&mut polled, Some(&Timespec::default())), Ok(1..)) {
        return Presence::There;
    }
    let found = polled[0].revents();
    if found.intersects(PollFlags::HUP | PollFlags::ERR) {
        return Presence::Gone;
    }
    let mut byte = [std::mem::MaybeUninit::uninit()];
    match SockRef::from(stream).peek(&mut byte) {
        Ok(0) => Presence::Ended,
        _ => Presence::Ending,
    }
}

/// Lets the kernel ask a peer that has ended its side whether it is still there.
pub(crate) fn ask(stream: &TcpStream) {
    let asked = sockopt::set_tcp_keepidle(stream, ASK_AFTER)
        .and_then(|()| sockopt::set_tcp_keepintvl(stream, ASK_INTERVAL))
        .and_then(|()| sockopt::set_tcp_keepcnt(stream, ASKED_IN_VAIN_MAX))
        .and_then(|()| sockopt::set_socket_keepalive(stream, true));
    if let Err(error) = asked {
        tracing::debug!(%error, "the kernel does not look after a caller");
    }
}

/// How a socket was before it was served here: what it has from its listener is the software's, which may get it back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manners {
    no_delay: bool,
    linger: Option<Duration>,
}

impl Manners {
    /// Those of a socket now.
    pub(crate) fn of(stream: &TcpStream) -> Self {
        let socket = SockRef::from(stream);
        Self {
            no_delay: stream.nodelay().unwrap_or_default(),
            linger: socket.linger().unwrap_or_default(),
        }
    }

    /// Gives a socket these.
    pub(crate) fn restore(self, stream: &TcpStream) -> io::Result<()> {
        SockRef::from(stream).set_linger(self.linger)?;
        stream.set_nodelay(self.no_delay)
    }
}

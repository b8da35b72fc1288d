//! Accepting for the software: the connection is looked at by the hooks' code and given to the caller as a new descriptor.

use super::NetShared;
use intercept::address::RawAddress;
use interpose::accept::{Delivered, POLLED_WAIT_MS, dead, is_left_alone, one};
use interpose::kernel;
use interpose::net::alarm::Alarm;
use interpose::net::notice::Notice;
use interpose::net::target::{Target, process_of};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long an accept takes that leaves the queue alone: a program that is told of a full queue over and over does not spin.
const STOPPING_PAUSE: Duration = Duration::from_millis(2);

/// As of the library.
const POLLED_WAIT: Duration = Duration::from_millis(POLLED_WAIT_MS);

/// An accept that waits for a connection.
#[derive(Debug)]
pub(super) struct WantedConnection {
    pub(super) notice: Notice,
    pub(super) target: Target,
    pub(super) listener: OwnedFd,
    /// The listener's cookie.
    cookie: u64,
    flags: i32,
    blocking: bool,
    /// It does not wait, since something was there when it was called.
    was_ready: bool,
    asked: Instant,
    until: Option<Instant>,
}

/// Who is to have a connection: an accept without its listener, which must be closed before its caller goes on: what the software
/// closes then must be closed.
#[derive(Debug)]
struct Claim {
    notice: Notice,
    target: Target,
    cookie: u64,
    flags: i32,
}

/// How a try ended.
#[derive(Debug)]
pub(super) enum Tried {
    /// A connection for the caller.
    Accepted(Delivered),
    /// An error for the caller.
    Failed(i32),
    /// The caller waits no more.
    Deserted,
    /// There is nothing yet.
    Nothing,
    /// What is there is the next software's.
    LeftAlone,
}

impl WantedConnection {
    pub(super) fn new(notice: Notice, target: Target, listener: OwnedFd, flags: i32) -> Self {
        let fd = listener.as_raw_fd();
        let blocking = kernel::is_blocking(fd);
        let limit = blocking
            .then(|| kernel::time_limit(fd, libc::SO_RCVTIMEO))
            .flatten();
        Self {
            cookie: kernel::cookie(fd).unwrap_or(0),
            blocking,
            was_ready: blocking && kernel::ready(fd, libc::POLLIN, 0) == Ok(true),
            asked: Instant::now(),
            until: limit.map(|limit| Instant::now() + limit),
            notice,
            target,
            listener,
            flags,
        }
    }

    /// When its time is up (SO_RCVTIMEO), if ever.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Accepts, if there is something.
    pub(super) fn attempt(&self, shared: &NetShared, alarm: &Alarm) -> Tried {
        if let Some(connection) = shared.left_over.take(self.cookie) {
            return Tried::Accepted(connection);
        }
        let fd = self.listener.as_raw_fd();
        let mut given_away = None;
        loop {
            if is_left_alone(fd) && !self.wakes_itself(shared) {
                // Whoever was ready may have polled, and have other things to do.
                return if self.was_ready && self.asked.elapsed() >= POLLED_WAIT {
                    self.dead(given_away)
                } else {
                    Tried::LeftAlone
                };
            }
            if self.blocking && !kernel::ready(fd, libc::POLLIN, 0).unwrap_or(false) {
                // Whoever was ready when it was called must not wait: it may have polled.
                return match given_away.filter(|_| self.was_ready) {
                    Some(peer) => self.dead(Some(peer)),
                    None => Tried::Nothing,
                };
            }
            if !shared.notices.is_valid(&self.notice) {
                return Tried::Deserted;
            }
            let accepted = if self.blocking {
                alarm.during(|| one(fd, self.flags))
            } else {
                one(fd, self.flags)
            };
            match accepted {
                Ok(Ok(connection)) => return Tried::Accepted(connection),
                // Given away. An edge-triggered listener is not told a second time: asked until its real EAGAIN.
                Ok(Err(peer)) => given_away = Some(peer),
                Err(libc::EAGAIN | libc::EINTR) if self.blocking => return Tried::Nothing,
                Err(libc::EINTR) => {}
                Err(error) => return Tried::Failed(error),
            }
        }
    }

    fn dead(&self, peer: Option<RawAddress>) -> Tried {
        let made = dead(self.listener.as_raw_fd(), self.flags, peer);
        made.map_or_else(Tried::Failed, Tried::Accepted)
    }

    fn wakes_itself(&self, shared: &NetShared) -> bool {
        process_of(self.notice.thread).is_some_and(|process| shared.is_waker(process))
    }

    /// Tells the caller how its accept has ended.
    pub(super) fn end(self, shared: &NetShared, tried: Tried) {
        let claim = Claim {
            notice: self.notice,
            target: self.target,
            cookie: self.cookie,
            flags: self.flags,
        };
        drop(self.listener);
        match tried {
            Tried::Accepted(connection) => claim.give(shared, connection),
            Tried::Failed(error) => claim.answer(shared, error),
            Tried::Nothing | Tried::LeftAlone => claim.answer(shared, libc::EAGAIN),
            Tried::Deserted => {}
        }
    }
}

impl Claim {
    fn answer(&self, shared: &NetShared, error: i32) {
        // Who has gone on meanwhile hears nothing.
        let _ = shared.notices.answer(&self.notice, Err(error));
    }

    fn give(&self, shared: &NetShared, connection: Delivered) {
        let [_, address, length, ..] = self.notice.arguments;
        let peer = &connection.peer.bytes[..connection.peer.length];
        if address != 0
            && let Err(error) = self.target.show(peer, address, length)
        {
            if !shared.notices.is_valid(&self.notice) {
                return self.leave(shared, connection);
            }
            // As the kernel: what it has accepted for a bad address is closed.
            drop(connection);
            return self.answer(shared, error);
        }
        let closes = self.flags & libc::SOCK_CLOEXEC != 0;
        match (shared.notices).give(&self.notice, connection.descriptor.as_fd(), closes) {
            Ok(()) => {}
            Err(libc::ENOENT) => self.leave(shared, connection),
            Err(error) => {
                shared.left_over.keep(self.cookie, connection);
                self.answer(shared, error);
            }
        }
    }

    /// Nobody took it: a signal came between. It is the next accept's.
    fn leave(&self, shared: &NetShared, connection: Delivered) {
        shared.left_over.keep(self.cookie, connection);
        shared.parking.wake();
    }
}

/// An accept has come.
pub(super) fn begin(shared: &Arc<NetShared>, wanted: WantedConnection, alarm: &Alarm) {
    match wanted.attempt(shared, alarm) {
        Tried::Nothing | Tried::LeftAlone if wanted.blocking => {
            shared.parking.park(shared, wanted);
        }
        tried => {
            if matches!(tried, Tried::LeftAlone) {
                std::thread::sleep(STOPPING_PAUSE);
            }
            wanted.end(shared, tried);
        }
    }
}

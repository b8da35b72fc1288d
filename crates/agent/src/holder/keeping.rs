//! Serving what is kept: callers are accepted for the agent, and each listener is closed in its time.

use super::hand_overs::HandOver;
use super::service::Service;
use super::{sockets, steering};
use intercept::holder::{Event, HandOverReason, KeptListener};
use rustix::net::{SocketFlags, sockopt};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Instant;

/// How many callers are accepted before others get their turn.
const ACCEPTS_A_TURN: usize = 64;

impl Service {
    /// Accepts for the agent from a kept listener.
    pub(super) fn accept_kept(&mut self, id: u64, now: Instant) {
        for _ in 0..ACCEPTS_A_TURN {
            let listener = self.listeners.served_by(id);
            let accepted =
                listener.map(|listener| rustix::net::accept_with(listener, SocketFlags::CLOEXEC));
            let Some(accepted) = accepted.and_then(|accepted| self.accepted(accepted, now)) else {
                break;
            };
            self.hand_over_kept(accepted, now);
            if !self.hand_overs.has_room() {
                break;
            }
        }
        self.flush_hand_overs();
    }

    /// Accepts who waits at a listener that is to be closed: closing would reset them.
    pub(super) fn save_callers(&mut self, listener: BorrowedFd<'_>, now: Instant) {
        if rustix::io::ioctl_fionbio(listener, true).is_err() {
            return;
        }
        while self.hand_overs.has_room()
            && let Ok(connection) = rustix::net::accept_with(listener, SocketFlags::CLOEXEC)
        {
            self.hand_over_kept(connection, now);
        }
        self.flush_hand_overs();
    }

    pub(super) fn hand_over_kept(&mut self, connection: OwnedFd, now: Instant) {
        // What the listener had for its own sake is not the connection's.
        let _ = sockopt::set_socket_reuseport(&connection, false);
        let _ = steering::unshut(&connection);
        // One that was reset meanwhile has no peer any more: nobody waits for an answer.
        if let (Ok(local), Ok(peer)) = (sockets::local_address(&connection), peer(&connection)) {
            let reason = HandOverReason::Held;
            self.hand_overs.push(
                now,
                HandOver {
                    reason,
                    local,
                    peer,
                    connection,
                },
            );
        }
    }

    /// Closes what nobody comes to any more.
    pub(super) fn look_after_listeners(&mut self, now: Instant) {
        let closable = self.listeners.closable(now);
        if closable.is_empty() {
            return self.look_who_follows(now);
        }
        let before = self.listeners.list();
        let members = self.group.members();
        for id in closable {
            if let Some(Ok(listener)) = self.listeners.fetch(id) {
                self.save_callers(std::os::fd::AsFd::as_fd(&listener), now);
            }
            if let Err(error) = self.listeners.close(id, &members, now) {
                tracing::warn!(%error, "a kept listener was closed, but its group is not as it should be");
            }
        }
        self.tell_kept(&before);
    }

    /// Steers callers to the software where it listens now.
    pub(super) fn look_who_follows(&mut self, now: Instant) {
        if !self.listeners.awaits() {
            return;
        }
        let members = self.group.members();
        if let Err(error) = self.listeners.look_who_follows(&members, now) {
            tracing::warn!(%error, "cannot steer callers to the software");
        }
    }

    /// Tells the agent where that has changed.
    pub(super) fn tell_kept(&mut self, before: &[KeptListener]) {
        let kept = self.listeners.list();
        if kept != before {
            self.tell(Event::Kept(kept));
        }
    }
}

fn peer(connection: &OwnedFd) -> io::Result<SocketAddr> {
    let peer = rustix::net::getpeername(connection)?;
    Ok(SocketAddr::try_from(
        peer.ok_or(io::ErrorKind::NotConnected)?,
    )?)
}

//! Serving what is kept: callers are accepted for the agent, and each listener is closed in its time.

use super::hand_overs::HandOver;
use super::service::HolderService;
use super::{sockets, steering};
use intercept::holder::{HandOverReason, HolderEvent, KeptListener};
use rustix::io::Errno;
use rustix::net::{SocketFlags, sockopt};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

/// How many callers are accepted before others get their turn.
const ACCEPTS_A_TURN: usize = 64;

impl HolderService {
    /// Accepts for the agent from a kept listener.
    pub(super) fn accept_kept(&mut self, id: u64, now: Instant) {
        for _ in 0..ACCEPTS_A_TURN {
            let Some(listener) = self.listeners.served_by(id) else {
                break;
            };
            let accepted = rustix::net::accept_with(listener, SocketFlags::CLOEXEC);
            if accepted.as_ref().err() == Some(&Errno::INVAL) {
                // It was shut down, by whoever has another handle of it: it would be ready for ever.
                let before = self.listeners.list();
                let members = self.members();
                self.listeners.drop_one(id, &members);
                self.tell_kept(&before);
                break;
            }
            let Some(accepted) = self.accepted(accepted, now) else {
                break;
            };
            self.hand_over_kept(accepted, now);
            if !self.hand_overs.has_room() {
                break;
            }
        }
        self.flush_hand_overs();
    }

    /// Accepts who waits at a listener that is to be closed: closing would reset them. Says whether nobody waits any more.
    pub(super) fn save_callers(&mut self, listener: BorrowedFd<'_>, now: Instant) -> bool {
        if rustix::io::ioctl_fionbio(listener, true).is_err() {
            return false;
        }
        let mut over = Err(Errno::NOBUFS);
        while self.hand_overs.has_room() {
            match rustix::net::accept_with(listener, SocketFlags::CLOEXEC) {
                Ok(connection) => self.hand_over_kept(connection, now),
                Err(error) => {
                    over = Ok(error);
                    break;
                }
            }
        }
        self.flush_hand_overs();
        // One that listens no more has nobody.
        matches!(over, Ok(Errno::WOULDBLOCK | Errno::INVAL))
    }

    /// Closes what stood by for software that goes on after all.
    pub(super) fn dismiss(&mut self, standing_by: &[u64], members: &[i32], now: Instant) {
        for id in standing_by {
            if let Some(Ok(listener)) = self.listeners.fetch(*id) {
                // Callers may have come before it was known whom they were to be steered to.
                self.save_callers(listener.as_fd(), now);
            }
            self.listeners.drop_one(*id, members);
        }
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
        if !self.listeners.is_due(now) {
            return;
        }
        self.look_who_follows(now);
        let closable = self.listeners.closable(now);
        if closable.is_empty() {
            return;
        }
        let before = self.listeners.list();
        let members = self.members();
        for id in closable {
            let Some(Ok(listener)) = self.listeners.fetch(id) else {
                continue;
            };
            let nobody_waits = self.save_callers(listener.as_fd(), now);
            // The last handle must go before the group is steered anew: its place would get callers still, who would be reset with it.
            drop(listener);
            if !nobody_waits {
                // They are accepted when there is room again.
                continue;
            }
            if let Err(error) = self.listeners.close(id, &members, now) {
                tracing::warn!(%error, "a kept listener was closed, but its group is not as it should be");
            }
        }
        self.tell_kept(&before);
    }

    /// Steers callers to the software where it listens now.
    pub(super) fn look_who_follows(&mut self, now: Instant) {
        let members = self.members();
        if let Err(error) = self.listeners.look_who_follows(&members, now) {
            tracing::warn!(%error, "cannot steer callers to the software");
        }
    }

    /// Tells the agent where that has changed.
    pub(super) fn tell_kept(&mut self, before: &[KeptListener]) {
        let kept = self.listeners.list();
        if kept != before {
            self.tell(HolderEvent::Kept(kept));
        }
    }
}

fn peer(connection: &OwnedFd) -> io::Result<SocketAddr> {
    let peer = rustix::net::getpeername(connection)?;
    Ok(SocketAddr::try_from(
        peer.ok_or(io::ErrorKind::NotConnected)?,
    )?)
}

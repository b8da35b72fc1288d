//! In which order the kept listeners of an address stand in their group, which the kernel does not say.

use super::super::sockets;
use super::super::steering::{self, Spot};
use super::{Kept, ListenerOrigin, Listeners};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

/// How long a handshake on this host may take.
const HANDSHAKE_TIME: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

impl Listeners {
    /// Finds out in which order the kept listeners of an address stand in their group: to each place a connection is made, and who has
    /// it is there. A duplicate and the one that was opened beside it came in this order.
    pub(super) fn find_order(&mut self, spot: Spot) -> io::Result<()> {
        if self.at(spot).count() <= 2 {
            return Ok(());
        }
        let mut at: Vec<Kept> = self.kept.extract_if(.., |kept| kept.spot == spot).collect();
        let mut ordered = Vec::new();
        let mut asked = Ok(());
        while at.len() > 1 && asked.is_ok() {
            match self.who_is_at(&at, ordered.len(), spot) {
                // A full queue takes nobody: then any order is as good as another.
                Ok(found) => ordered.push(at.remove(found.unwrap_or(0))),
                Err(error) => asked = Err(error),
            }
        }
        self.kept.extend(ordered);
        self.kept.extend(at);
        asked
    }

    /// Which of these has the place in the group.
    fn who_is_at(&mut self, at: &[Kept], place: usize, spot: Spot) -> io::Result<Option<usize>> {
        let steers = at
            .iter()
            .find(|kept| kept.origin != ListenerOrigin::Duplicate);
        let Some(one) = steers.or(at.first()) else {
            return Ok(None);
        };
        let place = u32::try_from(place).map_err(io::Error::other)?;
        steering::let_go(&one.socket, place, 1)?;
        let caller = spot.call()?;
        let mut connected = [PollFd::new(&caller, PollFlags::OUT)];
        let _ = poll(&mut connected, Some(&HANDSHAKE_TIME));
        Ok((at.iter()).position(|kept| self.met_at(kept, &caller).unwrap_or(false)))
    }

    /// Whether this caller is in the queue of a kept listener. Whoever else is there is taken out too.
    fn met_at(&mut self, kept: &Kept, caller: &OwnedFd) -> io::Result<bool> {
        let here = sockets::local_address(caller)?;
        let flags = rustix::net::SocketFlags::CLOEXEC;
        while let Ok((connection, peer)) = rustix::net::acceptfrom_with(&kept.socket, flags) {
            let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
            if peer.is_some_and(|peer| peer.port() == here.port()) {
                return Ok(true);
            }
            self.met.push(connection);
        }
        Ok(false)
    }

    /// Callers who came while the order of a group was found out: the agent's.
    pub(in super::super) fn take_met(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.met)
    }
}

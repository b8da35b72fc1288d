//! Room for the software's new sockets beside what is kept.

use super::super::sockets::{self, FoundListener};
use super::super::steering::{self, Spot};
use super::{BACKLOG, ListenerOrigin, Listeners, Stage};
use rustix::net::sockopt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Instant;

impl Listeners {
    /// Makes room for a socket of the software that is about to be bound there, beside what is kept. Says whether anything is.
    ///
    /// # Errors
    /// When the kernel does not allow it; nothing that is in the way is kept any more then, and whoever waits there is given.
    pub(in super::super) fn make_room(
        &mut self,
        socket: &OwnedFd,
        address: SocketAddr,
        processes: &[i32],
        now: Instant,
    ) -> Result<bool, (io::Error, Vec<OwnedFd>)> {
        let spot = Spot::of(socket, address).map_err(|error| (error, Vec::new()))?;
        let mut in_the_way = self.kept.iter().filter(|kept| kept.spot.collides(spot));
        // While the former software lives, the new socket meets its listener as it would anyway.
        if in_the_way.all(|kept| kept.origin != ListenerOrigin::Own && !kept.is_served()) {
            return Ok(false);
        }
        // A second one of the software's own at its address is refused or not, as by a bare kernel.
        if self.has_another(socket, spot, processes).unwrap_or(false) {
            return Ok(false);
        }
        match self.stand_beside(socket, spot, processes, now) {
            Ok(()) => Ok(true),
            Err(error) => {
                let in_the_way = (self.kept.extract_if(.., |kept| kept.spot.collides(spot)))
                    .map(|kept| kept.socket)
                    .collect();
                Err((error, in_the_way))
            }
        }
    }

    /// Whether the software listens there already, though this socket has not asked to share the address.
    fn has_another(&self, socket: &OwnedFd, spot: Spot, processes: &[i32]) -> io::Result<bool> {
        if sockopt::socket_reuseport(socket)? {
            return Ok(false);
        }
        let ports = [spot.address.port()];
        let software = sockets::find_listeners(processes, &ports, &self.inodes())?;
        Ok(software.iter().any(|found| found.spot.collides(spot)))
    }

    /// Whether the software listens at this very spot.
    fn listens(&self, spot: Spot, processes: &[i32]) -> io::Result<bool> {
        let ports = [spot.address.port()];
        let software = sockets::find_listeners(processes, &ports, &self.inodes())?;
        Ok(software.iter().any(|found| found.spot == spot))
    }

    /// What becomes of a listener that is opened for software which binds here: the same as of those that are kept already, so that
    /// software which binds after the release is not held again.
    fn stage_beside(&self, spot: Spot, now: Instant) -> Stage {
        let stages = || {
            let beside = self.kept.iter().filter(|kept| kept.spot.collides(spot));
            beside.map(|kept| kept.stage)
        };
        let awaits = stages().find(|stage| matches!(stage, Stage::Awaiting { .. }));
        let closes = |stage| matches!(stage, Stage::Closing { .. });
        let is_released = stages().all(closes)
            && stages().any(|stage| matches!(stage, Stage::Closing { shut: false, .. }));
        match awaits {
            Some(awaits) => awaits,
            None if is_released => Stage::Closing {
                since: now,
                shut: false,
            },
            None => Stage::Held,
        }
    }

    fn stand_beside(
        &mut self,
        socket: &OwnedFd,
        spot: Spot,
        processes: &[i32],
        now: Instant,
    ) -> io::Result<()> {
        let user = rustix::fs::fstat(socket)?.st_uid;
        for kept in self.kept.iter().filter(|kept| kept.spot.collides(spot)) {
            sockopt::set_socket_reuseport(&kept.socket, true)?;
            steering::give_to(&kept.socket, user)?;
        }
        self.lend(socket)?;
        let stage = self.stage_beside(spot, now);
        for kept in self.kept.iter_mut().filter(|kept| kept.spot.collides(spot)) {
            let closing = matches!(kept.stage, Stage::Closing { .. });
            if kept.spot.swallows(spot) && !closing {
                // What is kept at the new address takes its callers.
                steering::shut(&kept.socket)?;
                let shut = true;
                kept.serve(Stage::Closing { since: now, shut })?;
            } else if kept.stage == Stage::Quiet {
                kept.serve(stage)?;
            }
        }
        // After the release, whoever joins those of the software that listen there already gets callers as they do.
        if matches!(stage, Stage::Closing { .. }) && self.listens(spot, processes)? {
            self.next_look = Some(now);
            return Ok(());
        }
        if self
            .at(spot)
            .all(|kept| kept.origin == ListenerOrigin::Duplicate)
        {
            let found = FoundListener::new(spot.open(Some(user), BACKLOG)?)?;
            self.push(found, ListenerOrigin::Beside)?.serve(stage)?;
        }
        self.find_order(spot)?;
        self.next_look = Some(now);
        self.steer(spot)
    }

    /// Lets a socket stand beside others at its address; what the software had set is remembered.
    fn lend(&mut self, socket: &OwnedFd) -> io::Result<()> {
        // Connections of the former software that have ended stay in the kernel for a minute (TIME_WAIT).
        sockopt::set_socket_reuseaddr(socket, true)?;
        if !sockopt::socket_reuseport(socket)? {
            sockopt::set_socket_reuseport(socket, true)?;
            self.lent.insert(steering::cookie(socket)?);
        }
        Ok(())
    }
}

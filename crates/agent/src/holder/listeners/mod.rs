//! Listening sockets that are kept while the software is away, so that the kernel goes on queueing callers.
//!
//! The software's own sockets stay its own. What is kept stands beside them (`SO_REUSEPORT`), and a program says who gets a new
//! connection ([`steering`](super::steering)): what is kept, until the software is healthy; the software from then on. The
//! holder accepts from what is kept, for the agent. It is closed when no handshake with it can be half-way there.

mod beside;
mod closing;
mod order;

use super::sockets::{self, FoundListener};
use super::steering::{self, Spot};
use crate::kernel;
use intercept::holder::KeptListener;
use rustix::net::sockopt;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

/// How many listeners may be kept: services times processes of a `SO_REUSEPORT` group, with room.
pub(super) const KEPT_MAX: usize = 1024;

/// The backlog of a listener of the holder's own; the system's `somaxconn` bounds it further.
const BACKLOG: i32 = 4096;

/// A listening socket in the holder's hands.
#[derive(Debug)]
pub(super) struct Kept {
    id: u64,
    spot: Spot,
    inode: u64,
    origin: ListenerOrigin,
    stage: Stage,
    socket: OwnedFd,
}

/// Where a kept listener comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ListenerOrigin {
    /// The software's, duplicated.
    Duplicate,
    /// Opened because the agent asked.
    Own,
    /// Opened where the software is about to listen: a group has a program only from its first socket with the option on.
    Beside,
}

/// Who accepts from it, and what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Its software, or whoever has fetched it.
    Quiet,
    /// The holder, for the agent: whoever calls is steered to it.
    Held,
    /// The same, until the software listens at its port, or until then.
    Awaiting { until: Instant },
    /// The same, and nobody new comes.
    Closing { since: Instant, shut: bool },
}

/// All of them. Those of one address are in the order of their group.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    kept: Vec<Kept>,
    last_id: u64,
    /// Sockets of the software (by their cookies) that were given `SO_REUSEPORT` for as long as something is kept beside them.
    lent: BTreeSet<u64>,
    /// Source ports of the agent's own connections, the latest last.
    ports: Vec<u16>,
    /// Callers who came while the order of a group was found out.
    met: Vec<OwnedFd>,
    /// How many sockets of the software follow those that are being closed.
    following: BTreeMap<Spot, u32>,
    next_look: Option<Instant>,
}

impl Kept {
    /// Whether the holder accepts from it.
    fn is_served(&self) -> bool {
        self.stage != Stage::Quiet
    }

    /// Whether it is there only in case the software shuts its own down.
    fn stands_by(&self) -> bool {
        self.origin == ListenerOrigin::Beside && !self.is_served()
    }

    fn serve(&mut self, stage: Stage) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&self.socket, true)?;
        self.stage = stage;
        Ok(())
    }
}

impl Listeners {
    /// Keeps duplicates of the sockets that these processes listen on at these ports, and opens one that takes over where the
    /// software shuts its own down before it ends: every handle of that is shut then.
    pub(super) fn keep(&mut self, processes: &[i32], ports: &[u16]) -> io::Result<()> {
        let mut spots = BTreeSet::new();
        for found in sockets::find_all_listeners(processes, ports, &self.inodes())? {
            spots.insert(found.spot);
            self.push(found, ListenerOrigin::Duplicate)?;
        }
        for spot in spots {
            if let Err(error) = self.stand_by(spot) {
                tracing::warn!(%error, address = %spot.address, "callers are refused if the software shuts its listener down before it ends");
            }
        }
        Ok(())
    }

    /// Opens a listener beside the software's only one at an address. It gets nobody while that listens. Several that share an address
    /// are left as they are: whom they share their callers with, and how, is the software's own business.
    fn stand_by(&mut self, spot: Spot) -> io::Result<()> {
        let mut at = self.at(spot);
        let (Some(one), None) = (at.next(), at.next()) else {
            return Ok(());
        };
        let socket = &one.socket;
        if sockopt::socket_reuseport(socket)? {
            return Ok(());
        }
        let user = rustix::fs::fstat(socket)?.st_uid;
        let cookie = steering::cookie(socket)?;
        sockopt::set_socket_reuseport(socket, true)?;
        let beside = match spot.open(Some(user), BACKLOG).and_then(FoundListener::new) {
            Ok(beside) => beside,
            Err(error) => {
                sockopt::set_socket_reuseport(socket, false)?;
                return Err(error);
            }
        };
        drop(at);
        self.lent.insert(cookie);
        self.push(beside, ListenerOrigin::Beside)?;
        self.steer(spot)
    }

    /// What stands by at these ports.
    pub(super) fn standing_by(&self, ports: &[u16]) -> Vec<u64> {
        let at_them = |kept: &&Kept| ports.contains(&kept.spot.address.port());
        let concerned = self.kept.iter().filter(at_them);
        concerned
            .filter(|kept| kept.stands_by())
            .map(|kept| kept.id)
            .collect()
    }

    /// Opens a listener of our own, unless something is kept at this very address.
    pub(super) fn listen(&mut self, address: SocketAddr) -> io::Result<()> {
        if self.kept.iter().any(|kept| kept.spot.address == address) {
            return Ok(());
        }
        let socket = Spot::at(address).open(None, BACKLOG)?;
        let found = FoundListener::new(socket)?;
        self.push(found, ListenerOrigin::Own).map(|_| ())
    }

    /// Forgets one and closes our handle of it. Says whether there was one.
    pub(super) fn drop_one(&mut self, id: u64, processes: &[i32]) -> bool {
        let Some(index) = self.kept.iter().position(|kept| kept.id == id) else {
            return false;
        };
        let spot = self.kept.remove(index).spot;
        let is_last = self.at(spot).next().is_none();
        let changed = if is_last {
            self.take_back(spot, processes)
        } else {
            self.steer(spot)
        };
        if let Err(error) = changed {
            tracing::warn!(%error, address = %spot.address, "the software's sockets are still as they stood beside a kept one");
        }
        true
    }

    /// Another handle of one.
    pub(super) fn fetch(&self, id: u64) -> Option<io::Result<OwnedFd>> {
        let kept = self.kept.iter().find(|kept| kept.id == id)?;
        Some(kept.socket.try_clone())
    }

    /// Nothing is left of the child: what it listened on is ours alone.
    pub(super) fn child_ended(&mut self) {
        self.lent.clear();
        self.ports.clear();
        // Software that has shut its listener down has shut every handle of it.
        (self.kept).retain(|kept| sockopt::socket_acceptconn(&kept.socket).unwrap_or(false));
        for kept in &mut self.kept {
            if kept.origin != ListenerOrigin::Own
                && !kept.is_served()
                && let Err(error) = kept.serve(Stage::Held)
            {
                tracing::warn!(%error, address = %kept.spot.address, "cannot accept from a kept listener");
            }
        }
    }

    /// Whether the software has not set `SO_REUSEPORT` on this socket itself, though it is set.
    pub(super) fn is_lent(&self, cookie: u64) -> bool {
        self.lent.contains(&cookie)
    }

    /// The agent's connection from this port reaches the software, whatever else is held.
    pub(super) fn let_through(&mut self, port: u16) -> io::Result<()> {
        self.ports.push(port);
        if self.ports.len() > steering::PORTS_MAX {
            self.ports.remove(0);
        }
        let held: BTreeSet<Spot> = self
            .kept
            .iter()
            .filter(|kept| matches!(kept.stage, Stage::Held | Stage::Awaiting { .. }))
            .map(|kept| kept.spot)
            .collect();
        held.into_iter().try_for_each(|spot| self.steer(spot))
    }

    /// Puts the program of an address in force.
    fn steer(&self, spot: Spot) -> io::Result<()> {
        let kept = u32::try_from(self.at(spot).count()).unwrap_or(u32::MAX);
        // A duplicate is in a group only since somebody came to stand beside it.
        let steers = self
            .at(spot)
            .find(|kept| kept.origin != ListenerOrigin::Duplicate);
        let Some(one) = steers.or_else(|| self.at(spot).next()) else {
            return Ok(());
        };
        let steered = match self.following.get(&spot) {
            Some(following) if !self.holds(spot) => steering::let_go(&one.socket, kept, *following),
            _ => steering::hold(&one.socket, kept, &self.ports),
        };
        match steered {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput && steers.is_none() => Ok(()),
            steered => steered,
        }
    }

    fn holds(&self, spot: Spot) -> bool {
        self.at(spot)
            .any(|kept| !matches!(kept.stage, Stage::Closing { .. }))
    }

    fn at(&self, spot: Spot) -> impl Iterator<Item = &Kept> {
        self.kept.iter().filter(move |kept| kept.spot == spot)
    }

    /// Whether somebody who connects to this address of this host would meet nobody but what is kept.
    pub(super) fn is_only_kept(&self, to: SocketAddr, processes: &[i32]) -> io::Result<bool> {
        if !kernel::is_here(to.ip()) {
            return Ok(false);
        }
        let to = Spot::at(to);
        let served = |kept: &Kept| kept.is_served() && kept.spot.collides(to);
        if !self.kept.iter().any(served) {
            return Ok(false);
        }
        let ports = [to.address.port()];
        let software = sockets::find_listeners(processes, &ports, &self.inodes())?;
        Ok(!software.iter().any(|found| found.spot.collides(to)))
    }

    /// Lets a connection of the software to itself through, which this socket is about to make. Says whether the software listens there.
    pub(super) fn let_own_through(
        &mut self,
        socket: &OwnedFd,
        to: SocketAddr,
        processes: &[i32],
    ) -> io::Result<bool> {
        let spot = Spot::at(to);
        let is_kept = self.kept.iter().any(|kept| kept.spot.collides(spot));
        if !is_kept || !kernel::is_here(to.ip()) {
            return Ok(false);
        }
        let ports = [to.port()];
        let software = sockets::find_listeners(processes, &ports, &self.inodes())?;
        if !software.iter().any(|found| found.spot.collides(spot)) {
            return Ok(false);
        }
        let mut from = sockets::local_address(socket)?;
        if from.port() == 0 {
            // From the address that it calls: by that the program knows who is of this host.
            rustix::net::bind(socket, &SocketAddr::new(to.ip(), 0))
                .or_else(|_| rustix::net::bind(socket, &SocketAddr::new(from.ip(), 0)))?;
            from = sockets::local_address(socket)?;
        }
        self.let_through(from.port()).map(|()| true)
    }

    /// What the holder accepts from, with the number of each.
    pub(super) fn served(&self) -> impl Iterator<Item = (u64, BorrowedFd<'_>)> {
        let served = self.kept.iter().filter(|kept| kept.is_served());
        served.map(|kept| (kept.id, kept.socket.as_fd()))
    }

    /// One of those.
    pub(super) fn served_by(&self, id: u64) -> Option<BorrowedFd<'_>> {
        self.served()
            .find(|(other, _)| *other == id)
            .map(|(_, socket)| socket)
    }

    /// When to look again for what can be closed.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.next_look
    }

    /// What the agent is told.
    pub(super) fn list(&self) -> Vec<KeptListener> {
        self.kept
            .iter()
            .map(|kept| KeptListener {
                listener: kept.id,
                address: kept.spot.address,
                duplicate: kept.origin == ListenerOrigin::Duplicate,
            })
            .collect()
    }

    fn inodes(&self) -> BTreeSet<u64> {
        self.kept.iter().map(|kept| kept.inode).collect()
    }

    fn push(&mut self, found: FoundListener, origin: ListenerOrigin) -> io::Result<&mut Kept> {
        if self.kept.len() >= KEPT_MAX {
            return Err(io::Error::other(format!(
                "{KEPT_MAX} listeners are kept already"
            )));
        }
        self.last_id += 1;
        Ok(self.kept.push_mut(Kept {
            id: self.last_id,
            spot: found.spot,
            inode: found.inode,
            origin,
            stage: Stage::Quiet,
            socket: found.socket,
        }))
    }
}

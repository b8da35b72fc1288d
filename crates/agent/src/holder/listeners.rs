//! Listening sockets that are kept while the software is away, so that the kernel goes on queueing callers.
//!
//! The software's own sockets stay its own. What is kept stands beside them (`SO_REUSEPORT`), and a program says who gets a new
//! connection ([`steering`](super::steering)): what is kept, until the software is healthy; the software from then on. The
//! holder accepts from what is kept, for the agent. It is closed when no handshake with it can be half-way there.

use super::sockets::{self, Found};
use super::steering::{self, Spot};
use crate::kernel;
use intercept::holder::KeptListener;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How many listeners may be kept: services times processes of a `SO_REUSEPORT` group, with room.
pub(super) const KEPT_MAX: usize = 1024;

/// The backlog of a listener of the holder's own; the system's `somaxconn` bounds it further.
const BACKLOG: i32 = 4096;

/// How long a listener that gets nobody new stays open at least: on one host a handshake takes microseconds.
const CLOSING_TIME_MIN: Duration = Duration::from_millis(20);

/// How long it stays open at most: a SYN-ACK is repeated for 63 s (`net.ipv4.tcp_synack_retries` is 5 by default).
const CLOSING_TIME_MAX: Duration = Duration::from_secs(64);

/// The same for one that turns callers away meanwhile: they try again one second later, then after two more.
const SHUT_TIME_MAX: Duration = Duration::from_secs(3);

/// Looking through the kernel's connections takes at most one part of so many of a processor's time.
const LOOK_SHARE: u32 = 10;

/// How long a handshake on this host may take.
const HANDSHAKE_TIME: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// A listening socket in the holder's hands.
#[derive(Debug)]
pub(super) struct Kept {
    id: u64,
    spot: Spot,
    inode: u64,
    origin: Origin,
    stage: Stage,
    socket: OwnedFd,
}

/// Where a kept listener comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
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
        self.origin == Origin::Beside && !self.is_served()
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
            self.push(found, Origin::Duplicate)?;
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
        let beside = match spot.open(Some(user), BACKLOG).and_then(Found::new) {
            Ok(beside) => beside,
            Err(error) => {
                sockopt::set_socket_reuseport(socket, false)?;
                return Err(error);
            }
        };
        drop(at);
        self.lent.insert(cookie);
        self.push(beside, Origin::Beside)?;
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
        let found = Found::new(socket)?;
        self.push(found, Origin::Own).map(|_| ())
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
            if kept.origin != Origin::Own
                && !kept.is_served()
                && let Err(error) = kept.serve(Stage::Held)
            {
                tracing::warn!(%error, address = %kept.spot.address, "cannot accept from a kept listener");
            }
        }
    }

    /// Makes room for a socket of the software that is about to be bound there, beside what is kept. Says whether anything is.
    ///
    /// # Errors
    /// When the kernel does not allow it; nothing that is in the way is kept any more then, and whoever waits there is given.
    pub(super) fn make_room(
        &mut self,
        socket: &OwnedFd,
        address: SocketAddr,
        processes: &[i32],
        now: Instant,
    ) -> Result<bool, (io::Error, Vec<OwnedFd>)> {
        let spot = Spot::of(socket, address).map_err(|error| (error, Vec::new()))?;
        let mut in_the_way = self.kept.iter().filter(|kept| kept.spot.collides(spot));
        // While the former software lives, the new socket meets its listener as it would anyway.
        if in_the_way.all(|kept| kept.origin != Origin::Own && !kept.is_served()) {
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
        if self.at(spot).all(|kept| kept.origin == Origin::Duplicate) {
            let found = Found::new(spot.open(Some(user), BACKLOG)?)?;
            self.push(found, Origin::Beside)?.serve(stage)?;
        }
        self.find_order(spot)?;
        self.next_look = Some(now);
        self.steer(spot)
    }

    /// Finds out in which order the kept listeners of an address stand in their group: to each place a connection is made, and who has
    /// it is there. A duplicate and the one that was opened beside it came in this order.
    fn find_order(&mut self, spot: Spot) -> io::Result<()> {
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
        let steers = at.iter().find(|kept| kept.origin != Origin::Duplicate);
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
    pub(super) fn take_met(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.met)
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

    /// The software is to get its callers itself at these ports: when it listens there, or when `limit` is over at the latest.
    pub(super) fn let_go(
        &mut self,
        ports: &[u16],
        processes: &[i32],
        limit: Duration,
        now: Instant,
    ) -> io::Result<()> {
        let until = now + limit;
        // A duplicate of what the software still has is no more than another handle.
        self.kept.retain(|kept| {
            let concerned = ports.contains(&kept.spot.address.port());
            !(concerned && kept.origin == Origin::Duplicate && !kept.is_served())
        });
        for kept in &mut self.kept {
            let concerned = ports.contains(&kept.spot.address.port()) && !kept.stands_by();
            if concerned && !matches!(kept.stage, Stage::Closing { .. }) {
                kept.serve(Stage::Awaiting { until })?;
            }
        }
        self.look_who_follows(processes, now)
    }

    /// Steers callers to the software where it listens now, and to as many sockets of it as there are now.
    pub(super) fn look_who_follows(&mut self, processes: &[i32], now: Instant) -> io::Result<()> {
        let leaves = |kept: &&Kept| {
            matches!(
                kept.stage,
                Stage::Awaiting { .. } | Stage::Closing { shut: false, .. }
            )
        };
        let leaving = self.kept.iter().filter(leaves);
        let spots: BTreeSet<Spot> = leaving.map(|kept| kept.spot).collect();
        if spots.is_empty() {
            return Ok(());
        }
        let ports: Vec<u16> = spots.iter().map(|spot| spot.address.port()).collect();
        let following = sockets::find_listeners(processes, &ports, &self.inodes())?;
        for kept in &mut self.kept {
            let Stage::Awaiting { until } = kept.stage else {
                continue;
            };
            let port = kept.spot.address.port();
            let listens = following
                .iter()
                .any(|found| found.spot.address.port() == port);
            if listens || until <= now {
                let shut = false;
                kept.stage = Stage::Closing { since: now, shut };
            }
        }
        self.next_look = Some(self.next_look.map_or(now, |at| at.max(now)) + CLOSING_TIME_MIN);
        for spot in spots {
            let count = following.iter().filter(|found| found.spot == spot).count();
            let count = u32::try_from(count).unwrap_or(1);
            if !self.holds(spot) && self.following.insert(spot, count) != Some(count) {
                self.steer(spot)?;
            }
        }
        Ok(())
    }

    /// Whether it is time to look again.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next_look.is_some_and(|at| at <= now)
    }

    /// What may be closed now: nobody comes any more, and no handshake is half-way there. One at an address at a time, since the
    /// places of what follows change with each.
    pub(super) fn closable(&mut self, now: Instant) -> Vec<u64> {
        let began = Instant::now();
        let half_way = kernel::half_open_ports();
        let took = began.elapsed();
        let mut spots = BTreeSet::new();
        let mut closable = |kept: &Kept| {
            let is_last = spots.insert(kept.spot);
            let Stage::Closing { since, shut } = kept.stage else {
                return false;
            };
            let limit = if shut {
                SHUT_TIME_MAX
            } else {
                CLOSING_TIME_MAX
            };
            let quiet =
                (half_way.as_ref()).is_ok_and(|ports| !ports.contains(&kept.spot.address.port()));
            let over = since + limit <= now || (quiet && since + CLOSING_TIME_MIN <= now);
            over && is_last
        };
        // The last of a group first: the kernel puts the group's last socket into the place of one that goes.
        let last = self.kept.iter().rev().filter(|kept| closable(kept));
        let ids: Vec<u64> = last.map(|kept| kept.id).collect();
        let rest = CLOSING_TIME_MIN.max(took.saturating_mul(LOOK_SHARE));
        self.next_look = (self.kept.iter())
            .any(|kept| matches!(kept.stage, Stage::Closing { .. } | Stage::Awaiting { .. }))
            .then(|| now + rest);
        ids
    }

    /// Closes one that is [`closable`](Self::closable) and from which all have been accepted.
    pub(super) fn close(&mut self, id: u64, processes: &[i32], now: Instant) -> io::Result<()> {
        let Some(index) = self.kept.iter().position(|kept| kept.id == id) else {
            return Ok(());
        };
        let spot = self.kept.remove(index).spot;
        let mut left = 0;
        for kept in self.kept.iter_mut().filter(|kept| kept.spot == spot) {
            left += 1;
            if let Stage::Closing { since, .. } = &mut kept.stage {
                *since = now;
            }
        }
        if left > 0 {
            return self.steer(spot);
        }
        self.take_back(spot, processes)
    }

    /// Nothing is kept at an address any more: the software's sockets there are as the software made them.
    fn take_back(&mut self, spot: Spot, processes: &[i32]) -> io::Result<()> {
        self.following.remove(&spot);
        let ports = [spot.address.port()];
        for found in sockets::find_listeners(processes, &ports, &self.inodes())? {
            if found.spot == spot {
                // One that never stood in a group has no program.
                let _ = steering::forget(&found.socket);
            }
            let beside = (self.kept.iter()).any(|kept| kept.spot.collides(found.spot));
            if !beside && self.lent.remove(&steering::cookie(&found.socket)?) {
                sockopt::set_socket_reuseport(&found.socket, false)?;
                if let Err(error) = spot.share_no_more() {
                    tracing::debug!(%error, address = %spot.address, "another process of the software's user may share its port");
                }
            }
        }
        Ok(())
    }

    /// Puts the program of an address in force.
    fn steer(&self, spot: Spot) -> io::Result<()> {
        let kept = u32::try_from(self.at(spot).count()).unwrap_or(u32::MAX);
        // A duplicate is in a group only since somebody came to stand beside it.
        let steers = self.at(spot).find(|kept| kept.origin != Origin::Duplicate);
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
                duplicate: kept.origin == Origin::Duplicate,
            })
            .collect()
    }

    fn inodes(&self) -> BTreeSet<u64> {
        self.kept.iter().map(|kept| kept.inode).collect()
    }

    fn push(&mut self, found: Found, origin: Origin) -> io::Result<&mut Kept> {
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

//! The release: the software gets its callers itself, and what was kept is closed when nobody can come to it any more.

use super::super::sockets;
use super::super::steering::{self, Spot};
use super::{Kept, ListenerOrigin, Listeners, Stage};
use crate::kernel;
use rustix::net::sockopt;
use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

/// How long a listener that gets nobody new stays open at least: on one host a handshake takes microseconds.
const CLOSING_TIME_MIN: Duration = Duration::from_millis(20);

/// How long it stays open at most: a SYN-ACK is repeated for 63 s (`net.ipv4.tcp_synack_retries` is 5 by default).
const CLOSING_TIME_MAX: Duration = Duration::from_secs(64);

/// The same for one that turns callers away meanwhile: they try again one second later, then after two more.
const SHUT_TIME_MAX: Duration = Duration::from_secs(3);

/// Looking through the kernel's connections takes at most one part of so many of a processor's time.
const LOOK_SHARE: u32 = 10;

impl Listeners {
    /// The software is to get its callers itself at these ports: when it listens there, or when `limit` is over at the latest.
    pub(in super::super) fn let_go(
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
            !(concerned && kept.origin == ListenerOrigin::Duplicate && !kept.is_served())
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
    pub(in super::super) fn look_who_follows(
        &mut self,
        processes: &[i32],
        now: Instant,
    ) -> io::Result<()> {
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
    pub(in super::super) fn is_due(&self, now: Instant) -> bool {
        self.next_look.is_some_and(|at| at <= now)
    }

    /// What may be closed now: nobody comes any more, and no handshake is half-way there. One at an address at a time, since the
    /// places of what follows change with each.
    pub(in super::super) fn closable(&mut self, now: Instant) -> Vec<u64> {
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
    pub(in super::super) fn close(
        &mut self,
        id: u64,
        processes: &[i32],
        now: Instant,
    ) -> io::Result<()> {
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
    pub(super) fn take_back(&mut self, spot: Spot, processes: &[i32]) -> io::Result<()> {
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
}

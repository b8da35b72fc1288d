//! Connections on their way between software and agent: handed over by the accept hook, or offered back to it.

use intercept::holder::HandOverReason;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How many connections wait for an agent; a backlog's worth, well below the limit of descriptors.
pub(super) const HAND_OVERS_MAX: usize = 1024;

/// How long a connection waits for an agent before it is closed: longer than an agent's restart, about as long as callers wait.
pub(super) const HAND_OVER_AGE_MAX: Duration = Duration::from_secs(60);

/// How many connections may be offered to the software at once.
pub(super) const OFFERS_MAX: usize = 4096;

/// The longest time for which a connection may be offered.
pub(super) const OFFER_TTL_MAX: Duration = Duration::from_secs(60);

/// A connection that the accept hook gave away.
#[derive(Debug)]
pub(super) struct HandOver {
    pub(super) reason: HandOverReason,
    pub(super) local: SocketAddr,
    pub(super) peer: SocketAddr,
    pub(super) connection: OwnedFd,
}

/// The queue of connections that wait for an agent, oldest first.
#[derive(Debug, Default)]
pub(super) struct HandOvers {
    queue: VecDeque<(Instant, HandOver)>,
}

impl HandOvers {
    /// Queues one; when the queue is full, the oldest is closed: its caller has waited longest and gives up first.
    pub(super) fn push(&mut self, now: Instant, hand_over: HandOver) {
        if self.queue.len() >= HAND_OVERS_MAX {
            self.drop_oldest();
        }
        self.queue.push_back((now, hand_over));
    }

    /// Whether another fits in without one being closed for it.
    pub(super) fn has_room(&self) -> bool {
        self.queue.len() < HAND_OVERS_MAX
    }

    /// The oldest.
    pub(super) fn first(&self) -> Option<&HandOver> {
        self.queue.front().map(|(_, hand_over)| hand_over)
    }

    /// Closes the oldest (or, when it has been sent, our duplicate of it).
    pub(super) fn drop_oldest(&mut self) {
        self.queue.pop_front();
    }

    /// Closes what has waited too long. Gives the moment at which to look again.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Instant> {
        while let Some((since, _)) = self.queue.front() {
            let end = *since + HAND_OVER_AGE_MAX;
            if end > now {
                return Some(end);
            }
            self.queue.pop_front();
        }
        None
    }
}

/// Connections that wait for the accept hook, by their tokens.
#[derive(Debug, Default)]
pub(super) struct Offers {
    by_token: BTreeMap<[u8; 16], (Instant, OwnedFd)>,
}

impl Offers {
    /// Leaves a connection for whoever shows the token until `ttl` is over. Says whether there was room.
    pub(super) fn insert(
        &mut self,
        now: Instant,
        token: [u8; 16],
        ttl: Duration,
        connection: OwnedFd,
    ) -> bool {
        if self.by_token.len() >= OFFERS_MAX {
            return false;
        }
        let end = now + ttl.min(OFFER_TTL_MAX);
        self.by_token.insert(token, (end, connection));
        true
    }

    /// Takes the connection of a token: once.
    pub(super) fn take(&mut self, now: Instant, token: &[u8; 16]) -> Option<OwnedFd> {
        let (end, connection) = self.by_token.remove(token)?;
        (end > now).then_some(connection)
    }

    /// Closes what nobody took in time. Gives the moment at which to look again.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Instant> {
        self.by_token.retain(|_, (end, _)| *end > now);
        self.by_token.values().map(|(end, _)| *end).min()
    }
}

#[cfg(test)]
mod tests {
    use super::{HAND_OVER_AGE_MAX, HAND_OVERS_MAX, HandOver, HandOvers, Offers};
    use intercept::holder::HandOverReason;
    use std::net::SocketAddr;
    use std::os::fd::OwnedFd;
    use std::time::{Duration, Instant};

    fn descriptor() -> OwnedFd {
        std::fs::File::open("/dev/null")
            .expect("the null device")
            .into()
    }

    fn hand_over(port: u16) -> HandOver {
        HandOver {
            reason: HandOverReason::Foreign,
            local: SocketAddr::from(([127, 0, 0, 1], 1)),
            peer: SocketAddr::from(([127, 0, 0, 1], port)),
            connection: descriptor(),
        }
    }

    #[test]
    fn a_full_queue_closes_the_oldest() {
        let mut queue = HandOvers::default();
        let now = Instant::now();
        for port in 0..=u16::try_from(HAND_OVERS_MAX).expect("small") {
            queue.push(now, hand_over(port));
        }
        assert_eq!(queue.first().map(|first| first.peer.port()), Some(1));
    }

    #[test]
    fn what_waits_too_long_is_closed() {
        let mut queue = HandOvers::default();
        let now = Instant::now();
        queue.push(now, hand_over(1));
        queue.push(now + Duration::from_secs(1), hand_over(2));
        let end = now + HAND_OVER_AGE_MAX;
        assert_eq!(queue.expire(now), Some(end));
        assert_eq!(queue.expire(end), Some(end + Duration::from_secs(1)));
        assert_eq!(queue.first().map(|first| first.peer.port()), Some(2));
    }

    #[test]
    fn a_token_works_once_and_in_time() {
        let mut offers = Offers::default();
        let now = Instant::now();
        let second = Duration::from_secs(1);
        assert!(offers.insert(now, [1; 16], second, descriptor()));
        assert!(offers.insert(now, [2; 16], second, descriptor()));
        assert!(offers.take(now, &[1; 16]).is_some());
        assert!(offers.take(now, &[1; 16]).is_none());
        assert!(offers.take(now + second, &[2; 16]).is_none());
        assert_eq!(offers.expire(now), None);
    }
}

//! What becomes of one caller's calls, counted by the versions on both sides.

use super::tally::Tally;
use super::traffic::LiveTraffic;
use call::{Direction, Failure, Observer, Refusal};
use model::ids::Version;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Observes the calls of one connection.
pub(super) struct PairObserver {
    tally: Arc<Tally>,
    traffic: Arc<LiveTraffic>,
    caller: Version,
    /// The counter of the last call: the next is most often of the same pair.
    last: Mutex<Option<LastPair>>,
}

struct LastPair {
    software: Version,
    direction: Option<Direction>,
    counter: Arc<AtomicU64>,
}

impl PairObserver {
    /// For a caller of this version.
    pub(super) fn new(
        tally: &Arc<Tally>,
        traffic: &Arc<LiveTraffic>,
        caller: Version,
    ) -> Arc<Self> {
        Arc::new(Self {
            tally: Arc::clone(tally),
            traffic: Arc::clone(traffic),
            caller,
            last: Mutex::default(),
        })
    }
}

impl Observer for PairObserver {
    fn call(&self, direction: Option<Direction>, chain_length: usize) {
        let software = self.traffic.picture().standing.version;
        let mut last = self.last.lock();
        let known = last
            .as_ref()
            .filter(|last| (last.software, last.direction) == (software, direction));
        let counter = match known {
            Some(known) => Arc::clone(&known.counter),
            None => {
                let kind = direction.map_or("direct", Direction::name);
                let counter = self.tally.pair((self.caller, software, kind));
                *last = Some(LastPair {
                    software,
                    direction,
                    counter: Arc::clone(&counter),
                });
                counter
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.tally.call(direction, chain_length);
    }

    fn refused(&self, refusal: &Refusal) {
        self.tally.refused(refusal);
    }

    fn failed(&self, failure: &Failure) {
        self.tally.failed(failure);
    }
}

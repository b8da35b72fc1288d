//! Who is told what became of calls, and counts it.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::direction::Direction;
use crate::refusal::{Failure, Refusal, RefusalKind};

/// Told about every call.
pub trait Observer: Send + Sync {
    /// A call was given leave and goes through a chain of this length.
    fn call(&self, direction: Option<Direction>, chain_length: usize);
    /// A call was refused by an adapter.
    fn refused(&self, refusal: &Refusal);
    /// A call failed as in a crash.
    fn failed(&self, failure: &Failure);
}

/// Most distinct rules whose refusals are counted apart; later ones share one counter.
const RULES_MAX: usize = 1024;
/// Longest chain counted apart.
const CHAIN_MAX: usize = 8;

/// An [`Observer`] that counts.
#[derive(Debug, Default)]
pub struct Counters {
    direct: AtomicU64,
    past: [AtomicU64; CHAIN_MAX],
    future: [AtomicU64; CHAIN_MAX],
    failed: AtomicU64,
    refused: Mutex<BTreeMap<(RefusalKind, String), u64>>,
}

/// The counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Calls that passed unchanged.
    pub direct: u64,
    /// Past calls by chain length, the first being length 1.
    pub past: Vec<u64>,
    /// Future calls by chain length, the first being length 1.
    pub future: Vec<u64>,
    /// Calls that failed as in a crash.
    pub failed: u64,
    /// Refused calls by kind and rule.
    pub refused: Vec<(RefusalKind, String, u64)>,
}

impl Counters {
    /// Reads all counters.
    pub fn read(&self) -> Counted {
        let load = |all: &[AtomicU64]| all.iter().map(|c| c.load(Ordering::Relaxed)).collect();
        let refused = self.refused.lock();
        Counted {
            direct: self.direct.load(Ordering::Relaxed),
            past: load(&self.past),
            future: load(&self.future),
            failed: self.failed.load(Ordering::Relaxed),
            refused: refused
                .iter()
                .map(|((kind, rule), n)| (*kind, rule.clone(), *n))
                .collect(),
        }
    }
}

impl Observer for Counters {
    fn call(&self, direction: Option<Direction>, chain_length: usize) {
        let index = chain_length.clamp(1, CHAIN_MAX) - 1;
        let counter = match direction {
            None => &self.direct,
            Some(Direction::Past) => &self.past[index],
            Some(Direction::Future) => &self.future[index],
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn refused(&self, refusal: &Refusal) {
        let mut refused = self.refused.lock();
        let mut key = (refusal.kind, refusal.rule.clone());
        if refused.len() >= RULES_MAX && !refused.contains_key(&key) {
            key.1 = "(other)".to_owned();
        }
        *refused.entry(key).or_insert(0) += 1;
    }

    fn failed(&self, _: &Failure) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }
}

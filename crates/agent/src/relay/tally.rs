//! What the relay counts: calls, refusals, resets, open connections by their label.

use super::ResetReason;
use super::remarks::Remarks;
use call::{Counters, Direction, Failure, Observer, Refusal, RefusalKind};
use model::api::EventKind;
use model::ids::Version;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A caller's version, the software's, and how calls went between them.
pub(crate) type CallPair = (Version, Version, &'static str);

/// The agent's counters.
#[derive(Default)]
pub(crate) struct Tally {
    calls: Counters,
    named: Mutex<BTreeMap<String, u64>>,
    open: Mutex<BTreeMap<Version, u64>>,
    /// Calls by the caller's version, the software's, and how they went.
    between: Mutex<BTreeMap<CallPair, Arc<AtomicU64>>>,
    /// What people should know of it.
    pub(crate) remarks: Remarks,
    /// Calls of the software to what may be members, as often as they were seen.
    bypassed: AtomicU64,
}

impl Tally {
    /// Counts one of these.
    pub(crate) fn count(&self, name: &str) {
        self.add(name, 1);
    }

    /// Counts a connection that is reset.
    pub(crate) fn reset(&self, why: ResetReason) {
        self.count(why.counter());
    }

    /// Counts so many of these.
    pub(crate) fn add(&self, name: &str, number: u64) {
        let mut named = self.named.lock();
        match named.get_mut(name) {
            Some(counter) => *counter += number,
            None => drop(named.insert(name.to_owned(), number)),
        }
    }

    /// The software has called so often what has the port of a service and is no member's declared address.
    pub(crate) fn bypassed(&self, times: u64) {
        if self.bypassed.swap(times, Ordering::Relaxed) >= times {
            return;
        }
        let text = format!(
            "the software has called a service's port {times} times at addresses that no member has declared (connect.bypass.like_a_member): \
             such calls carry no label, and get the public version's interface. If they are members' addresses, declare them with `advertise`"
        );
        self.remarks
            .note(Instant::now(), EventKind::MemberBypassed, "", text);
    }

    /// Counts a connection as open at a version until the guard is dropped.
    pub(crate) fn connection(self: &Arc<Self>, version: Version) -> OpenConnection {
        *self.open().entry(version).or_default() += 1;
        OpenConnection(self.clone(), version)
    }

    /// Open connections by the version of their label.
    pub(crate) fn connections(&self) -> BTreeMap<Version, u64> {
        self.open().clone()
    }

    /// The counter of calls between two versions.
    pub(super) fn pair(&self, pair: CallPair) -> Arc<AtomicU64> {
        Arc::clone(self.between.lock().entry(pair).or_default())
    }

    /// Calls between versions.
    pub(crate) fn between(&self) -> BTreeMap<CallPair, u64> {
        let between = self.between.lock();
        let numbers = between.iter();
        numbers
            .map(|(pair, number)| (*pair, number.load(Ordering::Relaxed)))
            .collect()
    }

    /// Refused calls by the kind of reason.
    pub(crate) fn refusals(&self) -> BTreeMap<RefusalKind, u64> {
        let mut refused: BTreeMap<RefusalKind, u64> = BTreeMap::new();
        for (kind, _, number) in self.calls.read().refused {
            *refused.entry(kind).or_default() += number;
        }
        refused
    }

    fn open(&self) -> parking_lot::MutexGuard<'_, BTreeMap<Version, u64>> {
        self.open.lock()
    }

    /// Every counter by its name; those of calls are `calls.direct`, `calls.past.N` and `calls.future.N` (N: length of the chain).
    pub(crate) fn read(&self) -> BTreeMap<String, u64> {
        let mut all = self.named.lock().clone();
        let counted = self.calls.read();
        all.insert("calls.direct".to_owned(), counted.direct);
        all.insert("calls.failed".to_owned(), counted.failed);
        for (name, lengths) in [("past", counted.past), ("future", counted.future)] {
            for (index, number) in lengths
                .into_iter()
                .enumerate()
                .filter(|(_, number)| *number > 0)
            {
                all.insert(format!("calls.{name}.{}", index + 1), number);
            }
        }
        let mut refused = 0;
        for (kind, rule, number) in counted.refused {
            refused += number;
            all.insert(format!("refused.{}.{rule}", kind.name()), number);
        }
        all.insert("refused".to_owned(), refused);
        all
    }
}

impl Observer for Tally {
    fn call(&self, direction: Option<Direction>, chain_length: usize) {
        self.calls.call(direction, chain_length);
    }

    fn refused(&self, refusal: &Refusal) {
        self.calls.refused(refusal);
        if let (RefusalKind::Response, Some(cause)) = (refusal.kind, &refusal.cause) {
            let text = format!(
                "an answer of the software was refused: {}; it had said: {cause}",
                refusal.reason
            );
            let now = Instant::now();
            self.remarks
                .note(now, EventKind::AnswerRefused, &refusal.rule, text);
        }
    }

    fn failed(&self, failure: &Failure) {
        tracing::debug!(%failure, "a call failed");
        self.calls.failed(failure);
        if let Failure::Adapter(broken) = failure {
            let text = format!("an adapter failed ({}): {}", broken.rule, broken.reason);
            let now = Instant::now();
            self.remarks
                .note(now, EventKind::AdapterFailed, &broken.rule, text);
        }
    }
}

/// An open connection; counted until dropped.
pub(crate) struct OpenConnection(Arc<Tally>, Version);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let mut open = self.0.open();
        if let Some(number) = open.get_mut(&self.1) {
            *number -= 1;
            if *number == 0 {
                open.remove(&self.1);
            }
        }
    }
}

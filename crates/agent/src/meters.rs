//! What an agent counts as it happens, for those who watch the node. Everything is told from the first moment on, so that the first of its
//! kind is seen to be one more than none.

use metrics::catalogue::{
    AGENT_EVENTS, AGENT_SERVER_HEARD, AGENT_SERVER_REACHABLE, AGENT_SOFTWARE_CRASHES,
    AGENT_SOFTWARE_STARTS, AGENT_TRANSFORM_SECONDS, AGENT_TRANSFORMS,
};
use metrics::{Counter, Instruments, Readings};
use model::api::EventKind;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What an agent counts.
pub(crate) struct NodeMeters {
    pub(crate) instruments: Instruments,
    events: HashMap<&'static str, Counter>,
    starts: Counter,
    transforms: Counter,
    transform_micros: AtomicU64,
    /// When a server has answered last, in milliseconds since 1970.
    heard_ms: AtomicU64,
    reachable: AtomicBool,
}

impl fmt::Debug for NodeMeters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeMeters").finish_non_exhaustive()
    }
}

impl Default for NodeMeters {
    fn default() -> Self {
        let mut instruments = Instruments::default();
        let events = instruments.counters(&AGENT_EVENTS);
        let told = EventKind::ALL
            .iter()
            .filter(|kind| EventKind::is_a_nodes(kind.name()));
        Self {
            events: told
                .map(|kind| {
                    let counter = events.of([kind.name(), kind.severity().name()]);
                    (kind.name(), counter)
                })
                .collect(),
            starts: instruments.counter(&AGENT_SOFTWARE_STARTS),
            transforms: instruments.counter(&AGENT_TRANSFORMS),
            transform_micros: AtomicU64::new(0),
            heard_ms: AtomicU64::new(0),
            reachable: AtomicBool::new(false),
            instruments,
        }
    }
}

impl NodeMeters {
    /// The history is told something of this kind.
    pub(crate) fn note_event(&self, kind: &str) {
        if let Some(counter) = self.events.get(kind) {
            counter.inc();
        }
    }

    /// The software was started.
    pub(crate) fn note_start(&self) {
        self.starts.inc();
    }

    /// The state was transformed, or could not be.
    pub(crate) fn note_transform(&self, took: Duration) {
        self.transforms.inc();
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.transform_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// A server has answered, or has not.
    pub(crate) fn note_contact(&self, is_answered: bool) {
        self.reachable.store(is_answered, Ordering::Relaxed);
        if is_answered {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            let now_ms = since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0));
            self.heard_ms.store(now_ms, Ordering::Relaxed);
        }
    }

    /// What is not counted one by one.
    pub(crate) fn read(&self, readings: &mut Readings) {
        let crashes = self.events.get(EventKind::ChildCrashed.name());
        readings.put(&AGENT_SOFTWARE_CRASHES, crashes.map_or(0, Counter::get));
        let micros = self.transform_micros.load(Ordering::Relaxed) as f64;
        readings.put(&AGENT_TRANSFORM_SECONDS, micros / 1e6);
        let reachable = self.reachable.load(Ordering::Relaxed);
        readings.put(&AGENT_SERVER_REACHABLE, reachable);
        let heard_ms = self.heard_ms.load(Ordering::Relaxed) as f64;
        readings.put(&AGENT_SERVER_HEARD, heard_ms / 1e3);
    }
}

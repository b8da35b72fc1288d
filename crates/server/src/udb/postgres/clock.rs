//! The database's clock: what it said last, and how long ago that was.

use crate::ServerClock;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

/// Follows the database's clock. Until it has said anything it is this machine's.
#[derive(Clone, Debug)]
pub(super) struct DatabaseClock {
    begun: Instant,
    /// The database's time when this began.
    begun_ms: Arc<AtomicI64>,
}

impl Default for DatabaseClock {
    fn default() -> Self {
        let now_ms = i64::try_from(ServerClock::system().now_ms()).unwrap_or(i64::MAX);
        Self {
            begun: Instant::now(),
            begun_ms: Arc::new(AtomicI64::new(now_ms)),
        }
    }
}

impl DatabaseClock {
    /// The database has said its time, a moment ago.
    pub(super) fn note(&self, now_ms: i64) {
        let begun_ms = now_ms.saturating_sub(self.elapsed_ms());
        self.begun_ms.store(begun_ms, Ordering::Relaxed);
    }

    /// The same clock for whoever stamps times.
    pub(super) fn shared(&self) -> ServerClock {
        let clock = self.clone();
        ServerClock::new(move || {
            let now_ms = clock.begun_ms.load(Ordering::Relaxed) + clock.elapsed_ms();
            u64::try_from(now_ms).unwrap_or(0)
        })
    }

    fn elapsed_ms(&self) -> i64 {
        i64::try_from(self.begun.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

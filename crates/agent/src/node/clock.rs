//! The time that an agent goes by.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch that never go back: the wall clock at the start, and the monotonic clock from there.
#[derive(Clone, Copy, Debug)]
pub(super) struct NodeClock {
    begun: Instant,
    begun_ms: u64,
}

impl NodeClock {
    pub(super) fn new() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            begun: Instant::now(),
            begun_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        }
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.begun_ms + u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(0)
    }
}

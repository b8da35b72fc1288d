//! Waiting longer after every failure in a row.

/// The wait after a first failure.
const FIRST_MS: u64 = 250;

/// The longest wait: long enough to spare the machine, short enough that a mended cause shows soon.
const CAP_MS: u64 = 30_000;

/// What has gone well for so long starts again from the shortest wait.
const FORGIVEN_AFTER_MS: u64 = 60_000;

/// Failures in a row, and when to try again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct BackOff {
    failures: u32,
    due_at_ms: Option<u64>,
    /// Why the last try failed.
    pub(super) reason: Option<String>,
}

impl BackOff {
    /// Notes a failure.
    pub(super) fn fail(&mut self, now_ms: u64, reason: String) {
        self.fail_within(CAP_MS, now_ms, reason);
    }

    /// Notes a failure of what is tried again after `cap_ms` at the latest.
    pub(super) fn fail_within(&mut self, cap_ms: u64, now_ms: u64, reason: String) {
        let wait_ms = FIRST_MS
            .saturating_mul(1 << self.failures.min(16))
            .min(cap_ms);
        self.failures = self.failures.saturating_add(1);
        self.due_at_ms = Some(now_ms.saturating_add(wait_ms));
        self.reason = Some(reason);
    }

    /// Forgets everything.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Forgets earlier failures if it went well from `since_ms` for long enough.
    pub(super) fn forgive(&mut self, now_ms: u64, since_ms: u64) {
        if now_ms.saturating_sub(since_ms) >= FORGIVEN_AFTER_MS {
            self.reset();
        }
    }

    /// It may be tried now.
    pub(super) fn due(&self, now_ms: u64) -> bool {
        self.due_at_ms.is_none_or(|due_at_ms| due_at_ms <= now_ms)
    }

    /// When it may be tried, if not at once.
    pub(super) fn due_at_ms(&self) -> Option<u64> {
        self.due_at_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_are_forgiven() {
        let mut backoff = BackOff::default();
        assert!(backoff.due(0));
        let mut waits = Vec::new();
        for _ in 0..10 {
            backoff.fail(0, "x".to_owned());
            waits.push(backoff.due_at_ms().unwrap_or(0));
        }
        assert_eq!(waits[..4], [250, 500, 1000, 2000]);
        assert_eq!(waits[9], CAP_MS);
        assert!(!backoff.due(CAP_MS - 1) && backoff.due(CAP_MS));
        backoff.forgive(59_999, 0);
        assert!(!backoff.due(0));
        backoff.forgive(60_000, 0);
        assert!(backoff.due(0));
    }
}

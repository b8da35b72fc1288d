//! How long a receiver that did not take a message is left alone.

/// The longest pause that a receiver may ask for with `Retry-After`: an hour.
const ASKED_MS_MAX: u64 = 3_600_000;

/// Pauses that double from try to try up to a limit, with a random part, so that receivers which come back are not met by everybody at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPause {
    /// The first pause, in milliseconds.
    pub first_ms: u64,
    /// The longest.
    pub longest_ms: u64,
}

impl Default for RetryPause {
    /// From a second to five minutes.
    fn default() -> Self {
        Self {
            first_ms: 1_000,
            longest_ms: 300_000,
        }
    }
}

impl RetryPause {
    /// The pause after so many tries in vain (at least one): half of it is certain, the other half by `random`. What the receiver asks for is
    /// waited at least, an hour at most.
    #[must_use]
    pub fn after(&self, tries: u32, random: u64, asked_ms: Option<u64>) -> u64 {
        let doubled = 1_u64
            .checked_shl(tries.saturating_sub(1))
            .unwrap_or(u64::MAX);
        // Shifted beyond its width a number is none any more.
        let doubled = if tries > 63 { u64::MAX } else { doubled };
        let whole = self.first_ms.saturating_mul(doubled).min(self.longest_ms);
        let half = whole / 2;
        let pause = half + random % (whole - half + 1);
        pause.max(asked_ms.unwrap_or(0).min(ASKED_MS_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pause = RetryPause::default();
        let longest = |tries| pause.after(tries, 0, None) * 2;
        let found: Vec<u64> = (1..=5).map(longest).collect();
        assert_eq!(found, [1_000, 2_000, 4_000, 8_000, 16_000]);
        for tries in [10, 63, 64, 65, u32::MAX] {
            assert_eq!(longest(tries), 300_000, "{tries}");
        }
    }

    #[test]
    fn a_receiver_that_asks_for_time_gets_it_up_to_an_hour() {
        let pause = RetryPause::default();
        assert_eq!(pause.after(1, 0, Some(60_000)), 60_000);
        assert_eq!(pause.after(1, 0, Some(u64::MAX)), ASKED_MS_MAX);
        assert_eq!(pause.after(20, 0, Some(1)), 150_000);
    }

    proptest! {
        /// However often it fails, it is tried again within the longest pause, and never at once.
        #[test]
        fn a_pause_is_within_its_limits(tries in 1_u32.., random: u64, first in 1_u64..10_000, more in 0_u64..1_000_000) {
            let pause = RetryPause { first_ms: first, longest_ms: first + more };
            let found = pause.after(tries, random, None);
            prop_assert!(found >= first / 2 && found <= first + more);
        }
    }
}

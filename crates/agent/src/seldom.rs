//! What strangers can cause as often as they like is said seldom, so that it fills no log.

use std::time::{Duration, Instant};

/// How long nothing is said after something was.
const PAUSE: Duration = Duration::from_secs(60);

/// One thing that is said from time to time.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    said: Option<Instant>,
    unsaid: u64,
}

impl Seldom {
    /// It has happened: says whether that is to be said now, with how often it was not said since the last time.
    pub(crate) fn due(&mut self, now: Instant) -> Option<u64> {
        if self.said.is_some_and(|said| now < said + PAUSE) {
            self.unsaid += 1;
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::{PAUSE, Seldom};
    use std::time::{Duration, Instant};

    #[test]
    fn what_was_just_said_is_counted_and_said_later() {
        let mut seldom = Seldom::default();
        let begun = Instant::now();
        assert_eq!(seldom.due(begun), Some(0));
        assert_eq!(seldom.due(begun), None);
        assert_eq!(seldom.due(begun + PAUSE - Duration::from_nanos(1)), None);
        assert_eq!(seldom.due(begun + PAUSE), Some(2));
        assert_eq!(seldom.due(begun + PAUSE), None);
    }
}

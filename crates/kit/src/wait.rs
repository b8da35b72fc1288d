//! Waiting for conditions, each with a bound.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long anything that must happen may take, on a very busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(15);

/// Waits until `look` finds something; panics with `what` when it does not within [`LIMIT`].
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    until_ok(what, || look().ok_or("not yet"))
}

/// The same, and tells in the end why the last look found nothing.
pub fn until_ok<T, E: std::fmt::Display>(what: &str, mut look: impl FnMut() -> Result<T, E>) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        let problem = match look() {
            Ok(found) => return found,
            Err(problem) => problem,
        };
        assert!(Instant::now() < end, "waited in vain for {what}: {problem}");
        std::thread::sleep(PAUSE);
    }
}

/// The same for a condition.
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    until(what, || condition().then_some(()));
}

/// Says that something is over when it is dropped, so that threads which go by it end however the test does.
#[derive(Debug)]
pub struct OverAtEnd<'a>(pub &'a AtomicBool);

impl Drop for OverAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs what never waits for anything outside.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(work)
}

//! What this test shares with the library's own: finding programs, network namespaces, waiting.

#[path = "../../crates/preload/tests/library/harness/namespace.rs"]
#[expect(dead_code)] // Each test uses its part.
pub(crate) mod namespace;
#[path = "../../crates/preload/tests/library/harness/programs.rs"]
pub(crate) mod programs;

use std::time::{Duration, Instant};

/// How long anything may take: databases start in this time on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for a condition.
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "waited {PATIENCE:?} for: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

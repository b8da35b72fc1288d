//! A Redis Cluster of both versions in one network namespace, and the bus between the versions.

pub(crate) mod relay;
pub(crate) mod server;

use std::time::{Duration, Instant};

/// How long anything may take that the cluster does by itself, on a busy machine.
const BOUND: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// Waits until something holds.
pub(crate) fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + BOUND;
    while !holds() {
        assert!(Instant::now() < end, "in vain waited until {what}");
        std::thread::sleep(PAUSE);
    }
}

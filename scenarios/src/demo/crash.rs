//! Kills software outright: what its callers meet until it listens again is its crash, not Upstart's doing.

use super::history::Fault;
use super::open_connections::listens;
use super::processes::{send, software};
use super::store::{PART_LIMIT, Store};
use anyhow::bail;
use rustix::process::Signal;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A time during which a service's software was dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// The service, as `host:port`.
    pub address: String,
    /// From when, milliseconds since the Unix epoch.
    pub from_ms: u64,
    /// Until it listened again.
    pub until_ms: u64,
}

/// How much later than it happened a caller may write down what it met, milliseconds.
const LATE_MS: u64 = 1_000;

impl Crash {
    /// The fault is one that this crash explains.
    pub fn explains(&self, fault: &Fault) -> bool {
        fault.gateway == self.address
            && (self.from_ms..self.until_ms + LATE_MS).contains(&fault.wall_ms)
    }
}

/// Kills a node's software and waits until it listens again at this port.
pub async fn kill_software(store: &Store, node: &str, port: u16) -> anyhow::Result<Crash> {
    let data = store.system.data(node);
    let running = || software(&data, &store.system.program);
    let victims = running();
    if victims.is_empty() {
        bail!("the software of {node} does not run");
    }
    store
        .watcher
        .say(&format!("the software of {node} is killed"));
    store.watcher.connections_may_break(node);
    let from_ms = now_ms();
    for victim in &victims {
        send(victim.pid, Signal::KILL);
    }
    let last = Instant::now() + PART_LIMIT;
    let dead = || !running().iter().any(|process| victims.contains(process));
    while !(dead() && listens(port)) {
        if Instant::now() > last {
            bail!("the software of {node} does not come back after it was killed");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(Crash {
        address: format!("127.0.0.1:{port}"),
        from_ms,
        until_ms: now_ms(),
    })
}

fn now_ms() -> u64 {
    let passed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_meets_the_dead_service_is_explained() {
        let crash = Crash {
            address: "h:1".into(),
            from_ms: 100,
            until_ms: 200,
        };
        let fault = |gateway: &str, wall_ms| Fault {
            wall_ms,
            gateway: gateway.into(),
            fault: String::new(),
        };
        assert!(crash.explains(&fault("h:1", 150)));
        assert!(!crash.explains(&fault("h:2", 150)));
        assert!(!crash.explains(&fault("h:1", 99)));
        assert!(!crash.explains(&fault("h:1", 201 + LATE_MS)));
    }
}

//! Kills servers at random, and starts each again like a service manager.

use crate::demo::system::{DemoSystem, server};
use crate::demo::watcher::Watcher;
use anyhow::Context;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Between two kills, milliseconds.
const PAUSE_MS: std::ops::RangeInclusive<u64> = 300..=2_000;

/// How long a killed server stays away, milliseconds.
const AWAY_MS: std::ops::RangeInclusive<u64> = 0..=1_500;

/// How soon a service manager looks whether a server has ended by itself.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// Who kills servers.
#[derive(Debug)]
pub(super) struct ServerKills {
    over: Arc<AtomicBool>,
    work: JoinHandle<anyhow::Result<u64>>,
    managers: Vec<JoinHandle<()>>,
}

impl ServerKills {
    /// Kills one of the servers now and then, or two at once, with SIGKILL and in an order drawn from a seed that it says.
    pub(super) fn begin(system: &DemoSystem, watcher: &Watcher) -> Self {
        let seed = rand::random::<u64>();
        watcher.say(&format!("servers are killed from now on (seed {seed})"));
        let over = Arc::new(AtomicBool::new(false));
        let managed = |number| tokio::spawn(manage(system.clone(), watcher.clone(), number));
        Self {
            work: tokio::spawn(kill(Arc::clone(&over), seed, system.clone())),
            over,
            managers: (0..system.place.servers).map(managed).collect(),
        }
    }

    /// Kills no more; how many it has killed.
    pub(super) async fn end(self) -> anyhow::Result<u64> {
        self.over.store(true, Ordering::Relaxed);
        let killed = self.work.await.context("who kills servers broke off")?;
        self.managers.iter().for_each(JoinHandle::abort);
        killed
    }
}

async fn kill(over: Arc<AtomicBool>, seed: u64, system: DemoSystem) -> anyhow::Result<u64> {
    let mut chance = StdRng::seed_from_u64(seed);
    let servers = system.place.servers;
    let mut killed = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(chance.random_range(PAUSE_MS))).await;
        if over.load(Ordering::Relaxed) {
            return Ok(killed);
        }
        let first = chance.random_range(0..servers);
        let count = if servers > 2 && chance.random_ratio(1, 3) {
            2
        } else {
            1
        };
        for number in (first..first + count).map(|number| number % servers) {
            let name = server(number);
            if system.processes.runs(&name) {
                system.processes.kill(&name);
                killed += 1;
            }
        }
        let away_ms = chance.random_range(AWAY_MS);
        tokio::time::sleep(Duration::from_millis(away_ms)).await;
    }
}

/// Starts a server again whenever it has ended: one that was killed, or that did not find its database when it started.
async fn manage(system: DemoSystem, watcher: Watcher, number: u16) {
    let name = server(number);
    loop {
        tokio::time::sleep(LOOK_PAUSE).await;
        if system.processes.runs(&name) {
            continue;
        }
        if let Err(error) = system.start_server(number) {
            watcher.say(&format!("{error:#}"));
            return;
        }
    }
}

//! Kills agents at random, for `--chaos SEED`, and starts each again at once.

use super::system::DemoSystem;
use super::watcher::Watcher;
use harness::NodeOptions;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Between two killed agents at least, and at most so much more, milliseconds.
const KILL_EVERY_MS: (u64, u64) = (800, 1200);

/// Who kills agents.
#[derive(Clone, Debug, Default)]
pub struct Killer {
    over: Arc<AtomicBool>,
    killed: Arc<AtomicUsize>,
}

impl Killer {
    /// Kills an agent now and then, in an order that follows from the seed, and starts it again at once.
    pub fn begin(seed: u64, system: &DemoSystem, watcher: &Watcher, nodes: &[NodeOptions]) -> Self {
        let killer = Self::default();
        let work = killer
            .clone()
            .work(seed, system.clone(), watcher.clone(), nodes.to_vec());
        tokio::spawn(work);
        killer
    }

    async fn work(self, seed: u64, system: DemoSystem, watcher: Watcher, nodes: Vec<NodeOptions>) {
        let mut chance = StdRng::seed_from_u64(seed);
        loop {
            let (least, more) = KILL_EVERY_MS;
            let pause = chance.random_range(least..=least + more);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            let node = &nodes[chance.random_range(0..nodes.len())];
            watcher.connections_may_break(&node.name);
            system.processes.kill(&node.name);
            self.killed.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = system.start_agent(node, None) {
                watcher.say(&format!("{error:#}"));
            }
        }
    }

    /// Kills no more; how many it has killed.
    pub fn end(&self) -> usize {
        self.over.store(true, Ordering::Relaxed);
        self.killed.load(Ordering::Relaxed)
    }
}

//! `--chaos SEED`: agents are killed at random while the cluster upgrades, and a replica between the steps.

use super::forming::until;
use super::server::Server;
use super::vigil::{Aside, now_ms};
use crate::demo::processes::{send, software};
use crate::demo::system::{Node, System};
use crate::demo::watcher::Watcher;
use anyhow::bail;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::process::Signal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Between two killed agents at least, and at most so much more, milliseconds.
const KILL_EVERY_MS: (u64, u64) = (800, 1200);

/// Who kills agents.
#[derive(Clone, Debug, Default)]
pub(super) struct Killer {
    over: Arc<AtomicBool>,
    killed: Arc<AtomicUsize>,
}

impl Killer {
    /// Kills an agent now and then, in an order that follows from the seed, and starts it again at once.
    pub(super) fn begin(seed: u64, system: &System, watcher: &Watcher, nodes: &[Node]) -> Self {
        let killer = Self::default();
        let work = killer
            .clone()
            .work(seed, system.clone(), watcher.clone(), nodes.to_vec());
        tokio::spawn(work);
        killer
    }

    async fn work(self, seed: u64, system: System, watcher: Watcher, nodes: Vec<Node>) {
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
    pub(super) fn end(&self) -> usize {
        self.over.store(true, Ordering::Relaxed);
        self.killed.load(Ordering::Relaxed)
    }
}

/// Kills a replica's software outright, and waits until it is back in the cluster; it may be away until then.
pub(super) fn kill_software(
    system: &System,
    server: &Server,
    aside: &mut Aside,
) -> anyhow::Result<()> {
    let victims = software(&system.data(&server.name), &system.program);
    if victims.is_empty() {
        bail!("the software of {} does not run", server.name);
    }
    let from = now_ms();
    for victim in &victims {
        send(victim.pid, Signal::KILL);
    }
    until("the killed replica follows its master again", || {
        server.sees_all_served()?;
        match server
            .fact("INFO replication", "master_link_status")?
            .as_str()
        {
            "up" => Ok(()),
            other => bail!("{} says {other}", server.name),
        }
    })?;
    let spans = aside.entry(server.name.clone()).or_default();
    spans.push((from, now_ms()));
    Ok(())
}

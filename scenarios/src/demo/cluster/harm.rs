//! `--chaos SEED`: what is done to the cluster besides its killed agents.

use super::availability::{Aside, now_ms};
use super::forming::{until, whole};
use super::server::Server;
use crate::demo::processes::{send, software};
use crate::demo::system::DemoSystem;
use anyhow::bail;
use rustix::process::Signal;

/// Kills a replica's software outright, and waits until all are one cluster again: whatever a server tells the others at once, as when it takes
/// over, does not reach those to which its link is not made anew yet. The replica may be away until then.
pub(super) fn kill_software(
    system: &DemoSystem,
    servers: &[Server],
    victim: &Server,
    aside: &mut Aside,
) -> anyhow::Result<()> {
    let processes = software(&system.data(&victim.name), &system.program);
    if processes.is_empty() {
        bail!("the software of {} does not run", victim.name);
    }
    let from = now_ms();
    for process in &processes {
        send(process.pid, Signal::KILL);
    }
    until("the killed replica is one of them again", || {
        victim.sees_all_served()?;
        whole(servers)
    })?;
    let spans = aside.entry(victim.name.clone()).or_default();
    spans.push((from, now_ms()));
    Ok(())
}

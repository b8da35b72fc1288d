//! `--chaos SEED`: what is done to the cluster besides its killed agents.

use super::forming::until;
use super::server::Server;
use super::vigil::{Aside, now_ms};
use crate::demo::processes::{send, software};
use crate::demo::system::System;
use anyhow::bail;
use rustix::process::Signal;

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

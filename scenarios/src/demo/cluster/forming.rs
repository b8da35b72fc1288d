//! Makes six servers a cluster of three masters with a replica each, and looks whether they are one.

use super::server::{PORT, Seen, Server};
use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Masters; each has a replica.
pub(super) const SHARDS: usize = 3;

/// Which slots each master is given, from and to.
const SLOTS: [(u16, u16); SHARDS] = [(0, 5460), (5461, 10922), (10923, 16383)];

/// Slots in one command, which is one line with a limit.
const SLOTS_AT_ONCE: usize = 2000;

/// How long the cluster may take to find together.
const LIMIT: Duration = Duration::from_secs(60);

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// The masters come first, then their replicas in the same order. Gives each server's id by its node.
pub(super) fn form(servers: &[Server]) -> anyhow::Result<BTreeMap<String, String>> {
    let (masters, replicas) = servers.split_at(SHARDS);
    for (number, (master, (first, last))) in (1..).zip(masters.iter().zip(SLOTS)) {
        let slots: Vec<String> = (first..=last).map(|slot| slot.to_string()).collect();
        for part in slots.chunks(SLOTS_AT_ONCE) {
            master.ask(&format!("CLUSTER ADDSLOTS {}", part.join(" ")))?;
        }
        master.ask(&format!("CLUSTER SET-CONFIG-EPOCH {number}"))?;
    }
    let first = &servers[0];
    for other in &servers[1..] {
        other.ask(&format!("CLUSTER MEET {} {PORT}", first.address))?;
    }
    until("every server knows every other", || {
        for server in servers {
            let known = server.fact("CLUSTER INFO", "cluster_known_nodes")?;
            if known != servers.len().to_string() || server.nodes()?.iter().any(is_new) {
                bail!("{} knows {known} servers", server.name);
            }
        }
        Ok(())
    })?;
    for (master, replica) in masters.iter().zip(replicas) {
        replica.ask(&format!("CLUSTER REPLICATE {}", master.id()?))?;
    }
    until("every replica follows its master", || whole(servers))?;
    let ids = servers
        .iter()
        .map(|server| Ok((server.name.clone(), server.id()?)));
    ids.collect()
}

/// It has been met, and has not answered yet.
fn is_new(seen: &Seen) -> bool {
    seen.flags.iter().any(|flag| flag == "handshake")
}

/// Whether the cluster is sound, as every server sees it; the error says what is not.
///
/// Every server sees all slots served, all others connected and well, in each shard one master with the shard's slots, and one
/// replica that follows it.
pub(super) fn whole(servers: &[Server]) -> anyhow::Result<()> {
    for server in servers {
        server
            .sees_all_served()
            .with_context(|| server.name.clone())?;
        let seen = server.nodes()?;
        if seen.len() != servers.len() {
            bail!("{} sees {} servers", server.name, seen.len());
        }
        sound(&seen).with_context(|| format!("as {} sees it", server.name))?;
        let role = server.fact("INFO replication", "role")?;
        if role == "slave" && server.fact("INFO replication", "master_link_status")? != "up" {
            bail!("{} does not follow its master", server.name);
        }
    }
    Ok(())
}

fn sound(seen: &[Seen]) -> anyhow::Result<()> {
    if let Some(other) = seen.iter().find(|seen| {
        let is_ill = seen
            .flags
            .iter()
            .any(|flag| flag.contains("fail") || flag == "handshake");
        is_ill || !seen.is_connected
    }) {
        bail!("{} is {}", other.id, other.flags.join(","));
    }
    for (first, last) in SLOTS {
        let slots = format!("{first}-{last}");
        let mut masters = seen.iter().filter(|seen| seen.slots == slots);
        let (Some(master), None) = (masters.next(), masters.next()) else {
            bail!("not one server has the slots {slots}");
        };
        let replicas = seen
            .iter()
            .filter(|seen| seen.master.as_ref() == Some(&master.id));
        if !master.flags.iter().any(|flag| flag == "master") || replicas.count() != 1 {
            bail!(
                "{} with the slots {slots} is no master with one replica",
                master.id
            );
        }
    }
    Ok(())
}

/// Waits until something holds.
pub(super) fn until(what: &str, holds: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let last = Instant::now() + LIMIT;
    loop {
        match holds() {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > last => {
                bail!(
                    "waited {} s in vain until {what}: {error:#}",
                    LIMIT.as_secs()
                )
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shards() -> Vec<Seen> {
        let seen = |id: String, role: &str, master: Option<String>, slots: String| Seen {
            id,
            flags: vec![role.to_owned()],
            master,
            is_connected: true,
            slots,
        };
        let shard = |(number, (first, last))| {
            let master = format!("m{number}");
            [
                seen(
                    format!("r{number}"),
                    "slave",
                    Some(master.clone()),
                    String::new(),
                ),
                seen(master, "master", None, format!("{first}-{last}")),
            ]
        };
        SLOTS.into_iter().enumerate().flat_map(shard).collect()
    }

    #[test]
    fn what_is_not_sound_is_seen() {
        sound(&shards()).expect("sound");
        let without = |change: fn(&mut Vec<Seen>)| {
            let mut seen = shards();
            change(&mut seen);
            sound(&seen).expect_err("not sound").to_string()
        };
        assert!(without(|seen| seen[1].flags.push("fail?".to_owned())).starts_with("m0 is"));
        assert!(without(|seen| seen[0].is_connected = false).starts_with("r0 is"));
        assert!(without(|seen| seen[0].master = Some("m1".to_owned())).contains("0-5460"));
        assert!(without(|seen| seen[3].slots = "5461-10921".to_owned()).contains("5461-10922"));
    }
}

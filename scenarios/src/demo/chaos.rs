//! `--chaos SEED`: the same upgrades while agents, children and the server are killed and upgrades fail.

use super::Ending;
use super::crash::{Crash, kill_software};
use super::journal_kills::JournalKills;
use super::judge::Judged;
use super::labels;
use super::place::{Place, copy_tree};
use super::processes::Processes;
use super::store::{DEMANDS, LAST, POLL_MS, Store};
use super::summary::{Demands, Summary};
use super::system::{SERVER, all_at, describe};
use anyhow::{Context, bail};
use model::api::{NodeFact, Phase, SystemView};
use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long the server stays away.
const SERVER_AWAY: Duration = Duration::from_secs(6);

/// How long an upgrade may take that is killed again and again.
const HARASSED_LIMIT: Duration = Duration::from_secs(180);

/// What a run must reach; in how many ways versions meet is left to chance here.
const CHAOS_DEMANDS: Demands = Demands {
    calls: 10_000,
    writes: 2_500,
    two_steps: 0,
    live: 2,
    refusals: super::summary::Refusals::Never,
    ..DEMANDS
};

/// Runs the store through all that may go wrong, then the spreading of an upgrade by labels alone.
pub async fn run(
    place: &Place,
    processes: Arc<Processes>,
    program: PathBuf,
    seed: u64,
) -> anyhow::Result<Ending> {
    let store = Store::prepare(place, Arc::clone(&processes), program.clone(), POLL_MS).await?;
    let kills = JournalKills::new(&store.nodes, seed);
    kills.begin(&store);
    store.start(|node| kills.next(node)).await?;
    store.calls(1000).await?;
    fail_and_mend(&store, place, &kills).await?;
    let mut crashes = crash_all(&store, seed).await?;
    fail_transform_once(&store, place).await?;
    crashes.extend(crash_all(&store, seed + 1).await?);
    store.retire_all(LAST - 1).await?;
    store.enough(&CHAOS_DEMANDS).await?;
    let behind = store.behind().await?;
    store.finish_clients()?;
    let summary = summary(&store, store.judge(LAST)?, &crashes, &kills);
    let demands = Demands {
        resets_max: store.watcher.resets_max(),
        ..CHAOS_DEMANDS
    };
    let mut shortcomings = summary.shortcomings(&demands, store.watcher.live_max(), &behind);
    shortcomings.extend(kills.left());
    store.watcher.end();
    processes.end_below(&place.root);
    let second = labels::run(&Place::beside(place, "labels")?, processes, program).await?;
    shortcomings.extend(second.shortcomings);
    Ok(Ending {
        summary: summary.and(&second.summary),
        shortcomings,
    })
}

/// Version 2 comes out broken: who tries it goes back and serves on, and the others do not begin it. Its revision then takes them all there,
/// with the server away for a while in the middle.
async fn fail_and_mend(store: &Store, place: &Place, kills: &JournalKills) -> anyhow::Result<()> {
    let broken = break_probes(&store.bundles[1], &place.root.join("bundles/v2-broken"))?;
    store.system.publish(&broken, false)?;
    store
        .watcher
        .say("version 2 is published, and its probes fail");
    store.system.approve(2, None, None).await?;
    let held = |view: &SystemView| {
        let phase = |fact: &NodeFact| fact.report.status.phase;
        let waits = |fact: &NodeFact| {
            matches!(phase(fact), Phase::Blocked | Phase::Staged)
                && fact.report.status.reason.is_some()
        };
        let mut nodes = view.nodes.iter();
        nodes.any(|fact| phase(fact) == Phase::Blocked) && view.nodes.iter().all(waits)
    };
    let view = store
        .system
        .wait(
            "a node is blocked and holds the others",
            HARASSED_LIMIT,
            held,
        )
        .await?;
    for fact in &view.nodes {
        let status = &fact.report.status;
        let reason = status.reason.clone().unwrap_or_default();
        if status.phase == Phase::Blocked && !reason.contains("probe") {
            bail!("{} is blocked, but not by its probe: {reason}", fact.name);
        }
        if status.phase == Phase::Staged && kills.excuse(&fact.name) {
            // Its agent would die at nothing any more: the next one is dealt another point.
            store.system.processes.signal(&fact.name, Signal::KILL);
        }
    }
    store.watcher.say(&format!(
        "what is blocked at a node is begun at no other, and all serve on: {}",
        describe(&view)
    ));
    store.calls(1000).await?;
    store.system.publish(&store.bundles[1], true)?;
    store.watcher.say("version 2 is revised");
    let one = |view: &SystemView| {
        view.nodes
            .iter()
            .any(|fact| fact.report.status.version.0 == 2)
    };
    store.wait("one node is at version 2", one).await?;
    store.watcher.say("the server is stopped");
    store.system.processes.stop(SERVER, SERVER_AWAY);
    store.calls(500).await?;
    tokio::time::sleep(SERVER_AWAY).await;
    store.system.start_server(0)?;
    store.watcher.say("the server is back");
    let there = |view: &SystemView| all_at(view, &[], 2);
    store
        .system
        .wait("every node is at version 2", HARASSED_LIMIT, there)
        .await?;
    store.calls(500).await
}

/// The transform to version 3 fails the first time it is run.
async fn fail_transform_once(store: &Store, place: &Place) -> anyhow::Result<()> {
    let marker = place.root.join("transform-fails");
    fs::write(&marker, "")?;
    let changed = place.root.join("bundles/v3-failing");
    copy_tree(&store.bundles[2], &changed)?;
    let transform = changed.join("transform.py");
    let text = fs::read_to_string(&transform)?;
    let failing = format!(
        "import os, time\nif os.path.exists({path:?}):\n    while os.path.exists({path:?}):\n        time.sleep(0.02)\n    raise SystemExit('fails once')\n",
        path = marker.display().to_string()
    );
    let (head, body) = text
        .split_once("\nimport os\n")
        .context("the transform has changed")?;
    fs::write(&transform, format!("{head}\n{failing}{body}"))?;
    store.system.publish(&changed, false)?;
    store
        .watcher
        .say("version 3 is published, and its transform fails once");
    store.system.approve(3, None, None).await?;
    let transforming = |view: &SystemView| {
        let mut storage = view.nodes.iter().filter(|fact| fact.class == "storage");
        storage.any(|fact| fact.report.status.phase == Phase::Transforming)
    };
    store
        .system
        .wait(
            "a storage node transforms its state",
            HARASSED_LIMIT,
            transforming,
        )
        .await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    fs::remove_file(&marker)?;
    let there = |view: &SystemView| all_at(view, &[], LAST);
    store
        .system
        .wait("every node is at version 3", HARASSED_LIMIT, there)
        .await?;
    store.calls(500).await
}

/// Kills the software of one node of each class that serves something, one after the other.
async fn crash_all(store: &Store, seed: u64) -> anyhow::Result<Vec<Crash>> {
    let mut crashes = Vec::new();
    let base = store.system.place.base;
    for (class, count, port) in [("storage", 3, base), ("gateway", 2, base + 20)] {
        let number = u16::try_from(seed % count)?;
        let node = format!("{class}-{}", number + 1);
        crashes.push(kill_software(store, &node, port + number).await?);
        store.calls(500).await?;
    }
    Ok(crashes)
}

/// A copy of a bundle whose probes never succeed.
fn break_probes(bundle: &Path, copy: &Path) -> anyhow::Result<PathBuf> {
    copy_tree(bundle, copy)?;
    let file = copy.join("upgrade.toml");
    let text = fs::read_to_string(&file)?;
    let broken = text
        .replace(
            "probe = { http = \"/status\",",
            "probe = { http = \"/broken\", timeout_ms = 3000,",
        )
        .replace(
            "probe = { alive_ms = 500 }",
            "probe = { command = [\"false\"], timeout_ms = 2000 }",
        );
    if broken.matches("timeout_ms = 3000").count() != 2 || broken.matches("\"false\"").count() != 1
    {
        bail!("the probes of {} are not as they were", bundle.display());
    }
    fs::write(&file, broken)?;
    Ok(copy.to_owned())
}

/// What killed software explains is counted apart.
fn summary(store: &Store, judged: Judged, crashes: &[Crash], kills: &JournalKills) -> Summary {
    let explained = |fault: &_| crashes.iter().any(|crash| crash.explains(fault));
    let by_crash = judged
        .refusals
        .iter()
        .filter(|fault| explained(fault))
        .count() as u64;
    let mut summary = store.summary(&judged);
    summary.connections_refused -= by_crash;
    summary.crash_failed = Some(by_crash);
    summary.kill_points = Some(kills.points());
    summary
}

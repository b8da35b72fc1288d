//! An upgrade that spreads by labels alone: nobody polls, nothing waits for anybody, and only one client is told.

use super::Ending;
use super::place::{Place, copy_tree};
use super::processes::Processes;
use super::store::{DEMANDS, Store};
use super::summary::Demands;
use super::system::all_at;
use anyhow::{Context, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Agents ask the server once an hour: not within this run.
const POLL_MS: u64 = 3_600_000;

/// The client that is told.
const TOLD: &str = "client-1";

/// What is demanded. Agents that do not poll do not report their counters either, so nothing is asked of these.
const LABEL_DEMANDS: Demands = Demands {
    calls: 3_000,
    writes: 500,
    cross_version: 0,
    two_steps: 0,
    live: 2,
    refusals: super::summary::Refusals::Never,
    ..DEMANDS
};

/// Version 2 without schedules, and without waiting until all have staged.
fn unscheduled(bundle: &Path, copy: &Path) -> anyhow::Result<PathBuf> {
    copy_tree(bundle, copy)?;
    let file = copy.join("upgrade.toml");
    let text = fs::read_to_string(&file)?;
    let lines = text.lines().filter(|line| !line.starts_with("schedule = "));
    let rest = lines.collect::<Vec<_>>().join("\n");
    let (head, classes) = rest
        .split_once("\n[class.")
        .context("an upgrade file without classes")?;
    fs::write(
        &file,
        format!("{head}\n[settings]\nrequire_staged = false\n\n[class.{classes}\n"),
    )?;
    Ok(copy.to_owned())
}

/// Runs it.
pub async fn run(
    place: &Place,
    processes: Arc<Processes>,
    program: PathBuf,
) -> anyhow::Result<Ending> {
    let store = Store::prepare(place, processes, program, POLL_MS).await?;
    store.start(|_| None).await?;
    store.calls(1000).await?;
    let bundle = unscheduled(
        &store.bundles[1],
        &place.root.join("bundles/v2-unscheduled"),
    )?;
    store.system.publish(&bundle, false)?;
    store.watcher.say("version 2 is published; nobody is told");
    store.calls(1000).await?;
    let view = store.system.view().await?;
    if let Some(fact) = view
        .nodes
        .iter()
        .find(|fact| fact.report.status.staged.0 > 1)
    {
        bail!("{} has learned of version 2 without a label", fact.name);
    }
    store.watcher.say(&format!("only {TOLD} is told"));
    // An agent asks the server when it starts: that is how this one is told.
    let told = store
        .nodes
        .iter()
        .find(|node| node.name == TOLD)
        .context("no such client")?;
    store.system.stop_agent(TOLD);
    store.system.start_agent(told, None)?;
    let spread = |view: &model::api::SystemView| all_at(view, &["gateway", "storage"], 2);
    store
        .wait("every gateway and storage node is at version 2", spread)
        .await?;
    store
        .watcher
        .say("every gateway and storage node has learned of version 2 by labels");
    store.calls(1000).await?;
    store.enough(&LABEL_DEMANDS).await?;
    store.finish_clients()?;
    let summary = store.summary(&store.judge(1)?);
    let demands = Demands {
        resets_max: store.watcher.resets_max(),
        ..LABEL_DEMANDS
    };
    let shortcomings = summary.shortcomings(&demands, store.watcher.live_max(), &[]);
    store.watcher.end();
    Ok(Ending {
        summary,
        shortcomings,
    })
}

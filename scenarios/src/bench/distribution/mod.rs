//! What artifacts cost the network: how much of a large one a node fetches when little of it has changed, and how many copies of one leave
//! the server for many fetchers. All is counted on the way from the server, with everything else that it says meanwhile.

mod fetchers;

use super::figures::machine;
use super::stage::{end_on_signals, place};
use crate::demo::place::{Place, repository};
use crate::demo::processes::Processes;
use crate::demo::system::{DemoSystem, all_at};
use agent::fetch::WantedFile;
use anyhow::Context;
use clap::Args;
use client::Client;
use fetchers::{Fetchers, WayToServer};
use harness::NodeOptions;
use kit::Relay;
use model::api::{HeldUpgrade, SystemView};
use model::ids::{Revision, Version};
use model::manifest::Manifest;
use serde::Serialize;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use xtask::workspace::{Profile, Workspace};

/// What is written at once.
const BLOCK_BYTES: usize = 1 << 20;

/// In how many places an artifact is changed, by a block each.
const CHANGES: u64 = 20;

/// What is inserted, and where in a block: no other block stays where it was.
const INSERTED_BYTES: usize = BLOCK_BYTES - 3;
const INSERTED_AT: usize = 123_457;

/// How large what many fetch is, in blocks.
const SHARED_BLOCKS: u64 = 16;

/// How long a node may take to fetch and upgrade.
const UPGRADE_LIMIT: Duration = Duration::from_secs(900);

/// Arguments of `cargo xtask bench distribution`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Print the result as one line of JSON on stdout
    #[arg(long)]
    json: bool,
    /// How large the artifact is, in MiB
    #[arg(long, default_value_t = 2048)]
    mebibytes: u64,
    /// How many fetch the same 16 MiB
    #[arg(long, default_value_t = 1000)]
    fetchers: usize,
    /// With 128 MiB, a fifth of the changes, and 20 fetchers
    #[arg(long)]
    quick: bool,
    /// Measure what `cargo xtask demo` runs, not a release build
    #[arg(long)]
    dev: bool,
}

impl Options {
    /// The artifact's blocks, the changes, and the fetchers.
    fn sizes(&self) -> (u64, u64, usize) {
        if self.quick {
            (128, CHANGES / 5, 20)
        } else {
            (self.mebibytes, CHANGES, self.fetchers)
        }
    }
}

/// The report.
#[derive(Debug, Serialize)]
struct Report {
    machine: String,
    artifact_bytes: u64,
    moved_bytes: u64,
    /// What came from the server for the second version, as a part of the artifact.
    moved_fraction: f64,
    /// How many copies came from the server for all fetchers.
    server_copies: f64,
    fetchers: usize,
    /// From the publication of the second version until the node serves it.
    seconds: f64,
    /// From the first question of the fetchers until the last one had it.
    fetchers_seconds: f64,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::find()?;
    let profile = if options.dev {
        Profile::Dev
    } else {
        Profile::Release
    };
    let binary = workspace.build(profile)?;
    let place = place("bench")?;
    let processes = Arc::new(Processes::default());
    end_on_signals(&processes, &place);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let measured = runtime.block_on(measure(&place, &processes, &binary, options.sizes()));
    processes.end_all(&place.root);
    let report = measured.with_context(|| format!("see the logs in {}", place.root.display()))?;
    std::fs::remove_dir_all(&place.root)?;
    eprint!("{}", table(&report));
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    Ok(ExitCode::SUCCESS)
}

fn table(report: &Report) -> String {
    format!(
        "{}\n{} of {} MiB moved ({:.2} %) in {:.1} s; {} fetchers of {SHARED_BLOCKS} MiB cost the server {:.1} copies and took {:.1} s\n",
        report.machine,
        report.moved_bytes >> 20,
        report.artifact_bytes >> 20,
        report.moved_fraction * 100.0,
        report.seconds,
        report.fetchers,
        report.server_copies,
        report.fetchers_seconds,
    )
}

async fn measure(
    place: &Place,
    processes: &Arc<Processes>,
    binary: &Path,
    (blocks, changes, fetchers): (u64, u64, usize),
) -> anyhow::Result<Report> {
    let system = DemoSystem::start(place, Arc::clone(processes), binary.to_owned()).await?;
    let relay = Relay::start(place.server_port(0))?;
    let example = repository().join("examples/0-greeting");
    let first = place.bundle(&example, "v1")?;
    let artifact_bytes = write_artifact(&first.join("data"), blocks, 0)?;
    write_artifact(&first.join("shared"), SHARED_BLOCKS, 0)?;
    system.publish(&first, false)?;
    let token = place.root.join("token");
    let node = NodeOptions::of("node", "greeter")
        .variable("port", place.base + 100)
        .server(&relay.url(), &token)
        .poll_ms(1000);
    system.start_agent(&node, None)?;
    let at =
        |version| move |view: &SystemView| !view.nodes.is_empty() && all_at(view, &[], version);
    system.wait("the node serves", UPGRADE_LIMIT, at(1)).await?;

    let second = place.bundle(&example, "v2")?;
    write_artifact(&second.join("data"), blocks, changes)?;
    std::fs::copy(first.join("shared"), second.join("shared"))?;
    let before = relay.came();
    system.publish(&second, false)?;
    let published = Instant::now();
    system
        .wait("the node is upgraded", UPGRADE_LIMIT, at(2))
        .await?;
    let seconds = published.elapsed().as_secs_f64();
    let moved_bytes = relay.came() - before;
    system.finish_software("node")?;
    let way = WayToServer {
        url: relay.url(),
        token: std::fs::read_to_string(&token)?.trim().to_owned(),
        class: "greeter".to_owned(),
    };
    let folder = place.root.join("fetchers");
    let (copies, fetchers_seconds) =
        copies(system.client(), &relay, &way, fetchers, &folder).await?;
    Ok(Report {
        machine: machine(),
        artifact_bytes,
        moved_bytes,
        moved_fraction: moved_bytes as f64 / artifact_bytes as f64,
        server_copies: copies,
        fetchers,
        seconds,
        fetchers_seconds,
    })
}

/// Has so many nodes fetch the same artifact, in folders below this one; gives how often it came from the server, and how long that took.
async fn copies(
    client: &Client,
    relay: &Relay,
    way: &WayToServer,
    count: usize,
    root: &Path,
) -> anyhow::Result<(f64, f64)> {
    let summary = client.upgrade(Version(2)).await?;
    let text = client.manifest(Version(2), Revision(1)).await?;
    let manifest = Manifest::parse(&text)?;
    let shared = WantedFile::from(manifest.file("shared").context("it is published")?);
    let upgrade = HeldUpgrade {
        version: summary.version,
        revision: summary.revision,
        manifest_sha256: summary.manifest_sha256,
        in_use: false,
    };
    let fetchers = Fetchers::start(way, count, root).await?;
    let (before, begun) = (relay.came(), Instant::now());
    fetchers.fetch(upgrade, shared).await?;
    let copies = (relay.came() - before) as f64 / shared.size as f64;
    Ok((copies, begun.elapsed().as_secs_f64()))
}

/// Writes an artifact that does not shrink: so many blocks, with so many changes at even distances, insertions and overwritten blocks in
/// turn. Gives its size.
fn write_artifact(path: &Path, blocks: u64, changes: u64) -> anyhow::Result<u64> {
    let mut file = BufWriter::new(File::create(path)?);
    let distance = blocks.checked_div(changes).unwrap_or(u64::MAX).max(1);
    let mut bytes = 0;
    for number in 0..blocks {
        let block = block(number);
        let change = (number % distance == distance / 2).then_some(number / distance);
        let written: Vec<u8> = match change {
            Some(change) if change % 2 == 0 => self::block(blocks + number),
            Some(_) => {
                let (head, tail) = block.split_at(INSERTED_AT);
                let inserted = self::block(blocks + number);
                [head, &inserted[..INSERTED_BYTES], tail].concat()
            }
            None => block,
        };
        file.write_all(&written)?;
        bytes += written.len() as u64;
    }
    file.into_inner()?.sync_all()?;
    Ok(bytes)
}

/// A block of its own for each number.
fn block(number: u64) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(number + 1);
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    while block.len() < BLOCK_BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        block.extend(state.to_le_bytes());
    }
    block
}

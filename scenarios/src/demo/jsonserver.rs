//! Example 3: json-server 0.17.4 to 1.0.0-beta.3, three servers with data of their own, callers in the words of both versions.

use super::Ending;
use super::differential;
use super::forms::{self, Outcome, Record};
use super::judge::{self, Judged};
use super::outside::ClientProgram;
use super::place::{Place, copy_tree, repository};
use super::processes::Processes;
use super::summary::{Demands, Spread, Summary};
use super::system::{DemoSystem, all_at, describe, is_at};
use super::watcher::Watcher;
use super::{ask, summary};
use anyhow::{Context, bail};
use harness::NodeOptions;
use model::ids::Version;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SERVERS: usize = 3;
const CLIENTS: usize = 2;
const OUTSIDE: usize = 1;
const WORKERS: usize = 4;
/// How many items each worker has at each server; `KEYS` of client.py.
const KEYS: usize = 3;
const PAUSE_MS: u64 = 20;
const POLL_MS: u64 = 300;
const PART_LIMIT: Duration = Duration::from_secs(120);
const LAST: u32 = 2;
/// How often the old version is stopped while it writes.
const STOPS: u32 = 5;

/// What a run must reach. Searches of old callers are refused, as the example's table says.
const DEMANDS: Demands = Demands {
    calls: 6_000,
    writes: 2_000,
    cross_version: 500,
    two_steps: 0,
    resets_max: 0,
    live: 2,
    refusals: summary::Refusals::Listed,
};

/// Installs both versions from npm; where they are.
///
/// # Errors
/// When npm or the network is missing.
pub fn install(example: &Path) -> anyhow::Result<PathBuf> {
    let modules = repository().join("target/examples/json-server");
    let setup = Command::new("python3")
        .arg(example.join("setup.py"))
        .arg(&modules)
        .output();
    let output = setup.context("cannot run python3")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().last().unwrap_or_default();
        bail!("json-server could not be installed from npm: {last}");
    }
    Ok(modules)
}

/// Stops the old version under writes; what it had acknowledged and its file does not have.
fn stops(example: &Path, modules: &Path) -> anyhow::Result<Vec<String>> {
    let output = Command::new("node")
        .arg(example.join("tests/stop.cjs"))
        .arg(modules.join("v1/node_modules"))
        .arg(STOPS.to_string())
        .output()
        .context("cannot run node")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let missing: Vec<String> = said.lines().map(str::to_owned).collect();
    if !output.status.success() && missing.is_empty() {
        bail!("stop.cjs: {}", String::from_utf8_lossy(&output.stderr));
    }
    eprintln!("{STOPS} stops under writes lost {}", missing.len());
    Ok(missing)
}

/// A version's bundle with its software and its callers.
fn bundle(place: &Place, example: &Path, modules: &Path, version: u32) -> anyhow::Result<PathBuf> {
    let name = format!("v{version}");
    let copy = place.bundle(example, &name)?;
    let archive = "software.tar.gz";
    std::fs::copy(modules.join(&name).join(archive), copy.join(archive))?;
    copy_tree(&example.join("client"), &copy.join("client"))?;
    std::fs::write(copy.join("client/version"), version.to_string())?;
    Ok(copy)
}

/// What the servers begin with: an item for every key, never written.
fn first_data(place: &Place) -> anyhow::Result<PathBuf> {
    let items = (CLIENTS + OUTSIDE) * WORKERS * KEYS;
    let posts: Vec<_> = (1..=items).map(|id| json!({"id": id})).collect();
    let data = json!({"posts": posts, "comments": [], "tags": [], "profile": {"name": "typicode"}});
    let path = place.root.join("first.json");
    std::fs::write(&path, serde_json::to_vec_pretty(&data)?)?;
    Ok(path)
}

struct Run {
    system: DemoSystem,
    watcher: Watcher,
    nodes: Vec<NodeOptions>,
    outside: ClientProgram,
    began: Instant,
}

/// The demo.
///
/// # Errors
/// When something does not start or the system does not get on.
pub async fn run(
    place: &Place,
    processes: Arc<Processes>,
    program: PathBuf,
) -> anyhow::Result<Ending> {
    let began = Instant::now();
    let example = repository().join("examples/3-json-server");
    let modules = install(&example)?;
    let folder = place.folder("differential")?;
    let of_run = (example.clone(), modules.clone());
    let differential =
        tokio::task::spawn_blocking(move || differential::run(&of_run.0, &of_run.1, &folder))
            .await??;
    eprintln!("the differential test: {:?}", differential.counts());
    let unwritten = stops(&example, &modules)?;
    let bundles = [
        bundle(place, &example, &modules, 1)?,
        bundle(place, &example, &modules, 2)?,
    ];
    let run = Run::start(place, processes, program, &bundles, began).await?;
    run.upgrade(&bundles[1]).await?;
    run.retire().await?;
    run.enough().await?;
    let behind = run.behind().await?;
    let judged = run.finish()?;
    let summary = Summary {
        differential: Some(differential.counts()),
        ..run.summary(&judged)
    };
    let demands = Demands {
        resets_max: run.watcher.resets_max(),
        ..DEMANDS
    };
    let mut shortcomings = summary.shortcomings(&demands, run.watcher.live_max(), &behind);
    shortcomings.extend(differential.shortcomings());
    shortcomings.extend(unwritten);
    Ok(Ending {
        summary,
        shortcomings,
    })
}

impl Run {
    async fn start(
        place: &Place,
        processes: Arc<Processes>,
        program: PathBuf,
        bundles: &[PathBuf; 2],
        began: Instant,
    ) -> anyhow::Result<Self> {
        let addresses: Vec<String> = (0..SERVERS as u16)
            .map(|number| format!("127.0.0.1:{}", place.base + number))
            .collect();
        let outside = ClientProgram {
            programs: bundles.iter().map(|b| b.join("client/client.py")).collect(),
            modules: None,
            flag: "--servers",
            history: place.folder("history")?,
            addresses,
            hosts: Arc::clone(&place.hosts),
            clients: CLIENTS + OUTSIDE,
            workers: WORKERS,
            pause_ms: PAUSE_MS,
            logs: place.folder("logs")?,
        };
        let system = DemoSystem::start(place, processes, program).await?;
        system.publish(&bundles[0], false)?;
        let port = |number| (format!("server-{}", number + 1), place.base + number);
        let ports = (0..SERVERS as u16).map(port).collect();
        let watcher = Watcher::begin(&system, &outside.history, ports)?;
        let nodes = nodes(place, &outside, &first_data(place)?);
        for node in &nodes {
            system.start_agent(node, None)?;
        }
        let count = nodes.len();
        system
            .wait("every node serves version 1", PART_LIMIT, |view| {
                view.nodes.len() == count && all_at(view, &[], 1)
            })
            .await?;
        for number in CLIENTS..CLIENTS + OUTSIDE {
            outside.start(&system.processes, number, 1)?;
        }
        Ok(Self {
            system,
            watcher,
            nodes,
            outside,
            began,
        })
    }

    /// One client goes ahead, then the servers one by one, then the other client; callers outside stay behind.
    async fn upgrade(&self, bundle: &Path) -> anyhow::Result<()> {
        self.calls(500).await?;
        self.system.publish(bundle, false)?;
        self.watcher
            .say("version 2 is published; client-1 goes ahead");
        self.system.approve(LAST, None, Some("client-1")).await?;
        self.system
            .wait("the first client is at version 2", PART_LIMIT, |view| {
                view.nodes
                    .iter()
                    .any(|fact| fact.name == "client-1" && is_at(fact, LAST))
            })
            .await?;
        self.until("future calls", || self.watcher.crossed().future)
            .await?;
        for class in ["server", "client"] {
            self.watcher
                .say(&format!("class {class} may go to version 2"));
            self.system.approve(LAST, Some(class), None).await?;
            let what = format!("class {class} is at version 2");
            self.system
                .wait(&what, PART_LIMIT, |view| all_at(view, &[class], LAST))
                .await?;
            self.until("past calls", || self.watcher.crossed().past)
                .await?;
        }
        Ok(())
    }

    /// Waits for enough calls through adapters of one direction.
    async fn until(&self, what: &str, count: impl Fn() -> u64) -> anyhow::Result<()> {
        let last = Instant::now() + PART_LIMIT;
        while count() < DEMANDS.cross_version * 11 / 10 {
            if Instant::now() > last {
                bail!("only {} {what}", count());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    async fn calls(&self, more: u64) -> anyhow::Result<()> {
        let wanted = self.watcher.seen().calls + more;
        let last = Instant::now() + PART_LIMIT;
        while self.watcher.seen().calls < wanted {
            if Instant::now() > last {
                bail!("the clients do not get on: {:?}", self.watcher.seen());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    async fn enough(&self) -> anyhow::Result<()> {
        while self.watcher.seen().calls < DEMANDS.calls * 21 / 20
            || self.watcher.seen().writes < DEMANDS.writes * 21 / 20
        {
            self.calls(100).await?;
        }
        Ok(())
    }

    /// Is refused while version 1 is public; then moves the public version, and the callers outside with it.
    async fn retire(&self) -> anyhow::Result<()> {
        match self.system.retire(1).await? {
            Ok(()) => bail!("version 1 was retired while it was public"),
            Err(why) => self
                .watcher
                .say(&format!("retiring version 1 early is refused: {why}")),
        }
        for number in CLIENTS..CLIENTS + OUTSIDE {
            self.outside.finish(&self.system.processes, number)?;
        }
        self.system.make_public(LAST).await?;
        for number in CLIENTS..CLIENTS + OUTSIDE {
            self.outside.start(&self.system.processes, number, LAST)?;
        }
        self.calls(300).await?;
        let last = Instant::now() + PART_LIMIT;
        while let Err(why) = self.system.retire(1).await? {
            if Instant::now() > last {
                bail!("version 1 cannot be retired: {why}");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.system
            .wait("version 1 is retired", PART_LIMIT, |view| {
                view.retired_through >= Version(1)
            })
            .await?;
        self.watcher.say("version 1 is retired");
        self.calls(300).await
    }

    async fn behind(&self) -> anyhow::Result<Vec<String>> {
        let view = self.system.view().await?;
        self.watcher.say(&describe(&view));
        let behind = view.nodes.iter().filter(|fact| !is_at(fact, LAST));
        Ok(behind.map(|fact| fact.name.clone()).collect())
    }

    /// Ends the clients, and judges all that happened.
    fn finish(&self) -> anyhow::Result<Judged> {
        self.watcher.say("the clients finish");
        for number in CLIENTS..CLIENTS + OUTSIDE {
            self.outside.finish(&self.system.processes, number)?;
        }
        for node in self.nodes.iter().filter(|node| node.class == "client") {
            self.system.finish_software(&node.name)?;
        }
        let judged = judge::judge(&self.outside.history, |key| {
            holds(&self.outside.addresses, key)
        })?;
        let remarks = judged.verdict.remarks.iter();
        remarks.for_each(|remark| self.watcher.say(remark));
        Ok(judged)
    }

    fn summary(&self, judged: &Judged) -> Summary {
        Summary {
            cross_version_calls: self.watcher.crossed(),
            node_unavailable_ms: Spread::of(self.watcher.unavailable_ms()),
            seconds: self.began.elapsed().as_secs(),
            ..judged.summary("json-server", self.nodes.len(), vec![1, 2])
        }
    }
}

fn nodes(place: &Place, outside: &ClientProgram, data: &Path) -> Vec<NodeOptions> {
    let node = |class: &str, number: usize| {
        NodeOptions::of(&format!("{class}-{}", number + 1), class)
            .variable("base", place.base)
            .variable("number", number)
            .poll_ms(POLL_MS)
    };
    let server = |number: usize| node("server", number).variable("data", data.display());
    let client = |number: usize| {
        node("client", number)
            .variable("history", outside.history.display())
            .variable("clients", outside.clients)
            .variable("workers", outside.workers)
            .variable("pause_ms", outside.pause_ms)
    };
    let servers = (0..SERVERS).map(server);
    servers.chain((0..CLIENTS).map(client)).collect()
}

/// What the server of this key (`k-CLIENT-WORKER-NUMBER-SERVER`) holds.
fn holds(addresses: &[String], key: &str) -> anyhow::Result<Option<Record>> {
    let parts: Vec<usize> = key
        .split('-')
        .skip(1)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let [client, worker, number, server] = parts[..] else {
        bail!("{key} is no key of this demo");
    };
    let id = (client * WORKERS + worker) * KEYS + number + 1;
    let address = addresses.get(server).context("a key of no server")?;
    let (status, body) = ask::get(address, &format!("/posts/{id}"))?;
    match forms::read(forms::JSON_SERVER_NEW, key, status, &body) {
        Outcome::Found(record) => Ok(Some(record)),
        Outcome::Missing => Ok(None),
        other => bail!("the last read of {key} gave {other:?}: {status} {body}"),
    }
}

//! Example 5: a Redis Cluster of six nodes from 3.2.6 to 7.0.15, on hosts of their own, under the load of a cluster client.

mod availability;
mod forming;
mod harm;
mod server;

use super::Ending;
use super::forms::{self, Outcome, Record};
use super::hosts::Hosts;
use super::judge::{self, Judged};
use super::killer::Killer;
use super::outside::ClientProgram;
use super::place::{Place, copy_tree, repository};
use super::processes::Processes;
use super::summary::{Cluster, Demands, Refusals, Spread, Summary};
use super::system::{DemoSystem, all_at, is_at};
use super::watcher::Watcher;
use anyhow::{Context, bail};
use availability::{Aside, AvailabilityWatch, Bad};
use forming::{SHARDS, form, until, whole};
use harness::NodeOptions;
use model::api::{ChildState, NodeFact, SystemView};
use model::ids::Version;
use server::{PORT, Server};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The example's name.
pub const NAME: &str = "redis-cluster";

const CLIENTS: usize = 2;
const WORKERS: usize = 4;
const PAUSE_MS: u64 = 8;
const POLL_MS: u64 = 300;
const PART_LIMIT: Duration = Duration::from_secs(180);
const LAST: u32 = 2;
const OLD_SOFTWARE: &str = "3.2.6";
const NEW_SOFTWARE: &str = "7.0.15";

/// Most looks that are told in full when they are not as they should be.
const TOLD_MAX: usize = 5;

/// What a run must reach. Callers' calls pass no adapter; the bus does.
const DEMANDS: Demands = Demands {
    calls: 20_000,
    writes: 5_000,
    cross_version: 0,
    two_steps: 0,
    resets_max: 0,
    live: 2,
    refusals: Refusals::Never,
};

/// Everything that has to be fetched or built, since the run's own network leads nowhere; then the hosts, of which the calling
/// thread enters one.
pub fn prepare(place: &Place) -> anyhow::Result<Hosts> {
    let example = example();
    let cache = cache();
    let setup = Command::new("python3")
        .arg(example.join("setup.py"))
        .arg(&cache)
        .status();
    if !setup.context("cannot run python3")?.success() {
        bail!(
            "redis-server {OLD_SOFTWARE} could not be built, or redis-py not be fetched from PyPI"
        );
    }
    let found = Command::new("redis-server").arg("--version").output();
    let found =
        found.context("redis-server is not installed; install Debian's package redis-server")?;
    let found = String::from_utf8_lossy(&found.stdout).into_owned();
    if !found.contains(&format!("v={NEW_SOFTWARE}")) {
        bail!("redis-server is not the {NEW_SOFTWARE} that this example wants: {found}");
    }
    let built = Command::new("sh").arg(example.join("build.sh")).status();
    if !built.context("cannot run sh")?.success() {
        bail!(
            "the adapter could not be built; `rustup target add wasm32-wasip2` installs what it needs"
        );
    }
    let first = place.bundle(&example, "v1")?;
    std::fs::copy(
        cache.join(format!("redis-server-{OLD_SOFTWARE}")),
        first.join("software/redis-server"),
    )?;
    place.bundle(&example, "v2")?;
    let mut hosts = Hosts::network()?;
    for name in node_names() {
        hosts.add(&name)?;
    }
    for number in 0..CLIENTS {
        hosts.add(&ClientProgram::name(number))?;
    }
    Ok(hosts)
}

fn example() -> PathBuf {
    repository().join("examples/5-redis-cluster")
}

fn cache() -> PathBuf {
    repository().join("target/examples/redis-cluster")
}

/// Masters, then their replicas in the same order.
fn node_names() -> Vec<String> {
    let of = |class: &'static str| (1..=SHARDS).map(move |number| format!("{class}-{number}"));
    of("master").chain(of("replica")).collect()
}

/// A run that has begun.
struct Run {
    system: DemoSystem,
    watcher: Watcher,
    servers: Vec<Server>,
    nodes: Vec<NodeOptions>,
    /// Each server's id in the cluster, by its node.
    ids: BTreeMap<String, String>,
    outside: ClientProgram,
}

/// Runs the example.
pub async fn run(
    place: &Place,
    processes: Arc<Processes>,
    program: PathBuf,
    chaos: Option<u64>,
) -> anyhow::Result<Ending> {
    let began = Instant::now();
    let run = Run::begin(place, processes, program, &bundle(place, "v1")).await?;
    let watch = AvailabilityWatch::begin(&run.servers);
    let mut aside = Aside::new();
    if let Err(error) = run.serve_and_upgrade(place, chaos, &mut aside).await {
        for server in &run.servers {
            run.watcher.say(&server.told());
        }
        return Err(error);
    }
    let mut shortcomings = run.at_the_end().await?;
    run.watcher.say("the clients finish");
    for number in 0..CLIENTS {
        run.outside.finish(&run.system.processes, number)?;
    }
    let (good, bad) = watch.end();
    let upgrading = availability::upgrading(&run.system.events().await?, LAST, &good);
    for (node, spans) in upgrading {
        aside.entry(node).or_default().extend(spans);
    }
    let all_bad = bad.len() as u64;
    let bad = availability::unexplained(bad, &aside);
    shortcomings.extend(bad.iter().take(TOLD_MAX).map(tell));
    let cluster = Cluster {
        looks: all_bad + good.values().map(|looks| looks.len() as u64).sum::<u64>(),
        aside: all_bad - bad.len() as u64,
        not_ok: bad.len() as u64,
        sessions: run.watcher.count("sessions.opened"),
    };
    run.conclude(cluster, began, shortcomings, chaos.is_some())
}

fn bundle(place: &Place, name: &str) -> PathBuf {
    place.root.join("bundles").join(name)
}

fn tell(bad: &Bad) -> String {
    format!(
        "{} did not see all of the cluster served at {}: {}",
        bad.node, bad.from_ms, bad.said
    )
}

/// The bundle, but its masters wait for a person.
fn with_approval(from: &Path, to: &Path) -> anyhow::Result<PathBuf> {
    copy_tree(from, to)?;
    let file = to.join("upgrade.toml");
    let text = std::fs::read_to_string(&file)?;
    let after = "after = [\"replica\"]";
    if !text.contains(after) {
        bail!("{} does not say {after}", file.display());
    }
    std::fs::write(
        &file,
        text.replace(after, &format!("{after}, approval = true")),
    )?;
    Ok(to.to_owned())
}

impl Run {
    /// Starts everything at version 1, and makes the servers a cluster.
    async fn begin(
        place: &Place,
        processes: Arc<Processes>,
        program: PathBuf,
        first: &Path,
    ) -> anyhow::Result<Self> {
        let names = node_names();
        let servers: Vec<Server> = names
            .iter()
            .map(|name| Server {
                name: name.clone(),
                address: place.hosts.address(name),
            })
            .collect();
        let outside = ClientProgram {
            programs: vec![example().join("client/client.py")],
            modules: Some(cache().join("python")),
            flag: "--servers",
            history: place.folder("history")?,
            addresses: servers
                .iter()
                .map(|server| format!("{}:{PORT}", server.address))
                .collect(),
            hosts: Arc::clone(&place.hosts),
            clients: CLIENTS,
            workers: WORKERS,
            pause_ms: PAUSE_MS,
            logs: place.folder("logs")?,
        };
        let system = DemoSystem::start(place, processes, program).await?;
        system.publish(first, false)?;
        let by_node = names.iter().map(|name| (name.clone(), PORT)).collect();
        let watcher = Watcher::begin(&system, &outside.history, by_node)?;
        let nodes: Vec<NodeOptions> = servers.iter().map(node).collect();
        for node in &nodes {
            system.start_agent(node, None)?;
        }
        let count = nodes.len();
        system
            .wait("every node serves version 1", PART_LIMIT, |view| {
                view.nodes.len() == count && all_at(view, &[], 1)
            })
            .await?;
        let cluster = servers.clone();
        let ids = tokio::task::spawn_blocking(move || form(&cluster)).await??;
        watcher.say("the cluster is whole: three masters of 3.2.6 with a replica each");
        Ok(Self {
            system,
            watcher,
            servers,
            nodes,
            ids,
            outside,
        })
    }

    /// All that is done while the callers call.
    async fn serve_and_upgrade(
        &self,
        place: &Place,
        chaos: Option<u64>,
        aside: &mut Aside,
    ) -> anyhow::Result<()> {
        for number in 0..CLIENTS {
            self.outside.start(&self.system.processes, number, 1)?;
        }
        self.calls(3000).await?;
        let second = bundle(place, "v2");
        match chaos {
            None => self.upgrade(&second).await?,
            Some(seed) => {
                let second = with_approval(&second, &bundle(place, "v2-approved"))?;
                self.upgrade_in_chaos(&second, seed, aside).await?;
            }
        }
        self.calls(1000).await?;
        self.retire().await?;
        while self.watcher.seen().calls < DEMANDS.calls * 21 / 20
            || self.watcher.seen().writes < DEMANDS.writes * 21 / 20
        {
            self.calls(100).await?;
        }
        Ok(())
    }

    async fn upgrade(&self, second: &Path) -> anyhow::Result<()> {
        self.system.publish(second, false)?;
        self.watcher.say("version 2 is published");
        self.all_at_last(&[]).await
    }

    /// The same, while agents are killed; when the replicas have upgraded one of them dies.
    async fn upgrade_in_chaos(
        &self,
        second: &Path,
        seed: u64,
        aside: &mut Aside,
    ) -> anyhow::Result<()> {
        self.system.publish(second, false)?;
        self.watcher
            .say("version 2 is published; its masters wait for approval");
        let killer = Killer::begin(seed, &self.system, &self.watcher, &self.nodes);
        self.all_at_last(&["replica"]).await?;
        let chosen = usize::try_from(seed % SHARDS as u64)?;
        let victim = &self.servers[SHARDS + chosen];
        self.watcher.connections_may_break(&victim.name);
        self.watcher
            .say(&format!("the software of {} is killed", victim.name));
        tokio::task::block_in_place(|| {
            harm::kill_software(&self.system, &self.servers, victim, aside)
        })?;
        self.system.approve(LAST, Some("master"), None).await?;
        self.watcher.say("the masters may go");
        self.all_at_last(&[]).await?;
        let killed = killer.end();
        self.watcher.say(&format!("{killed} agents were killed"));
        if killed == 0 {
            bail!("no agent was killed");
        }
        Ok(())
    }

    async fn all_at_last(&self, classes: &[&str]) -> anyhow::Result<()> {
        let what = match classes {
            [] => "every node is at version 2".to_owned(),
            some => format!("every {} is at version 2", some.join(" and ")),
        };
        // Judged with its peers, a node is there before it is healthy.
        let is_healthy = |fact: &NodeFact| fact.report.status.child == ChildState::Running;
        let there = |view: &SystemView| {
            all_at(view, classes, LAST)
                && view
                    .nodes
                    .iter()
                    .all(|fact| !is_at(fact, LAST) || is_healthy(fact))
        };
        self.system.wait(&what, PART_LIMIT, there).await?;
        self.watcher.say(&what);
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

    async fn retire(&self) -> anyhow::Result<()> {
        self.system.make_public(LAST).await?;
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
        self.calls(500).await
    }

    /// What is not as it must be when all is done: versions, ids, roles.
    async fn at_the_end(&self) -> anyhow::Result<Vec<String>> {
        let view = self.system.view().await?;
        let behind = view.nodes.iter().filter(|fact| !is_at(fact, LAST));
        let mut found: Vec<String> = behind
            .map(|fact| format!("{} is not at the last version", fact.name))
            .collect();
        let is_whole =
            tokio::task::block_in_place(|| until("the cluster is whole", || whole(&self.servers)));
        found.extend(is_whole.err().map(|error| format!("{error:#}")));
        for server in &self.servers {
            let (id, version) = (server.id()?, server.fact("INFO server", "redis_version")?);
            if version != NEW_SOFTWARE {
                found.push(format!("{} runs {version}", server.name));
            }
            if self.ids.get(&server.name) != Some(&id) {
                found.push(format!("{} has another id than before", server.name));
            }
        }
        Ok(found)
    }

    /// Judges the callers' histories.
    fn conclude(
        &self,
        cluster: Cluster,
        began: Instant,
        mut shortcomings: Vec<String>,
        in_chaos: bool,
    ) -> anyhow::Result<Ending> {
        let judged = judge::judge(&self.outside.history, |key| holds(&self.servers[0], key))?;
        self.remark(&judged);
        if cluster.sessions == 0 {
            shortcomings.push("no session of the bus passed an adapter".to_owned());
        }
        if cluster.not_ok > 0 {
            shortcomings.push(format!(
                "{} looks at the cluster were not good",
                cluster.not_ok
            ));
        }
        let summary = Summary {
            cross_version_calls: self.watcher.crossed(),
            node_unavailable_ms: Spread::of(self.watcher.unavailable_ms()),
            seconds: began.elapsed().as_secs(),
            cluster: Some(cluster),
            ..judged.summary(NAME, self.nodes.len(), vec![1, LAST])
        };
        let demands = Demands {
            resets_max: self.watcher.resets_max(),
            ..DEMANDS
        };
        let mut live = self.watcher.live_max();
        if in_chaos {
            // An agent that was just started may not have told yet.
            live = live.max(demands.live);
        }
        shortcomings.extend(summary.shortcomings(&demands, live, &[]));
        Ok(Ending {
            summary,
            shortcomings,
        })
    }

    fn remark(&self, judged: &Judged) {
        let faults = judged.resets.iter().chain(&judged.refusals);
        let told = faults.map(|fault| format!("at {}: {}", fault.wall_ms, fault.fault));
        for line in judged.verdict.remarks.iter().cloned().chain(told) {
            self.watcher.say(&line);
        }
    }
}

fn node(server: &Server) -> NodeOptions {
    let is_master = server.name.starts_with("master");
    NodeOptions::of(&server.name, if is_master { "master" } else { "replica" })
        .variable("address", server.address)
        .variable("port", PORT)
        .poll_ms(POLL_MS)
}

/// What the cluster holds under a key.
fn holds(first: &Server, key: &str) -> anyhow::Result<Option<Record>> {
    let Some(text) = server::get(first, key)? else {
        return Ok(None);
    };
    match forms::read(0, key, 200, &serde_json::from_str(&text)?) {
        Outcome::Found(record) => Ok(Some(record)),
        other => bail!("the last read of {key} gave {other:?}"),
    }
}

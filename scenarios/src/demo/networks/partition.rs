//! Partitions: single storage nodes and the server are cut off while upgrades are under way, one of them in one direction
//! only. No caller loses its majority, so that its calls are held to the same zeros.

use super::limits;
use crate::demo::Ending;
use crate::demo::ask;
use crate::demo::hosts::SERVER;
use crate::demo::place::Place;
use crate::demo::processes::Processes;
use crate::demo::store::{LAST, PART_LIMIT, Setting, Store, finish};
use crate::demo::summary::Demands;
use crate::demo::system::{all_at, is_at};
use anyhow::bail;
use model::api::SystemView;
use network::{Host, Impairment};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A short way between hosts.
const IMPAIRMENT: Impairment = Impairment {
    lost_permille: 0,
    delay: Duration::from_millis(1),
    jitter: Duration::from_millis(1),
    no_data_in_syn_to: Vec::new(),
};

/// How long the server goes without a word before a node counts as out of reach, milliseconds: less than usual, to keep the run short.
pub(super) const REACHABLE_MS: u64 = 5_000;

/// What leads to the two steps between versions is not played here.
pub(super) fn demands(usual: Demands) -> Demands {
    Demands {
        two_steps: 0,
        live: 2,
        ..usual
    }
}

/// Runs the store in it.
pub(super) async fn run(
    place: &Place,
    processes: Arc<Processes>,
    program: PathBuf,
    setting: Setting,
    demands: Demands,
) -> anyhow::Result<Ending> {
    place.hosts.net()?.impair(IMPAIRMENT)?;
    let store = Store::prepare_in(place, processes, program, setting).await?;
    store.start(|_| None).await?;
    store.calls(2000).await?;
    publish(&store, 2).await?;
    without_a_storage_node(&store, "storage-3", Direction::Both, 2).await?;
    without_the_server(&store, 2).await?;
    store.upgrade("client", 2).await?;
    publish(&store, 3).await?;
    without_a_storage_node(&store, "storage-2", Direction::FromIt, 3).await?;
    // Clients first: gateways at version 2 serve callers at version 3.
    for class in ["client", "gateway"] {
        store.upgrade(class, 3).await?;
    }
    let mut ending = finish(&store, demands).await?;
    ending.shortcomings.extend(limits::exceeded(&store).await?);
    Ok(ending)
}

/// Which packets of a host are cut.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Both,
    /// Only those that it sends: it hears everybody, and nobody hears it.
    FromIt,
}

async fn publish(store: &Store, version: u32) -> anyhow::Result<()> {
    let bundle = &store.bundles[version as usize - 1];
    store.system.publish(bundle, false)?;
    store.staged(version).await
}

/// The storage class is told to upgrade while one of its nodes is cut off: none may begin, since one is away already. The
/// one that is away serves on at its version. When the network is whole again they all go.
async fn without_a_storage_node(
    store: &Store,
    name: &str,
    direction: Direction,
    version: u32,
) -> anyhow::Result<()> {
    let what = if direction == Direction::Both {
        "cut off"
    } else {
        "heard by nobody"
    };
    store.watcher.say(&format!("{name} is {what}"));
    cut(store, name, direction)?;
    let unreachable = |view: &SystemView| {
        let mut nodes = view.nodes.iter();
        nodes.any(|fact| fact.name == name && !fact.reachable)
    };
    store
        .wait(&format!("{name} is unreachable"), unreachable)
        .await?;
    store.system.approve(version, Some("storage"), None).await?;
    store.calls(1500).await?;
    let view = store.system.view().await?;
    let mut storage = view.nodes.iter().filter(|fact| fact.class == "storage");
    if let Some(early) = storage.find(|fact| is_at(fact, version)) {
        bail!(
            "{} has gone to version {version} although {name} is away",
            early.name
        );
    }
    serves_on(store, name, version - 1)?;
    store.place().hosts.net()?.heal()?;
    store.watcher.say("the network is whole again");
    let there = |view: &SystemView| all_at(view, &["storage"], version);
    store
        .wait(
            &format!("the storage nodes are at version {version}"),
            there,
        )
        .await?;
    store.calls(500).await
}

/// Cuts a storage node off from all that it deals with; this program still reaches it, to look at it.
fn cut(store: &Store, name: &str, direction: Direction) -> anyhow::Result<()> {
    let hosts = &store.place().hosts;
    let one = hosts.host(name)?.clone();
    let mut network = hosts.net()?;
    let others = super::nodes().filter(|other| other != name);
    for other in others.chain([SERVER.to_owned()]) {
        let other: &Host = hosts.host(&other)?;
        match direction {
            Direction::Both => network.cut(&one, other)?,
            Direction::FromIt => network.cut_one_way(&one, other)?,
        }
    }
    Ok(())
}

/// A node that is cut off answers at its version, as this program can see that was not cut off from it.
fn serves_on(store: &Store, name: &str, version: u32) -> anyhow::Result<()> {
    let current = fs::read_link(store.system.data(name).join("current"))?;
    let current = current.display().to_string();
    if !current.contains(&format!("versions/{version}.")) {
        bail!("{name}, cut off at version {version}, has {current}");
    }
    let number = name
        .rsplit('-')
        .next()
        .and_then(|digits| digits.parse::<u16>().ok());
    let port = store.place().base + number.unwrap_or(1) - 1;
    let address = format!("{}:{port}", store.place().hosts.address(name));
    // A key of the first client, in the words of version 1, which is public: a past adapter answers at later versions.
    let (status, body) = ask::get(&address, "/records/k-0-0-0")?;
    if !matches!(status, 200 | 404) {
        bail!("{name}, cut off, answers {status} {body}");
    }
    store
        .watcher
        .say(&format!("{name} serves on at version {version}: {body}"));
    Ok(())
}

/// The gateways are told to upgrade, and the server is cut off from all nodes as soon as one has begun: what has begun ends
/// by itself, nobody else begins, everybody serves.
async fn without_the_server(store: &Store, version: u32) -> anyhow::Result<()> {
    store.system.approve(version, Some("gateway"), None).await?;
    let begun = |view: &SystemView| !view.permits.is_empty();
    store.wait("a gateway has a permit", begun).await?;
    let hosts = &store.place().hosts;
    {
        let mut network = hosts.net()?;
        for name in super::nodes() {
            network.cut(hosts.host(SERVER)?, hosts.host(&name)?)?;
        }
    }
    store.watcher.say("the server is cut off");
    store.calls(1500).await?;
    let silent = |view: &SystemView| view.nodes.iter().all(|fact| !fact.reachable);
    store.wait("the server hears of nobody", silent).await?;
    store.calls(1500).await?;
    hosts.net()?.heal()?;
    store.watcher.say("the server is back");
    let there = |view: &SystemView| all_at(view, &["gateway"], version);
    let what = format!("the gateways are at version {version}");
    store.system.wait(&what, PART_LIMIT, there).await?;
    debug_assert!(version <= LAST);
    store.calls(500).await
}

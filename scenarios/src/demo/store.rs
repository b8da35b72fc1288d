//! Example 1: the replicated store through its three versions.

use super::Ending;
use super::judge::{self, Judged};
use super::outside::ClientProgram;
use super::place::{Place, repository};
use super::processes::Processes;
use super::summary::{Demands, Spread, Summary};
use super::system::{DemoSystem, all_at, describe, is_at};
use super::watcher::Watcher;
use anyhow::bail;
use harness::NodeOptions;
use model::api::SystemView;
use model::ids::Version;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Storage nodes; the upgrade files count on three.
pub const STORAGE: usize = 3;
/// Gateways; the upgrade files count on two.
pub const GATEWAYS: usize = 2;
/// Clients that are nodes of the system.
pub const CLIENTS: usize = 3;
/// Clients outside the system.
pub const OUTSIDE: usize = 2;
/// Calls at a time of each client.
const WORKERS: usize = 4;
/// Between two calls of a worker.
const PAUSE_MS: u64 = 25;
/// How often agents ask the server.
pub const POLL_MS: u64 = 300;
/// The last version.
pub const LAST: u32 = 3;

/// How long a part of the run may take at most.
pub const PART_LIMIT: Duration = Duration::from_secs(90);

/// What a run must reach, but for the broken connections that it may have.
pub const DEMANDS: Demands = Demands {
    calls: 20_000,
    writes: 5_000,
    cross_version: 100,
    two_steps: 10,
    resets_max: 0,
    live: 3,
    refusals: super::summary::Refusals::Never,
};

/// What a run may want otherwise.
pub struct Setting {
    /// How often agents ask the server.
    pub poll_ms: u64,
    /// Other addresses for callers than the gateways' own.
    pub callers_use: Option<Vec<String>>,
    /// More variables of every node.
    pub variables: Vec<(&'static str, String)>,
    /// Changes each bundle before it is published.
    pub change: Option<fn(&Path) -> anyhow::Result<()>>,
    /// How many times fewer calls are waited for between two steps.
    pub haste: u64,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            poll_ms: POLL_MS,
            callers_use: None,
            variables: Vec::new(),
            change: None,
            haste: 1,
        }
    }
}

/// The store under Upstart, with its callers.
#[derive(Debug)]
pub struct Store {
    /// The system.
    pub system: DemoSystem,
    /// What looks at it.
    pub watcher: Watcher,
    /// Its nodes.
    pub nodes: Vec<NodeOptions>,
    /// The bundles of versions 1, 2, 3, copied into the run's directory.
    pub bundles: Vec<PathBuf>,
    outside: ClientProgram,
    began: Instant,
    /// How many times fewer calls are waited for between two steps.
    haste: u64,
}

impl Store {
    /// Starts the server and publishes version 1; no node runs yet. `poll_ms` is how often agents ask the server.
    pub async fn prepare(
        place: &Place,
        processes: Arc<Processes>,
        program: PathBuf,
        poll_ms: u64,
    ) -> anyhow::Result<Self> {
        let setting = Setting {
            poll_ms,
            ..Setting::default()
        };
        Self::prepare_in(place, processes, program, setting).await
    }

    /// The same in another setting.
    pub async fn prepare_in(
        place: &Place,
        processes: Arc<Processes>,
        program: PathBuf,
        setting: Setting,
    ) -> anyhow::Result<Self> {
        let began = Instant::now();
        let example = repository().join("examples/1-store");
        let names = ["v1", "v2", "v3"];
        let bundles = names
            .iter()
            .map(|name| place.bundle(&example, name))
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(change) = &setting.change {
            bundles.iter().try_for_each(|bundle| change(bundle))?;
        }
        let programs = names
            .iter()
            .map(|name| example.join(name).join("software/client.py"));
        let gateways = (0..GATEWAYS as u16)
            .map(|number| (format!("gateway-{}", number + 1), place.base + 20 + number));
        let ports: BTreeMap<String, u16> = gateways.collect();
        let addresses = setting.callers_use.clone().unwrap_or_else(|| {
            let own = ports
                .iter()
                .map(|(gateway, port)| format!("{}:{port}", place.hosts.reached_at(gateway)));
            own.collect()
        });
        let outside = ClientProgram {
            programs: programs.collect(),
            modules: None,
            flag: "--gateways",
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
        let watcher = Watcher::begin(&system, &outside.history, ports)?;
        let nodes = nodes(place, &outside, &setting);
        Ok(Self {
            system,
            watcher,
            nodes,
            bundles,
            outside,
            began,
            haste: setting.haste,
        })
    }

    /// Starts all nodes, each with the point at which its agent is to be killed, waits until they serve, and starts
    /// the callers outside.
    pub async fn start(&self, kill_at: impl Fn(&str) -> Option<String>) -> anyhow::Result<()> {
        self.watcher.say("version 1 is published; the nodes start");
        let (clients, servers): (Vec<&NodeOptions>, Vec<&NodeOptions>) =
            self.nodes.iter().partition(|node| node.class == "client");
        let mut count = 0;
        // A load balancer takes calls before there is anybody to answer them: callers come last.
        for nodes in [servers, clients] {
            for node in &nodes {
                self.system
                    .start_agent(node, kill_at(&node.name).as_deref())?;
            }
            count += nodes.len();
            let serving = |view: &SystemView| view.nodes.len() == count && all_at(view, &[], 1);
            self.wait("every node serves version 1", serving).await?;
        }
        for number in CLIENTS..CLIENTS + OUTSIDE {
            self.outside.start(&self.system.processes, number, 1)?;
        }
        Ok(())
    }

    /// Where the run lives.
    pub fn place(&self) -> &Place {
        &self.system.place
    }

    /// Waits for the system to be as wished, at most [`PART_LIMIT`].
    pub async fn wait(
        &self,
        what: &str,
        wished: impl Fn(&SystemView) -> bool,
    ) -> anyhow::Result<SystemView> {
        self.system.wait(what, PART_LIMIT, wished).await
    }

    /// Waits until every node has staged a version.
    pub async fn staged(&self, version: u32) -> anyhow::Result<()> {
        let staged = |view: &SystemView| {
            view.nodes
                .iter()
                .all(|fact| fact.report.status.staged >= Version(version))
        };
        self.wait(&format!("every node has staged version {version}"), staged)
            .await?;
        Ok(())
    }

    /// Waits for so many more calls of the clients; for fewer in a short run.
    pub async fn calls(&self, more: u64) -> anyhow::Result<()> {
        let wanted = self.watcher.seen().calls + more / self.haste;
        let last = Instant::now() + PART_LIMIT;
        while self.watcher.seen().calls < wanted {
            if Instant::now() > last {
                bail!("the clients do not get on: {:?}", self.watcher.seen());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Approves a class' way to a version and waits until it is there.
    pub async fn upgrade(&self, class: &str, version: u32) -> anyhow::Result<()> {
        self.watcher
            .say(&format!("class {class} may go to version {version}"));
        self.system.approve(version, Some(class), None).await?;
        let what = format!("class {class} is at version {version}");
        self.wait(&what, |view| all_at(view, &[class], version))
            .await?;
        self.calls(500).await
    }

    /// Moves the public version, and the callers outside with it. They say no version, so that nobody could tell one that
    /// still calls at the old one: they end before, and begin anew when every node has heard of the move.
    pub async fn move_outside(&self, version: u32) -> anyhow::Result<()> {
        let outside = CLIENTS..CLIENTS + OUTSIDE;
        for number in outside.clone() {
            self.outside.finish(&self.system.processes, number)?;
        }
        self.system.make_public(version).await?;
        for number in outside {
            self.outside
                .start(&self.system.processes, number, version)?;
        }
        Ok(())
    }

    /// Is refused to retire `version` while its callers are there, moves the public version, retires.
    pub async fn retire_all(&self, version: u32) -> anyhow::Result<()> {
        match self.system.retire(version).await? {
            Ok(()) => bail!("version {version} was retired while it had callers"),
            Err(why) => self.watcher.say(&format!(
                "retiring version {version} early is refused: {why}"
            )),
        }
        self.move_outside(LAST).await?;
        self.watcher.say(&format!(
            "version {LAST} is public; the callers outside have followed"
        ));
        self.calls(500).await?;
        let last = Instant::now() + PART_LIMIT;
        while let Err(why) = self.system.retire(version).await? {
            if Instant::now() > last {
                bail!("version {version} cannot be retired: {why}");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let what = format!("version {version} is retired");
        self.wait(&what, |view| view.retired_through >= Version(version))
            .await?;
        self.watcher.say(&what);
        self.calls(500).await
    }

    /// Waits until the clients have made so many calls and writes as are demanded, and some more.
    pub async fn enough(&self, demands: &Demands) -> anyhow::Result<()> {
        while self.watcher.seen().calls < demands.calls * 21 / 20
            || self.watcher.seen().writes < demands.writes * 21 / 20
        {
            self.calls(100).await?;
        }
        Ok(())
    }

    /// Ends the clients, which finish what they are at.
    pub fn finish_clients(&self) -> anyhow::Result<()> {
        self.watcher.say("the clients finish");
        for number in CLIENTS..CLIENTS + OUTSIDE {
            self.outside.finish(&self.system.processes, number)?;
        }
        for node in self.nodes.iter().filter(|node| node.class == "client") {
            self.system.finish_software(&node.name)?;
        }
        Ok(())
    }

    /// Asks for every key as a caller outside at the public version, and judges all that happened.
    pub fn judge(&self, public: u32) -> anyhow::Result<Judged> {
        let gateway = &self.outside.addresses[0];
        let judged = judge::judge(&self.outside.history, |key| {
            judge::final_read(public, key, gateway)
        })?;
        judged
            .verdict
            .remarks
            .iter()
            .for_each(|remark| self.watcher.say(remark));
        Ok(judged)
    }

    /// The summary of what was judged and seen.
    pub fn summary(&self, judged: &Judged) -> Summary {
        Summary {
            cross_version_calls: self.watcher.crossed(),
            node_unavailable_ms: Spread::of(self.watcher.unavailable_ms()),
            seconds: self.began.elapsed().as_secs(),
            ..judged.summary("store", self.nodes.len(), (1..=LAST).collect())
        }
    }

    /// The nodes that have not come to the last version.
    pub async fn behind(&self) -> anyhow::Result<Vec<String>> {
        let view = self.wait("a server answers", |_| true).await?;
        self.watcher.say(&describe(&view));
        Ok(view
            .nodes
            .iter()
            .filter(|fact| !is_at(fact, LAST))
            .map(|fact| fact.name.clone())
            .collect())
    }
}

fn nodes(place: &Place, outside: &ClientProgram, setting: &Setting) -> Vec<NodeOptions> {
    let hosts = &place.hosts;
    let base = place.base;
    let name = |class: &str, number: usize| format!("{class}-{}", number + 1);
    let node = |class: &str, number: usize, variables: Vec<(&str, String)>| {
        let node = NodeOptions::of(&name(class, number), class)
            .variable("base", base)
            .variable("number", number)
            .poll_ms(setting.poll_ms);
        let more = setting.variables.iter().cloned();
        (variables.into_iter().chain(more))
            .fold(node, |node, (key, value)| node.variable(key, value))
    };
    let own = |class, number| ("host", hosts.address(&name(class, number)).to_string());
    let storage = (0..STORAGE).map(|number| {
        let peer = |step| hosts.address(&name("storage", (number + step) % STORAGE));
        let peers = [("peer_1", peer(1)), ("peer_2", peer(2))];
        let peers = peers.map(|(variable, host)| (variable, host.to_string()));
        let variables = [own("storage", number)].into_iter().chain(peers);
        node("storage", number, variables.collect())
    });
    let all = (0..STORAGE).map(|number| {
        let host = hosts.reached_at(&name("storage", number));
        format!("{host}:{}", usize::from(base) + number)
    });
    let all = ("storage", all.collect::<Vec<_>>().join(","));
    let gateways = (0..GATEWAYS)
        .map(|number| node("gateway", number, vec![own("gateway", number), all.clone()]));
    let client = vec![
        ("gateways", outside.addresses.join(",")),
        ("history", outside.history.display().to_string()),
        ("clients", outside.clients.to_string()),
        ("workers", outside.workers.to_string()),
        ("pause_ms", outside.pause_ms.to_string()),
    ];
    let clients = (0..CLIENTS).map(|number| node("client", number, client.clone()));
    storage.chain(gateways).chain(clients).collect()
}

/// The demo: one, two and three versions live at once, in an order that needs every kind of adapter.
pub async fn run(
    place: &Place,
    processes: Arc<Processes>,
    program: PathBuf,
) -> anyhow::Result<Ending> {
    let store = Store::prepare(place, processes, program, POLL_MS).await?;
    store.start(|_| None).await?;
    through_all_versions(&store, DEMANDS).await
}

/// Upgrades a store that serves version 1 to the last version, retires what is old, and judges all that happened.
pub async fn through_all_versions(store: &Store, demands: Demands) -> anyhow::Result<Ending> {
    store.calls(2000).await?;
    for version in 2..=LAST {
        store
            .system
            .publish(&store.bundles[version as usize - 1], false)?;
        store
            .watcher
            .say(&format!("version {version} is published"));
    }
    store.staged(LAST).await?;
    walk(store).await?;
    finish(store, demands).await
}

/// Retires what is old, waits until enough was seen, ends the clients, and judges.
pub async fn finish(store: &Store, demands: Demands) -> anyhow::Result<Ending> {
    store.retire_all(LAST - 1).await?;
    store.enough(&demands).await?;
    let behind = store.behind().await?;
    store.finish_clients()?;
    let summary = store.summary(&store.judge(LAST)?);
    let demands = Demands {
        resets_max: store.watcher.resets_max(),
        ..demands
    };
    let shortcomings = summary.shortcomings(&demands, store.watcher.live_max(), &behind);
    Ok(Ending {
        summary,
        shortcomings,
    })
}

/// One client goes ahead by two versions, then the classes follow, one step at a time.
async fn walk(store: &Store) -> anyhow::Result<()> {
    let first = "client-1";
    store.watcher.say(&format!(
        "{first} goes ahead: gateways at version 1 serve a caller at version 3"
    ));
    for version in 2..=LAST {
        store.system.approve(version, None, Some(first)).await?;
    }
    let ahead = |view: &SystemView| {
        view.nodes
            .iter()
            .any(|fact| fact.name == first && is_at(fact, LAST))
    };
    store
        .wait("the first client is at version 3", ahead)
        .await?;
    store.calls(1500).await?;
    for (class, version) in [
        ("storage", 2),
        ("gateway", 2),
        ("storage", 3),
        ("client", 2),
        ("gateway", 3),
        ("client", 3),
    ] {
        store.upgrade(class, version).await?;
    }
    store.calls(1000).await
}

//! Example 4: a set with colours becomes one with flavours, its callers at both versions meanwhile, each answer held against a model.

mod caller;
mod reference;
mod worker;

use super::Ending;
use super::killer::Killer;
use super::place::{Place, repository};
use super::processes::Processes;
use super::summary::{Demands, Refusals, RefusedBy, Spread, Summary};
use super::system::{DemoSystem, all_at, is_at};
use super::watcher::Watcher;
use anyhow::{Context, bail};
use color_flavor_adapter::form::Form;
use harness::NodeOptions;
use model::api::SystemView;
use model::bundle::Dispatch;
use model::ids::Version;
use reference::Standing;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use worker::{Board, Worker};

/// The example's name.
pub const NAME: &str = "color-flavor";

const NODES: u16 = 2;
const WORKERS: u32 = 6;
const POLL_MS: u64 = 300;
const PART_LIMIT: Duration = Duration::from_secs(120);
const LAST: u32 = 2;

/// Most wrong answers that are told in full.
const TOLD_MAX: usize = 10;

/// What the run of each dispatch must reach.
const DEMANDS: Demands = Demands {
    calls: 10_000,
    writes: 2_500,
    cross_version: 1_000,
    two_steps: 0,
    resets_max: 0,
    live: 2,
    refusals: Refusals::Listed,
};

/// Before this it is said how calls are dispatched.
const ADAPTER: &str = "adapter = ";

/// A run that has begun.
struct Run {
    system: DemoSystem,
    watcher: Watcher,
    board: Arc<Board>,
    nodes: Vec<NodeOptions>,
}

/// Runs the example with direct dispatch, then with observed dispatch.
///
/// # Errors
/// When something does not start or the system does not get on.
pub async fn run(
    place: &Place,
    processes: Arc<Processes>,
    program: PathBuf,
    chaos: Option<u64>,
) -> anyhow::Result<Ending> {
    let (of_one, with) = (Arc::clone(&processes), program.clone());
    let direct = run_with(Dispatch::Direct, place, of_one, with, chaos).await?;
    processes.end_below(&place.root);
    let beside = Place::beside(place, "observed")?;
    let observed = run_with(Dispatch::Observed, &beside, processes, program, chaos).await?;
    let refused = RefusedBy {
        direct: direct.summary.calls.refused,
        observed: observed.summary.calls.refused,
    };
    eprintln!(
        "refused with direct dispatch: {}, with observed dispatch: {}",
        refused.direct, refused.observed
    );
    let mut shortcomings = direct.shortcomings;
    shortcomings.extend(observed.shortcomings);
    let mut summary = direct.summary.and(&observed.summary);
    summary.refused_by_dispatch = Some(refused);
    Ok(Ending {
        summary,
        shortcomings,
    })
}

async fn run_with(
    dispatch: Dispatch,
    place: &Place,
    processes: Arc<Processes>,
    program: PathBuf,
    chaos: Option<u64>,
) -> anyhow::Result<Ending> {
    let began = Instant::now();
    let [first, second] = prepare(place, dispatch)?;
    let run = Run::begin(place, processes, program, &first, dispatch).await?;
    run.watcher
        .say(&format!("dispatch is {dispatch:?}").to_lowercase());
    let workers = run.workers(place).await?;
    run.calls(1_500).await?;
    run.system.publish(&second, false)?;
    run.system
        .wait("every node has staged version 2", PART_LIMIT, |view| {
            let mut nodes = view.nodes.iter();
            nodes.all(|fact| fact.report.status.staged >= Version(LAST))
        })
        .await?;
    run.watcher
        .say("version 2 is staged: callers of both versions, at software of version 1");
    if dispatch == Dispatch::Observed {
        // The connections that the software had from its own callers are ended.
        let nodes = run.nodes.iter();
        nodes.for_each(|node| run.watcher.connections_may_break(&node.name));
    }
    run.board.both();
    let killer = chaos.map(|seed| Killer::begin(seed, &run.system, &run.watcher, &run.nodes));
    run.calls(3_000).await?;
    run.upgrade().await?;
    run.calls(3_000).await?;
    let killed = killer.map_or(0, |killer| killer.end());
    while run.board.counted().calls.total < DEMANDS.calls * 21 / 20 {
        run.calls(100).await?;
    }
    run.board.end();
    for worker in workers {
        worker.await?;
    }
    if chaos.is_some() {
        run.watcher.say(&format!("{killed} agents were killed"));
    }
    run.conclude(began, dispatch, killed > 0).await
}

/// Both bundles, with the adapter, and with an approval between staging and the upgrade.
fn prepare(place: &Place, dispatch: Dispatch) -> anyhow::Result<[PathBuf; 2]> {
    let example = repository().join("examples/4-color-flavor");
    let built = Command::new("sh").arg(example.join("build.sh")).status();
    if !built.context("cannot run sh")?.success() {
        bail!(
            "the adapter could not be built; `rustup target add wasm32-wasip2` installs what it needs"
        );
    }
    let second = place.bundle(&example, "v2")?;
    let file = second.join("upgrade.toml");
    let text = std::fs::read_to_string(&file)?;
    let one_at_a_time = "max_unavailable = 1";
    if !text.contains(one_at_a_time) {
        bail!("{} does not say {one_at_a_time}", file.display());
    }
    let approved = format!("{one_at_a_time}, approval = true");
    let mut text = text.replace(one_at_a_time, &approved);
    if dispatch == Dispatch::Observed {
        text = text.replace(ADAPTER, &format!("dispatch = \"observed\"\n{ADAPTER}"));
    }
    std::fs::write(&file, text)?;
    Ok([place.bundle(&example, "v1")?, second])
}

impl Run {
    async fn begin(
        place: &Place,
        processes: Arc<Processes>,
        program: PathBuf,
        first: &Path,
        dispatch: Dispatch,
    ) -> anyhow::Result<Self> {
        let system = DemoSystem::start(place, processes, program).await?;
        system.publish(first, false)?;
        let nodes: Vec<NodeOptions> = (0..NODES)
            .map(|number| {
                NodeOptions::of(&format!("set-{}", number + 1), "set")
                    .variable("base", place.base)
                    .variable("number", number)
                    .poll_ms(POLL_MS)
            })
            .collect();
        let ports = nodes.iter().zip(place.base..);
        let ports = ports
            .map(|(node, port)| (node.name.clone(), port))
            .collect();
        let watcher = Watcher::begin(&system, &place.folder("history")?, ports)?;
        for node in &nodes {
            system.start_agent(node, None)?;
        }
        let count = nodes.len();
        system
            .wait("every node serves version 1", PART_LIMIT, |view| {
                view.nodes.len() == count && all_at(view, &[], 1)
            })
            .await?;
        Ok(Self {
            system,
            watcher,
            board: Arc::new(Board::new(dispatch)),
            nodes,
        })
    }

    async fn workers(&self, place: &Place) -> anyhow::Result<Vec<tokio::task::JoinHandle<()>>> {
        let system = self.system.view().await?.system_id;
        let address = |number| SocketAddr::from((Ipv4Addr::LOCALHOST, place.base + number));
        let addresses: Vec<SocketAddr> = (0..NODES).map(address).collect();
        let workers = (0..WORKERS)
            .map(|number| Worker::new(number, &addresses, system, Arc::clone(&self.board)));
        Ok(workers.map(|worker| tokio::spawn(worker.work())).collect())
    }

    /// Lets the nodes go, and tells the workers where each stands.
    async fn upgrade(&self) -> anyhow::Result<()> {
        for node in 0..self.nodes.len() {
            self.board.stands(node, Standing::Unsure);
        }
        self.system.approve(LAST, None, None).await?;
        self.watcher.say("the nodes may go");
        for (number, node) in self.nodes.iter().enumerate() {
            let what = format!("{} is at version 2", node.name);
            let there = |view: &SystemView| {
                let mut nodes = view.nodes.iter();
                nodes.any(|fact| fact.name == node.name && is_at(fact, LAST))
            };
            self.system.wait(&what, PART_LIMIT, there).await?;
            self.board.stands(number, Standing::At(Form::Flavours));
            self.watcher.say(&what);
        }
        Ok(())
    }

    async fn calls(&self, more: u64) -> anyhow::Result<()> {
        let wanted = self.board.counted().calls.total + more;
        let last = Instant::now() + PART_LIMIT;
        while self.board.counted().calls.total < wanted {
            if Instant::now() > last {
                bail!(
                    "the callers do not get on: {:?}",
                    self.board.counted().calls
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    async fn conclude(
        &self,
        began: Instant,
        dispatch: Dispatch,
        killed: bool,
    ) -> anyhow::Result<Ending> {
        let counted = self.board.counted();
        for wrong in counted.wrong.iter().take(TOLD_MAX) {
            self.watcher.say(wrong);
        }
        let view = self.system.view().await?;
        let behind: Vec<String> = view
            .nodes
            .iter()
            .filter(|fact| !is_at(fact, LAST))
            .map(|fact| fact.name.clone())
            .collect();
        let summary = Summary {
            example: NAME,
            nodes: self.nodes.len(),
            versions: vec![1, LAST],
            calls: counted.calls,
            writes_acknowledged: counted.writes,
            connections_refused: counted.refused_connections,
            cross_version_calls: self.watcher.crossed(),
            node_unavailable_ms: Spread::of(self.watcher.unavailable_ms()),
            seconds: began.elapsed().as_secs(),
            ..Summary::default()
        };
        let demands = Demands {
            resets_max: self.watcher.resets_max(),
            refusals: match dispatch {
                Dispatch::Direct => Refusals::Listed,
                // Of a call whose agent was killed nobody knows what became of it.
                Dispatch::Observed if killed => Refusals::Allowed,
                Dispatch::Observed => Refusals::Never,
            },
            ..DEMANDS
        };
        let shortcomings = summary.shortcomings(&demands, self.watcher.live_max(), &behind);
        self.watcher.end();
        Ok(Ending {
            summary,
            shortcomings,
        })
    }
}

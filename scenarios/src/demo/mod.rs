//! `cargo xtask demo`: a whole system upgraded under load, judged by a checker.

pub mod ask;
pub mod bare;
pub mod build;
pub mod chaos;
pub mod check;
pub mod cluster;
pub mod crash;
pub mod differential;
pub mod flavours;
pub mod forms;
pub mod history;
pub mod hosts;
pub mod journal_kills;
pub mod jsonserver;
pub mod judge;
pub mod killer;
pub mod labels;
#[cfg(test)]
mod lens_tests;
pub mod networks;
pub mod open_connections;
pub mod outside;
pub mod place;
pub mod processes;
pub mod redis;
pub mod servers;
pub mod store;
pub mod summary;
pub mod system;
pub mod tail;
pub mod tallies;
pub mod watcher;

use clap::Args;
use place::{Place, repository};
use processes::Processes;
use servers::{DatabaseKind, Elsewhere, ObjectStoreKind, RegistryKind};
use std::process::ExitCode;
use std::sync::Arc;
use summary::Summary;
use tokio::signal::unix::{SignalKind, signal};

/// `cargo xtask demo`
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Print the summary as one line of JSON on standard output.
    #[arg(long)]
    pub json: bool,
    /// Which example: `store`, `redis-server`, `json-server`, `color-flavor`, or `redis-cluster`, which needs root.
    #[arg(long, default_value = "store")]
    pub example: String,
    /// Kill agents, children and the server on the way, in an order drawn from this seed.
    #[arg(long, value_name = "SEED")]
    pub chaos: Option<u64>,
    /// Run the store on hosts of their own in a network of this kind; needs root.
    #[arg(long, value_name = "KIND", conflicts_with_all = ["chaos", "bare", "example"])]
    pub network: Option<networks::Kind>,
    /// Run the store with three servers over a database of this kind; servers are killed at random, and its primary once.
    #[arg(long, value_name = "KIND", conflicts_with_all = ["chaos", "network", "bare", "example"])]
    pub database: Option<DatabaseKind>,
    /// Run the store with its artifacts in an object store of this kind; servers are killed at random.
    #[arg(long, value_name = "KIND", conflicts_with_all = ["chaos", "network", "bare", "example"])]
    pub object_store: Option<ObjectStoreKind>,
    /// Run the store with its artifacts in a registry of this kind; servers are killed at random.
    #[arg(long, value_name = "KIND", conflicts_with_all = ["chaos", "network", "bare", "example", "object_store"])]
    pub registry: Option<RegistryKind>,
    /// Fewer calls, for the tests; with `--network`, `--database`, `--object-store` or `--registry`.
    #[arg(long)]
    pub short: bool,
    /// Keep the run's directory.
    #[arg(long)]
    pub keep: bool,
    /// Run the example's first version alone, without Upstart.
    #[arg(long)]
    pub bare: bool,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ending {
    /// Its figures.
    pub summary: Summary,
    /// What is not as it must be; empty for a success.
    pub shortcomings: Vec<String>,
}

/// Runs the demo; success only if everything that it promises held.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    let elsewhere = (options.database, options.object_store, options.registry);
    if options.short && options.network.is_none() && elsewhere == (None, None, None) {
        anyhow::bail!(
            "`--short` is for `--network`, `--database`, `--object-store` and `--registry`"
        );
    }
    let mut place = Place::new()?;
    if let Some(kind) = options.network {
        // Before this thread moves to where nothing can be downloaded.
        build::build(&place)?;
        place.hosts = Arc::new(networks::hosts(kind, place.base)?);
        place.server_arguments = networks::server_arguments(kind);
        place.agent_arguments = networks::agent_arguments(kind, &place.hosts);
    }
    if options.example == cluster::NAME {
        // The same.
        build::build(&place)?;
        place.hosts = Arc::new(cluster::prepare(&place)?);
    }
    let elsewhere = Elsewhere::start(&mut place, elsewhere)?;
    let processes = Arc::new(Processes::default());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let result = {
        let _ended_whatever_happens = EndAll {
            processes: &processes,
            place: &place,
        };
        let result = runtime.block_on(async {
            tokio::select! {
                ending = perform(&options, &place, Arc::clone(&processes), &elsewhere) => ending,
                signal = interrupted() => Err(anyhow::anyhow!("interrupted by {}", signal?)),
            }
        });
        runtime.shutdown_background();
        result
    };
    let succeeded = result
        .as_ref()
        .is_ok_and(|ending| ending.shortcomings.is_empty());
    if options.keep || !succeeded {
        eprintln!("the run's directory is {}", place.root.display());
    } else {
        std::fs::remove_dir_all(&place.root)?;
    }
    report(&options, &result?)
}

/// Ends every process of the run when it goes out of scope, also in a panic.
struct EndAll<'a> {
    processes: &'a Processes,
    place: &'a Place,
}

impl Drop for EndAll<'_> {
    fn drop(&mut self) {
        self.processes.end_all(&self.place.root);
    }
}

/// Waits for a signal that asks to end.
async fn interrupted() -> anyhow::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        ended = tokio::signal::ctrl_c() => ended.map(|()| "Ctrl-C").map_err(Into::into),
        _ = terminate.recv() => Ok("SIGTERM"),
    }
}

/// The run itself; its processes are ended by the caller, however it ends.
async fn perform(
    options: &Options,
    place: &Place,
    processes: Arc<Processes>,
    elsewhere: &Elsewhere,
) -> anyhow::Result<Ending> {
    if options.bare {
        let example = repository().join("examples/1-store");
        let of_run = place.clone();
        let run = move || bare::run(&of_run, &processes, &example);
        let summary = tokio::task::spawn_blocking(run).await??;
        let shortcomings = summary.shortcomings(&bare::DEMANDS, 1, &[]);
        return Ok(Ending {
            summary,
            shortcomings,
        });
    }
    if let Some(kind) = options.network {
        let program = place.program();
        return networks::run(kind, options.short, place, processes, program).await;
    }
    if options.example == cluster::NAME {
        return cluster::run(place, processes, place.program(), options.chaos).await;
    }
    let of_run = place.clone();
    let program = tokio::task::spawn_blocking(move || build::build(&of_run)).await??;
    if elsewhere.is_wanted() {
        return servers::run(place, processes, program, elsewhere, options.short).await;
    }
    match (options.example.as_str(), options.chaos) {
        ("store", None) => store::run(place, processes, program).await,
        ("store", Some(seed)) => chaos::run(place, processes, program, seed).await,
        ("redis-server", None) => redis::run(place, processes, program).await,
        ("json-server", None) => jsonserver::run(place, processes, program).await,
        (flavours::NAME, chaos) => flavours::run(place, processes, program, chaos).await,
        (other, _) => {
            anyhow::bail!(
                "there is no example `{other}`; there are `store`, `redis-server`, `json-server`, `color-flavor` and `redis-cluster`; `--chaos` is for `store`, `color-flavor` and `redis-cluster`"
            )
        }
    }
}

fn report(options: &Options, ending: &Ending) -> anyhow::Result<ExitCode> {
    let line = serde_json::to_string(&ending.summary)?;
    if options.json {
        println!("{line}");
    } else {
        eprintln!("{}", serde_json::to_string_pretty(&ending.summary)?);
    }
    for shortcoming in &ending.shortcomings {
        eprintln!("not as it must be: {shortcoming}");
    }
    Ok(if ending.shortcomings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

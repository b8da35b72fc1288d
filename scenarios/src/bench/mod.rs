//! `cargo xtask bench`: what Upstart costs, measured beside direct connections and the proxies that people use instead.

mod adapters;
mod cross_version;
mod distribution;
mod figures;
mod plan;
mod runner;
mod same_version;
mod server;
mod snapshot;
pub(crate) mod stage;

use clap::{Args, Subcommand};
use std::process::ExitCode;

/// Arguments of `cargo xtask bench`.
#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Connections between nodes of one version: direct, under Upstart, through Envoy and through HAProxy on both sides
    SameVersion(same_version::Options),
    /// Calls between versions: through a lens of one and of three steps, beside one hop of nginx, of Envoy, and of Envoy with Lua
    CrossVersion(Measuring),
    /// Adapters: calls through lenses and components beside Envoy with Lua, sessions beside a relay that splices, idle connections
    Adapters(adapters::Options),
    /// How much of a large artifact moves when little of it has changed, and how many copies many fetchers cost the server
    Distribution(distribution::Options),
    /// How many nodes a server serves, over SQLite and PostgreSQL, while an upgrade rolls through all groups
    Server(server::Options),
    /// How long planning an upgrade takes for large fleets, and how near a prediction is to what then happens
    Plan(plan::Options),
    /// How long a node with a large state is unavailable while it upgrades, on XFS, btrfs and ext4
    Snapshot(Snapshot),
}

/// Arguments of `cargo xtask bench snapshot`.
#[derive(Debug, Args)]
struct Snapshot {
    /// Print the result as one line of JSON on stdout
    #[arg(long)]
    json: bool,
    /// How much state on file systems that share it between copies, in GiB
    #[arg(long, default_value_t = 10)]
    gibibytes: u64,
    /// How much state where it is copied, in GiB
    #[arg(long, default_value_t = 1)]
    copied_gibibytes: u64,
    /// Measure what `cargo xtask demo` runs, not a release build
    #[arg(long)]
    dev: bool,
}

/// How to measure.
#[derive(Debug, Args)]
struct Measuring {
    /// Print the result as one line of JSON on stdout
    #[arg(long)]
    json: bool,
    /// How many rounds; each measures every contender once, in turn
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// How long one measurement takes, in seconds
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Only workloads whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Only these contenders beside direct
    #[arg(long, value_delimiter = ',')]
    contenders: Vec<String>,
    /// Measure what `cargo xtask demo` runs, not a release build
    #[arg(long)]
    dev: bool,
    /// Measure this program, with its library beside it, and build nothing
    #[arg(long, value_name = "FILE", conflicts_with = "dev")]
    program: Option<std::path::PathBuf>,
}

impl Measuring {
    /// Whether a contender is to be measured.
    fn wants(&self, contender: &str) -> bool {
        self.contenders.is_empty() || self.contenders.iter().any(|wanted| wanted == contender)
    }
}

/// Runs the benchmark.
///
/// # Errors
/// When a program under test cannot be run.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    match &options.what {
        What::SameVersion(options) => same_version::run(options),
        What::CrossVersion(options) => cross_version::run(options),
        What::Adapters(options) => adapters::run(options),
        What::Distribution(options) => distribution::run(options),
        What::Server(options) => server::run(options),
        What::Plan(options) => plan::run(options),
        What::Snapshot(options) => snapshot::run_all(options),
    }
}

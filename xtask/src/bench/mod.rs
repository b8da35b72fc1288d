//! `cargo xtask bench`: what Upstart costs, measured beside direct connections and two sidecars.

mod contenders;
mod nginx;
mod report;
mod runner;
mod same_version;
mod sidecars;
mod workloads;

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
    SameVersion(SameVersion),
}

/// Arguments of `cargo xtask bench same-version`.
#[derive(Debug, Args)]
struct SameVersion {
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
    /// Only these contenders beside direct (upstart, envoy, haproxy)
    #[arg(long, value_delimiter = ',')]
    contenders: Vec<String>,
    /// Measure what `cargo xtask demo` runs, not a release build
    #[arg(long)]
    dev: bool,
    /// Measure this program, with its library beside it, and build nothing
    #[arg(long, value_name = "FILE", conflicts_with = "dev")]
    program: Option<std::path::PathBuf>,
}

/// Runs the benchmark.
///
/// # Errors
/// When a program under test cannot be run.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    match &options.what {
        What::SameVersion(options) => same_version::run(options),
    }
}

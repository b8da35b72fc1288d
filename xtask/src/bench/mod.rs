//! `cargo xtask bench`: what Upstart costs, measured beside direct connections and two sidecars.

use clap::Args;
use std::process::ExitCode;

/// Arguments of `cargo xtask bench`.
#[derive(Debug, Args)]
pub struct Options {
    /// Print the result as one line of JSON on stdout
    #[arg(long)]
    json: bool,
}

/// Runs the benchmark.
///
/// # Errors
/// When a program under test cannot be run.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not yet: {options:?}")
}

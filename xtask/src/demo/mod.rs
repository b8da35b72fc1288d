//! `cargo xtask demo`: a whole system upgraded under load, judged by a checker.

pub mod check;
pub mod forms;
pub mod history;

use clap::Args;
use std::process::ExitCode;

/// `cargo xtask demo`
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Print the summary as one line of JSON on standard output.
    #[arg(long)]
    pub json: bool,
    /// Which example: `store` or `redis-server`.
    #[arg(long, default_value = "store")]
    pub example: String,
    /// Kill agents, children and the server on the way, in an order drawn from this seed.
    #[arg(long, value_name = "SEED")]
    pub chaos: Option<u64>,
    /// Keep the run's directory.
    #[arg(long)]
    pub keep: bool,
    /// Run the example's first version alone, without Upstart.
    #[arg(long)]
    pub bare: bool,
}

/// Runs the demo; success only if everything that it promises held.
pub fn run(_options: Options) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not yet")
}

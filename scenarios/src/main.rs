//! Whole systems under load: demos, benchmarks, faults, and the matrix of real programs. `cargo xtask` builds and runs this.

use clap::{Parser, Subcommand};
use std::process::ExitCode;

pub mod bench;
pub mod demo;
pub mod faults;
pub mod matrix;
mod queue;

/// Whole systems under load.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Upgrade a running system under load, through versions that do not understand each other
    Demo(demo::Options),
    /// Measure what Upstart costs, beside direct connections, Envoy and HAProxy
    Bench(bench::Options),
    /// Try real programs bare and under Upstart: started, called, upgraded, and through upgrades that fail
    Matrix(matrix::Options),
    /// Break whole systems on purpose under load, and see that they go on
    Faults(faults::Options),
    /// Say why no test networks can be made here, if so
    #[command(hide = true)]
    Networks,
}

fn networks() -> ExitCode {
    match network::unavailable() {
        Some(why) => {
            println!("{why}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Demo(options) => demo::run(options),
        Command::Bench(options) => bench::run(&options),
        Command::Matrix(options) => matrix::run(&options),
        Command::Faults(options) => faults::run(&options),
        Command::Networks => Ok(networks()),
    };
    result.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::from(2)
    })
}

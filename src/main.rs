//! The command line of Upstart: reads the arguments, runs one command, turns its end into an exit code.

mod arguments;
mod commands;
mod failure;
mod output;
mod telemetry;

use arguments::Cli;
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    telemetry::start("info", cli.globals.verbose);
    let json = cli.globals.json;
    failure::exit_code(commands::run(cli), json)
}

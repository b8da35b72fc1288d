//! The command line of Upstart: reads the arguments, runs one command, turns its end into an exit code.

mod arguments;
mod commands;
mod connection;
mod describe;
mod failure;
mod file_limit;
mod files;
mod globals;
mod output;
mod telemetry;

use arguments::{Cli, UpstartCommand};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let is_daemon = matches!(
        cli.command,
        UpstartCommand::Server(_) | UpstartCommand::Agent(_)
    );
    let level = if is_daemon { "info" } else { "warn" };
    telemetry::start(level, cli.globals.verbose, cli.globals.log_format);
    let json = cli.globals.json;
    failure::exit_code(cli.run(), json)
}

//! `cargo xtask`: the project's own commands.

use clap::Parser;
use std::process::ExitCode;
use xtask::arguments::{Arguments, Command};
use xtask::{docs, fuzz, scenarios, screenshots, style, test, tutorial};

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Demo(options) => scenarios::run("demo", &options),
        Command::Bench(options) => scenarios::run("bench", &options),
        Command::Matrix(options) => scenarios::run("matrix", &options),
        Command::Faults(options) => scenarios::run("faults", &options),
        Command::Test(options) => test::run_all(&options),
        Command::Docs(options) => docs::run(&options),
        Command::Tutorial(options) => tutorial::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Screenshots(options) => screenshots::run(&options),
        Command::Style => style::run(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::from(2)
    })
}

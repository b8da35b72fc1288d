//! The project's own commands: demo, test, bench, matrix, faults, docs, tutorial, fuzz, style.

use clap::{Parser, Subcommand};
use std::process::ExitCode;

pub mod bench;
pub mod demo;
pub mod docs;
pub mod faults;
pub mod fuzz;
pub mod matrix;
pub mod style;
pub mod test;
pub mod tutorial;
pub mod workspace;

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Upgrade a running system under load, through versions that do not understand each other
    Demo(demo::Options),
    /// Install what is needed and run everything that must hold before a change is good
    Test(test::Options),
    /// Measure what Upstart costs, beside direct connections, Envoy and HAProxy
    Bench(bench::Options),
    /// Try real programs bare and under Upstart: started, called, upgraded, and through upgrades that fail
    Matrix(matrix::Options),
    /// Break whole systems on purpose under load, and see that they go on
    Faults(faults::Options),
    /// Build the documentation as a site, or run what its pages show
    Docs(docs::Options),
    /// Follow the documentation's first upgrade literally in a clean root, from the clone on
    Tutorial(tutorial::Options),
    /// Feed the parsers of untrusted bytes with what nobody expects
    Fuzz(fuzz::Options),
    /// Print what breaks the rules of style (part of the tests)
    Style,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Demo(options) => demo::run(options),
        Command::Test(options) => test::run_all(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Matrix(options) => matrix::run(&options),
        Command::Faults(options) => faults::run(&options),
        Command::Docs(options) => docs::run(&options),
        Command::Tutorial(options) => tutorial::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Style => style::run(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::from(2)
    })
}

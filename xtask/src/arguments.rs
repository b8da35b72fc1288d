//! What `cargo xtask` can be told.

use crate::{docs, fuzz, scenarios, screenshots, test, tutorial};
use clap::{Parser, Subcommand};

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
pub struct Arguments {
    /// Which.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    /// Upgrade a running system under load, through versions that do not understand each other
    #[command(disable_help_flag = true)]
    Demo(scenarios::Options),
    /// Install what is needed and run everything that must hold before a change is good
    Test(test::Options),
    /// Measure what Upstart costs, beside direct connections, Envoy and HAProxy
    #[command(disable_help_flag = true)]
    Bench(scenarios::Options),
    /// Try real programs bare and under Upstart: started, called, upgraded, and through upgrades that fail
    #[command(disable_help_flag = true)]
    Matrix(scenarios::Options),
    /// Break whole systems on purpose under load, and see that they go on
    #[command(disable_help_flag = true)]
    Faults(scenarios::Options),
    /// Build the documentation as a site, or run what its pages show
    Docs(docs::Options),
    /// Follow the documentation's first upgrade literally in a clean root, from the clone on
    Tutorial(tutorial::Options),
    /// Feed the parsers of untrusted bytes with what nobody expects
    Fuzz(fuzz::Options),
    /// Take pictures of the web page during a small upgrade, on a desk and on a phone, light and dark
    Screenshots(screenshots::Options),
    /// Print what breaks the rules of style (part of the tests)
    Style,
}

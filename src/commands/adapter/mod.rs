//! `upstart adapter`: tools for people who write adapters. Nothing here needs a server or a node.

mod new;
mod place;
mod templates;
pub(crate) mod test;

use crate::failure::CommandOutcome;
use crate::globals::Globals;
use clap::{Args, Subcommand};

/// Arguments of `upstart adapter`.
#[derive(Debug, Args)]
pub(crate) struct AdapterArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: AdapterCommand,
}

/// What can be done with adapters.
#[derive(Debug, Subcommand)]
pub(crate) enum AdapterCommand {
    /// Make a project of an adapter that builds and passes its own tests
    New(new::NewArgs),
    /// Play conversations through an adapter and show what differs
    Test(test::TestArgs),
}

/// `upstart adapter`.
pub(crate) fn run(globals: &Globals, arguments: &AdapterArgs) -> CommandOutcome {
    match &arguments.command {
        AdapterCommand::New(arguments) => new::run(globals, arguments),
        AdapterCommand::Test(arguments) => test::run(globals, arguments),
    }
}

//! `upstart lens`: tools for people who write lenses. Nothing here needs a server or a node.

mod explain;
mod place;

use super::adapter::test;
use crate::failure::CommandOutcome;
use crate::globals::Globals;
use clap::{Args, Subcommand};

/// Arguments of `upstart lens`.
#[derive(Debug, Args)]
pub(crate) struct LensArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: LensCommand,
}

/// What can be done with lenses.
#[derive(Debug, Subcommand)]
pub(crate) enum LensCommand {
    /// Play conversations through lenses and show what differs; the same as `upstart adapter test`
    Test(test::TestArgs),
    /// Say what happens to a call, rule by rule, there and back
    Explain(explain::ExplainArgs),
}

/// `upstart lens`.
pub(crate) fn run(globals: &Globals, arguments: &LensArgs) -> CommandOutcome {
    match &arguments.command {
        LensCommand::Test(arguments) => test::run(globals, arguments),
        LensCommand::Explain(arguments) => explain::run(globals, arguments),
    }
}

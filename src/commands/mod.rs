//! One file for each command, or for a few that belong together.

pub(crate) mod hidden;

use crate::arguments::{Cli, Command};
use crate::failure::Outcome;

/// Runs the command that was given.
pub(crate) fn run(cli: Cli) -> Outcome {
    match cli.command {
        Command::Holder(arguments) => hidden::holder(&arguments),
        Command::Launch(rest) => hidden::launch(&rest),
        Command::Confine(rest) => hidden::confine(&rest),
    }
}

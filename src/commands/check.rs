//! `upstart check`: proves an upgrade's folder without a server.

use crate::arguments::Globals;
use crate::failure::{Outcome, failure};
use clap::Args;
use std::path::PathBuf;

/// Arguments of `upstart check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The folder with `upgrade.toml`
    pub(crate) directory: PathBuf,
}

/// `upstart check`.
pub(crate) fn run(_globals: &Globals, _arguments: &CheckArgs) -> Outcome {
    Err(failure("no check yet", "wait for it"))
}

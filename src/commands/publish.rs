//! `upstart publish`: uploads what the repository lacks, then publishes.

use crate::arguments::Globals;
use crate::failure::{Outcome, failure};
use clap::Args;
use std::path::PathBuf;

/// Arguments of `upstart publish`.
#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    /// The folder with `upgrade.toml`
    pub(crate) directory: PathBuf,
    /// Mend an upgrade that is published already: same versions and interfaces, new contents
    #[arg(long)]
    pub(crate) revise: bool,
}

/// `upstart publish`.
pub(crate) fn run(_globals: &Globals, _arguments: &PublishArgs) -> Outcome {
    Err(failure("cannot publish yet", "wait for it"))
}

//! The processes that an agent starts from this same binary: holder, launch, confine.

use crate::failure::{Outcome, failure};
use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;

/// Arguments of `upstart holder`.
#[derive(Debug, Args)]
pub(crate) struct HolderArgs {
    /// The node's data directory.
    #[arg(long)]
    pub(crate) data: PathBuf,
}

/// Arguments that are handed on as they are.
#[derive(Debug, Args)]
pub(crate) struct Rest {
    /// What the holder or the agent says.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<OsString>,
}

/// Owns a node's child until it is told to end.
pub(crate) fn holder(arguments: &HolderArgs) -> Outcome {
    Err(failure(
        format!("no holder for {} yet", arguments.data.display()),
        "wait for it",
    ))
}

/// Becomes the child.
pub(crate) fn launch(rest: &Rest) -> Outcome {
    Err(failure(
        format!("cannot launch {:?} yet", rest.arguments),
        "wait for it",
    ))
}

/// Becomes a transform.
pub(crate) fn confine(rest: &Rest) -> Outcome {
    Err(failure(
        format!("cannot confine {:?} yet", rest.arguments),
        "wait for it",
    ))
}

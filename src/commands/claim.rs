//! `upstart claim`: says that a copied, moved or restored data directory is the node's own from now on. Without it no agent starts
//! there: the original may live, and what was written since a backup is not in it.

use super::agent::journal_advice;
use super::operate::done;
use crate::arguments::Globals;
use crate::failure::{Outcome, failure};
use agent::AgentError;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// Arguments of `upstart claim`.
#[derive(Debug, Args)]
pub(crate) struct ClaimArgs {
    /// The data directory; the one that it was copied from must not be used any more
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
}

/// `upstart claim`.
pub(crate) fn run(globals: &Globals, arguments: &ClaimArgs) -> Outcome {
    let shown = arguments.data.display().to_string();
    agent::claim(&arguments.data).map_err(|error| {
        let next = match &error {
            AgentError::Journal(error) => journal_advice(error),
            _ => "give --data a node's data directory",
        };
        let told: Vec<String> = anyhow::Error::from(error)
            .chain()
            .map(ToString::to_string)
            .collect();
        failure(format!("{shown} is not claimed: {}", told.join(": ")), next)
    })?;
    let sentence = format!("{shown} is the node's data directory from now on; start its agent.");
    done(globals, &json!({ "claimed": shown }), &sentence)
}

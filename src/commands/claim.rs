//! `upstart claim`: says that a copied, moved or restored data directory is the node's own from now on. Without it no agent starts
//! there: the original may live, and what was written since a backup is not in it.

use super::agent::journal_advice;
use super::operate::done;
use crate::arguments::Globals;
use crate::failure::{Outcome, advice_on, failure};
use agent::AgentError;
use agent::holder::Original;
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

fn stop_advice(original: &Original) -> String {
    let data = original.data.as_ref();
    let data = data.map_or("DIR".to_owned(), |data| data.display().to_string());
    format!(
        "one of them can be the node: keep the original, or end its agent, run `upstart stop --data {data}`, then claim this"
    )
}

/// `upstart claim`.
pub(crate) fn run(globals: &Globals, arguments: &ClaimArgs) -> Outcome {
    let shown = arguments.data.display().to_string();
    agent::claim(&arguments.data).map_err(|error| {
        let next = match &error {
            AgentError::Journal(error) => journal_advice(error).to_owned(),
            AgentError::OriginalLives(original) => stop_advice(original),
            _ => "give --data a node's data directory".to_owned(),
        };
        let next = advice_on(&error, &arguments.data, next);
        let told: Vec<String> = anyhow::Error::from(error)
            .chain()
            .map(ToString::to_string)
            .collect();
        failure(format!("{shown} is not claimed: {}", told.join(": ")), next)
    })?;
    let sentence = format!("{shown} is the node's data directory from now on; start its agent.");
    done(globals, &json!({ "claimed": shown }), &sentence)
}

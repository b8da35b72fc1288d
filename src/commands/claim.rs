//! `upstart claim`: says that a copied, moved or restored data directory is the node's own from now on. Without it no agent starts
//! there: the original may live, and what was written since a backup is not in it.

use super::agent::journal_advice;
use super::node_directory::{become_owner, is_a_nodes, stop_advice};
use super::operate::done;
use crate::connection::{connect, wait_for};
use crate::failure::{CommandOutcome, advice_on, failure};
use crate::globals::Globals;
use agent::{AgentError, Claimed};
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
pub(crate) fn run(globals: &Globals, arguments: &ClaimArgs) -> CommandOutcome {
    let shown = arguments.data.display().to_string();
    if !is_a_nodes(&arguments.data)? {
        return Err(failure(
            format!("{shown} is not a node's data directory"),
            "give --data the copy of a directory that a node's agent was given",
        ));
    }
    become_owner(&arguments.data)?;
    let claimed = agent::claim(&arguments.data).map_err(|error| {
        let next = match &error {
            AgentError::Journal(error) => journal_advice(error).to_owned(),
            AgentError::OriginalLives(original) => stop_advice(original, &arguments.data),
            AgentError::NothingToClaim(_) => "start its agent; or, if this is a backup that was put back while the software ran, end that first with `upstart stop`, then claim it".to_owned(),
            _ => "give --data a node's data directory".to_owned(),
        };
        let next = advice_on(&error, &arguments.data, next);
        let told: Vec<String> = anyhow::Error::from(error)
            .chain()
            .map(ToString::to_string)
            .collect();
        failure(format!("{shown} is not claimed: {}", told.join(": ")), next)
    })?;
    let missing = wait_for(async { Ok(missing_records(globals, claimed).await) })?;
    let more = match &missing {
        Ok(0) => String::new(),
        Ok(missing) => format!(
            " Its journal lacks {missing} records that the server has heard of: what the node has acknowledged since may be lost."
        ),
        Err(why) => {
            format!(" Whether it is older than the node was last, the server did not say: {why}.")
        }
    };
    let sentence =
        format!("{shown} is the node's data directory from now on; start its agent.{more}");
    let document = json!({ "claimed": shown, "missing_records": missing.ok() });
    done(globals, &document, &sentence)
}

/// How many records of the node the server has heard of that this directory does not have; else why it is not known.
async fn missing_records(globals: &Globals, claimed: Claimed) -> Result<u64, String> {
    let Some(node) = claimed.node else {
        return Err("it was never enrolled".to_owned());
    };
    let client = connect(globals).map_err(|error| error.to_string())?;
    let fact = client.node(&node.0.to_string()).await;
    let fact = fact.map_err(|error| error.to_string())?;
    Ok(fact.report.records.saturating_sub(claimed.records))
}

//! `upstart stop`: ends a node's software and its holder, when its agent has ended: an agent's own end leaves both
//! running, so that agents can be replaced.

use super::agent::journal_advice;
use super::node_directory::{become_owner, is_a_nodes, stop_advice};
use super::operate::done;
use crate::connection::wait_for;
use crate::failure::{CommandOutcome, advice_on, failure, refusal, sentence};
use crate::globals::Globals;
use agent::AgentError;
use agent::holder_client::HolderClientError;
use agent::journal::JournalFileError;
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Arguments of `upstart stop`.
#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// The node's data directory
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
}

/// `upstart stop`.
pub(crate) fn run(globals: &Globals, arguments: &StopArgs) -> CommandOutcome {
    let data = &arguments.data;
    let shown = data.display().to_string();
    if !is_a_nodes(data)? {
        return Err(failure(
            format!("{shown} is not a node's data directory"),
            "give --data the directory that the node's agent was given",
        ));
    }
    become_owner(data)?;
    let damage = wait_for(async {
        agent::stop(data)
            .await
            .map_err(|error| explain(error, data))
    })?;
    let damage = damage.map(|damage| {
        let advice = journal_advice(&damage);
        // It was, just now.
        let untouched = advice.starts_with("the software was not touched");
        let advice = advice
            .split_once("; ")
            .filter(|_| untouched)
            .map_or(advice, |(_, rest)| rest);
        (sentence(&damage.into()), advice)
    });
    let next = match &damage {
        None => "an agent starts both.".to_owned(),
        Some((damage, advice)) => format!("no agent starts them, since {damage}: {advice}."),
    };
    let document = json!({ "stopped": shown, "journal_damage": damage.map(|(damage, _)| damage) });
    let sentence = format!("No software of the node runs any more, nor its holder; {next}");
    done(globals, &document, &sentence)
}

fn an_agent_runs(directory: &Path) -> anyhow::Error {
    let data = directory.display();
    let runner = agent::runner(directory).filter(|runner| runner.process != 0);
    match runner {
        None => refusal(
            format!("an agent runs the node in {data}"),
            "end the agent first (`systemctl stop`, or SIGTERM), in its container if it is in one",
        ),
        Some(runner) if runner.stands_still => {
            let process = runner.process;
            refusal(
                format!(
                    "an agent, process {process}, runs the node in {data}, and is stopped (SIGSTOP)"
                ),
                format!(
                    "let it go on with `kill -CONT {process}` and end it with `kill {process}`, or end it at once with `kill -KILL {process}`; then run this again"
                ),
            )
        }
        Some(runner) => {
            let process = runner.process;
            refusal(
                format!("an agent, process {process}, runs the node in {data}"),
                format!("end the agent first (`systemctl stop`, or `kill {process}`)"),
            )
        }
    }
}

fn explain(error: AgentError, directory: &Path) -> anyhow::Error {
    let data = directory.display();
    match error {
        AgentError::Journal(JournalFileError::Locked { .. }) => an_agent_runs(directory),
        AgentError::Holder(HolderClientError::Silent { process }) => failure(
            format!(
                "the holder of the node in {data}, process {process}, does not answer; its software may run"
            ),
            format!(
                "let it go on with `kill -CONT {process}`, or end it with `kill -KILL {process}`; then run this again, which ends what it leaves"
            ),
        ),
        AgentError::Holder(error @ HolderClientError::Locked { .. }) => failure(
            format!("cannot stop the node in {data}: {error}"),
            "find out what that process is and end it, then run this again; nothing of the node was touched",
        ),
        AgentError::OriginalLives(original) => failure(
            format!(
                "{data} is a copy of a node's directory; for the original, process {} runs",
                original.process
            ),
            stop_advice(&original, directory),
        ),
        AgentError::AnotherWasHere(before) => failure(
            format!(
                "nothing of the node that is in {data} now runs; but another directory was in this place, and process {} is its holder",
                before.process
            ),
            "put that one back (move it back, or unmount what covers it) and run this again; where it was moved for good, give --data its new path",
        ),
        error @ AgentError::LeftBehind(_) => failure(
            format!("cannot stop the node in {data}: {error}"),
            "end them by their numbers (of another user's: as root), then run this again",
        ),
        error => {
            let next = match &error {
                AgentError::Journal(error) => journal_advice(error),
                _ => "run the command again with -v to see more",
            };
            let next = advice_on(&error, directory, next);
            let error = anyhow::Error::from(error);
            failure(
                format!("cannot stop the node in {data}: {}", sentence(&error)),
                next,
            )
        }
    }
}

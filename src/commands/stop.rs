//! `upstart stop`: ends a node's software and its holder, when its agent has ended: an agent's own end leaves both
//! running, so that agents can be replaced.

use super::operate::done;
use crate::arguments::Globals;
use crate::failure::{Advise, Outcome, failure, refusal};
use agent::holder_client::{ClientError, HolderClient, Notice, Notices};
use agent::layout::Layout;
use clap::Args;
use serde_json::json;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The signal that asks a program to end.
const SIGTERM: i32 = 15;

/// How long what was killed may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// Arguments of `upstart stop`.
#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// The node's data directory
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// How long the software may take to end by itself before it is killed
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    pub(crate) grace_ms: u64,
}

/// `upstart stop`.
pub(crate) fn run(globals: &Globals, arguments: &StopArgs) -> Outcome {
    let data = std::path::absolute(&arguments.data)?;
    let _lock = lock(&data)?;
    let grace = Duration::from_millis(arguments.grace_ms);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let was_running = runtime.block_on(stop(&data, grace))?;
    let answer = json!({ "data": data.display().to_string(), "was_running": was_running });
    let sentence = match was_running {
        true => "The software has ended, and its holder. A new agent starts both again.",
        false => "No software ran there; its holder, if any, has ended.",
    };
    done(globals, &answer, sentence)
}

/// Holds the node's lock, so that no agent starts the software again meanwhile.
fn lock(data: &Path) -> anyhow::Result<File> {
    let path = Layout::new(data).journal().with_extension("lock");
    let file = File::options().read(true).write(true).open(&path).advise(
        format!("{} is no node's data directory", data.display()),
        "give --data the directory that the node's agent was given",
    )?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => Err(refusal(
            format!("an agent runs the node in {}", data.display()),
            "end the agent first (`systemctl stop`, or SIGTERM)",
        )),
    }
}

/// Whether software ran; it has ended in any case.
async fn stop(data: &Path, grace: Duration) -> anyhow::Result<bool> {
    let (holder, mut notices) = match HolderClient::attach(data).await {
        Ok(attached) => attached,
        Err(ClientError::Unreachable { .. }) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let runs = holder.state().child.is_some();
    if runs {
        // Only descendants may be left, which take no signal of ours: then the grace passes and they are killed.
        let asked = holder.signal(SIGTERM).await.is_ok();
        let ended = asked && ends_within(&mut notices, grace).await;
        if !ended {
            holder.kill().await?;
            if !ends_within(&mut notices, KILL_LIMIT).await {
                return Err(failure(
                    format!(
                        "the software in {} does not end even when killed",
                        data.display()
                    ),
                    "look for processes in state D (`ps`): they wait for the kernel",
                ));
            }
        }
    }
    holder.exit().await?;
    Ok(runs)
}

async fn ends_within(notices: &mut Notices, limit: Duration) -> bool {
    let ended = async {
        while let Some(notice) = notices.recv().await {
            if matches!(notice, Notice::ChildExited(_)) {
                return true;
            }
        }
        false
    };
    tokio::time::timeout(limit, ended).await.unwrap_or(false)
}

//! A node is stopped for good, without an agent; and who has it now.

use super::agent_error::{AgentError, at};
use super::child::{self, ChildStart, StopManner};
use crate::cached;
use crate::holder::{self, LockOwner};
use crate::holder_client::{self, HolderClient, HolderNotices};
use crate::journal::{Journal, JournalFileError};
use crate::kernel;
use crate::layout::Layout;
use intercept::holder::ChildExit;
use std::path::Path;
use std::time::Duration;

/// How long [`stop`] waits for what was killed, and for the holder.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// How often [`stop`] looks whether the holder has ended.
const LOOK: Duration = Duration::from_millis(10);

/// Stops a node's software and its holder, for good: nothing of the node runs afterwards. No agent may run. Gives what keeps the next
/// agent from starting, if the journal is not what was written.
///
/// Whatever has become of the node's holder and of its journal: where no holder answers, another one finds by the kernel what was left.
///
/// # Errors
/// An agent runs, it is a copy of a node's directory, or something of the software is left, or may be.
pub async fn stop(data: &Path) -> Result<Option<JournalFileError>, AgentError> {
    let layout = Layout::new(std::fs::canonicalize(data).map_err(at(data))?);
    let lock = Journal::lock_only(&layout.journal());
    if matches!(lock, Err(JournalFileError::Copy { .. }))
        && let Some(original) = holder::original(layout.root())
    {
        return Err(AgentError::OriginalLives(original));
    }
    let lock = lock?;
    end_all(&layout).await?;
    let before = holder::of_what_was_here(layout.root()).map_err(at(Path::new("/proc")))?;
    if let Some(before) = before {
        return Err(AgentError::AnotherWasHere(before));
    }
    drop(lock);
    Ok(Journal::open(&layout.journal()).err())
}

/// Ends the software and the holder of a node whose lock the caller has.
///
/// # Errors
/// Something of the software is left, or may be.
pub(super) async fn end_all(layout: &Layout) -> Result<(), AgentError> {
    let (holder, mut notices) =
        HolderClient::attach_or_spawn(Path::new(kernel::OWN_PROGRAM), layout.root()).await?;
    if holder.state().child.is_some() {
        end_child(&holder, &mut notices, &last_manner(layout)).await;
    }
    holder.exit().await?;
    // It answers before it has tidied the directory, which may be deleted as soon as this returns.
    let gone = async {
        while matches!(holder::owner(layout.root()), Some(LockOwner::Holder(_))) {
            tokio::time::sleep(LOOK).await;
        }
    };
    // One that does not end is seen by what it leaves.
    let _ = tokio::time::timeout(STOP_GRACE, gone).await;
    match holder::left_behind(layout.root()).map_err(at(Path::new("/proc")))? {
        left if left.is_empty() => Ok(()),
        left => Err(AgentError::LeftBehind(left)),
    }
}

/// Who runs a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runner {
    /// Its process; 0 where it cannot be seen, as in another container.
    pub process: i32,
    /// Somebody has stopped it (SIGSTOP), so that it does nothing until it is let go on.
    pub stands_still: bool,
}

/// The agent, or a command such as [`stop`], that has the node in a data directory just now.
pub fn runner(data: &Path) -> Option<Runner> {
    let lock = Layout::new(data).journal().with_extension("lock");
    let process = holder::locker_of(&lock)?;
    Some(Runner {
        process,
        stands_still: kernel::stands_still(process),
    })
}

/// How the software that runs is to be stopped, as the agent noted when it started it.
fn last_manner(layout: &Layout) -> StopManner {
    let last: Option<ChildStart> = cached::load(&layout.start());
    last.map(|start| start.stop).unwrap_or_default()
}

async fn end_child(holder: &HolderClient, notices: &mut HolderNotices, manner: &StopManner) {
    // A child that has just ended by itself is told below as well.
    let asked = holder.stop(manner.signal, manner.to_all, manner.grace());
    if let Err(error) = asked.await {
        tracing::debug!(%error, "cannot stop the software");
    }
    // What cannot be killed is told by the holder, which then refuses to end.
    let limit = manner.grace().saturating_add(STOP_GRACE);
    let ended = tokio::time::timeout(limit, exited(notices)).await;
    if let Ok(Some(killed)) = ended.map(|exit| exit.and_then(|exit| exit.killed)) {
        tracing::warn!("{}", child::killed_text(&killed));
    }
}

async fn exited(notices: &mut HolderNotices) -> Option<ChildExit> {
    loop {
        if let holder_client::HolderNotice::ChildExited(exit) = notices.recv().await? {
            return Some(exit);
        }
    }
}

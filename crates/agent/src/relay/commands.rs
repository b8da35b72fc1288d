//! Commands that the agent itself runs (probes, `after_start`): while the software is probed, only their connections and
//! the agent's own reach it.

use crate::kernel::{connection, family, owners};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// The commands that run now, by process.
#[derive(Default)]
pub(crate) struct Commands {
    processes: Mutex<BTreeSet<i32>>,
}

impl Commands {
    /// Counts a process as the agent's own until the guard is dropped.
    pub(crate) fn running(self: &Arc<Self>, process: i32) -> RunningCommand {
        self.processes().insert(process);
        RunningCommand(self.clone(), process)
    }

    fn processes(&self) -> parking_lot::MutexGuard<'_, BTreeSet<i32>> {
        self.processes.lock()
    }

    /// Whether a connection from `peer` to `local` on this host was made by such a command, or by a child of it.
    pub(crate) fn own(&self, peer: SocketAddr, local: SocketAddr) -> bool {
        let mains: Vec<i32> = self.processes().iter().copied().collect();
        mains.into_iter().any(|main| {
            has(main, peer, local).unwrap_or_else(|error| {
                tracing::debug!(%error, main, "cannot look at a command's connections");
                false
            })
        })
    }
}

/// Whether a process or one below it has this connection open.
fn has(main: i32, local: SocketAddr, remote: SocketAddr) -> io::Result<bool> {
    let Some(end) = connection(main, local, remote)? else {
        return Ok(false);
    };
    let owners = owners(&family(main)?, &BTreeSet::from([end.inode]))?;
    Ok(!owners.is_empty())
}

/// A command that runs.
pub(crate) struct RunningCommand(Arc<Commands>, i32);

impl Drop for RunningCommand {
    fn drop(&mut self) {
        self.0.processes().remove(&self.1);
    }
}

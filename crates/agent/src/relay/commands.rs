//! Commands that the agent itself runs (probes, `after_start`): while the software is probed, only their connections and
//! the agent's own reach it.

use crate::kernel::{connections, family, owners};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

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

    fn processes(&self) -> std::sync::MutexGuard<'_, BTreeSet<i32>> {
        self.processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a connection from `peer` to `local` on this host was made by such a command, or by a child of it.
    pub(crate) fn own(&self, peer: SocketAddr, local: SocketAddr) -> bool {
        let mains: Vec<i32> = self.processes().iter().copied().collect();
        mains.into_iter().any(|main| {
            let inodes: BTreeSet<u64> = connections(main)
                .iter()
                .filter(|socket| same(socket.local, peer) && same(socket.remote, local))
                .map(|socket| socket.inode)
                .collect();
            !inodes.is_empty() && !owners(&family(main), &inodes).is_empty()
        })
    }
}

fn same(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && a.ip().to_canonical() == b.ip().to_canonical()
}

/// A command that runs.
pub(crate) struct RunningCommand(Arc<Commands>, i32);

impl Drop for RunningCommand {
    fn drop(&mut self) {
        self.0.processes().remove(&self.1);
    }
}

//! What nobody tells and has to be looked for: software that stands still, callers for whom nothing is left to take them with,
//! programs that are not intercepted.

mod unreachable;

use super::child::ChildKeeper;
use super::membership::Membership;
use super::surroundings::Surroundings;
use crate::birth::is_in_place;
use crate::relay::{Relay, ResetReason};
use crate::{kernel, limits};
use intercept::stats::{StatsFile, StatsSnapshot};
use parking_lot::{Mutex, MutexGuard};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use unreachable::ConnectionsLook;

/// For so long after the last caller was reset for want of a descriptor that is told.
const SCARCITY_TOLD: Duration = Duration::from_secs(60);

/// Software that has been stopped for so long is told of.
const STILL_UNSAID: Duration = Duration::from_secs(3);

/// What keeps a node from what it should do.
#[derive(Clone, Copy, Debug, Default)]
struct Hindered {
    /// Since when the software's main process is seen to stand still.
    still: Option<Instant>,
    /// When a caller was last reset for want of a descriptor.
    scarce: Option<Instant>,
}

/// What was found at the last look.
pub(super) struct Inspection {
    surroundings: Arc<Surroundings>,
    relay: Arc<Relay>,
    child: Arc<ChildKeeper>,
    membership: Arc<Membership>,
    /// What the hooks count.
    stats: StatsFile,
    hindered: Mutex<Hindered>,
    connections: Mutex<ConnectionsLook>,
}

impl Inspection {
    pub(super) fn new(
        surroundings: &Arc<Surroundings>,
        relay: &Arc<Relay>,
        child: &Arc<ChildKeeper>,
        membership: &Arc<Membership>,
        stats: StatsFile,
    ) -> Arc<Self> {
        Arc::new(Self {
            surroundings: surroundings.clone(),
            relay: relay.clone(),
            child: child.clone(),
            membership: membership.clone(),
            stats,
            hindered: Mutex::default(),
            connections: Mutex::default(),
        })
    }

    /// What the hooks have counted.
    pub(super) fn hook_counters(&self) -> io::Result<StatsSnapshot> {
        self.stats.read()
    }

    fn hindered(&self) -> MutexGuard<'_, Hindered> {
        self.hindered.lock()
    }

    /// What keeps the node from what it should do, whatever that is.
    pub(super) fn hindrance(&self) -> Option<String> {
        let root = self.surroundings.layout.root();
        if !is_in_place(root, self.surroundings.home) {
            return Some(format!(
                "the data directory is no longer at {0}: move it back there (or unmount what covers it); or end the agent and start it with the new path, which starts the software anew",
                root.display()
            ));
        }
        if let Some(process) = self.surroundings.holder.is_silent() {
            return Some(format!(
                "the node's holder, process {process}, does not answer: let it go on with `kill -CONT {process}`, or end it with `kill -KILL {process}`, which restarts the software"
            ));
        }
        if let Some(process) = self.stands_still() {
            return Some(format!(
                "the software's main process {process} is stopped: `kill -CONT {process}` lets it go on"
            ));
        }
        let scarce = self.hindered().scarce;
        let limit = limits::open_files();
        scarce
            .is_some_and(|since| since.elapsed() < SCARCITY_TOLD)
            .then(|| format!(
                "callers were reset, since the agent may have no more than {limit} files open: raise its hard limit (`ulimit -Hn`, `LimitNOFILE=`)"
            ))
    }

    /// A caller was reset for want of a descriptor.
    pub(super) fn note_scarcity(&self) {
        self.relay.tally.reset(ResetReason::NoDescriptors);
        let mut hindered = self.hindered();
        if hindered
            .scarce
            .is_none_or(|since| since.elapsed() >= SCARCITY_TOLD)
        {
            tracing::warn!(
                limit = limits::open_files(),
                "callers are reset, since the agent may have no more files open: raise its hard limit (`ulimit -Hn`, `LimitNOFILE=`)"
            );
        }
        hindered.scarce = Some(Instant::now());
    }

    /// The software's main process, when somebody has stopped it (SIGSTOP, a debugger) and it stays so.
    pub(super) fn stands_still(&self) -> Option<i32> {
        let process = self.child.present()?.process?;
        let since = self.hindered().still;
        since
            .is_some_and(|since| since.elapsed() >= STILL_UNSAID)
            .then_some(process)
    }

    /// Looks whether the software's main process stands still.
    pub(super) fn look_at_software(&self) {
        let process = self.child.present().and_then(|child| child.process);
        // A number of a process that has ended may be another's by now.
        let is_still = process.is_some_and(|process| {
            let members = || self.child.household().members();
            kernel::stands_still(process)
                && members().is_ok_and(|members| members.contains(&process))
        });
        let mut hindered = self.hindered();
        hindered.still = match (hindered.still, is_still) {
            (_, false) => None,
            (since, true) => since.or_else(|| Some(Instant::now())),
        };
    }
}

//! What the node says about itself.

use super::Node;
use crate::relay::ResetReason;
use crate::unpoisoned::Unpoisoned as _;
use crate::{kernel, limits};
use intercept::holder::Interception;
use intercept::stats::Counter;
use model::api::{ChildState, NodeReport, NodeStatus, Phase, REPORT_ENTRIES_MAX, told};
use model::ids::Version;
use std::collections::BTreeMap;
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// For so long after the last caller was reset for want of a descriptor that is told.
const SCARCITY_TOLD: Duration = Duration::from_secs(60);

/// Software that has been stopped for so long is told of.
const STILL_UNSAID: Duration = Duration::from_secs(3);

/// What keeps a node from what it should do.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hindered {
    /// Since when the software's main process is seen to stand still.
    still: Option<Instant>,
    /// When a caller was last reset for want of a descriptor.
    scarce: Option<Instant>,
}

impl Node {
    fn hindered(&self) -> MutexGuard<'_, Hindered> {
        self.hindered.lock().unpoisoned()
    }

    /// The node's report, but for what the journal knows; the machine says where it stands, and which `retry` it has acted on.
    pub(super) fn report(&self, mut status: NodeStatus, retry_acknowledged: u64) -> NodeReport {
        let picture = self.traffic.picture();
        // A version counts as staged for others only when its ports are open and its adapters loaded.
        let opened = Version(self.opened.load(Ordering::Relaxed));
        let answered = opened.max(status.version);
        status.staged = status.staged.min(answered);
        if status.phase == Phase::Staged && status.target.is_some_and(|to| to > status.staged) {
            // Not before its ports are open.
            status.phase = Phase::Fetching;
        }
        if let Some(why) = self.hindrance() {
            status.reason = Some(match status.reason {
                Some(reason) => format!("{why}; {reason}"),
                None => why,
            });
        }
        if status.child == ChildState::Running && self.stands_still().is_some() {
            status.child = ChildState::Silent;
        }
        if status.child == ChildState::Stopped && self.child().is_some() {
            // A machine that has just begun does not know yet what it will do with what a lost holder has left.
            status.child = ChildState::Running;
        }
        status.reason = status.reason.as_deref().map(told);
        let connections = self.tally.connections();
        let retiring = picture.standing.retired_through;
        let still_open = connections.keys().any(|version| *version <= retiring);
        let counters = self.counters();
        NodeReport {
            endpoints: picture
                .catalog
                .endpoints(&picture.catalog.live_versions(picture.standing)),
            poll_ms: self.config.poll_ms,
            addresses: self.config.addresses.clone(),
            retired_acknowledged: if still_open { Version(0) } else { retiring },
            retry_acknowledged,
            connections,
            records: 0,
            remarks: self.remarks(&counters),
            counters,
            status,
        }
    }

    /// What people should know of the node's calls.
    fn remarks(&self, counters: &BTreeMap<String, u64>) -> Vec<String> {
        if let Some(times) = counters.get(Counter::ConnectLikeAMember.name()) {
            self.tally.bypassed(*times);
        }
        let recent = self.tally.remarks.recent(Instant::now());
        recent.iter().map(|remark| told(remark)).collect()
    }

    /// What keeps the node from what it should do, whatever that is.
    fn hindrance(&self) -> Option<String> {
        if let Some(process) = self.holder.is_silent() {
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
        self.tally.reset(ResetReason::NoDescriptors);
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
    fn stands_still(&self) -> Option<i32> {
        let process = self.child()?.process?;
        let since = self.hindered().still;
        since
            .is_some_and(|since| since.elapsed() >= STILL_UNSAID)
            .then_some(process)
    }

    /// Looks whether the software's main process stands still.
    pub(super) fn look_at_software(&self) {
        let process = self.child().and_then(|child| child.process);
        // A number of a process that has ended may be another's by now.
        let is_still = process.is_some_and(|process| {
            let members = || self.household.members();
            kernel::stands_still(process)
                && members().is_ok_and(|members| members.contains(&process))
        });
        let mut hindered = self.hindered();
        hindered.still = match (hindered.still, is_still) {
            (_, false) => None,
            (since, true) => since.or_else(|| Some(Instant::now())),
        };
    }

    /// The agent's counters and the hooks', by name.
    fn counters(&self) -> BTreeMap<String, u64> {
        let mut all = self.tally.read();
        if let Ok(stats) = self.stats.read() {
            all.extend(stats.named().map(|(name, count)| (name.to_owned(), count)));
        }
        if let Some(child) = self.child() {
            let Interception {
                net,
                no_new_privileges,
                ..
            } = child.interception;
            all.insert("net.in_force".to_owned(), net.into());
            all.insert("net.no_new_privileges".to_owned(), no_new_privileges.into());
        }
        // Rules of lenses that refuse are counted one by one; their sum is there whatever is left out.
        while all.len() > REPORT_ENTRIES_MAX {
            let rules = all.iter().filter(|(name, _)| name.starts_with("refused."));
            let Some(rarest) = rules.min_by_key(|(_, count)| **count) else {
                break;
            };
            let rarest = rarest.0.clone();
            all.remove(&rarest);
        }
        all
    }
}

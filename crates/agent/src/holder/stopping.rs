//! A stop under way. The main process is asked to end; when it has, whatever is left of the software is asked at once; what has
//! not ended when the grace is over is killed. All of it holds without an agent.

use super::group::Group;
use super::service::HolderService;
use crate::kernel::{self, Image};
use intercept::holder::{KILLED_TOLD_MAX, Killed, KilledProcess};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The longest grace: more than anybody waits, and short enough to count with.
const GRACE_MAX: Duration = Duration::from_secs(366 * 24 * 3_600);

/// Who has been asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// The main process.
    Main,
    /// Everybody there was, while the main process lives.
    All,
    /// Everybody that it left behind.
    Left,
}

/// A stop that was asked for and has not come to its end.
#[derive(Debug)]
pub(super) struct Stopping {
    signal: Signal,
    reach: Reach,
    /// With what they executed then.
    asked: BTreeMap<i32, Image>,
    began: Instant,
    grace: Duration,
}

impl Stopping {
    /// When the grace is over.
    pub(super) fn over_at(&self) -> Instant {
        self.began + self.grace
    }

    /// Asks who has not been asked yet: everybody at first; later whoever has nobody above that was asked. A process that
    /// one which was asked has started since, to tidy up, is its own business.
    fn spread(&mut self, group: &Group, first: bool) {
        // Who cannot be seen now is asked the next time.
        let Ok(members) = group.members() else {
            return;
        };
        let members: BTreeSet<i32> = members.into_iter().collect();
        // A number that is free again may be another process's later.
        self.asked.retain(|pid, _| members.contains(pid));
        for pid in &members {
            let has_parent =
                || kernel::parent(*pid).is_some_and(|parent| members.contains(&parent));
            if !self.has_heard(*pid) && (first || !has_parent()) {
                self.ask(*pid, group);
            }
        }
    }

    /// A process that was asked between fork and exec may have lost the signal: its parent's handler took it.
    fn has_heard(&self, pid: i32) -> bool {
        let asked = self.asked.get(&pid);
        asked.is_some_and(|image| *image == kernel::image(pid))
    }

    fn ask(&mut self, pid: i32, group: &Group) {
        let Some(process) =
            Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
        else {
            return;
        };
        // Looked at again: now that we hold the process, its number cannot become another's.
        if group.contains(pid) != Some(true) {
            return;
        }
        // Before the signal, so that what is executed after it is told from it.
        self.asked.insert(pid, kernel::image(pid));
        if let Err(error) = pidfd_send_signal(&process, self.signal) {
            tracing::warn!(pid, %error, "cannot signal a process of the software");
        }
    }
}

impl HolderService {
    /// Begins to stop the child, or goes on with it.
    pub(super) fn stop(
        &mut self,
        signal: i32,
        to_all: bool,
        grace: Duration,
        now: Instant,
    ) -> Result<(), String> {
        let Some(child) = &self.child else {
            return Err("no child runs".to_owned());
        };
        let grace = grace.min(GRACE_MAX);
        if let Some(under_way) = &mut self.stopping {
            under_way.grace = under_way.grace.min(now + grace - under_way.began);
            return Ok(());
        }
        let signal =
            Signal::from_named_raw(signal).ok_or_else(|| format!("{signal} is no signal"))?;
        let mut stopping = Stopping {
            signal,
            reach: Reach::Main,
            asked: BTreeMap::new(),
            began: now,
            grace,
        };
        if let Some(main) = child.pid() {
            // Of another user, perhaps: it is killed when the grace is over, as far as that is possible.
            if let Err(error) = child.signal(signal) {
                tracing::warn!(main, %error, "cannot signal the software's main process");
            }
            stopping.asked.insert(main, kernel::image(main));
            if to_all {
                stopping.spread(&self.group, true);
                stopping.reach = Reach::All;
            }
        }
        self.stopping = Some(stopping);
        Ok(())
    }

    /// Goes on with a stop: asks what the main process left behind, and kills when the grace is over.
    pub(super) fn go_on_stopping(&mut self, now: Instant) {
        let (Some(stopping), Some(child)) = (&mut self.stopping, &mut self.child) else {
            return;
        };
        if child.pid().is_none() {
            stopping.spread(&self.group, stopping.reach != Reach::Left);
            stopping.reach = Reach::Left;
        }
        if now < stopping.over_at() || self.killing {
            return;
        }
        let members = self.group.members();
        if members.as_ref().is_ok_and(Vec::is_empty) {
            return;
        }
        // Whoever they are, they have had their time.
        let killed = killed(stopping, &members.unwrap_or_default(), now);
        tracing::warn!(?killed, "the software did not end in time");
        child.killed = Some(killed);
        self.killing = true;
        self.group.kill();
    }
}

fn killed(stopping: &Stopping, members: &[i32], now: Instant) -> Killed {
    let after = now.saturating_duration_since(stopping.began);
    let told = members.iter().take(KILLED_TOLD_MAX);
    Killed {
        signal: stopping.signal.as_raw(),
        after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
        processes: told
            .map(|pid| KilledProcess {
                pid: *pid,
                program: kernel::program(*pid),
            })
            .collect(),
        more: members.len().saturating_sub(KILLED_TOLD_MAX),
    }
}

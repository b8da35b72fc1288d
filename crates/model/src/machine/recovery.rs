//! Records applied: live, and after a crash.

use super::backoff::BackOff;
use super::health::OldHealth;
use super::node::{
    ChildLife, FollowUp, JoinAt, MachineState, NodeMachine, UpgradeAt, UpgradeUnderWay, Wait,
};
use super::{Output, Place, Plan, ProbeMode, Record, Settled, Step, TRANSFORM_ATTEMPTS_MAX, Work};
use crate::ids::{PermitId, Version};
use std::collections::{BTreeMap, BTreeSet};

/// A journal whose records do not follow one another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("journal record {index} ({kind}) cannot follow those before it")]
pub struct RecoverError {
    /// Which record, from 0.
    pub index: usize,
    /// Its kind.
    pub kind: &'static str,
}

impl NodeMachine {
    /// The machine after these records (none: a node that has not joined), and what to do first. Give the cached plan
    /// when there is one, and say whether the child runs: while one does that is to be stopped, it is served as before.
    ///
    /// # Errors
    /// A record does not fit those before it: the journal is not this machine's.
    pub fn recover(
        now_ms: u64,
        records: &[Record],
        plan: Option<Plan>,
        child_runs: bool,
    ) -> Result<(Self, Vec<Output>), RecoverError> {
        let mut machine = Self::fresh();
        for (index, record) in records.iter().enumerate() {
            if !machine.apply(record) {
                let kind = record.kind();
                return Err(RecoverError { index, kind });
            }
        }
        let mut out = Vec::new();
        machine.resume(child_runs, &mut out);
        if let Some(plan) = plan {
            machine.take_plan(now_ms, plan, &mut out);
        }
        machine.pump(now_ms, &mut out);
        Ok((machine, out))
    }

    /// A short journal that recovers to the same machine, for compaction; `None` while an upgrade or its release is under
    /// way. It stands for every record given out so far: use it only when all outputs of the last step are performed.
    pub fn snapshot(&self) -> Option<Vec<Record>> {
        let settled = self.settled.clone()?;
        if self.tail != FollowUp::default() {
            return None;
        }
        let mut records = vec![Record::Settled(settled), Record::Released];
        let retry = self.retry_seen;
        records.extend(self.held.values().map(|step| Record::Staged {
            step: step.clone(),
            returned: None,
            retry,
        }));
        match &self.state {
            MachineState::Idle => {}
            MachineState::Blocked { on, reason } => {
                records.push(Record::Blocked {
                    on: *on,
                    reason: reason.clone(),
                    retry,
                });
                records.push(Record::Released);
            }
            MachineState::Joining { .. } | MachineState::Upgrading(_) => return None,
        }
        Some(records)
    }

    fn fresh() -> Self {
        Self {
            held: BTreeMap::new(),
            settled: None,
            state: MachineState::Joining {
                step: None,
                at: JoinAt::Prepare,
            },
            tail: FollowUp::default(),
            failed: BTreeSet::new(),
            retry_seen: 0,
            plan: None,
            running: None,
            staging: None,
            child: ChildLife::Unknown,
            last_exit: None,
            old_health: OldHealth::default(),
            look_at_ms: 0,
            killed_before: None,
            halted: None,
            align_due: true,
            align_again: false,
            restart_due: false,
            wait: Wait::default(),
            child_backoff: BackOff::default(),
            stage_backoff: BackOff::default(),
            permit_backoff: BackOff::default(),
            action_backoff: BackOff::default(),
            traffic_told: None,
            now_ms: 0,
        }
    }

    /// The table's column "after a crash here", where it differs from doing the action again.
    fn resume(&mut self, child_runs: bool, out: &mut Vec<Output>) {
        let MachineState::Upgrading(upgrade) = &mut self.state else {
            return;
        };
        upgrade.childless = !child_runs;
        match upgrade.at {
            UpgradeAt::Transform { attempt } => {
                let record = after_attempt(attempt, "the agent ended during the transform");
                self.commit(record, out);
            }
            UpgradeAt::ProbeStart => upgrade.at = UpgradeAt::ProbeStop,
            _ => {}
        }
    }

    /// Changes the state as this record says; false if the record has no place here.
    pub(super) fn apply(&mut self, record: &Record) -> bool {
        match record {
            Record::Joining { step } => self.apply_joining(step),
            Record::Staged {
                step,
                returned,
                retry,
            } => {
                self.retry_seen = self.retry_seen.max(*retry);
                self.apply_staged(step, returned.as_deref())
            }
            Record::Unstaged { version } => {
                if self.blocked_by(*version) {
                    self.unblock();
                }
                self.align_due = true;
                self.held.remove(version);
                self.settled.is_some()
            }
            Record::Stopping { to, permit } => self.apply_stopping(*to, *permit),
            Record::Transforming { attempt, killed } => {
                if let (MachineState::Upgrading(upgrade), Some(_)) = (&mut self.state, killed) {
                    upgrade.killed.clone_from(killed);
                }
                self.set_at(UpgradeAt::Transform { attempt: *attempt })
            }
            Record::Committed => self.set_at(UpgradeAt::Flip),
            Record::Probing => self.set_at(UpgradeAt::ProbeStart),
            Record::FlippingBack { reason } => {
                if let MachineState::Upgrading(upgrade) = &mut self.state {
                    upgrade.failure.clone_from(reason);
                }
                self.set_at(UpgradeAt::BackStop)
            }
            Record::Settled(settled) => self.apply_settled(settled),
            Record::Blocked { on, reason, retry } => {
                self.retry_seen = self.retry_seen.max(*retry);
                self.apply_blocked(*on, reason)
            }
            Record::Released => {
                self.tail = FollowUp::default();
                self.settled.is_some()
            }
        }
    }

    fn set_at(&mut self, at: UpgradeAt) -> bool {
        match &mut self.state {
            MachineState::Upgrading(upgrade) => {
                upgrade.at = at;
                true
            }
            _ => false,
        }
    }

    fn apply_joining(&mut self, step: &Step) -> bool {
        let MachineState::Joining { step: joined, at } = &mut self.state else {
            return false;
        };
        self.restart_due |= joined.is_some();
        *joined = Some(step.clone());
        *at = JoinAt::Prepare;
        self.held = BTreeMap::from([(step.version, step.clone())]);
        self.halted = None;
        self.align_due = true;
        true
    }

    /// Whether the node is blocked on this version, or on one behind it.
    fn blocked_by(&self, version: Version) -> bool {
        let here = self.settled.as_ref().map(|settled| settled.version);
        matches!(&self.state, MachineState::Blocked { on, .. }
            if version == on.version || Some(version) > here && version < on.version)
    }

    /// What has failed may be tried again.
    fn unblock(&mut self) {
        self.state = MachineState::Idle;
        self.failed.clear();
    }

    fn apply_staged(&mut self, step: &Step, returned: Option<&str>) -> bool {
        let Some(before) = self.settled.clone() else {
            return false;
        };
        let held = self.held.insert(step.version, step.clone());
        let newer = held.is_none_or(|held| held.revision < step.revision);
        self.align_due = true;
        if returned.is_none() {
            self.put_in_force(step);
        }
        if newer && self.settled.as_ref() != Some(&before) {
            self.halted = None;
        }
        match (&self.state, returned) {
            (MachineState::Upgrading(upgrade), Some(reason)) => {
                self.tail = FollowUp {
                    open: true,
                    release: true,
                    end_permit: upgrade.permit,
                    ..FollowUp::default()
                };
                self.wait.reason = Some(reason.to_owned());
                self.wait.kind = reason.to_owned();
                self.wait.until_ms = None;
                self.state = MachineState::Idle;
            }
            (MachineState::Blocked { .. }, Some(_)) => self.unblock(),
            (MachineState::Blocked { .. }, None) if newer && self.blocked_by(step.version) => {
                self.unblock();
            }
            _ => {}
        }
        true
    }

    fn apply_stopping(&mut self, to: Place, permit: Option<PermitId>) -> bool {
        let mend = self.mend_to(to).cloned();
        let mends = mend.is_some();
        let path = mend.map(|step| vec![step]).or_else(|| self.path_to(to));
        let (Some(path), Some(settled)) = (path, &self.settled) else {
            return false;
        };
        let ahead = settled_after(settled, &path, to);
        // What still follows the start of software that goes on running still does.
        let goes_on = path.iter().all(|step| step.work == Work::Number);
        self.tail = FollowUp {
            after_start: goes_on && self.tail.after_start,
            probe: goes_on && self.tail.probe,
            ..FollowUp::default()
        };
        self.wait = Wait::default();
        self.state = MachineState::Upgrading(UpgradeUnderWay {
            to,
            path,
            mends,
            ahead,
            permit,
            at: match permit {
                Some(_) => UpgradeAt::Confirm,
                None => UpgradeAt::BeforeStop,
            },
            childless: false,
            flips_failed: 0,
            failure: String::new(),
            killed: None,
        });
        true
    }

    fn apply_settled(&mut self, settled: &Settled) -> bool {
        let (end_permit, restarted) = match &self.state {
            MachineState::Upgrading(upgrade) => {
                let only_number = upgrade.path.iter().all(|step| step.work == Work::Number);
                (upgrade.permit, !only_number)
            }
            _ => (None, false),
        };
        let joined = restarted && settled.software && settled.probe == ProbeMode::Joined;
        self.tail = FollowUp {
            open: true,
            release: true,
            after_start: joined || !restarted && self.tail.after_start,
            probe: joined || !restarted && self.tail.probe,
            end_permit,
        };
        if restarted {
            self.killed_before = self.killed_note().filter(|_| joined);
        }
        self.settled = Some(settled.clone());
        self.unblock();
        self.wait = Wait::default();
        self.halted = None;
        self.align_due = true;
        true
    }

    fn apply_blocked(&mut self, on: Place, reason: &str) -> bool {
        let end_permit = match &self.state {
            MachineState::Upgrading(upgrade) => upgrade.permit,
            _ => None,
        };
        self.tail = FollowUp {
            open: true,
            release: true,
            end_permit,
            ..FollowUp::default()
        };
        self.failed.insert(on);
        self.state = MachineState::Blocked {
            on,
            reason: reason.to_owned(),
        };
        self.old_health = OldHealth::Unknown;
        self.align_due = true;
        self.settled.is_some()
    }

    /// The staged steps from the settled version to `to`.
    fn path_to(&self, to: Place) -> Option<Vec<Step>> {
        let mut at = self.settled.as_ref()?.version;
        let mut path = Vec::new();
        while at < to.version {
            let step = self.held.values().find(|step| step.from == at)?;
            if step.version <= at {
                return None;
            }
            at = step.version;
            path.push(step.clone());
        }
        (path.last()?.place() == to).then_some(path)
    }
}

/// The record that follows an attempt at a transform that came to nothing.
pub(super) fn after_attempt(attempt: u32, reason: &str) -> Record {
    if attempt < TRANSFORM_ATTEMPTS_MAX {
        Record::Transforming {
            attempt: attempt + 1,
            killed: None,
        }
    } else {
        Record::FlippingBack {
            reason: format!("the transform failed {attempt} times, at last: {reason}"),
        }
    }
}

/// Where a node stands once it has gone this path from `old` to `to`, a version ahead or a revision of what runs.
pub(super) fn settled_after(old: &Settled, path: &[Step], to: Place) -> Settled {
    let version = to.version.max(old.version);
    let restarts = path.iter().any(|step| step.work == Work::Restart);
    let last_work = (path.iter().rev().map(|step| step.work)).find(|work| *work != Work::Number);
    Settled {
        version,
        revision: if to.version == version {
            to.revision
        } else {
            old.revision
        },
        bundle: (path.iter().rev().find(|step| step.work == Work::Restart))
            .map_or(old.bundle, Step::place),
        state: if restarts { to } else { old.state },
        software: match last_work {
            Some(work) => work == Work::Restart,
            None => old.software,
        },
        probe: path.last().map_or(old.probe, |step| step.probe),
    }
}

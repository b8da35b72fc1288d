//! How the end of an action leads on.

use super::health::OldHealth;
use super::node::{
    ASK_INTERVAL_MS, ChildLife, FLIP_ATTEMPTS_MAX, FULL_RETRY_MS, JoinAt, MachineState,
    NodeMachine, RELEASE_RETRY_MS, RETURN_RETRY_MS, UpgradeAt,
};
use super::recovery::after_attempt;
use super::{Action, Note, Outcome, Output, Record, Settled};
use crate::api::EventKind;

impl NodeMachine {
    /// Takes in how `action` ended.
    pub(super) fn finish(
        &mut self,
        now_ms: u64,
        action: Action,
        outcome: Outcome,
        out: &mut Vec<Output>,
    ) {
        let done = !matches!(
            outcome,
            Outcome::Failed { .. } | Outcome::Refused { .. } | Outcome::NoSpace { .. }
        );
        let reason = match &outcome {
            Outcome::Failed { reason }
            | Outcome::Refused { reason }
            | Outcome::NoSpace { reason } => reason.clone(),
            _ => String::new(),
        };
        if done {
            self.action_backoff.reset();
        }
        let killed = match &outcome {
            Outcome::Killed { what } => Some(what.clone()),
            _ => None,
        };
        match action {
            Action::AskSchedule { .. } => self.judged(now_ms, outcome, out),
            Action::StartChild { .. } => self.started(now_ms, outcome, out),
            Action::StopChild if done => self.stopped(now_ms, killed, out),
            Action::Look { .. } => self.looked(now_ms, done, reason, out),
            Action::Transform { attempt, .. } => self.transformed(now_ms, attempt, outcome, out),
            Action::Flip { .. } => self.flipped(now_ms, done, reason, out),
            Action::AfterStart { .. } => self.after_started(done, &reason, out),
            Action::Probe { .. } => self.probed(now_ms, done, &reason, out),
            Action::EndPermit { .. } if done => {
                self.tail.end_permit = None;
                self.permit_backoff.reset();
            }
            Action::EndPermit { .. } => self.permit_backoff.fail(now_ms, reason),
            Action::Align { .. } if done => {
                self.align_due &= self.align_again || self.align() != action;
                self.align_again = false;
            }
            Action::Align { .. } if self.upgrade_at().is_some() => {
                self.give_up(now_ms, RETURN_RETRY_MS, reason, out);
            }
            Action::Release { .. } if done => self.tail.release = false,
            Action::Prepare { .. } if done => self.joining_at(JoinAt::Start),
            Action::Release { .. } => {
                (self.action_backoff).fail_within(RELEASE_RETRY_MS, now_ms, reason);
            }
            Action::Align { .. } | Action::Prepare { .. } | Action::StopChild => {
                self.action_backoff.fail(now_ms, reason);
            }
            Action::ConfirmPermit(_)
            | Action::BeforeStop
            | Action::Drain
            | Action::KeepListeners
            | Action::HoldCalls => self.stopping_went_on(now_ms, &action, done, reason, out),
        }
    }

    fn stopping_went_on(
        &mut self,
        now_ms: u64,
        action: &Action,
        done: bool,
        reason: String,
        out: &mut Vec<Output>,
    ) {
        let is_confirmation = matches!(action, Action::ConfirmPermit(_));
        if !done {
            let pause_ms = if is_confirmation {
                ASK_INTERVAL_MS
            } else {
                RETURN_RETRY_MS
            };
            self.give_up(now_ms, pause_ms, reason, out);
            return;
        }
        let number = self.settled_ahead().filter(|_| self.takes_only_a_number());
        if let (true, Some(settled)) = (is_confirmation, number) {
            self.commit(Record::Settled(settled), out);
            return;
        }
        self.set_upgrade_at(match action {
            Action::ConfirmPermit(_) => UpgradeAt::BeforeStop,
            Action::BeforeStop => UpgradeAt::Drain,
            Action::Drain => UpgradeAt::Keep,
            Action::KeepListeners => UpgradeAt::Hold,
            _ => UpgradeAt::Stop,
        });
    }

    /// Back to `Staged`: nothing has been changed, so nothing counts as failed.
    fn give_up(&mut self, now_ms: u64, pause_ms: u64, reason: String, out: &mut Vec<Output>) {
        if let Some(record) = self.give_up_because(reason) {
            self.commit(record, out);
            self.wait.not_before_ms = now_ms.saturating_add(pause_ms);
        }
    }

    /// The record with which the node gives up what has not been committed.
    pub(super) fn give_up_because(&self, reason: String) -> Option<Record> {
        let MachineState::Upgrading(upgrade) = &self.state else {
            return None;
        };
        Some(Record::Staged {
            step: upgrade.path.last()?.clone(),
            returned: Some(reason),
            retry: self.retry_seen,
        })
    }

    fn started(&mut self, now_ms: u64, outcome: Outcome, out: &mut Vec<Output>) {
        let generation = match outcome {
            Outcome::Started { generation } => generation,
            Outcome::Failed { reason } => {
                let how = format!("could not be started: {reason}");
                self.start_failed(now_ms, &how, out);
                return;
            }
            _ => return,
        };
        if let Some((_, how)) = self.last_exit.take_if(|(ended, _)| *ended == generation) {
            let how = if how.starts_with("the software ") {
                format!("as soon as it was started {how}")
            } else {
                format!("ended as soon as it was started: {how}")
            };
            self.start_failed(now_ms, &how, out);
            return;
        }
        self.child = ChildLife::Running {
            generation,
            since_ms: now_ms,
        };
        self.old_health = OldHealth::Unknown;
        self.look_at_ms = now_ms;
        match self.upgrade_at() {
            Some(UpgradeAt::ProbeStart) if self.joined_probe() => self.try_settle(out),
            Some(UpgradeAt::ProbeStart) => self.set_upgrade_at(UpgradeAt::AfterStart),
            Some(UpgradeAt::BackStart) if self.old_probe_alone() => {
                self.set_upgrade_at(UpgradeAt::BackProbe);
            }
            Some(UpgradeAt::BackStart) => self.block(out),
            _ => self.joining_at(JoinAt::AfterStart),
        }
    }

    fn start_failed(&mut self, now_ms: u64, how: &str, out: &mut Vec<Output>) {
        self.child_down(now_ms, now_ms, how, out);
        match self.upgrade_at() {
            Some(UpgradeAt::ProbeStart) => self.flip_back(how, out),
            Some(UpgradeAt::BackStart) => self.block(out),
            _ => {}
        }
    }

    fn stopped(&mut self, now_ms: u64, killed: Option<String>, out: &mut Vec<Output>) {
        self.tell_killed(killed.as_deref(), out);
        self.restart_due = false;
        if self.child != ChildLife::Crashed || self.halted.is_some() || self.upgrade_at().is_some()
        {
            self.child = ChildLife::Stopped;
        }
        match self.upgrade_at() {
            Some(UpgradeAt::Stop) => self.after_stop(now_ms, killed, out),
            Some(UpgradeAt::ProbeStop) => self.set_upgrade_at(UpgradeAt::ProbeStart),
            Some(UpgradeAt::BackStop) => self.set_upgrade_at(UpgradeAt::BackFlip),
            _ => {}
        }
    }

    fn after_stop(&mut self, now_ms: u64, killed: Option<String>, out: &mut Vec<Output>) {
        if let Some(reason) = self.outdated() {
            self.give_up(now_ms, 0, reason, out);
            return;
        }
        match self.settled_ahead() {
            Some(settled) if !settled.software => self.commit(Record::Settled(settled), out),
            _ => self.commit(Record::Transforming { attempt: 1, killed }, out),
        }
    }

    fn transformed(&mut self, now_ms: u64, attempt: u32, outcome: Outcome, out: &mut Vec<Output>) {
        if let Some(reason) = self.outdated() {
            self.give_up(now_ms, 0, reason, out);
            return;
        }
        match outcome {
            Outcome::NoSpace { reason } => {
                self.give_up(now_ms, FULL_RETRY_MS, reason, out);
            }
            Outcome::Failed { reason } | Outcome::Refused { reason } => {
                out.push(Output::Tell(Note {
                    kind: EventKind::NodeTransformFailed,
                    version: self.target().map(|place| place.version),
                    message: format!("attempt {attempt}: {reason}"),
                }));
                self.commit(after_attempt(attempt, &reason), out);
            }
            _ => self.commit(Record::Committed, out),
        }
    }

    fn flipped(&mut self, now_ms: u64, done: bool, reason: String, out: &mut Vec<Output>) {
        let old_software = self
            .settled
            .as_ref()
            .is_some_and(|settled| settled.software);
        let MachineState::Upgrading(upgrade) = &mut self.state else {
            return;
        };
        match upgrade.at {
            UpgradeAt::Flip if done => self.commit(Record::Probing, out),
            UpgradeAt::Flip if upgrade.flips_failed + 1 >= FLIP_ATTEMPTS_MAX => {
                self.flip_back(&format!("the flip failed: {reason}"), out);
            }
            UpgradeAt::BackFlip if done && old_software => upgrade.at = UpgradeAt::BackStart,
            UpgradeAt::BackFlip if done => self.block(out),
            _ => {
                upgrade.flips_failed += 1;
                self.action_backoff.fail(now_ms, reason);
            }
        }
    }

    fn after_started(&mut self, done: bool, reason: &str, out: &mut Vec<Output>) {
        match self.upgrade_at() {
            Some(UpgradeAt::AfterStart) if done => self.set_upgrade_at(UpgradeAt::Probe),
            Some(_) => self.flip_back(&format!("after_start failed: {reason}"), out),
            None => {
                let up = matches!(self.child, ChildLife::Running { .. });
                self.tail.after_start &= !done && !up;
                if matches!(
                    self.state,
                    MachineState::Joining {
                        at: JoinAt::AfterStart,
                        ..
                    }
                ) {
                    self.joining_at(JoinAt::Probe);
                }
                if !done {
                    self.tell_failed(EventKind::NodeAfterStartFailed, reason, out);
                }
            }
        }
    }

    fn probed(&mut self, now_ms: u64, done: bool, reason: &str, out: &mut Vec<Output>) {
        let up = matches!(self.child, ChildLife::Running { .. });
        match self.upgrade_at() {
            Some(UpgradeAt::BackProbe) => {
                self.block(out);
                self.found_old(now_ms, done, reason, out);
            }
            Some(_) if done && up => self.try_settle(out),
            Some(_) => self.flip_back(&format!("the health probe failed: {reason}"), out),
            None if !up => {}
            None if done => self.healthy(out),
            None => {
                let reason = and(reason, self.killed_before.as_deref());
                self.tell_failed(EventKind::NodeProbeFailed, &reason, out);
                let reason = format!("the health probe failed: {reason}");
                self.child_backoff.fail(now_ms, reason);
                self.child = ChildLife::Crashed;
                self.joining_at(JoinAt::Start);
                self.restart_due = true;
            }
        }
    }

    /// A joined probe, or that of a joining node, has succeeded.
    fn healthy(&mut self, out: &mut Vec<Output>) {
        self.tail.probe = false;
        self.killed_before = None;
        if let MachineState::Joining {
            step: Some(step),
            at,
        } = &self.state
            && *at == JoinAt::Probe
        {
            let settled = Settled {
                version: step.version,
                revision: step.revision,
                bundle: step.bundle,
                state: step.place(),
                software: true,
                probe: step.probe,
            };
            self.commit(Record::Settled(settled), out);
        }
    }

    /// Past the point of no return, unless what became known forbids it.
    fn try_settle(&mut self, out: &mut Vec<Output>) {
        let failure = match &self.state {
            MachineState::Upgrading(upgrade) => upgrade.failure.clone(),
            _ => String::new(),
        };
        if !failure.is_empty() {
            self.flip_back(&failure, out);
        } else if self.withdrawn() {
            self.flip_back("the upgrade was withdrawn", out);
        } else if let Some(settled) = self.settled_ahead() {
            self.commit(Record::Settled(settled), out);
        }
    }

    fn flip_back(&mut self, reason: &str, out: &mut Vec<Output>) {
        let known = match &self.state {
            MachineState::Upgrading(upgrade) => upgrade.failure.clone(),
            _ => return,
        };
        let reason = if known.is_empty() {
            reason.to_owned()
        } else {
            known
        };
        let record = self.back_because(&reason);
        self.commit(record, out);
    }

    /// The record with which the node goes back, for this reason and what may have caused it.
    pub(super) fn back_because(&self, reason: &str) -> Record {
        let reason = and(reason, self.killed_note().as_deref());
        Record::FlippingBack { reason }
    }

    /// What had to be killed for the upgrade under way.
    pub(super) fn killed_note(&self) -> Option<String> {
        let (MachineState::Upgrading(upgrade), Some(settled)) = (&self.state, &self.settled) else {
            return None;
        };
        let killed = upgrade.killed.as_ref()?;
        Some(format!("version {} {killed}", settled.version))
    }

    /// Tells that software had to be killed: what it had acknowledged may be lost.
    fn tell_killed(&self, killed: Option<&str>, out: &mut Vec<Output>) {
        if let Some(killed) = killed {
            out.push(Output::Tell(Note {
                kind: EventKind::ChildKilled,
                version: self.child_version(),
                message: format!("the software {killed}"),
            }));
        }
    }

    fn block(&mut self, out: &mut Vec<Output>) {
        let MachineState::Upgrading(upgrade) = &self.state else {
            return;
        };
        let record = Record::Blocked {
            on: upgrade.to,
            reason: upgrade.failure.clone(),
            retry: self.retry_seen,
        };
        self.commit(record, out);
    }

    fn tell_failed(&self, kind: EventKind, reason: &str, out: &mut Vec<Output>) {
        out.push(Output::Tell(Note {
            kind,
            version: self.traffic().serving_version.into(),
            message: reason.to_owned(),
        }));
    }
}

/// A reason, and what may have caused it.
fn and(reason: &str, cause: Option<&str>) -> String {
    match cause {
        Some(cause) => format!("{reason}; {cause}"),
        None => reason.to_owned(),
    }
}

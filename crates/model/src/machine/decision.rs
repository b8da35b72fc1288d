//! What is due: looks at the state, changes nothing that a record must hold.

use super::node::{ChildLife, JoinAt, MachineState, NodeMachine, UpgradeAt, UpgradeUnderWay};
use super::{Action, Place, Record, Serving, Settled, Step, Work, recovery::settled_after};
use crate::ids::Version;

/// The next thing on the main loop.
pub(super) enum LaneDecision {
    Journal(Record),
    Do(Action),
    Nothing,
}

impl NodeMachine {
    pub(super) fn decide(&self, now_ms: u64) -> LaneDecision {
        if !self.action_backoff.due(now_ms) {
            return LaneDecision::Nothing;
        }
        match &self.state {
            MachineState::Joining { step: None, .. } => LaneDecision::Nothing,
            MachineState::Joining {
                step: Some(step),
                at,
            } => self.decide_joining(now_ms, step, *at),
            MachineState::Upgrading(upgrade) => self.decide_upgrade(upgrade),
            MachineState::Idle | MachineState::Blocked { .. } => self.decide_idle(now_ms),
        }
    }

    fn decide_joining(&self, now_ms: u64, step: &Step, at: JoinAt) -> LaneDecision {
        let to = Serving {
            version: step.version,
            bundle: step.bundle,
        };
        if self.must_stop() {
            return LaneDecision::Do(Action::StopChild);
        }
        if self.halted.is_some() {
            return LaneDecision::Nothing;
        }
        match at {
            JoinAt::Prepare => LaneDecision::Do(Action::Prepare {
                to,
                state: step.place(),
            }),
            _ if self.align_due => LaneDecision::Do(self.align()),
            JoinAt::Start if !self.child_backoff.due(now_ms) => LaneDecision::Nothing,
            JoinAt::Start => LaneDecision::Do(Action::StartChild { to }),
            JoinAt::AfterStart => LaneDecision::Do(Action::AfterStart { to }),
            JoinAt::Probe => LaneDecision::Do(Action::Probe { to }),
        }
    }

    fn decide_upgrade(&self, upgrade: &UpgradeUnderWay) -> LaneDecision {
        if !upgrade.failure.is_empty()
            && matches!(upgrade.at, UpgradeAt::AfterStart | UpgradeAt::Probe)
        {
            return LaneDecision::Journal(self.back_because(&upgrade.failure));
        }
        let Some(settled) = &self.settled else {
            return LaneDecision::Nothing;
        };
        if upgrade.is_uncommitted()
            && let Some(reason) = self.outdated()
            && let Some(record) = self.give_up_because(reason)
        {
            return LaneDecision::Journal(record);
        }
        if self.align_due && upgrade.serves_as_before() {
            // An agent that was started anew answers no one yet, and `before_stop` may need that others are answered.
            return LaneDecision::Do(self.align());
        }
        let (to, next) = (upgrade.to, upgrade.ahead.serving());
        let action = match upgrade.at {
            UpgradeAt::Confirm => match upgrade.permit {
                Some(permit) => Action::ConfirmPermit(permit),
                None => Action::BeforeStop,
            },
            UpgradeAt::BeforeStop => Action::BeforeStop,
            UpgradeAt::Drain => Action::Drain,
            UpgradeAt::Keep => Action::KeepListeners,
            UpgradeAt::Hold => Action::HoldCalls,
            UpgradeAt::Stop | UpgradeAt::ProbeStop | UpgradeAt::BackStop => Action::StopChild,
            UpgradeAt::Transform { attempt } => Action::Transform {
                attempt,
                from: settled.state,
                to,
                path: if upgrade.mends {
                    Vec::new()
                } else {
                    upgrade.path.clone()
                },
            },
            UpgradeAt::Flip => Action::Flip { state: to },
            UpgradeAt::ProbeStart => Action::StartChild { to: next },
            UpgradeAt::AfterStart => Action::AfterStart { to: next },
            UpgradeAt::Probe => Action::Probe { to: next },
            UpgradeAt::BackFlip => Action::Flip {
                state: settled.state,
            },
            UpgradeAt::BackStart => Action::StartChild {
                to: settled.serving(),
            },
            UpgradeAt::BackProbe => Action::Probe {
                to: settled.serving(),
            },
        };
        LaneDecision::Do(action)
    }

    fn decide_idle(&self, now_ms: u64) -> LaneDecision {
        let Some(settled) = &self.settled else {
            return LaneDecision::Nothing;
        };
        if self.must_stop() {
            return LaneDecision::Do(Action::StopChild);
        }
        let up = matches!(self.child, ChildLife::Running { .. });
        if self.may_start(settled) && !up && self.child_backoff.due(now_ms) {
            let to = settled.serving();
            return LaneDecision::Do(Action::StartChild { to });
        }
        if let Some(decision) = self.decide_tail(now_ms, settled, up) {
            return decision;
        }
        if self.look_is_due(now_ms, up) {
            let at = settled.serving();
            return LaneDecision::Do(Action::Look { at });
        }
        self.decide_next(now_ms, settled, up)
    }

    /// What still follows the last settling, and keeping what is served in line with what is held.
    fn decide_tail(&self, now_ms: u64, settled: &Settled, up: bool) -> Option<LaneDecision> {
        let at = settled.serving();
        let tail = &self.tail;
        if tail.release && (up || !settled.software) {
            return Some(LaneDecision::Do(Action::Release { at: at.version }));
        }
        if self.align_due {
            return Some(LaneDecision::Do(self.align()));
        }
        if let Some(permit) = tail.end_permit
            && !tail.release
            && self.permit_backoff.due(now_ms)
        {
            return Some(LaneDecision::Do(Action::EndPermit {
                blocked: matches!(self.state, MachineState::Blocked { .. }),
                permit,
                at,
            }));
        }
        if tail.after_start && up {
            return Some(LaneDecision::Do(Action::AfterStart { to: at }));
        }
        if tail.probe && up {
            return Some(LaneDecision::Do(Action::Probe { to: at }));
        }
        let closed = !tail.release && !tail.after_start && !tail.probe && tail.end_permit.is_none();
        (tail.open && closed).then_some(LaneDecision::Journal(Record::Released))
    }

    fn decide_next(&self, now_ms: u64, settled: &Settled, up: bool) -> LaneDecision {
        let may_leave = self.tail.end_permit.is_none() && !(self.tail.release && up);
        let Some(plan) = &self.plan else {
            return LaneDecision::Nothing;
        };
        let chain = self.open_chain();
        let mend = self.mend().map(Step::place);
        if !may_leave || chain.is_empty() && mend.is_none() {
            return LaneDecision::Nothing;
        }
        if self.behind(settled) {
            if plan.paused {
                return LaneDecision::Nothing;
            }
            // What the node speaks is retired: it catches up before it serves, whatever the schedule says.
            let first_alive = (chain.iter()).find(|step| step.version > plan.retired_through);
            return match first_alive {
                Some(step) if now_ms >= self.wait.not_before_ms => {
                    LaneDecision::Journal(self.leave_for(step.place(), None))
                }
                _ => LaneDecision::Nothing,
            };
        }
        if now_ms < self.wait.ask_at_ms.max(self.wait.not_before_ms) {
            return LaneDecision::Nothing;
        }
        let chain: Vec<Place> = chain.iter().map(Step::place).collect();
        let fetching = self.fetching_after(chain.last().map(|place| place.version));
        LaneDecision::Do(Action::AskSchedule {
            chain,
            mend,
            fetching,
        })
    }

    /// The version behind this one that is being fetched, or is about to be.
    fn fetching_after(&self, last: Option<Version>) -> Option<Version> {
        let about_to = || {
            let due = self.stage_backoff.due(self.now_ms);
            self.wanted_stage().filter(|_| due)
        };
        let request = self.staging.or_else(about_to)?;
        Some(request.version).filter(|version| Some(*version) > last)
    }

    /// The record with which the node goes to `to`: all at once when only numbers change.
    pub(super) fn leave_for(&self, to: Place, permit: Option<crate::ids::PermitId>) -> Record {
        let path = self.path(to);
        match &self.settled {
            Some(settled) if path.iter().all(|step| step.work == Work::Number) => {
                Record::Settled(settled_after(settled, &path, to))
            }
            _ => Record::Stopping { to, permit },
        }
    }

    /// The staged and planned steps up to `to`; the one step of a revision of what runs.
    pub(super) fn path(&self, to: Place) -> Vec<Step> {
        if let Some(step) = self.mend_to(to) {
            return vec![step.clone()];
        }
        let mut chain = self.chain();
        chain.retain(|step| step.version <= to.version);
        chain
    }

    /// The staged steps from the settled version on, as the plan has them at their newest revisions.
    pub(super) fn chain(&self) -> Vec<Step> {
        let (Some(plan), Some(settled)) = (&self.plan, &self.settled) else {
            return Vec::new();
        };
        let mut chain = Vec::new();
        let mut at = settled.version;
        while let Some((version, planned)) = plan.next(at) {
            let Some(step) = self.held.get(&version) else {
                break;
            };
            if step.revision != planned.revision || step.from != at || version <= at {
                break;
            }
            chain.push(step.clone());
            at = version;
        }
        chain
    }

    /// The same as far as the node may go on: nowhere where one of them has failed.
    pub(super) fn open_chain(&self) -> Vec<Step> {
        let chain = self.chain();
        if chain.iter().any(|step| self.failed.contains(&step.place())) {
            Vec::new()
        } else {
            chain
        }
    }

    /// The node's version is retired, and there is one to go to.
    fn behind(&self, settled: &Settled) -> bool {
        let plan = self.plan.as_ref();
        plan.is_some_and(|plan| {
            settled.version <= plan.retired_through && plan.next(settled.version).is_some()
        })
    }

    fn may_start(&self, settled: &Settled) -> bool {
        settled.software && self.halted.is_none() && !self.behind(settled)
    }

    /// A child that must not run (any more) may be running.
    fn must_stop(&self) -> bool {
        self.restart_due || self.halted.is_some() && self.child != ChildLife::Stopped
    }

    pub(super) fn align(&self) -> Action {
        Action::Align {
            held: self.held.values().map(Step::place).collect(),
            state: self.settled.as_ref().map(|settled| settled.state),
            bundle: self.settled.as_ref().map(|settled| settled.bundle),
            retired_through: (self.plan.as_ref()).map_or(Version(0), |plan| plan.retired_through),
            known: self.plan.is_some(),
        }
    }

    /// When [`super::Input::Tick`] is due, if nothing else happens before.
    pub fn wake_at_ms(&self) -> Option<u64> {
        let mut times = Vec::new();
        if self.staging.is_none() && self.wanted_stage().is_some() {
            times.push(self.stage_backoff.due_at_ms().unwrap_or(0));
        }
        if self.running.is_none() {
            times.extend(self.action_backoff.due_at_ms());
            times.extend(self.child_backoff.due_at_ms());
            times.extend(self.permit_backoff.due_at_ms());
            times.extend(self.next_look_ms());
            let at_rest = matches!(
                self.state,
                MachineState::Idle | MachineState::Blocked { .. }
            );
            if at_rest && (!self.open_chain().is_empty() || self.mend().is_some()) {
                times.push(self.wait.ask_at_ms.max(self.wait.not_before_ms));
            }
        }
        times.into_iter().filter(|time| *time > self.now_ms).min()
    }
}

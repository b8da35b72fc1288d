//! What is due: looks at the state, changes nothing that a record must hold.

use super::node::{At, Child, JoinAt, NodeMachine, State, Upgrade};
use super::{Action, Place, Record, Settled, Step, Work, recover::settled_after};
use crate::ids::Version;

/// The next thing on the main lane.
pub(super) enum Decision {
    Journal(Record),
    Do(Action),
    Nothing,
}

impl NodeMachine {
    pub(super) fn decide(&self, now_ms: u64) -> Decision {
        if !self.action_backoff.due(now_ms) {
            return Decision::Nothing;
        }
        match &self.state {
            State::Joining { step: None, .. } => Decision::Nothing,
            State::Joining {
                step: Some(step),
                at,
            } => self.decide_joining(now_ms, step, *at),
            State::Upgrading(upgrade) => self.decide_upgrade(upgrade),
            State::Idle | State::Blocked { .. } => self.decide_idle(now_ms),
        }
    }

    fn decide_joining(&self, now_ms: u64, step: &Step, at: JoinAt) -> Decision {
        let to = step.place();
        if self.must_stop() {
            return Decision::Do(Action::StopChild);
        }
        if self.halted.is_some() {
            return Decision::Nothing;
        }
        match at {
            JoinAt::Prepare => Decision::Do(Action::Prepare { to }),
            _ if self.align_due => Decision::Do(self.align()),
            JoinAt::Start if !self.child_backoff.due(now_ms) => Decision::Nothing,
            JoinAt::Start => Decision::Do(Action::StartChild { to }),
            JoinAt::AfterStart => Decision::Do(Action::AfterStart { to }),
            JoinAt::Probe => Decision::Do(Action::Probe { to }),
        }
    }

    fn decide_upgrade(&self, upgrade: &Upgrade) -> Decision {
        if !upgrade.failure.is_empty() && matches!(upgrade.at, At::AfterStart | At::Probe) {
            return Decision::Journal(self.back_because(&upgrade.failure));
        }
        let Some(settled) = &self.settled else {
            return Decision::Nothing;
        };
        if self.align_due && upgrade.serves_as_before() {
            // An agent that was started anew answers no one yet, and `before_stop` may need that others are answered.
            return Decision::Do(self.align());
        }
        let to = upgrade.to;
        let action = match upgrade.at {
            At::Confirm => match upgrade.permit {
                Some(permit) => Action::ConfirmPermit(permit),
                None => Action::BeforeStop,
            },
            At::BeforeStop => Action::BeforeStop,
            At::Drain => Action::Drain,
            At::Keep => Action::KeepListeners,
            At::Hold => Action::HoldCalls,
            At::Stop | At::ProbeStop | At::BackStop => Action::StopChild,
            At::Transform { attempt } => Action::Transform {
                attempt,
                from: settled.state,
                to,
                path: upgrade.path.clone(),
            },
            At::Flip => Action::Flip { state: to },
            At::ProbeStart => Action::StartChild { to },
            At::AfterStart => Action::AfterStart { to },
            At::Probe => Action::Probe { to },
            At::BackFlip => Action::Flip {
                state: settled.state,
            },
            At::BackStart => Action::StartChild {
                to: settled.place(),
            },
            At::BackProbe => Action::Probe {
                to: settled.place(),
            },
        };
        Decision::Do(action)
    }

    fn decide_idle(&self, now_ms: u64) -> Decision {
        let Some(settled) = &self.settled else {
            return Decision::Nothing;
        };
        if self.must_stop() {
            return Decision::Do(Action::StopChild);
        }
        let up = matches!(self.child, Child::Running { .. });
        if self.may_start(settled) && !up && self.child_backoff.due(now_ms) {
            let to = settled.place();
            return Decision::Do(Action::StartChild { to });
        }
        if let Some(decision) = self.decide_tail(now_ms, settled, up) {
            return decision;
        }
        if let Some((request, _)) = &self.acquire {
            return Decision::Do(Action::AcquirePermit(request.clone()));
        }
        if self.look_is_due(now_ms, up) {
            let at = settled.place();
            return Decision::Do(Action::Look { at });
        }
        self.decide_next(now_ms, settled, up)
    }

    /// What still follows the last settling, and keeping what is served in line with what is held.
    fn decide_tail(&self, now_ms: u64, settled: &Settled, up: bool) -> Option<Decision> {
        let at = settled.place();
        let tail = &self.tail;
        if tail.release && (up || !settled.software) {
            return Some(Decision::Do(Action::Release { at }));
        }
        if self.align_due {
            return Some(Decision::Do(self.align()));
        }
        if let Some(permit) = tail.end_permit
            && !tail.release
            && self.permit_backoff.due(now_ms)
        {
            return Some(Decision::Do(Action::EndPermit {
                permit,
                at: settled.version,
            }));
        }
        if tail.after_start && up {
            return Some(Decision::Do(Action::AfterStart { to: at }));
        }
        if tail.probe && up {
            return Some(Decision::Do(Action::Probe { to: at }));
        }
        let closed = !tail.release && !tail.after_start && !tail.probe && tail.end_permit.is_none();
        (tail.open && closed).then_some(Decision::Journal(Record::Released))
    }

    fn decide_next(&self, now_ms: u64, settled: &Settled, up: bool) -> Decision {
        let may_leave = self.tail.end_permit.is_none() && !(self.tail.release && up);
        let Some(plan) = &self.plan else {
            return Decision::Nothing;
        };
        if matches!(self.state, State::Blocked { .. }) || !may_leave {
            return Decision::Nothing;
        }
        let chain = self.chain();
        if chain.is_empty() || plan.paused && self.behind(settled) {
            return Decision::Nothing;
        }
        if self.behind(settled) {
            // What the node speaks is retired: it catches up before it serves, whatever the schedule says.
            let first_alive = (chain.iter()).find(|step| step.version > plan.retired_through);
            return match first_alive {
                Some(step) if now_ms >= self.wait.not_before_ms => {
                    Decision::Journal(self.leave_for(step.place(), None))
                }
                _ => Decision::Nothing,
            };
        }
        if now_ms < self.wait.ask_at_ms.max(self.wait.not_before_ms) {
            return Decision::Nothing;
        }
        let chain: Vec<Place> = chain.iter().map(Step::place).collect();
        let fetching = self.fetching_after(chain.last().map(|place| place.version));
        Decision::Do(Action::AskSchedule { chain, fetching })
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

    /// The staged and planned steps up to `to`.
    pub(super) fn path(&self, to: Place) -> Vec<Step> {
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
        self.restart_due || self.halted.is_some() && self.child != Child::Stopped
    }

    pub(super) fn align(&self) -> Action {
        Action::Align {
            held: self.held.values().map(Step::place).collect(),
            state: self.settled.as_ref().map(|settled| settled.state),
            retired_through: (self.plan.as_ref()).map_or(Version(0), |plan| plan.retired_through),
            known: self.plan.is_some(),
        }
    }

    /// The upgrade under way leads through a version that has been withdrawn.
    pub(super) fn withdrawn(&self) -> bool {
        let (State::Upgrading(upgrade), Some(plan)) = (&self.state, &self.plan) else {
            return false;
        };
        let mut path = upgrade.path.iter();
        path.any(|step| !plan.upgrades.contains_key(&step.version))
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
            if self.state == State::Idle && !self.chain().is_empty() {
                times.push(self.wait.ask_at_ms.max(self.wait.not_before_ms));
            }
        }
        times.into_iter().filter(|time| *time > self.now_ms).min()
    }
}

//! The machine itself: its state, and how news changes it.

use super::backoff::BackOff;
use super::decision::LaneDecision;
use super::health::OldHealth;
use super::notes::note_of;
use super::{
    Action, Input, Note, Output, Place, Plan, Record, Settled, StageOutcome, StageRequest, Step,
    Traffic,
};
use crate::api::EventKind;
use crate::ids::{PermitId, Version};
use std::collections::{BTreeMap, BTreeSet};

/// The most attempts at a transform, crashes of the agent included; then the node flips back.
pub const TRANSFORM_ATTEMPTS_MAX: u32 = 5;

/// The most attempts at the flip to the new state; then the node flips back.
pub(super) const FLIP_ATTEMPTS_MAX: u32 = 5;

/// How often a waiting node asks its schedule when nothing new is heard.
pub(super) const ASK_INTERVAL_MS: u64 = 1_000;

/// How long a node that gave an upgrade up at no cost (failed `before_stop`) waits before it tries again.
pub(super) const RETURN_RETRY_MS: u64 = 15_000;

/// The same when the disk was full: the shell says from then on that there is no room until there is more.
pub(super) const FULL_RETRY_MS: u64 = 3_000;

/// The longest wait before a release that failed is tried again: callers are held meanwhile.
pub(super) const RELEASE_RETRY_MS: u64 = 1_000;

/// One node's life.
#[derive(Clone, Debug)]
pub struct NodeMachine {
    // What the records say.
    pub(super) held: BTreeMap<Version, Step>,
    pub(super) settled: Option<Settled>,
    pub(super) state: MachineState,
    pub(super) tail: FollowUp,
    /// What has failed here since the node settled: not tried again without news of it.
    pub(super) failed: BTreeSet<Place>,
    pub(super) retry_seen: u64,
    // What the shell says.
    pub(super) plan: Option<Plan>,
    pub(super) running: Option<Action>,
    pub(super) staging: Option<StageRequest>,
    pub(super) child: ChildLife,
    pub(super) last_exit: Option<(u64, String)>,
    /// Whether the software that the node went back to serves.
    pub(super) old_health: OldHealth,
    /// When it is looked at next.
    pub(super) look_at_ms: u64,
    /// What had to be killed of the version before this one, until this one has shown that it is healthy.
    pub(super) killed_before: Option<String>,
    pub(super) halted: Option<String>,
    // What is to be done, and when.
    pub(super) align_due: bool,
    /// An alignment runs that began before there was more to align.
    pub(super) align_again: bool,
    pub(super) restart_due: bool,
    pub(super) wait: Wait,
    pub(super) child_backoff: BackOff,
    pub(super) stage_backoff: BackOff,
    pub(super) permit_backoff: BackOff,
    pub(super) action_backoff: BackOff,
    pub(super) traffic_told: Option<Traffic>,
    /// The time of the last news: whatever was due then has been begun.
    pub(super) now_ms: u64,
}

impl NodeMachine {
    /// Whose state the software is to find at its path now; `None` while that is about to change, or there is none yet.
    pub fn state_in_force(&self) -> Option<Place> {
        let old = self.settled.as_ref().map(|settled| settled.state);
        match &self.state {
            MachineState::Idle | MachineState::Blocked { .. } => old,
            MachineState::Joining { step, at } => {
                let step = step.as_ref().filter(|_| *at != JoinAt::Prepare);
                step.map(Step::place)
            }
            MachineState::Upgrading(upgrade) => match upgrade.at {
                UpgradeAt::ProbeStop
                | UpgradeAt::ProbeStart
                | UpgradeAt::AfterStart
                | UpgradeAt::Probe => Some(upgrade.to),
                UpgradeAt::Flip | UpgradeAt::BackStop | UpgradeAt::BackFlip => None,
                _ => old,
            },
        }
    }
}

/// Where the node stands between records.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum MachineState {
    /// No version yet; `step` once it is fetched.
    Joining { step: Option<Step>, at: JoinAt },
    /// At its version.
    Idle,
    /// Between `Stopping` and `Settled`, `Blocked` or a returned `Staged`.
    Upgrading(UpgradeUnderWay),
    /// Back at its version after a failure.
    Blocked { on: Place, reason: String },
}

/// The next action of a joining node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JoinAt {
    Prepare,
    Start,
    AfterStart,
    Probe,
}

/// An upgrade under way.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct UpgradeUnderWay {
    pub(super) to: Place,
    pub(super) path: Vec<Step>,
    /// It leads to a revision of what runs: the state is that version's already.
    pub(super) mends: bool,
    /// Where the node stands once it has settled.
    pub(super) ahead: Settled,
    pub(super) permit: Option<PermitId>,
    pub(super) at: UpgradeAt,
    /// An agent that was started anew found no child, or it ended since: it was being stopped already, so calls are held from the
    /// start. While the child runs they are not: its `before_stop` may need them.
    pub(super) childless: bool,
    pub(super) flips_failed: u32,
    /// Why the upgrade goes back, once it does.
    pub(super) failure: String,
    /// What of the old software had to be killed.
    pub(super) killed: Option<String>,
}

impl UpgradeUnderWay {
    /// The old software runs and is called, whatever the agent has gone through.
    pub(super) fn serves_as_before(&self) -> bool {
        let before = matches!(
            self.at,
            UpgradeAt::Confirm | UpgradeAt::BeforeStop | UpgradeAt::Drain | UpgradeAt::Keep
        );
        before && !self.childless
    }

    /// Nothing of it is in force yet: it can be given up at no cost.
    pub(super) fn is_uncommitted(&self) -> bool {
        matches!(
            self.at,
            UpgradeAt::Confirm
                | UpgradeAt::BeforeStop
                | UpgradeAt::Drain
                | UpgradeAt::Keep
                | UpgradeAt::Hold
                | UpgradeAt::Stop
                | UpgradeAt::Transform { .. }
        )
    }
}

/// The next action of an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpgradeAt {
    Confirm,
    BeforeStop,
    Drain,
    Keep,
    Hold,
    Stop,
    Transform { attempt: u32 },
    Flip,
    ProbeStop,
    ProbeStart,
    AfterStart,
    Probe,
    BackStop,
    BackFlip,
    BackStart,
    BackProbe,
}

/// What still follows the last `Settled`, `Blocked` or returned `Staged`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FollowUp {
    /// `Released` is not recorded yet.
    pub(super) open: bool,
    pub(super) release: bool,
    pub(super) after_start: bool,
    pub(super) probe: bool,
    pub(super) end_permit: Option<PermitId>,
}

/// The child as far as the machine knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChildLife {
    /// The agent has just started: one may run.
    Unknown,
    Stopped,
    Running {
        generation: u64,
        since_ms: u64,
    },
    Crashed,
}

/// Why the next upgrade does not begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wait {
    pub(super) reason: Option<String>,
    /// What kind of reason that is.
    pub(super) kind: String,
    pub(super) until_ms: Option<u64>,
    /// When the schedule is asked again; news of the system bring it forward, down to `not_before_ms`.
    pub(super) ask_at_ms: u64,
    pub(super) not_before_ms: u64,
}

impl NodeMachine {
    /// Takes in one piece of news at `now_ms` (milliseconds of any clock that does not go back) and answers what to do.
    pub fn step(&mut self, now_ms: u64, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Tick => {}
            Input::Align => {
                self.align_due = true;
                self.align_again = matches!(self.running, Some(Action::Align { .. }));
            }
            Input::Plan(plan) => self.take_plan(now_ms, plan, &mut out),
            Input::Done(outcome) => {
                if let Some(action) = self.running.take() {
                    self.finish(now_ms, action, outcome, &mut out);
                }
            }
            Input::StageDone(outcome) => self.stage_done(now_ms, outcome, &mut out),
            Input::ChildExited { generation, how } => {
                self.child_exited(now_ms, generation, &how, &mut out);
            }
            Input::Unfit { reason } => self.unfit(reason, &mut out),
        }
        self.pump(now_ms, &mut out);
        out
    }

    /// The highest `retry` count that the node has acted on.
    pub fn retry_acknowledged(&self) -> u64 {
        self.retry_seen
    }

    /// The version that the node has settled at, if it has joined.
    pub fn settled(&self) -> Option<&Settled> {
        self.settled.as_ref()
    }

    /// Every version that is staged or settled here, ascending.
    pub fn held(&self) -> impl Iterator<Item = &Step> {
        self.held.values()
    }

    /// Begins whatever is due.
    pub(super) fn pump(&mut self, now_ms: u64, out: &mut Vec<Output>) {
        self.now_ms = now_ms;
        self.unstage(out);
        let mut action = None;
        while self.running.is_none() && action.is_none() {
            match self.decide(now_ms) {
                LaneDecision::Journal(record) => self.commit(record, out),
                LaneDecision::Do(next) => action = Some(next),
                LaneDecision::Nothing => break,
            }
        }
        if self.staging.is_none()
            && self.stage_backoff.due(now_ms)
            && let Some(request) = self.wanted_stage()
        {
            self.staging = Some(request);
            out.push(Output::Stage(request));
        }
        let traffic = self.traffic();
        if self.traffic_told != Some(traffic) {
            self.traffic_told = Some(traffic);
            out.push(Output::Traffic(traffic));
        }
        if let Some(action) = action {
            self.running = Some(action.clone());
            out.push(Output::Do(action));
        }
    }

    /// Records, and lives by it: the same function applies records at recovery.
    pub(super) fn commit(&mut self, record: Record, out: &mut Vec<Output>) {
        let fits = self.apply(&record);
        debug_assert!(fits, "{record:?} does not fit {:?}", self.state);
        if let Some(note) = note_of(&record, self.settled.as_ref()) {
            out.push(Output::Journal(record));
            out.push(Output::Tell(note));
        } else {
            out.push(Output::Journal(record));
        }
    }

    pub(super) fn take_plan(&mut self, now_ms: u64, plan: Plan, out: &mut Vec<Output>) {
        let retry = plan.retry;
        let retired_before = self.plan.as_ref().map(|plan| plan.retired_through);
        // An agent that has lost its cache, or never had one, has aligned with nothing until now.
        self.align_due |= retired_before != Some(plan.retired_through);
        self.plan = Some(plan);
        self.wait.ask_at_ms = now_ms;
        if retry <= self.retry_seen {
            return;
        }
        self.halted = None;
        self.wait.not_before_ms = 0;
        self.stage_backoff.reset();
        self.child_backoff.reset();
        self.action_backoff.reset();
        let blocked_on = match &self.state {
            MachineState::Blocked { on, .. } => self.held.get(&on.version).cloned(),
            _ => None,
        };
        self.retry_seen = retry;
        if let Some(step) = blocked_on {
            let returned = Some("tried again at the operator's wish".to_owned());
            let record = Record::Staged {
                step,
                returned,
                retry,
            };
            self.commit(record, out);
        }
    }

    fn stage_done(&mut self, now_ms: u64, outcome: StageOutcome, out: &mut Vec<Output>) {
        let Some(request) = self.staging.take() else {
            return;
        };
        match outcome {
            StageOutcome::Staged(step) => {
                self.stage_backoff.reset();
                if self.wants(&request, &step) {
                    self.staged(step, out);
                    self.wait.ask_at_ms = now_ms;
                }
            }
            StageOutcome::Failed { reason } => {
                self.stage_backoff.fail(now_ms, reason.clone());
                out.push(Output::Tell(Note {
                    kind: EventKind::NodeStageFailed,
                    version: Some(request.version),
                    message: reason,
                }));
            }
        }
    }

    fn staged(&mut self, step: Step, out: &mut Vec<Output>) {
        if let MachineState::Joining { .. } = self.state {
            self.commit(Record::Joining { step }, out);
            return;
        }
        let retry = self.retry_seen;
        let record = Record::Staged {
            step,
            returned: None,
            retry,
        };
        self.commit(record, out);
    }

    fn child_exited(&mut self, now_ms: u64, generation: u64, how: &str, out: &mut Vec<Output>) {
        self.last_exit = Some((generation, how.to_owned()));
        if let (ChildLife::Unknown, MachineState::Upgrading(upgrade)) =
            (self.child, &mut self.state)
        {
            upgrade.childless = true;
        }
        if let ChildLife::Running {
            generation: mine,
            since_ms,
        } = self.child
            && mine == generation
        {
            if matches!(self.running, Some(Action::StopChild)) {
                self.child = ChildLife::Stopped;
                return;
            }
            self.child_down(now_ms, since_ms, how, out);
        }
    }

    /// The child has ended by itself, or could not be started.
    pub(super) fn child_down(
        &mut self,
        now_ms: u64,
        since_ms: u64,
        how: &str,
        out: &mut Vec<Output>,
    ) {
        self.child = ChildLife::Crashed;
        self.old_health = OldHealth::Unknown;
        self.child_backoff.forgive(now_ms, since_ms);
        self.child_backoff.fail(now_ms, how.to_owned());
        let problem = match how.strip_prefix("the software ") {
            Some(how) => format!("the new software {how}"),
            None => format!("the new software ended: {how}"),
        };
        self.fail_probe(&problem);
        if let MachineState::Joining { at, .. } = &mut self.state
            && *at != JoinAt::Prepare
        {
            *at = JoinAt::Start;
        }
        out.push(Output::Tell(Note {
            kind: EventKind::ChildCrashed,
            version: self.child_version(),
            message: how.to_owned(),
        }));
    }

    /// If an upgrade is being probed, it has failed.
    pub(super) fn fail_probe(&mut self, reason: &str) {
        if let MachineState::Upgrading(upgrade) = &mut self.state
            && matches!(
                upgrade.at,
                UpgradeAt::ProbeStart | UpgradeAt::AfterStart | UpgradeAt::Probe
            )
            && upgrade.failure.is_empty()
        {
            reason.clone_into(&mut upgrade.failure);
        }
    }

    fn unfit(&mut self, reason: String, out: &mut Vec<Output>) {
        if let MachineState::Upgrading(_) = self.state {
            self.fail_probe(&reason);
            return;
        }
        if self.halted.is_none() {
            out.push(Output::Tell(Note {
                kind: EventKind::NodeBlocked,
                version: self.child_version(),
                message: reason.clone(),
            }));
        }
        self.halted = Some(reason);
    }
}

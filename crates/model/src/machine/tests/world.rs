//! A model of the shell: a disk, a holder with at most one child, and a script of what goes wrong.

use crate::ids::{PermitId, Revision, Version};
use crate::machine::{
    Action, Input, NodeMachine, Outcome, Output, Place, Plan, Planned, ProbeMode, Record,
    StageOutcome, StageRequest, Step, Traffic, Work,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What survives an agent's crash, what the world would answer, and what has been observed.
pub(super) struct World {
    pub(super) now_ms: u64,
    pub(super) machine: NodeMachine,
    pub(super) plan: Plan,
    /// Revisions with the software of the one that runs.
    pub(super) as_running: BTreeSet<Place>,
    /// What each version brings.
    pub(super) works: BTreeMap<Version, (Work, ProbeMode)>,
    pub(super) journal: Vec<Record>,
    /// `current`.
    pub(super) state: Option<Place>,
    /// Complete transformed copies.
    pub(super) copies: BTreeSet<Place>,
    /// The bundle whose software runs, and the start's number.
    pub(super) child: Option<(Place, u64)>,
    pub(super) generation: u64,
    pub(super) traffic: Traffic,
    /// Outcomes other than the good one, by the action's name, used up in order.
    pub(super) script: BTreeMap<&'static str, VecDeque<Outcome>>,
    pub(super) verdict: Verdict,
    /// How many versions a leave covers.
    pub(super) leap: usize,
    /// Names of actions performed.
    pub(super) actions: Vec<String>,
    pub(super) notes: Vec<String>,
    /// The notes with the versions that they are about.
    pub(super) told: Vec<(&'static str, Option<Version>)>,
    pub(super) permit_held: Option<PermitId>,
    pending: VecDeque<Input>,
    /// Crash when this many outputs have been performed.
    pub(super) crash_after: Option<u64>,
    performed: u64,
}

/// What the server says to a node that asks.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    Go,
    Wait {
        reason: String,
        until_ms: Option<u64>,
    },
}

/// What kind of reason it is: its words up to the names.
fn kind(reason: &str) -> String {
    let (kind, _) = reason.split_once(": ").unwrap_or((reason, ""));
    kind.to_owned()
}

pub(super) fn place(version: u32, revision: u32) -> Place {
    Place {
        version: Version(version),
        revision: Revision(revision),
    }
}

pub(super) fn failed(reason: &str) -> Outcome {
    Outcome::Failed {
        reason: reason.to_owned(),
    }
}

pub(super) fn name(action: &Action) -> &'static str {
    match action {
        Action::Align { .. } => "align",
        Action::Prepare { .. } => "prepare",
        Action::AskSchedule { .. } => "ask",
        Action::ConfirmPermit(_) => "confirm",
        Action::BeforeStop => "before_stop",
        Action::Drain => "drain",
        Action::KeepListeners => "keep",
        Action::HoldCalls => "hold",
        Action::StopChild => "stop",
        Action::Transform { .. } => "transform",
        Action::Flip { .. } => "flip",
        Action::StartChild { .. } => "start",
        Action::AfterStart { .. } => "after_start",
        Action::Probe { .. } => "probe",
        Action::Look { .. } => "look",
        Action::Release { .. } => "release",
        Action::EndPermit { .. } => "end_permit",
    }
}

impl World {
    /// A node that is to join at version 1 of a system with versions 1 to `last`.
    pub(super) fn new(last: u32) -> Self {
        let upgrades = (1..=last).map(|version| {
            let planned = Planned {
                from: Version(version - 1),
                revision: Revision(1),
            };
            (Version(version), planned)
        });
        let plan = Plan {
            upgrades: upgrades.collect(),
            join_version: Some(Version(1)),
            ..Plan::default()
        };
        let (machine, outputs) =
            NodeMachine::recover(0, &[], Some(plan.clone()), false).expect("fits");
        let mut world = Self {
            now_ms: 0,
            machine,
            plan,
            as_running: BTreeSet::new(),
            works: BTreeMap::new(),
            journal: Vec::new(),
            state: None,
            copies: BTreeSet::new(),
            child: None,
            generation: 0,
            traffic: Traffic::default(),
            script: BTreeMap::new(),
            verdict: Verdict::Go,
            leap: 1,
            actions: Vec::new(),
            notes: Vec::new(),
            told: Vec::new(),
            permit_held: None,
            pending: VecDeque::new(),
            crash_after: None,
            performed: 0,
        };
        world.perform(outputs);
        world
    }

    pub(super) fn fail_next(&mut self, action: &'static str, outcome: Outcome) {
        self.script.entry(action).or_default().push_back(outcome);
    }

    /// Kills the agent before it performs the output after the next `outputs`.
    pub(super) fn crash_in(&mut self, outputs: u64) {
        self.crash_after = Some(self.performed + outputs);
    }

    /// Gives the machine the plan as it stands.
    pub(super) fn tell_plan(&mut self) {
        self.pending.push_back(Input::Plan(self.plan.clone()));
    }

    pub(super) fn push(&mut self, input: Input) {
        self.pending.push_back(input);
    }

    /// The child ends by itself.
    pub(super) fn crash_child(&mut self) {
        if let Some((_, generation)) = self.child.take() {
            let how = "signal 11".to_owned();
            self.push(Input::ChildExited { generation, how });
        }
    }

    /// The child that was just started has ended before the machine hears that it was started.
    pub(super) fn crash_child_at_once(&mut self) {
        self.crash_child();
        self.pending.rotate_right(1);
    }

    /// Lets the world go on until nothing happens before `until_ms`, at most `steps` inputs; true if it came to rest.
    pub(super) fn run(&mut self, until_ms: u64, steps: u32) -> bool {
        for _ in 0..steps {
            let input = match self.pending.pop_front() {
                Some(input) => input,
                None => match self.machine.wake_at_ms() {
                    Some(wake_ms) if wake_ms <= until_ms => {
                        assert!(
                            wake_ms > self.now_ms,
                            "a wake-up in the past is a busy loop"
                        );
                        self.now_ms = wake_ms;
                        Input::Tick
                    }
                    _ => return true,
                },
            };
            let outputs = self.machine.step(self.now_ms, input);
            self.perform(outputs);
        }
        false
    }

    /// Runs until the machine rests for ten minutes of its clock.
    pub(super) fn settle(&mut self) {
        let until_ms = self.now_ms + 600_000;
        assert!(
            self.run(until_ms, 20_000),
            "the machine does not come to rest"
        );
    }

    /// Runs until this action is about to begin or the machine rests; true if it begins.
    pub(super) fn run_to(&mut self, action: &str) -> bool {
        let before = self.actions.len();
        for _ in 0..2_000 {
            if self.actions[before..].iter().any(|done| done == action) {
                return true;
            }
            if self.run(self.now_ms + 60_000, 1) {
                return false;
            }
        }
        false
    }

    /// The agent is killed and started again: its memory is gone, the holder with the child is not.
    pub(super) fn restart_agent(&mut self) {
        self.pending.clear();
        let plan = Some(self.plan.clone());
        let (machine, outputs) =
            NodeMachine::recover(self.now_ms, &self.journal, plan, self.child.is_some())
                .expect("the journal fits");
        self.machine = machine;
        self.perform(outputs);
    }

    fn perform(&mut self, outputs: Vec<Output>) {
        for (index, output) in outputs.iter().enumerate() {
            if self
                .crash_after
                .is_some_and(|limit| self.performed >= limit)
            {
                self.crash_after = None;
                self.restart_agent();
                return;
            }
            self.performed += 1;
            match output {
                Output::Journal(record) => self.journal.push(record.clone()),
                Output::Traffic(traffic) => self.traffic = *traffic,
                Output::Tell(note) => {
                    self.notes.push(note.kind.name().to_owned());
                    self.told.push((note.kind.name(), note.version));
                }
                Output::Stage(request) => self.stage(*request),
                Output::Do(action) => {
                    assert_eq!(index + 1, outputs.len(), "an action ends its step");
                    self.act(action);
                }
            }
        }
    }

    fn stage(&mut self, request: StageRequest) {
        if let Some(Outcome::Failed { reason }) =
            self.script.get_mut("stage").and_then(VecDeque::pop_front)
        {
            self.push(Input::StageDone(StageOutcome::Failed { reason }));
            return;
        }
        let planned = self.plan.upgrades.get(&request.version);
        let (work, probe) = (self.works.get(&request.version).copied())
            .unwrap_or((Work::Restart, ProbeMode::Alone));
        let place = Place {
            version: request.version,
            revision: request.revision,
        };
        let running = request.running.map(|running| running.version);
        let provider = self.software(place);
        self.push(Input::StageDone(StageOutcome::Staged(Step {
            version: request.version,
            revision: request.revision,
            bundle: if request.join || provider == request.version {
                place
            } else {
                Place {
                    version: provider,
                    revision: self.plan.upgrades[&provider].revision,
                }
            },
            as_running: running == Some(request.version) && self.as_running.contains(&place),
            from: planned.map_or(Version(0), |planned| planned.from),
            work: if request.join { Work::Restart } else { work },
            probe,
        })));
    }

    fn act(&mut self, action: &Action) {
        let name = name(action);
        self.actions.push(name.to_owned());
        let scripted = self.script.get_mut(name).and_then(VecDeque::pop_front);
        let bad = matches!(
            scripted,
            Some(Outcome::Failed { .. } | Outcome::NoSpace { .. } | Outcome::Refused { .. })
        );
        let good = if bad {
            Outcome::Done
        } else {
            self.effect(action)
        };
        let outcome = scripted.unwrap_or(good);
        self.push(Input::Done(outcome));
    }

    /// What a successful action does to the world.
    fn effect(&mut self, action: &Action) -> Outcome {
        assert_eq!(
            self.traffic,
            self.machine.traffic(),
            "traffic is in force before an action"
        );
        match action {
            Action::Prepare { state, .. } => self.state = Some(*state),
            Action::AskSchedule { chain, mend, .. } => {
                let last = self.leap.min(chain.len());
                let ahead = chain[..last].last();
                let to = ahead.or(mend.as_ref()).expect("a place to go to").version;
                return match self.verdict.clone() {
                    Verdict::Go => {
                        let permit = PermitId(self.now_ms);
                        self.permit_held = Some(permit);
                        Outcome::Permit { permit, to }
                    }
                    Verdict::Wait { reason, until_ms } => Outcome::Waits {
                        kind: kind(&reason),
                        reason,
                        until_ms,
                        ask_again_ms: None,
                    },
                };
            }
            Action::StopChild => {
                if let Some((_, generation)) = self.child.take() {
                    let how = "stopped".to_owned();
                    self.push(Input::ChildExited { generation, how });
                }
            }
            Action::Transform { from, to, .. } => {
                assert_eq!(self.child, None, "a transform beside a running child");
                assert_eq!(self.state, Some(*from), "a transform of another state");
                self.copies.insert(*to);
            }
            Action::Flip { state } => {
                assert_eq!(self.child, None, "a flip beside a running child");
                self.state = Some(*state);
            }
            Action::StartChild { to } => return self.start(to.bundle),
            Action::Release { .. } => self.check_release(),
            Action::EndPermit { .. } => self.permit_held = None,
            _ => {}
        }
        Outcome::Done
    }

    fn start(&mut self, to: Place) -> Outcome {
        if let Some((running, generation)) = self.child {
            let same =
                running == to || running.version == to.version && self.as_running.contains(&to);
            assert!(same, "adopted {running} for {to}");
            return Outcome::Started { generation };
        }
        let state = self.state.expect("started without a state").version;
        assert_eq!(
            self.software(place(state.0, 1)),
            to.version,
            "software {to} over the state of version {state}"
        );
        self.generation += 1;
        self.child = Some((to, self.generation));
        Outcome::Started {
            generation: self.generation,
        }
    }

    /// The version whose upgrade brought the software of `at`.
    fn software(&self, at: Place) -> Version {
        let mut version = at.version;
        while self
            .works
            .get(&version)
            .is_some_and(|(work, _)| *work == Work::Number)
        {
            version = self.plan.upgrades[&version].from;
        }
        version
    }

    fn check_release(&self) {
        let last = (self.journal.iter().rev()).find(|record| {
            !matches!(record, Record::Unstaged { .. } | Record::Released)
                && !matches!(record, Record::Staged { returned: None, .. })
        });
        let allowed = matches!(
            last,
            Some(Record::Settled(_) | Record::Blocked { .. } | Record::Staged { .. })
        );
        assert!(allowed, "released after {last:?}");
    }
}

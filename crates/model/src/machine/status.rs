//! Where the node stands, in the words of people and schedules.

use super::node::{ChildLife, MachineState, NodeMachine, UpgradeAt};
use super::{Place, Step};
use crate::api::{ChildState, NodeStatus, Phase, Progress};
use crate::ids::{Revision, Version};

impl NodeMachine {
    /// Where the node stands; `progress` is the shell's.
    pub fn status(&self, progress: Option<Progress>) -> NodeStatus {
        let settled = self.settled.as_ref();
        let version = settled.map_or(Version(0), |settled| settled.version);
        let phase = self.phase();
        // What is stopped goes nowhere, and has tried nothing of what lies ahead.
        let next = || self.next().filter(|_| self.halted.is_none());
        let target = self.target().or_else(next);
        NodeStatus {
            version,
            revision: settled.map_or(Revision(0), |settled| settled.revision),
            bundle: (settled.filter(|settled| settled.software)).map(|settled| settled.bundle),
            staged: self.staged_through(version),
            phase,
            target: target.map(|place| place.version),
            target_revision: target.map(|place| place.revision),
            reason: self.reason(phase),
            until_ms: (phase == Phase::Staged)
                .then_some(self.wait.until_ms)
                .flatten(),
            progress,
            child: self.child_state(),
        }
    }

    /// The highest version that the node answers, without a gap from its own on.
    fn staged_through(&self, version: Version) -> Version {
        let mut through = version;
        while let Some(step) = (self.held.values()).find(|step| step.from == through)
            && step.version > through
        {
            through = step.version;
        }
        through
    }

    /// Where the node goes next: to the next version, else to a revision of what runs.
    fn next(&self) -> Option<Place> {
        let plan = self.plan.as_ref()?;
        let settled = self.settled.as_ref()?;
        if let Some((version, planned)) = plan.next(settled.version) {
            let revision = planned.revision;
            return Some(Place { version, revision });
        }
        let mend = self.mend().map(Step::place);
        mend.or_else(|| self.missing_mend())
    }

    /// A revision of what runs that is not staged yet.
    fn missing_mend(&self) -> Option<Place> {
        let running = self
            .settled
            .as_ref()
            .filter(|settled| settled.software)?
            .bundle;
        let revision = self.plan.as_ref()?.upgrades.get(&running.version)?.revision;
        let held = self.held.get(&running.version).map(|step| step.revision);
        let place = Place {
            version: running.version,
            revision,
        };
        (held < Some(revision) && revision > running.revision).then_some(place)
    }

    fn phase(&self) -> Phase {
        match &self.state {
            _ if self.halted.is_some() => Phase::Blocked,
            MachineState::Joining { .. } => Phase::Joining,
            MachineState::Blocked { .. } => Phase::Blocked,
            MachineState::Idle if !self.chain().is_empty() => Phase::Staged,
            MachineState::Idle if self.mend().is_some() => Phase::Staged,
            MachineState::Idle if self.next().is_some() => Phase::Fetching,
            MachineState::Idle => Phase::Settled,
            MachineState::Upgrading(upgrade) => match upgrade.at {
                UpgradeAt::Confirm
                | UpgradeAt::BeforeStop
                | UpgradeAt::Drain
                | UpgradeAt::Keep
                | UpgradeAt::Hold
                | UpgradeAt::Stop => Phase::Stopping,
                UpgradeAt::Transform { .. } => Phase::Transforming,
                UpgradeAt::Flip => Phase::Committed,
                UpgradeAt::ProbeStop
                | UpgradeAt::ProbeStart
                | UpgradeAt::AfterStart
                | UpgradeAt::Probe => Phase::Probing,
                UpgradeAt::BackStop
                | UpgradeAt::BackFlip
                | UpgradeAt::BackStart
                | UpgradeAt::BackProbe => Phase::FlippingBack,
            },
        }
    }

    fn reason(&self, phase: Phase) -> Option<String> {
        if let Some(reason) = &self.halted {
            return Some(reason.clone());
        }
        if let Some(reason) = &self.action_backoff.reason {
            return Some(reason.clone());
        }
        if self.child == ChildLife::Crashed
            && matches!(
                phase,
                Phase::Joining | Phase::Settled | Phase::Staged | Phase::Fetching
            )
        {
            return self.child_backoff.reason.clone();
        }
        match (&self.state, phase) {
            (MachineState::Blocked { reason, .. }, _) => Some(match self.old_finding() {
                // What something has printed may end with a line end.
                Some(finding) => format!("{}; {finding}", reason.trim_end()),
                None => reason.clone(),
            }),
            (_, Phase::Staged) => self.wait.reason.clone(),
            // What has failed before a node has ever served is worth knowing while it is tried again.
            (_, Phase::Joining) => {
                let failed = self.stage_backoff.reason.as_ref();
                failed.or(self.child_backoff.reason.as_ref()).cloned()
            }
            (_, Phase::Fetching) => self.stage_backoff.reason.clone(),
            (MachineState::Upgrading(upgrade), _) if !upgrade.failure.is_empty() => {
                Some(upgrade.failure.clone())
            }
            _ => None,
        }
    }

    fn child_state(&self) -> ChildState {
        let settled = matches!(
            self.state,
            MachineState::Idle | MachineState::Blocked { .. }
        );
        match self.child {
            ChildLife::Unknown | ChildLife::Stopped => ChildState::Stopped,
            ChildLife::Crashed => ChildState::Crashed,
            ChildLife::Running { .. } if matches!(self.state, MachineState::Blocked { .. }) => {
                self.old_child_state()
            }
            ChildLife::Running { .. } if settled && !self.tail.probe => ChildState::Running,
            ChildLife::Running { .. } if self.in_old_software() => ChildState::Running,
            ChildLife::Running { .. } => ChildState::Starting,
        }
    }

    fn in_old_software(&self) -> bool {
        matches!(&self.state, MachineState::Upgrading(upgrade)
            if matches!(upgrade.at, UpgradeAt::Confirm | UpgradeAt::BeforeStop | UpgradeAt::Drain | UpgradeAt::Keep | UpgradeAt::Hold | UpgradeAt::Stop))
    }
}

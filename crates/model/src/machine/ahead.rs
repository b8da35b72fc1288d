//! What the upgrade under way leads to.

use super::node::{JoinAt, MachineState, NodeMachine, UpgradeAt};
use super::{Place, ProbeMode, Settled, Step, Work};
use crate::ids::{PermitId, Version};
use std::collections::BTreeSet;

impl NodeMachine {
    /// Every upgrade that is staged or settled here.
    pub fn places(&self) -> BTreeSet<Place> {
        let settled = self.settled.iter().map(|settled| Place {
            version: settled.version,
            revision: settled.revision,
        });
        settled.chain(self.held.values().map(Step::place)).collect()
    }

    /// Whether the node runs an upgrade, has run it, or is on its way to it.
    pub fn uses(&self, place: Place) -> bool {
        let here = self.settled.as_ref().map(|settled| settled.version);
        let under_way = match &self.state {
            MachineState::Upgrading(upgrade) => {
                let mut path = upgrade.path.iter();
                path.any(|step| step.version == place.version)
            }
            MachineState::Joining { .. } => true,
            MachineState::Idle | MachineState::Blocked { .. } => false,
        };
        under_way || here.is_some_and(|here| place.version <= here)
    }

    /// The permit that the node has confirmed and not ended yet.
    pub fn permit(&self) -> Option<PermitId> {
        match &self.state {
            MachineState::Upgrading(upgrade) if upgrade.at != UpgradeAt::Confirm => upgrade.permit,
            _ => self.tail.end_permit,
        }
    }

    pub(super) fn settled_ahead(&self) -> Option<Settled> {
        match &self.state {
            MachineState::Upgrading(upgrade) => Some(upgrade.ahead.clone()),
            _ => None,
        }
    }

    /// The upgrade under way leaves the software alone.
    pub(super) fn takes_only_a_number(&self) -> bool {
        matches!(&self.state, MachineState::Upgrading(upgrade)
            if upgrade.path.iter().all(|step| step.work == Work::Number))
    }

    pub(super) fn joined_probe(&self) -> bool {
        let ahead = self.settled_ahead();
        ahead.is_some_and(|settled| settled.probe == ProbeMode::Joined)
    }

    pub(super) fn old_probe_alone(&self) -> bool {
        let old = self.settled.as_ref();
        old.is_some_and(|settled| settled.probe == ProbeMode::Alone)
    }

    /// Where the node is on its way to, or would be but for what blocks it.
    pub(super) fn target(&self) -> Option<Place> {
        match &self.state {
            MachineState::Upgrading(upgrade) => Some(upgrade.to),
            MachineState::Blocked { on, .. } => Some(*on),
            _ => None,
        }
    }

    /// The upgrade under way leads through a version that has been withdrawn.
    pub(super) fn withdrawn(&self) -> bool {
        let (MachineState::Upgrading(upgrade), Some(plan)) = (&self.state, &self.plan) else {
            return false;
        };
        let mut path = upgrade.path.iter();
        path.any(|step| !plan.upgrades.contains_key(&step.version))
    }

    /// The version whose software the child is, or was when it ended.
    pub(super) fn child_version(&self) -> Option<Version> {
        match &self.state {
            MachineState::Joining { step, .. } => step.as_ref().map(|step| step.version),
            MachineState::Upgrading(upgrade) => match upgrade.at {
                UpgradeAt::ProbeStop
                | UpgradeAt::ProbeStart
                | UpgradeAt::AfterStart
                | UpgradeAt::Probe
                | UpgradeAt::BackStop => Some(upgrade.ahead.version),
                _ => self.settled.as_ref().map(|settled| settled.version),
            },
            MachineState::Idle | MachineState::Blocked { .. } => {
                self.settled.as_ref().map(|settled| settled.version)
            }
        }
    }

    pub(super) fn upgrade_at(&self) -> Option<UpgradeAt> {
        match &self.state {
            MachineState::Upgrading(upgrade) => Some(upgrade.at),
            _ => None,
        }
    }

    pub(super) fn set_upgrade_at(&mut self, next: UpgradeAt) {
        if let MachineState::Upgrading(upgrade) = &mut self.state {
            upgrade.at = next;
        }
    }

    pub(super) fn joining_at(&mut self, next: JoinAt) {
        // With a restart due, another revision was fetched meanwhile: it begins at its beginning.
        if let MachineState::Joining { step: Some(_), at } = &mut self.state
            && !self.restart_due
        {
            *at = next;
        }
    }
}

//! How traffic is treated in each state.

use super::Traffic;
use super::node::{MachineState, NodeMachine, UpgradeAt, UpgradeUnderWay};
use crate::ids::Version;

impl NodeMachine {
    /// How traffic is to be treated now.
    pub fn traffic(&self) -> Traffic {
        let settled = self.settled.as_ref();
        let here = settled.map_or(Version(0), |settled| settled.version);
        match &self.state {
            MachineState::Joining { step, .. } => Traffic {
                hold_calls: true,
                serving_version: step.as_ref().map_or(Version(0), |step| step.version),
                ..Traffic::default()
            },
            MachineState::Idle | MachineState::Blocked { .. } => Traffic {
                hold_calls: self.tail.release,
                serving_version: here,
                ..Traffic::default()
            },
            MachineState::Upgrading(upgrade) => traffic_during(upgrade, here),
        }
    }
}

fn traffic_during(upgrade: &UpgradeUnderWay, here: Version) -> Traffic {
    let (hold_calls, probing, serving_version) = match upgrade.at {
        UpgradeAt::Confirm | UpgradeAt::BeforeStop | UpgradeAt::Drain | UpgradeAt::Keep => {
            (upgrade.childless, false, here)
        }
        UpgradeAt::Hold | UpgradeAt::Stop | UpgradeAt::Transform { .. } => (true, false, here),
        UpgradeAt::Flip
        | UpgradeAt::ProbeStop
        | UpgradeAt::ProbeStart
        | UpgradeAt::AfterStart
        | UpgradeAt::Probe => (true, true, upgrade.ahead.version),
        UpgradeAt::BackStop | UpgradeAt::BackFlip | UpgradeAt::BackStart | UpgradeAt::BackProbe => {
            (true, true, here)
        }
    };
    Traffic {
        hold_calls,
        probing,
        refuse_members: probing,
        serving_version,
    }
}

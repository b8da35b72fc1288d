//! How traffic is treated in each state.

use super::Traffic;
use super::node::{At, NodeMachine, State, Upgrade};
use crate::ids::Version;

impl NodeMachine {
    /// How traffic is to be treated now.
    pub fn traffic(&self) -> Traffic {
        let settled = self.settled.as_ref();
        let here = settled.map_or(Version(0), |settled| settled.version);
        match &self.state {
            State::Joining { step, .. } => Traffic {
                hold_calls: true,
                serving_version: step.as_ref().map_or(Version(0), |step| step.version),
                ..Traffic::default()
            },
            State::Idle | State::Blocked { .. } => Traffic {
                hold_calls: self.tail.release,
                serving_version: here,
                ..Traffic::default()
            },
            State::Upgrading(upgrade) => traffic_during(upgrade, here),
        }
    }
}

fn traffic_during(upgrade: &Upgrade, here: Version) -> Traffic {
    let (hold_calls, probing, serving_version) = match upgrade.at {
        At::Confirm | At::BeforeStop | At::Drain | At::Keep => (upgrade.childless, false, here),
        At::Hold | At::Stop | At::Transform { .. } => (true, false, here),
        At::Flip | At::ProbeStop | At::ProbeStart | At::AfterStart | At::Probe => {
            (true, true, upgrade.ahead.version)
        }
        At::BackStop | At::BackFlip | At::BackStart | At::BackProbe => (true, true, here),
    };
    Traffic {
        hold_calls,
        probing,
        refuse_members: probing,
        serving_version,
    }
}

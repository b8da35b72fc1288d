//! Revisions of what runs: one that changes the software is tried like an upgrade, and what failed is not tried again.

use super::node::{MachineState, NodeMachine};
use super::{Place, Step};

impl NodeMachine {
    /// The staged revision of what runs that is still to be tried here.
    pub(super) fn mend(&self) -> Option<&Step> {
        let running = self
            .settled
            .as_ref()
            .filter(|settled| settled.software)?
            .bundle;
        let step = self.held.get(&running.version)?;
        let planned = self.plan.as_ref()?.upgrades.get(&step.version)?;
        let newer = step.revision > running.revision && step.revision == planned.revision;
        (newer && !self.failed.contains(&step.place())).then_some(step)
    }

    /// The revision of what runs at this place, if it is one.
    pub(super) fn mend_to(&self, to: Place) -> Option<&Step> {
        let running = self
            .settled
            .as_ref()
            .filter(|settled| settled.software)?
            .bundle;
        let newer = to.version == running.version && to.revision > running.revision;
        let step = self.held.get(&to.version)?;
        (newer && step.place() == to).then_some(step)
    }

    /// Takes in what a staged revision changes at once: what has not to be tried.
    pub(super) fn put_in_force(&mut self, step: &Step) {
        let Some(settled) = &mut self.settled else {
            return;
        };
        let of_software = settled.software && step.version == settled.bundle.version;
        if of_software && step.as_running && step.revision > settled.bundle.revision {
            settled.bundle = step.place();
            settled.probe = step.probe;
        }
        if step.version == settled.version && (!of_software || settled.bundle == step.place()) {
            settled.revision = step.revision;
        }
    }

    /// Why what the upgrade under way leads to is not wanted any more: it was withdrawn, or a newer revision is published.
    pub(super) fn outdated(&self) -> Option<String> {
        let (MachineState::Upgrading(upgrade), Some(plan)) = (&self.state, &self.plan) else {
            return None;
        };
        upgrade
            .path
            .iter()
            .find_map(|step| match plan.upgrades.get(&step.version) {
                None => Some("the upgrade was withdrawn".to_owned()),
                Some(planned) if planned.revision > step.revision => Some(format!(
                    "revision {} of version {} was published meanwhile",
                    planned.revision, step.version
                )),
                Some(_) => None,
            })
    }
}

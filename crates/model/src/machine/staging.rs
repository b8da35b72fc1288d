//! What is to be fetched, and what is let go of.

use super::node::{MachineState, NodeMachine};
use super::{Output, Place, Record, StageRequest, Step};
use crate::ids::Version;

impl NodeMachine {
    /// The version to fetch next, if one is missing: those ahead first, in order, then mended ones that are still spoken.
    pub(super) fn wanted_stage(&self) -> Option<StageRequest> {
        let plan = self.plan.as_ref()?;
        if let MachineState::Joining { step, .. } = &self.state {
            return self.wanted_join(step.as_ref());
        }
        let here = self.settled.as_ref()?.version;
        let missing = |version: &Version| {
            let held = self.held.get(version).map(|step| step.revision);
            let planned = plan.upgrades.get(version).map(|planned| planned.revision);
            held < planned && !self.fixed_by_upgrade(*version)
        };
        let ahead = plan.upgrades.keys().filter(|version| **version > here);
        let spoken = (plan.upgrades.keys())
            .filter(|version| **version <= here && **version > plan.retired_through);
        let version = *ahead.chain(spoken).find(|version| missing(version))?;
        Some(StageRequest {
            version,
            revision: plan.upgrades.get(&version)?.revision,
            join: false,
            running: self.running_bundle(),
        })
    }

    fn wanted_join(&self, step: Option<&Step>) -> Option<StageRequest> {
        let plan = self.plan.as_ref()?;
        let alive = |version: Version| plan.upgrades.contains_key(&version);
        let version = match step {
            Some(step) if alive(step.version) => step.version,
            _ => plan.join_version?,
        };
        let revision = plan.upgrades.get(&version)?.revision;
        let there = step.is_some_and(|step| step.version == version && step.revision >= revision);
        (!there).then_some(StageRequest {
            version,
            revision,
            join: true,
            running: None,
        })
    }

    /// Whether what runs is still what a revision of it was compared with.
    fn compared_with(&self, version: Version, before: Option<Place>) -> bool {
        let of_version = |bundle: Option<Place>| bundle.filter(|it| it.version == version);
        of_version(self.running_bundle()) == of_version(before)
    }

    fn running_bundle(&self) -> Option<Place> {
        let settled = self.settled.as_ref().filter(|settled| settled.software);
        settled.map(|settled| settled.bundle)
    }

    /// The upgrade under way goes through this version: its revision stays as it is until the upgrade has ended.
    pub(super) fn fixed_by_upgrade(&self, version: Version) -> bool {
        let here = self.settled.as_ref().map(|settled| settled.version);
        matches!(&self.state, MachineState::Upgrading(upgrade)
            if Some(version) >= here && version <= upgrade.ahead.version || version == upgrade.to.version)
    }

    /// What was asked for is still wanted.
    pub(super) fn wants(&self, request: &StageRequest, step: &Step) -> bool {
        step.version == request.version
            && step.revision == request.revision
            && self.wanted_again(request)
    }

    fn wanted_again(&self, request: &StageRequest) -> bool {
        let planned = (self.plan.as_ref()).and_then(|plan| plan.upgrades.get(&request.version));
        let joining = matches!(self.state, MachineState::Joining { .. });
        planned.is_some_and(|planned| planned.revision == request.revision)
            && joining == request.join
            && self.compared_with(request.version, request.running)
            && !self.fixed_by_upgrade(request.version)
    }

    /// Lets go of staged versions that were withdrawn, and of old ones that are retired.
    pub(super) fn unstage(&mut self, out: &mut Vec<Output>) {
        let (Some(plan), Some(settled)) = (&self.plan, &self.settled) else {
            return;
        };
        let here = settled.version;
        let gone = |version: Version| {
            let withdrawn = !plan.upgrades.contains_key(&version);
            let retired = version <= plan.retired_through && version < here;
            version != here && (withdrawn || retired) && !self.fixed_by_upgrade(version)
        };
        let gone: Vec<Version> = self.held.keys().copied().filter(|v| gone(*v)).collect();
        for version in gone {
            self.commit(Record::Unstaged { version }, out);
        }
    }
}

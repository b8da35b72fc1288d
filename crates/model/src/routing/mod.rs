//! Who serves a connection: the software, a chain of adapters, or nobody. Pure; asked for every foreign connection.

pub use crate::bundle::AdapterDirection;

use crate::bundle::{Adapter, Dispatch};
use crate::ids::Version;
use crate::release::Lineage;

/// One adapter of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteStep {
    /// The upgrade that it belongs to, by the version that this leads to.
    pub upgrade: Version,
    /// Which of its adapters.
    pub direction: AdapterDirection,
}

/// Who serves a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// The software itself.
    Direct,
    /// These adapters, the one nearest to the caller first, then the software.
    Chain(Vec<RouteStep>),
    /// Nobody: this step's upgrade refuses such callers on purpose.
    Refused(RouteStep),
    /// Nobody yet: the node has not staged the caller's version.
    NotStaged,
    /// Nobody any more: reset and count.
    Retired,
    /// Nobody: that version was withdrawn, so no node can be at it.
    Withdrawn,
    /// Nobody: the service is not there at the caller's or at the node's version.
    NoSuchService,
}

/// Where a node stands, as far as routing goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The version that its software runs at.
    pub version: Version,
    /// The highest version that it has staged; at least `version`.
    pub staged: Version,
    /// Every version up to this one is retired (or being retired).
    pub retired_through: Version,
}

impl Lineage {
    /// Who serves a connection with this label on a service of this node.
    pub fn route(&self, service: &str, standing: Standing, label: Version) -> Route {
        if label <= standing.retired_through {
            return Route::Retired;
        }
        if !self.versions().contains(&label) {
            return if self.is_withdrawn(label) {
                Route::Withdrawn
            } else {
                Route::NotStaged
            };
        }
        if self.problem().is_some_and(|(broken, _)| label >= *broken) {
            return Route::NotStaged;
        }
        let (from, to) = (
            self.interface(service, label),
            self.interface(service, standing.version),
        );
        let (Some(from), Some(to)) = (from, to) else {
            return Route::NoSuchService;
        };
        if from == to {
            return Route::Direct;
        }
        let Some(steps) = self.steps(service, label, standing.version) else {
            return Route::NoSuchService;
        };
        if steps.iter().any(|step| step.upgrade > standing.staged) {
            return Route::NotStaged;
        }
        match steps
            .iter()
            .find(|step| self.adapter(service, **step) == Some(&Adapter::Refuse))
        {
            Some(refusing) => Route::Refused(*refusing),
            None => Route::Chain(steps),
        }
    }

    /// The versions whose callers the software of this node serves itself, its own included.
    pub fn direct_versions(&self, service: &str, standing: Standing) -> Vec<Version> {
        let direct = |version: &Version| self.route(service, standing, *version) == Route::Direct;
        self.versions().iter().copied().filter(direct).collect()
    }

    /// The adapter of one step: which file to load.
    pub fn adapter(&self, service: &str, step: RouteStep) -> Option<&Adapter> {
        let class = self.class(step.upgrade)?;
        Some(
            class
                .definition
                .services
                .get(service)?
                .adapter(step.direction),
        )
    }

    /// The adapters that follow the calls at the node's own version in one direction, the nearest first: those of upgrades that say so,
    /// as long as nothing else is in between. Callers farther away are told through those that are nearer.
    pub fn followers(
        &self,
        service: &str,
        standing: Standing,
        direction: AdapterDirection,
    ) -> Vec<RouteStep> {
        let callers = match direction {
            AdapterDirection::Past => Version(standing.retired_through.0 + 1)..=standing.version,
            AdapterDirection::Future => standing.version..=standing.staged,
        };
        let versions = self.versions().iter().copied();
        let ways = versions
            .filter(|version| callers.contains(version))
            .filter_map(|caller| self.steps(service, caller, standing.version));
        let mut longest = ways.max_by_key(Vec::len).unwrap_or_default();
        longest.reverse();
        let is_told = |step: &RouteStep| {
            let class = self.class(step.upgrade);
            let service = class.and_then(|class| class.definition.services.get(service));
            service.is_some_and(|service| {
                service.dispatch == Dispatch::Observed
                    && matches!(service.adapter(step.direction), Adapter::File(_))
            })
        };
        let told = longest.iter().take_while(|step| is_told(step)).count();
        longest.truncate(told);
        longest
    }

    /// The adapters between two versions, without the rounds that lead back to an interface already passed (after a
    /// revert). `None` where the service was away in between.
    fn steps(&self, service: &str, caller: Version, node: Version) -> Option<Vec<RouteStep>> {
        let (low, high) = (caller.min(node), caller.max(node));
        let mut passed: Vec<Version> = self
            .versions()
            .iter()
            .copied()
            .filter(|version| (low..=high).contains(version))
            .collect();
        let direction = if caller < node {
            AdapterDirection::Past
        } else {
            AdapterDirection::Future
        };
        if direction == AdapterDirection::Future {
            passed.reverse();
        }
        let mut interfaces = vec![self.interface(service, caller)?];
        let mut steps: Vec<RouteStep> = Vec::new();
        for pair in passed.windows(2) {
            let &[near, far] = pair else { continue };
            let interface = self.interface(service, far)?;
            if interfaces.last() == Some(&interface) {
                continue;
            }
            if let Some(at) = interfaces.iter().position(|seen| *seen == interface) {
                interfaces.truncate(at + 1);
                steps.truncate(at);
                continue;
            }
            interfaces.push(interface);
            steps.push(RouteStep {
                upgrade: near.max(far),
                direction,
            });
        }
        Some(steps)
    }
}

#[cfg(test)]
mod tests;

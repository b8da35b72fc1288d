//! The state as agents and people get it.

use super::SystemState;
use model::api::{SystemView, UpgradeSummary};
use model::ids::Version;

impl SystemState {
    /// The whole view.
    pub(crate) fn system_view(&self, now_ms: u64) -> SystemView {
        let (system, system_id) = self.system.clone().unwrap_or_default();
        SystemView {
            view: self.view,
            system,
            system_id,
            upgrades: self.summaries(),
            paused: self.paused.clone(),
            public: self.public.clone(),
            nodes: self
                .nodes
                .values()
                .map(|fact| fact.as_ref().clone())
                .collect(),
            approvals: self.approvals.clone(),
            permits: self
                .live_permits(now_ms)
                .map(|held| held.fact.clone())
                .collect(),
            retiring_through: self.retiring_through,
            retired_through: self.retired_through,
            trouble: None,
            socket_taken: None,
        }
    }

    /// The view as agents get it: without counters and addresses, most of it, by which no schedule decides. Members'
    /// addresses come with the members' list.
    pub(crate) fn agents_view(&self, now_ms: u64) -> SystemView {
        let mut view = self.system_view(now_ms);
        for fact in &mut view.nodes {
            fact.report.counters.clear();
            fact.report.endpoints.clear();
            fact.listed.clear();
        }
        view
    }

    /// The newest revision of every version, oldest version first.
    pub(crate) fn summaries(&self) -> Vec<UpgradeSummary> {
        let mut summaries: Vec<UpgradeSummary> = Vec::new();
        for ((version, _), published) in &self.revisions {
            summaries.pop_if(|last| last.version == *version);
            summaries.push(self.with_withdrawal(published.summary.clone()));
        }
        summaries
    }

    /// One version's newest revision.
    pub(crate) fn summary(&self, version: Version) -> Option<UpgradeSummary> {
        let published = self.newest_revision(version)?;
        Some(self.with_withdrawal(published.summary.clone()))
    }

    fn with_withdrawal(&self, mut summary: UpgradeSummary) -> UpgradeSummary {
        summary.withdrawn = self.withdrawn.contains(&summary.version);
        summary
    }
}

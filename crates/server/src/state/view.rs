//! The state as agents and people get it.

use super::SystemState;
use model::api::{
    FleetStanding, FleetView, NodeView, RememberedSystem, SystemView, UpgradeSummary,
};
use model::ids::{NodeId, Version};
use std::collections::BTreeMap;

/// The views in which what nodes are told changed last.
#[derive(Clone, Debug, Default)]
pub(crate) struct ViewNumbers {
    /// What all are told.
    all: u64,
    /// What each is told of itself.
    own: BTreeMap<NodeId, u64>,
    /// The last of all these.
    pub(crate) last: u64,
}

impl ViewNumbers {
    /// After a start: nobody can tell what changed before it.
    pub(super) fn restored(view: u64) -> Self {
        Self {
            all: view,
            own: BTreeMap::new(),
            last: view,
        }
    }

    /// What all are told changes in the view that comes.
    pub(super) fn all_changed(&mut self, view: u64) {
        self.all = view;
        self.last = view;
    }

    /// What a node is told of itself changes in the view that comes.
    pub(super) fn own_changed(&mut self, node: NodeId, view: u64) {
        self.own.insert(node, view);
        self.last = view;
    }

    /// A node is told nothing any more.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.own.remove(&node);
    }

    /// The number of a node's view.
    pub(crate) fn number(&self, node: NodeId) -> u64 {
        let own = self.own.get(&node).copied();
        self.all.max(own.unwrap_or(0))
    }
}

impl SystemState {
    /// The whole view.
    pub(crate) fn system_view(&self, now_ms: u64) -> SystemView {
        SystemView {
            nodes: (self.nodes.values())
                .map(|fact| fact.as_ref().clone())
                .collect(),
            ..self.view_without_nodes(now_ms)
        }
    }

    /// The view without nodes and permits, which are counted.
    pub(crate) fn fleet_view(&self, now_ms: u64) -> FleetView {
        let mut system = self.view_without_nodes(now_ms);
        let permits = std::mem::take(&mut system.permits).len() as u64;
        let standings = self.fleet.standings().iter();
        FleetView {
            system,
            nodes: self.nodes.len() as u64,
            permits,
            standings: standings
                .map(|(version, class, standing)| FleetStanding {
                    version,
                    class: class.to_owned(),
                    nodes: standing.nodes as u64,
                    reachable: standing.reachable as u64,
                    running: standing.running as u64,
                    blocked: standing.blocked as u64,
                })
                .collect(),
        }
    }

    /// The view, in which no node is: whoever wants them clones them when nobody waits for the state any more.
    pub(crate) fn view_without_nodes(&self, now_ms: u64) -> SystemView {
        let (system, system_id) = self.system.clone().unwrap_or_default();
        SystemView {
            epoch: self.lives.last().map_or(0, |life| life.epoch),
            disagreeing: self.disagreeing_nodes(),
            view: self.view,
            system,
            system_id,
            upgrades: self.summaries(),
            paused: self.paused.clone(),
            public: self.public.clone(),
            nodes: Vec::new(),
            approvals: self.approvals.clone(),
            once: self.once.clone(),
            permits: self
                .live_permits(now_ms)
                .map(|held| held.fact.clone())
                .collect(),
            retiring_through: self.retiring_through,
            retired_through: self.retired_through,
            trouble: None,
            socket_taken: None,
            damaged: Vec::new(),
            failing_webhooks: self.failing_webhooks(),
            revoked: self.revoked_nodes(),
        }
    }

    fn failing_webhooks(&self) -> BTreeMap<String, String> {
        let failing = self.webhook_places.values().filter(|it| it.is_failing());
        failing
            .map(|it| (it.name.clone(), it.trouble.clone().unwrap_or_default()))
            .collect()
    }

    /// The nodes whose keys are revoked, by name.
    pub(crate) fn revoked_nodes(&self) -> Vec<String> {
        let revoked = self.revoked.iter();
        let there = revoked.filter(|name| self.names.contains_key(*name));
        there.cloned().collect()
    }

    /// What nodes are to remember of the system, for a server that has lost it.
    pub(crate) fn memory(&self) -> RememberedSystem {
        let withdrawn = self.withdrawn.iter().filter_map(|version| {
            let summary = self.summary(*version)?;
            Some((*version, summary.manifest_sha256))
        });
        RememberedSystem {
            system: self.system.clone().unwrap_or_default().0,
            withdrawn: withdrawn.collect(),
            public: self.public.clone(),
            retiring_through: self.retiring_through,
        }
    }

    /// What a node needs to know.
    pub(crate) fn node_view(&self, node: NodeId) -> NodeView {
        let (system, system_id) = self.system.clone().unwrap_or_default();
        NodeView {
            view: self.told.number(node),
            system,
            system_id,
            upgrades: self.summaries(),
            digests: self.digests(),
            paused: self.paused.clone(),
            public: self.public.clone(),
            retiring_through: self.retiring_through,
            retired_through: self.retired_through,
            retry: self.nodes.get(&node).map_or(0, |fact| fact.retry),
        }
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

//! The members' list: which addresses are members', since when, and who knows. Its number is that of the view in which it
//! changed last; who waits for others to acknowledge it watches a counter.

use super::{SystemState, Whereabouts};
use model::api::{
    Behind, ChildState, Listed, Member, MembersRequest, MembersResponse, NodeFact, NodeReport,
};
use model::ids::{NodeId, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What is known of the list beside the nodes' own facts.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListChanges {
    /// The view in which the list changed last.
    pub(crate) at: u64,
    /// Counts what those wait for that want to be known: acknowledgements, nodes that fall silent or come back.
    pub(crate) acks: u64,
    /// Which members are silent, as a sum: it is the same at every server, and one node more or less costs the same in every system.
    silence: u64,
    /// The view in which each node's addresses changed last.
    changed: BTreeMap<NodeId, u64>,
    /// Whoever holds an older list gets it whole: a node was forgotten since, or the server started.
    whole_before: u64,
}

impl ListChanges {
    /// The list after a start: nobody can tell what changed before it.
    pub(super) fn restored<'a>(view: u64, nodes: impl Iterator<Item = &'a NodeFact>) -> Self {
        Self {
            at: view,
            whole_before: view,
            silence: nodes.fold(0, |sum, fact| sum ^ share_of_silence(fact)),
            ..Self::default()
        }
    }

    /// Takes in how a node has changed, in the view that comes.
    pub(super) fn put(&mut self, before: Option<&NodeFact>, after: &NodeFact, view: u64) {
        let was_listed = before.map_or(&[][..], |before| &before.listed);
        if was_listed != after.listed {
            self.at = view;
            self.changed.insert(after.node, view);
        }
        self.silence ^= before.map_or(0, share_of_silence) ^ share_of_silence(after);
        let heard = before.map(|before| (before.members_seen, before.reachable));
        if heard != Some((after.members_seen, after.reachable)) {
            self.acks += 1;
        }
    }

    /// A node is forgotten in the view that comes.
    pub(super) fn forget(&mut self, fact: &NodeFact, view: u64) {
        self.changed.remove(&fact.node);
        self.silence ^= share_of_silence(fact);
        self.at = view;
        self.whole_before = view;
        self.acks += 1;
    }
}

impl SystemState {
    /// The list's number; zero is that of no list.
    fn members_at(&self) -> u64 {
        self.members.at.max(1)
    }

    /// Whether the numbers of a request were given in a history that this database does not have.
    pub(crate) fn is_of_a_lost_history(&self, request: &MembersRequest) -> bool {
        let place = request.moment.as_ref().map(|seen| self.whereabouts(seen));
        matches!(place, Some(Whereabouts::Lost | Whereabouts::Missing))
    }

    /// Whether there is something to answer at once.
    pub(crate) fn has_members_news(&self, request: &MembersRequest) -> bool {
        let list = &self.members;
        let other_list = request.seen < self.members_at()
            || request.seen > self.view
            || self.is_of_a_lost_history(request);
        let differs = |seen: Option<u64>, now| seen.is_some_and(|seen| seen != now);
        other_list
            || self.has_label_news(request)
            || differs(request.silence, list.silence)
            || differs(request.acks, list.acks)
    }

    /// What a node is told of the members.
    pub(crate) fn members_for(&self, node: NodeId, request: &MembersRequest) -> MembersResponse {
        let list = &self.members;
        // A number from the future was given by a server whose database is gone.
        let whole = request.seen < list.whole_before
            || request.seen > self.view
            || self.is_of_a_lost_history(request);
        let is_new = |node: &NodeId| {
            let at = list.changed.get(node);
            whole || at.is_some_and(|at| *at > request.seen)
        };
        let changed = self.nodes.values().filter(|fact| is_new(&fact.node));
        MembersResponse {
            at: self.members_at(),
            whole,
            members: changed
                .map(|fact| Member {
                    node: fact.node,
                    listed: fact.listed.clone(),
                })
                .collect(),
            behind: self.behind(node),
            acks: list.acks,
            silent: self.silent_members(),
            silence: list.silence,
            moment: self.moment(),
            labels: Some(self.label_order()),
        }
    }

    /// Members of which the server cannot tell whether they are still at their addresses.
    fn silent_members(&self) -> Vec<NodeId> {
        if self.members.silence == 0 {
            return Vec::new();
        }
        let nodes = self.nodes.values();
        let silent = nodes.filter(|fact| is_silent(fact));
        silent.map(|fact| fact.node).collect()
    }

    /// Who may not know every address of this node yet. A node that is not listed itself has no software yet, and none
    /// before it holds a list with this node in it.
    fn behind(&self, node: NodeId) -> Vec<Behind> {
        let known = self.nodes.get(&node);
        let newest = known.and_then(|fact| fact.listed.iter().map(|listed| listed.since).max());
        let Some(newest) = newest else {
            return Vec::new();
        };
        let others = self.nodes.values().filter(|fact| fact.node != node);
        others
            .filter(|fact| fact.members_seen < newest && !fact.listed.is_empty())
            .map(|fact| Behind {
                node: fact.node,
                name: fact.name.clone(),
                awaited: fact.reachable && has_software(fact),
                in_force: fact.members_seen,
            })
            .collect()
    }
}

fn is_silent(fact: &NodeFact) -> bool {
    !fact.reachable && !fact.listed.is_empty()
}

/// What a node adds to the sum of the silent ones: a number like chance's, and never zero (the finalizer of SplitMix64).
fn share_of_silence(fact: &NodeFact) -> u64 {
    if !is_silent(fact) {
        return 0;
    }
    let mut mixed = u64::from(fact.node.0).wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// A node that has never started any software calls nobody; should it start some now, it has heard of the others by then.
pub(super) fn has_software(fact: &NodeFact) -> bool {
    let status = &fact.report.status;
    status.version > Version(0) || status.child != ChildState::Stopped
}

/// The addresses of a report, each with the number of the list since which it is there: `next` for those that are new.
pub(crate) fn listed(before: &[Listed], report: &NodeReport, next: u64) -> Vec<Listed> {
    let since: BTreeMap<(IpAddr, Option<u16>), u64> = before
        .iter()
        .map(|listed| ((listed.address, listed.port), listed.since))
        .collect();
    let endpoints = report.endpoints.iter();
    let all: BTreeSet<(IpAddr, Option<u16>)> = endpoints
        .map(|endpoint| (endpoint.address, Some(endpoint.port)))
        .chain(report.addresses.iter().map(|address| (*address, None)))
        .collect();
    all.into_iter()
        .map(|(address, port)| Listed {
            address,
            port,
            since: since.get(&(address, port)).copied().unwrap_or(next),
        })
        .collect()
}

#[cfg(test)]
impl SystemState {
    /// The sum of the silent members, as a server reckons it that reads this state from its database.
    pub(crate) fn silence_after_a_restart(&self) -> u64 {
        let nodes = self.nodes.values().map(AsRef::as_ref);
        ListChanges::restored(self.view, nodes).silence
    }
}

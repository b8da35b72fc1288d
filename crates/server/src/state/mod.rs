//! The system in memory: what the database holds, and what was heard since.

mod apply;
mod bundle_servers;
mod counting;
mod disagreeing;
mod ended_keys;
mod labels;
mod lives;
mod members;
mod queue;
mod tally;
mod view;

pub(crate) use bundle_servers::site;
pub(crate) use lives::Whereabouts;
pub(crate) use members::listed;

use crate::udb::{
    HeldPermit, KeyRecord, ServerLife, SignedLabels, StoppedClass, Stored, StoredWebhook,
    WebhookPlace,
};
use bundle_servers::BundleServers;
use ended_keys::EndedKeys;
use members::ListChanges;
use model::api::{
    Approval, Disagreement, IdentityFact, InvitationFact, NodeFact, OnceFact, Pause, Principal,
    PrincipalKind, UpgradeSummary,
};
use model::bundle::Upgrade;
use model::expression::NodeScope;
use model::fleet::Fleet;
use model::ids::{NodeId, PermitId, Revision, Version};
use model::release::{History, HistoryError};
use queue::PermitQueue;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tally::FleetTally;
use view::ViewNumbers;

/// One published revision.
#[derive(Clone, Debug)]
pub(crate) struct PublishedRevision {
    pub(crate) summary: UpgradeSummary,
    pub(crate) upgrade: Arc<Upgrade>,
}

/// The system in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct SystemState {
    pub(crate) generation: u64,
    pub(crate) view: u64,
    /// The last lives of servers in the database, oldest first.
    pub(crate) lives: Vec<ServerLife>,
    pub(crate) system: Option<(String, u64)>,
    pub(crate) revisions: BTreeMap<(Version, Revision), PublishedRevision>,
    pub(crate) withdrawn: BTreeSet<Version>,
    /// The newest revisions of what is not withdrawn, checked against one another.
    pub(crate) history: Arc<History>,
    pub(crate) public: BTreeMap<String, Version>,
    pub(crate) paused: Option<Pause>,
    /// What is done about labels, where they are signed.
    pub(crate) labels: Option<SignedLabels>,
    /// Classes whose `stop_if` has paused the system, and was not seen not to hold since.
    pub(crate) stopped: BTreeSet<StoppedClass>,
    /// What is done once for the whole system, where it was begun.
    pub(crate) once: Vec<OnceFact>,
    /// The roles that nodes had when they asked last.
    pub(crate) roles: BTreeMap<NodeId, Arc<str>>,
    pub(crate) approvals: Vec<Approval>,
    pub(crate) nodes: BTreeMap<NodeId, Arc<NodeFact>>,
    pub(crate) names: BTreeMap<String, NodeId>,
    /// Which numbers were of nodes that operators have forgotten, with the nodes' names.
    pub(crate) forgotten: BTreeMap<NodeId, String>,
    /// Whose upgrades are not those that are published here.
    pub(crate) disagreeing: BTreeMap<NodeId, Disagreement>,
    pub(crate) members: ListChanges,
    /// Who serves which bundle to the other nodes of its site.
    pub(crate) servers_of: BundleServers,
    /// What agents are told, by when it changed last.
    pub(crate) told: ViewNumbers,
    /// The nodes, counted.
    pub(crate) fleet: Fleet,
    /// The same for those who watch the system.
    pub(crate) tally: FleetTally,
    /// Whose keys are revoked, of those who were nodes, by name.
    pub(crate) revoked: BTreeSet<String>,
    /// Who waits for room in a group.
    pub(crate) queue: PermitQueue,
    pub(crate) permits: BTreeMap<PermitId, HeldPermit>,
    /// Whose permit is which: a node holds one at most.
    pub(crate) holders: BTreeMap<NodeId, PermitId>,
    pub(crate) retiring_through: Version,
    pub(crate) retired_through: Version,
    pub(crate) last_node: NodeId,
    pub(crate) last_permit: PermitId,
    pub(crate) last_event: u64,
    pub(crate) keys: HashMap<String, Arc<KeyRecord>>,
    /// Whose keys are certified, or were.
    pub(crate) identities: BTreeMap<Principal, Arc<IdentityFact>>,
    /// Keys that count no longer.
    pub(crate) ended_keys: EndedKeys,
    /// One-time tokens, by the digest of their secret.
    pub(crate) invitations: BTreeMap<String, Arc<InvitationFact>>,
    /// Webhooks, by name.
    pub(crate) webhooks: BTreeMap<String, Arc<StoredWebhook>>,
    /// How far they have come.
    pub(crate) webhook_places: BTreeMap<String, WebhookPlace>,
}

impl SystemState {
    /// What the database holds, with each upgrade as read back from the repository. Nodes that were reachable are given
    /// one more reachability time to be heard: a restart of the server makes nobody unreachable.
    pub(crate) fn restore(
        stored: Stored,
        mut proved: impl FnMut(&UpgradeSummary) -> Option<Arc<Upgrade>>,
        now_ms: u64,
    ) -> Result<Self, Version> {
        let mut revisions = BTreeMap::new();
        for (number, summary) in stored.upgrades {
            let upgrade = proved(&summary).ok_or(number.0)?;
            revisions.insert(number, PublishedRevision { summary, upgrade });
        }
        let nodes = heard_lately(stored.nodes, now_ms);
        let members = ListChanges::restored(stored.view, nodes.values().map(AsRef::as_ref));
        let mut state = Self {
            generation: stored.generation,
            view: stored.view,
            lives: stored.lives,
            system: stored.system,
            revisions,
            withdrawn: stored.withdrawn,
            public: stored.public,
            paused: stored.paused,
            labels: stored.labels,
            stopped: stored.stopped,
            once: stored.once,
            roles: BTreeMap::new(),
            approvals: stored.approvals,
            names: nodes
                .values()
                .map(|fact| (fact.name.clone(), fact.node))
                .collect(),
            forgotten: stored.forgotten,
            disagreeing: BTreeMap::new(),
            members,
            servers_of: BundleServers::of(nodes.values()),
            nodes,
            holders: (stored.permits.values())
                .map(|held| (held.fact.node, held.fact.permit))
                .collect(),
            permits: stored.permits,
            told: ViewNumbers::restored(stored.view),
            fleet: Fleet::default(),
            tally: FleetTally::default(),
            revoked: revoked_names(stored.identities.values()),
            queue: PermitQueue::default(),
            retiring_through: stored.retiring_through,
            retired_through: stored.retired_through,
            last_node: stored.last_node,
            last_permit: stored.last_permit,
            last_event: stored.last_event,
            keys: stored
                .keys
                .into_iter()
                .map(|record| (record.key.clone(), Arc::new(record)))
                .collect(),
            ended_keys: EndedKeys::of(stored.identities.values()),
            identities: shared(stored.identities),
            invitations: shared(stored.invitations),
            webhooks: shared(stored.webhooks),
            webhook_places: stored.webhook_places,
            history: Arc::default(),
        };
        let history = state.history_with(None, None);
        state.history = Arc::new(history.map_err(|_| state.newest_number())?);
        state.count_all();
        state.compare_all();
        Ok(state)
    }

    /// The history as it would be with one more revision, or with one more version withdrawn.
    pub(crate) fn history_with(
        &self,
        added: Option<&Arc<Upgrade>>,
        withdrawn: Option<Version>,
    ) -> Result<History, HistoryError> {
        let gone: BTreeSet<Version> = self.withdrawn.iter().copied().chain(withdrawn).collect();
        let mut upgrades: BTreeMap<Version, Arc<Upgrade>> = BTreeMap::new();
        // Revisions follow one another in the map: the newest stays.
        for ((version, _), published) in &self.revisions {
            upgrades.insert(*version, Arc::clone(&published.upgrade));
        }
        if let Some(added) = added {
            upgrades.insert(added.version, Arc::clone(added));
        }
        upgrades.retain(|version, _| !gone.contains(version));
        History::new(upgrades.into_values(), &gone)
    }

    /// The highest version number ever published, withdrawn ones included; zero before the first.
    pub(crate) fn newest_number(&self) -> Version {
        self.revisions
            .keys()
            .next_back()
            .map_or(Version(0), |(version, _)| *version)
    }

    /// The newest revision of a version.
    pub(crate) fn newest_revision(&self, version: Version) -> Option<&PublishedRevision> {
        self.revisions
            .range((version, Revision(0))..=(version, Revision(u32::MAX)))
            .next_back()
            .map(|(_, published)| published)
    }

    /// A node by its name, or else by its number.
    pub(crate) fn node(&self, name_or_number: &str) -> Option<&Arc<NodeFact>> {
        let node = match self.names.get(name_or_number) {
            Some(node) => *node,
            None => name_or_number.parse().ok()?,
        };
        self.nodes.get(&node)
    }

    /// The permit of a node that still counts at this time.
    pub(crate) fn permit_of(&self, node: NodeId, now_ms: u64) -> Option<&HeldPermit> {
        let held = self.permits.get(self.holders.get(&node)?)?;
        held.lives(now_ms).then_some(held)
    }

    /// Every permit that still counts at this time.
    pub(crate) fn live_permits(&self, now_ms: u64) -> impl Iterator<Item = &HeldPermit> {
        self.permits.values().filter(move |held| held.lives(now_ms))
    }

    /// The class of a node at a version.
    pub(crate) fn class_at(&self, fact: &NodeFact, version: Version) -> Option<String> {
        let found = self.history.class_at(&scope(fact), None, version);
        found.ok().flatten()
    }
}

/// Nodes of which those that were reachable have been heard just now.
fn heard_lately(nodes: BTreeMap<NodeId, NodeFact>, now_ms: u64) -> BTreeMap<NodeId, Arc<NodeFact>> {
    let heard = nodes.into_iter().map(|(node, mut fact)| {
        if fact.reachable {
            fact.seen_at_ms = fact.seen_at_ms.max(now_ms);
        }
        (node, Arc::new(fact))
    });
    heard.collect()
}

/// The names of those whose keys are revoked, of nodes.
fn revoked_names<'a>(identities: impl Iterator<Item = &'a IdentityFact>) -> BTreeSet<String> {
    let revoked = identities.filter(|known| known.revoked_at_ms.is_some());
    let nodes = revoked
        .map(|known| &known.principal)
        .filter(|principal| principal.kind == PrincipalKind::Node);
    nodes.map(|principal| principal.name.clone()).collect()
}

/// A map whose values are cheap to copy with the state.
fn shared<K: Ord, V>(map: BTreeMap<K, V>) -> BTreeMap<K, Arc<V>> {
    let values = map.into_iter().map(|(key, value)| (key, Arc::new(value)));
    values.collect()
}

/// A node as expressions see it.
pub(crate) fn scope(fact: &NodeFact) -> NodeScope {
    NodeScope {
        name: fact.name.clone(),
        class: fact.class.clone(),
        attributes: fact.attributes.clone(),
    }
}

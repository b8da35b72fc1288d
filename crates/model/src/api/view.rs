//! The system as the server sees it.

use super::{
    Disagreement, HeldUpgrade, LabelsFact, Listed, NodeReport, OnceFact, RememberedSystem,
    SyncNumber, disagreement, replaced,
};
use crate::ids::{NodeId, PermitId, Revision, Version};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The system as the server sees it, for people: what `upstart status` shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SystemView {
    /// The random number of this history of the database: another one where it was found to be set back.
    #[serde(default)]
    pub epoch: u64,
    /// Rises with every change of what follows, but for counters, counts of open connections, progress and the times of
    /// last contact.
    pub view: u64,
    /// The system's name; empty before version 1 is published.
    pub system: String,
    /// The system's number in labels.
    pub system_id: u64,
    /// Every upgrade ever published, by version, withdrawn ones included.
    pub upgrades: Vec<UpgradeSummary>,
    /// Set while the system is paused: no node begins an upgrade.
    pub paused: Option<Pause>,
    /// The public version of each service, keyed `class/service`.
    pub public: BTreeMap<String, Version>,
    /// Every node that is enrolled and not forgotten.
    pub nodes: Vec<NodeFact>,
    /// Approvals given and not consumed: they last as long as their version.
    pub approvals: Vec<Approval>,
    /// Permits held now.
    pub permits: Vec<PermitFact>,
    /// Every version up to this one is being retired: reset it and acknowledge.
    pub retiring_through: Version,
    /// Every version up to this one is retired: adapters and old state may go.
    pub retired_through: Version,
    /// Nodes that run what is not published here, or is published here with other contents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disagreeing: Vec<DisagreeingNode>,
    /// What is done once for the whole system, where it was begun.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub once: Vec<OnceFact>,
    /// Why the server cannot store what changes, as long as it cannot: what nodes tell meanwhile is missing.
    #[serde(default)]
    pub trouble: Option<String>,
    /// Which files of published versions the repository lacks, and how to put them back: nodes that need them wait.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<String>,
    /// The webhooks whose receivers take nothing, by name, each with what went wrong.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failing_webhooks: BTreeMap<String, String>,
    /// The nodes whose keys are revoked, by name: they serve on, and hear of nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<String>,
    /// The socket at which the server would tell its token to its own user, as long as somebody else has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket_taken: Option<String>,
}

/// The whole system without its nodes one by one: as large for many nodes as for few.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FleetView {
    /// The system; its `nodes` and `permits` are left empty.
    pub system: SystemView,
    /// How many nodes are enrolled and not forgotten.
    pub nodes: u64,
    /// How many permits are held now.
    pub permits: u64,
    /// How many nodes of each class have settled at each version, oldest version first.
    pub standings: Vec<FleetStanding>,
}

/// The nodes of one class at one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FleetStanding {
    /// The version; zero for nodes that have not started yet.
    pub version: Version,
    /// The class.
    pub class: String,
    /// How many.
    pub nodes: u64,
    /// How many of them are heard.
    pub reachable: u64,
    /// How many of those have their software running.
    pub running: u64,
    /// How many are back from a version that they have tried.
    pub blocked: u64,
}

/// A node whose upgrade is not the server's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DisagreeingNode {
    /// Its name.
    pub node: String,
    /// Which upgrade.
    #[serde(flatten)]
    pub disagreement: Disagreement,
}

/// The system as one node needs it: what holds for all, and what the server says of this node alone. No other node is in it,
/// so that it costs the same however many there are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeView {
    /// Rises with every change of what follows, and with nothing else.
    pub view: u64,
    /// The system's name; empty before version 1 is published.
    pub system: String,
    /// The system's number in labels.
    pub system_id: u64,
    /// Every upgrade ever published, by version, withdrawn ones included.
    pub upgrades: Vec<UpgradeSummary>,
    /// The manifests' digests of every version, from revision 1 on; empty where a server from before does not tell.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, Vec<String>>))]
    pub digests: BTreeMap<Version, Vec<String>>,
    /// Set while the system is paused: no node begins an upgrade.
    pub paused: Option<Pause>,
    /// The public version of each service, keyed `class/service`.
    pub public: BTreeMap<String, Version>,
    /// Every version up to this one is being retired: reset it and acknowledge.
    pub retiring_through: Version,
    /// Every version up to this one is retired: adapters and old state may go.
    pub retired_through: Version,
    /// Counts the operator's `retry` for this node; the agent acts when it rises.
    pub retry: u64,
}

impl NodeView {
    /// What a node remembers of the system by it.
    #[must_use]
    pub fn remembered(&self) -> RememberedSystem {
        let withdrawn = self.upgrades.iter().filter(|upgrade| upgrade.withdrawn);
        RememberedSystem {
            system: self.system.clone(),
            withdrawn: withdrawn
                .map(|upgrade| (upgrade.version, upgrade.manifest_sha256.clone()))
                .collect(),
            public: self.public.clone(),
            retiring_through: self.retiring_through,
        }
    }

    /// What the server has published that a node does not agree with, if anything.
    pub fn disagrees_with(&self, holds: &[HeldUpgrade]) -> Option<Disagreement> {
        if self.digests.is_empty() && !self.upgrades.is_empty() {
            return None;
        }
        disagreement(holds, |version, revision| self.digest(version, revision))
    }

    /// The view without the versions from the first one on that has taken the place of one that is only staged at a node: it drops that,
    /// and then takes in the whole view.
    pub fn without_replaced(mut self, holds: &[HeldUpgrade]) -> (Self, bool) {
        let found = replaced(holds, |version, revision| self.digest(version, revision));
        if let Some(first) = found {
            self.upgrades.retain(|upgrade| upgrade.version < first);
        }
        (self, found.is_some())
    }

    fn digest(&self, version: Version, revision: Revision) -> Option<&str> {
        let revisions = self.digests.get(&version)?;
        let at = usize::try_from(revision.0.checked_sub(1)?).ok()?;
        revisions.get(at).map(String::as_str)
    }
}

/// An upgrade as the repository lists it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpgradeSummary {
    /// The version that it leads to.
    pub version: Version,
    /// The version that it starts from; zero for the first.
    pub from: Version,
    /// Its newest revision.
    pub revision: Revision,
    /// The manifest's SHA-256, lower-case hex.
    pub manifest_sha256: String,
    /// What it brings, for people.
    pub description: String,
    /// Withdrawn: nobody goes there.
    pub withdrawn: bool,
    /// When this revision was published.
    pub published_at_ms: u64,
    /// Who published it.
    pub author: String,
}

/// A pause of the whole system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pause {
    /// Why, for people.
    pub reason: String,
    /// Who paused it.
    pub author: String,
    /// Since when.
    pub since_ms: u64,
}

/// What the database knows of one node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeFact {
    /// The node's number.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Its class at enrolment; follow the upgrades' renames from there.
    pub class: String,
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
    /// Its machine.
    pub host: String,
    /// Its data directory there.
    pub data_directory: String,
    /// Its last report.
    pub report: NodeReport,
    /// When it was last heard.
    pub seen_at_ms: u64,
    /// It was heard within the reachability time.
    pub reachable: bool,
    /// When it settled at its version, or what it runs was revised.
    pub settled_at_ms: u64,
    /// Since when it has been there without a crash: soak times count from here.
    #[serde(default)]
    pub steady_since_ms: u64,
    /// The last message that was taken from each life of its agent, the newest life last.
    #[serde(default)]
    pub taken: Vec<SyncNumber>,
    /// Counts the operator's `retry` for this node; the agent acts when it rises.
    pub retry: u64,
    /// Its addresses in the members' list.
    #[serde(default)]
    pub listed: Vec<Listed>,
    /// The members' list that its software's hooks go by, by number; zero before the first.
    #[serde(default)]
    pub members_seen: u64,
    /// What it does about labels.
    #[serde(default, skip_serializing_if = "LabelsFact::is_empty")]
    pub labels: LabelsFact,
}

/// A person's leave for an upgrade, where its schedule asks for one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Approval {
    /// The version approved.
    pub version: Version,
    /// The newest revision of it at that time. Nodes that run an older one already, and would restart for a newer one, wait for
    /// an approval of that.
    #[serde(default)]
    pub revision: Revision,
    /// Only this class; all when absent.
    pub class: Option<String>,
    /// Only this node, by name; all when absent.
    pub node: Option<String>,
    /// Who approved.
    pub author: String,
    /// When.
    pub at_ms: u64,
}

/// A permit that is held, for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PermitFact {
    /// Its number.
    pub permit: PermitId,
    /// Who holds it.
    pub node: NodeId,
    /// For which version.
    pub version: Version,
    /// For which revision of it.
    #[serde(default)]
    pub revision: Revision,
    /// In which group.
    pub group: String,
    /// Confirmed: it no longer expires.
    pub confirmed: bool,
    /// When it was acquired.
    pub since_ms: u64,
}

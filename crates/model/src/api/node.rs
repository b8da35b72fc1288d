//! What a node says of itself when it enrols and in every sync, and what it is told in return.

use super::{Certified, HeldUpgrade, Moment, NewEvent, NodeView, OnceOrder, RememberedSystem};
use crate::ids::{NodeId, PermitId, Place, Revision, Version};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// `POST /v1/nodes`: a node makes itself known. Idempotent by `name`; a known name with another class is refused (409).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct EnrolRequest {
    /// The node's name, unique in the system.
    pub name: String,
    /// The class whose software the node runs.
    pub class: String,
    /// Free attributes (`region`, `replica_group`, ...) that schedules and filters look at.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// The machine's name, for people and for `upstart logs`.
    pub host: String,
    /// The node's data directory on that machine.
    pub data_directory: String,
    /// The system that the node has been enrolled in; absent at its first enrolment. A server of another system refuses it.
    #[serde(default)]
    pub system_id: Option<u64>,
    /// The number that the node had, for a server that does not know it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// The newest moment that the agent has seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moment: Option<Moment>,
    /// What the agent remembers of the system, where it has seen any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remembered: Option<Box<RememberedSystem>>,
    /// What lies at the node, by digest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<HeldUpgrade>,
    /// A certificate request (PKCS #10, PEM) of the node's key; absent where it has a certificate already, or wants none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_request: Option<String>,
}

/// Whose a node's number is: the database that has given it. Another one gives the same numbers to others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NodeIdentity {
    /// The system's number.
    pub system_id: u64,
    /// The node's name.
    pub name: String,
}

/// The answer to an enrolment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Enrolled {
    /// The node's number, carried by its labels.
    pub node: NodeId,
    /// The system's name.
    pub system: String,
    /// The system's number, carried by labels: connections of other systems are never mistaken for ours.
    pub system_id: u64,
    /// The version at which a node that has no state yet joins: the newest at which a node of its class has settled,
    /// else the oldest version that is neither retired nor withdrawn and has the class.
    pub join_version: Version,
    /// How many records of its journal the server has heard of: a node with fewer has been set back. Zero for a new node.
    #[serde(default)]
    pub records: u64,
    /// Where the server's history is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moment: Option<Moment>,
    /// The certificate of the node's key, where it asked for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certified: Option<Certified>,
}

/// `POST /v1/nodes/{id}/sync`: one round trip for everything an agent says and learns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SyncRequest {
    /// The number of the [`NodeView`] that the agent holds; the server answers without a view when nothing changed.
    pub seen_view: Option<u64>,
    /// The node's report; absent means "as before" (the node still counts as reachable).
    pub report: Option<NodeReport>,
    /// Who the agent takes itself for; a server that knows its number as another's refuses it.
    #[serde(default)]
    pub identity: Option<NodeIdentity>,
    /// Which of the agent's messages this is; absent where nobody counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<SyncNumber>,
    /// The newest moment that the agent has seen. A server that has begun anew since asks for everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moment: Option<Moment>,
    /// What the agent remembers of the system: told when the server asks for everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remembered: Option<Box<RememberedSystem>>,
    /// What happened at the node since the last sync, oldest first (at most [`EVENTS_PER_SYNC_MAX`]).
    #[serde(default)]
    pub events: Vec<NewEvent>,
}

/// Which message of an agent a sync is. One that comes late, or twice, is known by it, and rewrites nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SyncNumber {
    /// A random number that the agent chose when it started.
    pub life: u64,
    /// Rises with each message of that life.
    pub number: u64,
}

/// The most events that one sync carries; the rest waits for the next.
pub const EVENTS_PER_SYNC_MAX: usize = 256;

/// The longest reason, message or counter name that a node tells, in bytes.
pub const TEXT_BYTES_MAX: usize = 4096;

/// The most addresses, connection counts and counters that a node tells, each.
pub const REPORT_ENTRIES_MAX: usize = 1024;

/// As much of a text as a node may tell, its end marked where something is missing.
pub fn told(text: &str) -> String {
    const MARK: &str = " [...]";
    if text.len() <= TEXT_BYTES_MAX {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(TEXT_BYTES_MAX - MARK.len());
    format!("{}{MARK}", &text[..end])
}

/// The answer to a sync.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SyncResponse {
    /// The server's clock.
    pub now_ms: u64,
    /// What the node needs to know of the system, when it differs from the view that the agent holds.
    pub view: Option<NodeView>,
    /// Where the server's history is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moment: Option<Moment>,
    /// What the node is to do once for the whole system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub once: Option<OnceOrder>,
}

/// What a node says about itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NodeReport {
    /// Where the node stands.
    pub status: NodeStatus,
    /// Where peers reach the node, for every version it answers (its own, older ones, and what is staged).
    pub endpoints: Vec<Endpoint>,
    /// How often the node asks the server, in milliseconds: it counts as reachable for three such times at least.
    #[serde(default)]
    pub poll_ms: u64,
    /// The addresses that the node's own connections come from: labels from there are honoured.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub addresses: Vec<IpAddr>,
    /// Open connections in the agent by the label's version; versions without one are absent.
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, u64>))]
    pub connections: BTreeMap<Version, u64>,
    /// Counters since the agent's first start (`calls.past`, `calls.future`, `refused`, `bypass.<reason>`, `reset.retired`, ...).
    pub counters: BTreeMap<String, u64>,
    /// What people should know of calls that go wrong, each matter in a line; empty where nothing does.
    #[serde(default)]
    pub remarks: Vec<String>,
    /// Every version up to this one is reset at this node (the second phase of retirement waits for it).
    pub retired_acknowledged: Version,
    /// The highest `retry` number that the node has acted on (see [`NodeFact::retry`](super::NodeFact::retry)).
    pub retry_acknowledged: u64,
    /// How many records the node's journal has ever had: it never falls, unless the node's data directory is set back.
    #[serde(default)]
    pub records: u64,
    /// What lies at the node, staged or settled, by digest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<HeldUpgrade>,
    /// The permit that it has confirmed and not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permit: Option<PermitId>,
    /// Where the node serves artifacts to others of its site; absent where it serves none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub artifacts_at: Option<SocketAddr>,
}

/// Where a node stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NodeStatus {
    /// The version at which the node has settled; zero before its first start.
    pub version: Version,
    /// The revision of that version's upgrade that is in force: of what it runs, the one that has been tried there.
    pub revision: Revision,
    /// The version and revision whose software it runs: an older version where the class took numbers without a restart. Absent
    /// before its first start, and where its class has no software.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<Place>,
    /// The highest version that the node has staged (answers through future adapters); at least `version`.
    pub staged: Version,
    /// What the node is doing.
    pub phase: Phase,
    /// The version that it upgrades to, when it does; its own, or an older one whose software it runs, for a revision of that.
    pub target: Option<Version>,
    /// The revision of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_revision: Option<Revision>,
    /// Why it waits or is blocked, for people.
    pub reason: Option<String>,
    /// Until when it waits at the earliest, where that is known.
    pub until_ms: Option<u64>,
    /// How far the present long step has come.
    pub progress: Option<Progress>,
    /// The software's process.
    pub child: ChildState,
}

impl NodeStatus {
    /// Whether the node has tried this version, in this revision or a later one, and is back where it was.
    pub fn is_blocked_on(&self, version: Version, revision: Revision) -> bool {
        self.phase == Phase::Blocked
            && self.target == Some(version)
            && self.tried_revision() >= revision
    }

    /// The revision of the target; an agent from before there were any tells none.
    pub fn tried_revision(&self) -> Revision {
        self.target_revision.unwrap_or(Revision(1))
    }
}

/// What a node is doing; the names of the journal's records where there is one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Has not run any version yet.
    #[default]
    Joining,
    /// Runs its version, nothing to do.
    Settled,
    /// Downloads and prepares the next version.
    Fetching,
    /// The next version is staged; the schedule is asked.
    Staged,
    /// Drains and stops the software.
    Stopping,
    /// Converts the state.
    Transforming,
    /// Flips to the new state and software.
    Committed,
    /// The new software starts and shows whether it is healthy.
    Probing,
    /// Goes back to the old version.
    FlippingBack,
    /// Back at the old version, waiting for a revision, a withdrawal or `retry`.
    Blocked,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Joining,
        Self::Settled,
        Self::Fetching,
        Self::Staged,
        Self::Stopping,
        Self::Transforming,
        Self::Committed,
        Self::Probing,
        Self::FlippingBack,
        Self::Blocked,
    ];

    /// Its name for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::FlippingBack => "flipping_back",
            phase => phase.words(),
        }
    }

    /// What a node is doing, as people say it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Settled => "settled",
            Self::Fetching => "fetching",
            Self::Staged => "staged",
            Self::Stopping => "stopping",
            Self::Transforming => "transforming",
            Self::Committed => "committed",
            Self::Probing => "probing",
            Self::FlippingBack => "flipping back",
            Self::Blocked => "blocked",
        }
    }
}

/// The software's process as the agent sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ChildState {
    /// None runs and none is wanted (before the first start, during an upgrade).
    #[default]
    Stopped,
    /// Started, has not shown that it is healthy.
    Starting,
    /// Runs.
    Running,
    /// Runs, but does not answer its probe: what a failed upgrade has gone back to.
    Silent,
    /// Ended by itself; restarted after a back-off.
    Crashed,
}

impl ChildState {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Stopped,
        Self::Starting,
        Self::Running,
        Self::Silent,
        Self::Crashed,
    ];

    /// Its name for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Silent => "silent",
            Self::Crashed => "crashed",
        }
    }
}

/// How far a long step has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Progress {
    /// What is done: `fetch`, `snapshot`, `transform`, ...
    pub what: String,
    /// Done so far, in `unit`.
    pub done: u64,
    /// In all, in `unit`; absent when it is not known.
    pub total: Option<u64>,
    /// `bytes`, `files`, ...; empty for a step that cannot be counted.
    pub unit: String,
}

/// An address at which a node answers one service at one version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Endpoint {
    /// The version whose port this is.
    pub version: Version,
    /// The service's name.
    pub service: String,
    /// The address that peers dial.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub address: IpAddr,
    /// The port that peers dial.
    pub port: u16,
}

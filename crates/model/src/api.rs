//! What agents, operators and the server say to each other under `/v1`: plain data, JSON on the wire.
//!
//! All times are milliseconds since the Unix epoch by the server's clock; all durations are milliseconds.

use crate::ids::{NodeId, PermitId, Revision, Version};
use crate::machine::Place;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// `POST /v1/nodes`: a node makes itself known. Idempotent by `name`; a known name with another class is refused (409).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
}

/// `POST /v1/nodes/{id}/sync`: one round trip for everything an agent says and learns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SyncRequest {
    /// The revision of the [`SystemView`] that the agent holds; the server answers without a view when nothing changed.
    pub seen_view: Option<u64>,
    /// The node's report; absent means "as before" (the node still counts as reachable).
    pub report: Option<NodeReport>,
    /// What happened at the node since the last sync, oldest first (at most [`EVENTS_PER_SYNC_MAX`]).
    #[serde(default)]
    pub events: Vec<NewEvent>,
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
    /// The system as the server sees it, when it differs from the view that the agent holds.
    pub view: Option<SystemView>,
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
    pub connections: BTreeMap<Version, u64>,
    /// Counters since the agent's first start (`calls.past`, `calls.future`, `refused`, `bypass.<reason>`, `reset.retired`, ...).
    pub counters: BTreeMap<String, u64>,
    /// What people should know of calls that go wrong, each matter in a line; empty where nothing does.
    #[serde(default)]
    pub remarks: Vec<String>,
    /// Every version up to this one is reset at this node (the second phase of retirement waits for it).
    pub retired_acknowledged: Version,
    /// The highest `retry` number that the node has acted on (see [`NodeFact::retry`]).
    pub retry_acknowledged: u64,
    /// How many records the node's journal has ever had: it never falls, unless the node's data directory is set back.
    #[serde(default)]
    pub records: u64,
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
    /// Until when it waits, when that is known.
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
            && self.target_revision.unwrap_or(Revision(1)) >= revision
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

/// The system as the server sees it: what schedules decide by, and what `upstart status` shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SystemView {
    /// Rises with every change of what follows, but for counters, counts of open connections, progress and the times of
    /// last contact: nobody decides by them, and waking every node for them would never end.
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
    /// Why the server cannot store what changes, as long as it cannot: what nodes tell meanwhile is missing.
    #[serde(default)]
    pub trouble: Option<String>,
    /// The socket at which the server would tell its token to its own user, as long as somebody else has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket_taken: Option<String>,
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// Counts the operator's `retry` for this node; the agent acts when it rises.
    pub retry: u64,
    /// Its addresses in the members' list.
    #[serde(default)]
    pub listed: Vec<Listed>,
    /// The members' list that its software's hooks go by, by number; zero before the first.
    #[serde(default)]
    pub members_seen: u64,
}

/// An address of a node in the members' list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Listed {
    /// The address.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub address: IpAddr,
    /// The port that peers dial; none for an address that the node's own connections come from.
    pub port: Option<u16>,
    /// The number of the list in which it came: whoever has acknowledged that one, or a later one, knows it.
    pub since: u64,
}

/// `POST /v1/nodes/{id}/members`: which addresses are members', and who knows them. The list is numbered by the view in
/// which it changed last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct MembersRequest {
    /// The number of the list that the agent holds; zero for none.
    pub seen: u64,
    /// The number of the list that its software's hooks go by.
    pub in_force: u64,
    /// The `acks` of the last answer, when the agent waits for others to acknowledge; else absent.
    pub acks: Option<u64>,
}

/// The answer to [`MembersRequest`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MembersResponse {
    /// The list's number.
    pub at: u64,
    /// `members` is the whole list; else only what has changed since `seen`.
    pub whole: bool,
    /// The members with their addresses.
    pub members: Vec<Member>,
    /// Who may not know every address of the asking node yet.
    pub behind: Vec<Behind>,
    /// Changes whenever somebody acknowledges a list, falls silent or comes back.
    pub acks: u64,
}

/// A node in the members' list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Member {
    /// Its number.
    pub node: NodeId,
    /// All its addresses.
    pub listed: Vec<Listed>,
}

/// A member that may not know every address of another yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Behind {
    /// Its number.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// It is reachable, and runs software or has done so: worth waiting for.
    pub awaited: bool,
    /// The list that its hooks go by; zero before its first, when it runs no software yet.
    pub in_force: u64,
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

/// `POST /v1/permits`: a node asks for leave to be unavailable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PermitRequest {
    /// The node that asks.
    pub node: NodeId,
    /// The version it wants to upgrade to, or whose revision it wants to try.
    pub version: Version,
    /// The revision of it.
    #[serde(default)]
    pub revision: Revision,
    /// The group in which unavailability is limited: the class and, where the schedule says so, an attribute's value
    /// (`storage`, `storage/replica_group=a`).
    pub group: String,
    /// The members of the group, so that crashed or unreachable ones count as unavailable.
    pub members: Vec<NodeId>,
    /// At most so many of the group may be unavailable at once, this node included.
    pub max_unavailable: u32,
    /// Where a soak time must pass: the last time that any node settled, by the server's clock, as the schedule knew it
    /// (milliseconds since 1970). Refused if one has settled since: the soak time has begun anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_settled_at_ms: Option<u64>,
}

/// A permit as it is given. A refusal is a 409 problem whose `detail` says why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Permit {
    /// Its number.
    pub permit: PermitId,
    /// It ends by itself after this time unless it is confirmed before.
    pub expires_in_ms: u64,
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

/// Something that happened, as its author tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewEvent {
    /// What happened: `node.settled`, `node.blocked`, `node.waits`, `child.crashed`, `upgrade.published`, ...
    pub kind: String,
    /// The version it is about.
    pub version: Option<Version>,
    /// One line for people.
    pub message: String,
    /// The node's clock when it happened, for ordering at the node; the server stamps its own time too.
    pub node_at_ms: u64,
}

/// An entry of the append-only history. `GET /v1/events?after=SEQUENCE&limit=N`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// Its place in the history, from 1: the cursor.
    pub sequence: u64,
    /// The server's time.
    pub at_ms: u64,
    /// Who: a node's name, or an operator.
    pub author: String,
    /// The node it is about.
    pub node: Option<String>,
    /// What happened.
    pub kind: String,
    /// The version it is about.
    pub version: Option<Version>,
    /// One line for people.
    pub message: String,
}

/// A page of a list: `items`, and the cursor of the next page when there is more (`?after=CURSOR`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Where to go on.
    pub next: Option<String>,
}

/// `POST /v1/upgrades`: publishes an upgrade whose artifacts have been uploaded (`PUT /v1/artifacts/{sha256}`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PublishRequest {
    /// The canonical manifest, as text (its SHA-256 is the upgrade's digest).
    pub manifest: String,
    /// It revises an upgrade that is there already.
    #[serde(default)]
    pub revise: bool,
}

/// `POST /v1/pause`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PauseRequest {
    /// Why, for people.
    pub reason: String,
}

/// `POST /v1/approvals`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ApproveRequest {
    /// The version.
    pub version: Version,
    /// Only this class.
    pub class: Option<String>,
    /// Only this node, by name.
    pub node: Option<String>,
}

/// `PUT /v1/public`: moves the public version of a service, or of all services when none is named.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PublicRequest {
    /// `class/service`; every service when absent.
    pub service: Option<String>,
    /// The version that unlabelled callers get.
    pub version: Version,
}

/// `POST /v1/retire`: retires every version up to this one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RetireRequest {
    /// The newest version to retire.
    pub version: Version,
    /// Close what is still open at these versions instead of refusing (status 409 otherwise says what holds them).
    #[serde(default)]
    pub close: bool,
}

/// The answer to [`RetireRequest`]: how far retirement has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Retirement {
    /// Every version up to this one is being retired.
    pub retiring_through: Version,
    /// Every version up to this one is retired: all nodes have acknowledged.
    pub retired_through: Version,
    /// Nodes that have not acknowledged yet, by name.
    pub waiting_for: Vec<String>,
}

/// An error body (RFC 9457, `application/problem+json`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// What kind of problem, a stable relative reference such as `/problems/permit-unavailable`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// This case, and what to do next.
    pub detail: String,
}

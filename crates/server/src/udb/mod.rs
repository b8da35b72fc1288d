//! The upgrade database behind one small interface: an atomic list of changes in, everything out at the start.
//!
//! All rules are decided outside. What a backend must give is: a commit is durable and happens wholly or not at all, and
//! only if nobody else has committed since the state that it was decided on was read (`expected`). So several servers
//! over one database (PostgreSQL) read what they missed and decide again when they lose the race, and no rule needs SQL of
//! its own.

mod error;
mod postgres;
mod shared;
mod sqlite;
#[cfg(test)]
mod suite;
mod webhooks;

pub use error::UdbError;
pub use postgres::Postgres;
pub use sqlite::Sqlite;
pub(crate) use sqlite::{existing, restore as restore_sqlite, save as save_sqlite, set_aside};
pub use webhooks::{DeliveryLease, StoredWebhook, WebhookChange, WebhookPlace};

use async_trait::async_trait;
use model::api::{
    Approval, Event, IdentityFact, InvitationFact, LabelMode, LabelOrder, NodeFact, OnceFact,
    Pause, PermitFact, Principal, SyncNumber, UpgradeSummary,
};
use model::bundle::Upgrade;
use model::ids::{NodeId, PermitId, Revision, Version};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// The database of SQLite, in a data directory.
pub(crate) const SQLITE_FILE: &str = "udb.sqlite";

/// A permit as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldPermit {
    /// What everybody may see.
    pub fact: PermitFact,
    /// When it ends by itself, by the server's clock; `None` once it is confirmed.
    pub expires_at_ms: Option<u64>,
}

impl HeldPermit {
    /// Whether it still counts at this time.
    pub(crate) fn lives(&self, now_ms: u64) -> bool {
        self.expires_at_ms.is_none_or(|at_ms| at_ms > now_ms)
    }
}

/// What a system does about its labels: what operators want, and the step on the way there that nodes are told. It has keys in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedLabels {
    /// What is wanted.
    pub mode: LabelMode,
    /// What nodes are told.
    pub order: LabelOrder,
}

/// A class on its way to a version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StoppedClass {
    /// The version.
    pub version: Version,
    /// The class, as it is called there.
    pub class: String,
}

/// A node that waits for room in a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedNode {
    /// Who.
    pub node: NodeId,
    /// For which version.
    pub version: Version,
    /// In which group.
    pub group: String,
    /// It has gone elsewhere if it has not asked again by then.
    pub good_until_ms: u64,
}

/// That a node was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeardNode {
    /// Who.
    pub node: NodeId,
    /// When.
    pub seen_at_ms: u64,
    /// With which message of its agent.
    pub taken: Option<SyncNumber>,
}

/// An answered change, kept so that its repetition is answered without happening again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// The `Idempotency-Key`.
    pub key: String,
    /// What was asked: a digest of method, path and body.
    pub fingerprint: String,
    /// What was answered.
    pub reply: Value,
    /// When.
    pub at_ms: u64,
}

/// A part of the database's own history: it begins with a server's start, or when one finds the database set back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerLife {
    /// Its number.
    pub number: u64,
    /// The random number of the history that it goes on with.
    pub epoch: u64,
    /// Its own random number.
    pub life: u64,
    /// The commit with which it began.
    pub began_at: u64,
    /// The epoch of a history that was found to be lost.
    pub lost: Option<u64>,
}

/// A small text of the repository that a published version is proved from: kept here, too, so that a file that is lost there is put back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptText {
    /// Its digest, which is its name in the repository.
    pub sha256: String,
    /// The text.
    pub text: String,
}

/// How many of them are kept: an agent that has seen none of these has been away for longer than any backup is old.
pub(crate) const LIVES_KEPT: u64 = 1_000;

/// How many forgotten nodes are known by name, the last numbers: an agent of an older one is told that it is not known.
pub(crate) const FORGOTTEN_KEPT: u32 = 100_000;

/// One change of the database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Change {
    /// The system gets its name and number.
    System {
        /// Its name.
        name: String,
        /// Its number in labels.
        id: u64,
    },
    /// A server begins to write, or finds that the database was set back.
    Life(ServerLife),
    /// A revision is published.
    #[serde(skip)]
    Publish {
        /// What is listed.
        summary: UpgradeSummary,
        /// What its bundle says; proved again from the repository's texts at each start.
        proved: Arc<Upgrade>,
    },
    /// A text of the repository is kept here, too.
    Text(KeptText),
    /// An upgrade is withdrawn.
    Withdraw(Version),
    /// A service (`class/service`) gets a public version, or has none any more.
    Public(String, Option<Version>),
    /// The system is paused or goes on.
    Pause(Option<Pause>),
    /// What is done about labels; none where they are not signed.
    Labels(Option<SignedLabels>),
    /// Classes whose `stop_if` has paused the system, and was not seen not to hold since.
    Stopped(BTreeSet<StoppedClass>),
    /// What is done once for the whole system, where it was begun.
    Once(Vec<OnceFact>),
    /// A node has this role just now; kept in memory only, by every server.
    Role(NodeId, String),
    /// An upgrade is approved.
    Approve(Approval),
    /// A node is new or has changed.
    Node(#[serde(with = "shared")] Arc<NodeFact>),
    /// A node has changed in what no schedule looks at; stored, but nobody is woken for it.
    NodeQuietly(#[serde(with = "shared")] Arc<NodeFact>),
    /// A node was heard, or counted something; a server that is alone does not store it at once.
    NodeHeard(#[serde(with = "shared")] Arc<NodeFact>),
    /// Nodes were heard, and nothing else is new of them: told to other servers only.
    Heard(Vec<HeardNode>),
    /// A node of this name is forgotten.
    Forget(NodeId, String),
    /// A node waits for room in a group, or still does; kept in memory only, by every server.
    Queue(QueuedNode),
    /// A node waits for room no longer.
    Unqueue(NodeId),
    /// A permit is given or confirmed.
    Permit(HeldPermit),
    /// A permit ends.
    EndPermit(PermitId),
    /// Versions up to this one begin to retire.
    Retiring(Version),
    /// Versions up to this one are retired.
    Retired(Version),
    /// Somebody's key is certified, shown for the first time, or revoked.
    Identity(#[serde(with = "shared")] Arc<IdentityFact>),
    /// A one-time token is made, or bound to a key.
    Invitation(#[serde(with = "shared")] Arc<InvitationFact>),
    /// The one-time token whose secret has this digest is used up, or withdrawn.
    EndInvitation(String),
    /// A webhook is set up, removed, or has come further.
    Webhook(WebhookChange),
    /// An entry of the history.
    Event(Event),
    /// An answer to remember.
    Key(KeyRecord),
    /// Answers older than this are forgotten.
    ForgetKeysBefore(u64),
    /// Entries of the history before this one are forgotten.
    ForgetEventsBefore(u64),
}

impl Change {
    /// Agents and people look at it: the view's number rises.
    #[must_use]
    pub fn is_visible(&self) -> bool {
        !matches!(
            self,
            Self::NodeQuietly(_)
                | Self::NodeHeard(_)
                | Self::Heard(_)
                | Self::Queue(_)
                | Self::Unqueue(_)
                | Self::Stopped(_)
                | Self::Role(..)
                | Self::Identity(_)
                | Self::Invitation(_)
                | Self::EndInvitation(_)
                | Self::Webhook(_)
                | Self::Event(_)
                | Self::Key(_)
                | Self::Text(_)
                | Self::Life(_)
                | Self::ForgetKeysBefore(_)
                | Self::ForgetEventsBefore(_)
        )
    }

    /// Every node is told of it.
    #[must_use]
    pub fn is_told_to_all(&self) -> bool {
        matches!(
            self,
            Self::System { .. }
                | Self::Publish { .. }
                | Self::Withdraw(_)
                | Self::Public(..)
                | Self::Pause(_)
                | Self::Approve(_)
                | Self::Retiring(_)
                | Self::Retired(_)
        )
    }

    /// Every node is counted anew.
    #[must_use]
    pub fn counts_all_anew(&self) -> bool {
        matches!(
            self,
            Self::Publish { .. } | Self::Withdraw(_) | Self::Retired(_)
        )
    }

    /// It must survive a restart. Where a database is shared everything is committed, so that every server hears of it.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        !matches!(
            self,
            Self::NodeHeard(_)
                | Self::Heard(_)
                | Self::Queue(_)
                | Self::Unqueue(_)
                | Self::Role(..)
        )
    }
}

/// Everything but the history's text, as read at the start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stored {
    /// Counts commits.
    pub generation: u64,
    /// The view's number.
    pub view: u64,
    /// The system's name and number.
    pub system: Option<(String, u64)>,
    /// The last lives of servers in it, oldest first.
    pub lives: Vec<ServerLife>,
    /// Every revision ever published.
    pub upgrades: BTreeMap<(Version, Revision), UpgradeSummary>,
    /// The digests of the repository's texts that are kept here.
    pub texts: BTreeSet<String>,
    /// The withdrawn versions.
    pub withdrawn: BTreeSet<Version>,
    /// Public versions by `class/service`.
    pub public: BTreeMap<String, Version>,
    /// The pause.
    pub paused: Option<Pause>,
    /// What is done about labels, where they are signed.
    pub labels: Option<SignedLabels>,
    /// Approvals, in the order given.
    pub approvals: Vec<Approval>,
    /// Nodes not forgotten.
    pub nodes: BTreeMap<NodeId, NodeFact>,
    /// The names of nodes that were forgotten; empty where none was noted.
    pub forgotten: BTreeMap<NodeId, String>,
    /// Classes whose `stop_if` has paused the system, and was not seen not to hold since.
    pub stopped: BTreeSet<StoppedClass>,
    /// What is done once for the whole system, where it was begun.
    pub once: Vec<OnceFact>,
    /// Permits held.
    pub permits: BTreeMap<PermitId, HeldPermit>,
    /// Being retired.
    pub retiring_through: Version,
    /// Retired.
    pub retired_through: Version,
    /// The highest node number ever given.
    pub last_node: NodeId,
    /// The highest permit number ever given.
    pub last_permit: PermitId,
    /// The highest event number ever given.
    pub last_event: u64,
    /// Whose keys are certified, or were.
    pub identities: BTreeMap<Principal, IdentityFact>,
    /// One-time tokens that are not used up, by the digest of their secret.
    pub invitations: BTreeMap<String, InvitationFact>,
    /// Webhooks, by name.
    pub webhooks: BTreeMap<String, StoredWebhook>,
    /// How far they have come, by name.
    pub webhook_places: BTreeMap<String, WebhookPlace>,
    /// Remembered answers, oldest first.
    pub keys: Vec<KeyRecord>,
}

/// Changes to be made at once.
#[derive(Clone, Debug, Default)]
pub struct ChangeSet {
    /// The generation on which they were decided.
    pub expected: u64,
    /// The generation afterwards.
    pub generation: u64,
    /// The view's number afterwards.
    pub view: u64,
    /// The changes, in order; those that are not durable may be passed over.
    pub changes: Vec<Change>,
}

/// A commit of another server.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedCommit {
    /// The generation afterwards.
    pub generation: u64,
    /// The view's number afterwards.
    pub view: u64,
    /// The changes, in order.
    pub changes: Vec<Change>,
}

/// What has been committed since a state was read.
#[derive(Clone, Debug, PartialEq)]
pub enum MissedCommits {
    /// Nothing.
    Nothing,
    /// These, oldest first.
    Commits(Vec<LoggedCommit>),
    /// More than can be told one by one: read everything.
    Everything,
}

/// What a database has taken over from another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TakenOver {
    /// Revisions of upgrades.
    pub revisions: usize,
    /// Nodes that are not forgotten.
    pub nodes: usize,
    /// Those whose keys are certified, or were.
    pub identities: usize,
    /// Entries of the history.
    pub entries: u64,
}

/// The turn to change what servers have in common besides the database; it ends when this is dropped.
#[derive(Debug, Default)]
pub struct DatabaseTurn {
    _end: Option<tokio::sync::oneshot::Sender<()>>,
}

/// How many entries of the history are looked through at once for some of them: what has no index of its own.
pub(crate) const EVENTS_LOOKED_THROUGH: u64 = 200_000;

/// Which entries of the history are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventSelection {
    /// Those about this node.
    pub node: Option<String>,
    /// Those whose kind begins so.
    pub kind: String,
    /// Those about this version.
    pub version: Option<Version>,
}

/// Work that one server at a time does.
pub type SharedWork<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// An upgrade database.
#[async_trait]
pub trait Udb: Send + Sync + 'static {
    /// Everything, from one consistent moment.
    async fn load(&self) -> Result<Stored, UdbError>;

    /// The number of the last commit.
    async fn generation(&self) -> Result<u64, UdbError>;

    /// What has been committed since the state of this generation, which was read from here or committed here.
    async fn since(&self, generation: u64) -> Result<MissedCommits, UdbError> {
        Ok(if self.generation().await? == generation {
            MissedCommits::Nothing
        } else {
            MissedCommits::Everything
        })
    }

    /// Makes changes durable, all or none.
    async fn commit(&self, commit: ChangeSet) -> Result<(), UdbError>;

    /// Entries of the history after a sequence number, oldest first.
    async fn events(&self, after: u64, limit: u32) -> Result<Vec<Event>, UdbError>;

    /// Entries of the history before a sequence number, newest first.
    async fn events_before(&self, before: u64, limit: u32) -> Result<Vec<Event>, UdbError>;

    /// Those entries of the history before a sequence number that are wanted, newest first; of [`EVENTS_LOOKED_THROUGH`] entries at most.
    async fn events_selected(
        &self,
        selection: EventSelection,
        before: u64,
        limit: u32,
    ) -> Result<Vec<Event>, UdbError>;

    /// A text of the repository, as it was kept here under this digest; whoever takes it compares the two.
    async fn text(&self, sha256: &str) -> Result<Option<String>, UdbError>;

    /// Whether other servers commit here, too.
    fn is_shared(&self) -> bool {
        false
    }

    /// Resolves when another server may have committed. It may come late, or never: whoever waits looks now and then, too.
    async fn news(&self) {
        std::future::pending().await
    }

    /// Does some work unless another server does the same kind of work now.
    async fn alone<'a>(&'a self, work: SharedWork<'a>) -> Result<(), UdbError> {
        work.await;
        Ok(())
    }

    /// Takes the turn to change what servers have in common; none while another server has it. Where a database is not shared, nobody
    /// else could.
    async fn turn(&self) -> Result<Option<DatabaseTurn>, UdbError> {
        Ok(Some(DatabaseTurn::default()))
    }
}

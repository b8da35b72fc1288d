//! One store: the state of a version's adapters in one direction.

use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use redb::{Database, ReadableDatabase, ReadableTable};
use tokio::sync::oneshot;

use super::committer::{self, BEGUN, Commit, Committer, ENTRIES, INTENTS, Unfinished};
use super::transaction::{Transaction, cost};
use super::{Intent, OpenIntent, StateError};
use call::Locks;

/// How much of the file is kept in memory.
const CACHE_BYTES: usize = 8 << 20;

/// How adapters find their state when they begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateOrigin {
    /// Nothing went before: the adapter has been staged, or its node has joined.
    New,
    /// A transform has written it.
    Transformed,
}

/// The state of a version's adapters in one direction, shared by that version's services.
pub(crate) struct AdapterState {
    file: PathBuf,
    // Before the database: it is closed when both are gone.
    committer: Committer,
    pub(super) database: Arc<Database>,
    unfinished: Unfinished,
    next_intent: AtomicU64,
    /// Bytes of all keys and values, and what running calls may still add.
    pub(super) used: Arc<AtomicI64>,
    /// Conflict keys of calls of all services.
    pub(crate) locks: Locks,
    /// One recovery, or one beginning, at a time.
    pub(crate) recovery: tokio::sync::Mutex<()>,
    begun: Mutex<BTreeSet<String>>,
    pub(crate) origin: StateOrigin,
    /// Nothing becomes durable any more: the node upgrades.
    frozen: Arc<AtomicBool>,
    /// Commits whose calls were given up before they were decided, and those among them that are known to be.
    given_up: AtomicU64,
    given_up_decided: AtomicU64,
}

impl fmt::Debug for AdapterState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdapterState")
            .field("file", &self.file)
            .finish()
    }
}

/// Marks a commit as given up when its call goes before it is decided.
struct WaitingWrite<'s> {
    state: &'s AdapterState,
    decided: bool,
}

impl Drop for WaitingWrite<'_> {
    fn drop(&mut self) {
        if !self.decided {
            self.state.given_up.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl AdapterState {
    /// Opens the store at `file`, or makes it.
    pub(super) fn open(
        file: &Path,
        origin: StateOrigin,
        frozen: Arc<AtomicBool>,
    ) -> Result<Arc<Self>, StateError> {
        let failed = |what| {
            move |why: redb::Error| StateError::Store {
                file: file.display().to_string(),
                what,
                why: why.to_string(),
            }
        };
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(file)
            .map_err(|error| failed("open it")(error.into()))?;
        let database = Arc::new(database);
        let found = StoreContents::read(&database).map_err(failed("read it"))?;
        let unfinished: Unfinished = Arc::new(Mutex::new(found.unfinished));
        let next = |all: &std::collections::BTreeMap<u64, Intent>| {
            all.last_key_value().map_or(0, |(id, _)| id + 1)
        };
        let next_intent = next(&unfinished.lock());
        let used = Arc::new(AtomicI64::new(found.used));
        let committer = committer::start(database.clone(), unfinished.clone(), used.clone())
            .map_err(|error| failed("start its thread")(redb::Error::Io(error)))?;
        Ok(Arc::new(Self {
            file: file.to_owned(),
            committer,
            database,
            unfinished,
            next_intent: AtomicU64::new(next_intent),
            used,
            locks: Locks::default(),
            recovery: tokio::sync::Mutex::new(()),
            begun: Mutex::new(found.begun),
            origin,
            frozen,
            given_up: AtomicU64::new(0),
            given_up_decided: AtomicU64::new(0),
        }))
    }

    /// A transaction of a call; `limit` is what all keys and values may take together.
    pub(crate) fn transaction(self: &Arc<Self>, limit: u64, may_write: bool) -> Transaction {
        Transaction::new(self.clone(), limit, may_write)
    }

    /// Whether the adapter declared by this file has begun.
    pub(crate) fn has_begun(&self, name: &str) -> bool {
        let begun = self.begun.lock();
        begun.contains(name)
    }

    /// Makes an adapter's beginning durable, with what it changed.
    pub(crate) async fn begin(&self, name: &str, changes: Transaction) -> Result<(), StateError> {
        let (changes, reserved) = changes.into_changes();
        self.commit(Commit {
            changes,
            begun: Some(name.to_owned()),
            reserved: Some(reserved),
            ..Commit::default()
        })
        .await?;
        let mut begun = self.begun.lock();
        begun.insert(name.to_owned());
        Ok(())
    }

    /// Makes an intent durable. Those that stay open count: nobody can leave them behind without end.
    pub(crate) async fn intend(
        self: &Arc<Self>,
        intent: Intent,
        limit: u64,
    ) -> Result<OpenIntent, StateError> {
        let cost = intent.cost();
        let used = self.used.fetch_add(cost, Ordering::SeqCst);
        if used + cost > i64::try_from(limit).unwrap_or(i64::MAX) {
            self.used.fetch_sub(cost, Ordering::SeqCst);
            return Err(StateError::Full(limit >> 20));
        }
        let id = self.next_intent.fetch_add(1, Ordering::Relaxed);
        let text = serde_json::to_vec(&intent).map_err(|why| self.failed("write to", &why))?;
        // Held from now on: should this call go before it is told, the intent may be durable.
        let open = OpenIntent {
            state: self.clone(),
            id,
            intent: Some(intent),
        };
        self.commit(Commit {
            open: Some((id, text)),
            ..Commit::default()
        })
        .await?;
        Ok(open)
    }

    /// Makes a call's changes durable and closes its intent.
    pub(crate) async fn finish(
        &self,
        changes: Transaction,
        intent: Option<OpenIntent>,
    ) -> Result<(), StateError> {
        let (changes, reserved) = changes.into_changes();
        if changes.is_empty() && intent.is_none() {
            return Ok(());
        }
        if self.frozen.load(Ordering::SeqCst) {
            return Err(StateError::Frozen);
        }
        let close = intent.and_then(|mut open| open.intent.take().map(|intent| (open.id, intent)));
        self.commit(Commit {
            changes,
            close,
            reserved: Some(reserved),
            ..Commit::default()
        })
        .await
    }

    /// Waits for commits of calls that were given up: their changes come before those of the next call.
    pub(crate) async fn settle(&self) -> Result<(), StateError> {
        let given_up = self.given_up.load(Ordering::SeqCst);
        if self.given_up_decided.load(Ordering::SeqCst) < given_up {
            self.commit(Commit::default()).await?;
            self.given_up_decided.fetch_max(given_up, Ordering::SeqCst);
        }
        Ok(())
    }

    /// A call of which nobody knows how far it came and which must be recovered from before calls with this key.
    pub(crate) fn unfinished(&self, key: Option<&str>) -> Option<(u64, Intent)> {
        let unfinished = self.all_unfinished();
        let mut concerned = unfinished.iter().filter(|(_, intent)| intent.concerns(key));
        concerned.next().map(|(id, intent)| (*id, intent.clone()))
    }

    /// Makes a recovery durable: its call is closed.
    pub(crate) async fn recovered(
        &self,
        id: u64,
        intent: Intent,
        changes: Transaction,
    ) -> Result<(), StateError> {
        let (changes, reserved) = changes.into_changes();
        if self.frozen.load(Ordering::SeqCst) {
            return Err(StateError::Frozen);
        }
        self.commit(Commit {
            changes,
            close: Some((id, intent)),
            reserved: Some(reserved),
            ..Commit::default()
        })
        .await?;
        self.all_unfinished().remove(&id);
        Ok(())
    }

    pub(super) fn left_open(&self, id: u64, intent: Intent) {
        self.all_unfinished().insert(id, intent);
    }

    pub(super) fn all_unfinished(
        &self,
    ) -> parking_lot::MutexGuard<'_, std::collections::BTreeMap<u64, Intent>> {
        self.unfinished.lock()
    }

    async fn commit(&self, mut commit: Commit) -> Result<(), StateError> {
        let (done, decided) = oneshot::channel();
        commit.done = Some(done);
        let mut waiting = WaitingWrite {
            state: self,
            decided: false,
        };
        if !self.committer.send(commit) {
            return Err(self.failed("write to", &"its thread has ended"));
        }
        let result = decided.await;
        waiting.decided = true;
        match result {
            Ok(Ok(())) => Ok(()),
            Ok(Err(why)) => Err(self.failed("write to", &why)),
            Err(_) => Err(self.failed("write to", &"its thread has ended")),
        }
    }

    pub(super) fn failed(&self, what: &'static str, why: &dyn fmt::Display) -> StateError {
        StateError::Store {
            file: self.file.display().to_string(),
            what,
            why: why.to_string(),
        }
    }
}

/// What a store has in it when it is opened.
struct StoreContents {
    used: i64,
    unfinished: std::collections::BTreeMap<u64, Intent>,
    begun: BTreeSet<String>,
}

impl StoreContents {
    fn read(database: &Database) -> Result<Self, redb::Error> {
        // Makes the tables of a new file.
        let making = database.begin_write()?;
        making.open_table(ENTRIES)?;
        making.open_table(INTENTS)?;
        making.open_table(BEGUN)?;
        making.commit()?;
        let reading = database.begin_read()?;
        let mut found = Self {
            used: 0,
            unfinished: std::collections::BTreeMap::new(),
            begun: BTreeSet::new(),
        };
        for entry in reading.open_table(ENTRIES)?.iter()? {
            let (key, value) = entry?;
            found.used += cost(key.value().len(), value.value().len());
        }
        for entry in reading.open_table(INTENTS)?.iter()? {
            let (id, text) = entry?;
            let intent: Intent = serde_json::from_slice(text.value())
                .map_err(|why| redb::Error::Corrupted(format!("an intent: {why}")))?;
            found.used += intent.cost();
            found.unfinished.insert(id.value(), intent);
        }
        for entry in reading.open_table(BEGUN)?.iter()? {
            found.begun.insert(entry?.0.value().to_owned());
        }
        Ok(found)
    }
}

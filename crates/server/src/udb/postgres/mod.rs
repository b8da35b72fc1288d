//! PostgreSQL, for several servers over one database.
//!
//! Everything is an append by compare-and-swap on one row, the head: its number and its mark must be those of the commit that
//! was read last. Each commit is kept as a text for a while, from which the other servers learn what they missed. Nothing
//! belongs to a session (no prepared statement, no setting, no lock): a PgBouncer that gives connections by the transaction
//! may stand between.

mod address;
mod asked_tls;
mod clock;
mod fill;
mod listen;
mod read;
mod rows;
mod schema;
#[cfg(test)]
mod tests;
mod tls;
mod trouble;
mod write;

use super::{
    ChangeSet, DatabaseTurn, EventSelection, MissedCommits, SharedWork, Stored, TakenOver, Udb,
    UdbError,
};
use crate::ServerClock;
use address::DatabaseAddress;
use async_trait::async_trait;
use clock::DatabaseClock;
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use listen::Listener;
use model::api::Event;
use parking_lot::Mutex;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;
use trouble::PostgresTrouble;

/// The most connections of one server, its listener not counted: one commits, one sweeps, one has the turn, two read.
const CONNECTIONS_MAX: usize = 5;

/// How long a connection may take to open, and one of the pool to come free.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How long PostgreSQL may take for one transaction. Above [`write::LOCK_LIMIT`], so that one that waits for another ends first.
const ANSWER_LIMIT: Duration = Duration::from_secs(6);

/// How long it may take to read everything.
const LOAD_LIMIT: Duration = Duration::from_secs(60);

/// The number of the lock under which one server sweeps: any number that nobody else takes.
const SWEEP_LOCK: i64 = 0x7570_7374_6172_7401;

/// The number of the lock under which one server changes what servers have in common.
const TURN_LOCK: i64 = SWEEP_LOCK + 2;

/// A commit: its number, and a random mark that tells it from one that took its place after a promotion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CommitMark {
    generation: u64,
    mark: i64,
}

/// The PostgreSQL backend.
#[derive(Debug)]
pub struct Postgres {
    pool: Pool,
    clock: DatabaseClock,
    listener: Listener,
    /// The last commit that was read, or made, here.
    known: Mutex<CommitMark>,
}

impl Postgres {
    /// Connects to the database at this URL and brings its schema up to date.
    ///
    /// # Errors
    /// The URL is none or holds a password, the database cannot be reached or refuses, or a newer program made it.
    pub async fn open(url: &str) -> Result<Self, UdbError> {
        Self::with(address::read(url, &address::Secrets::of_environment())?).await
    }

    async fn with(address: DatabaseAddress) -> Result<Self, UdbError> {
        let DatabaseAddress { config, tls } = address;
        let manager = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_config(config.clone(), tls.clone(), manager);
        let pool = Pool::builder(manager)
            .max_size(CONNECTIONS_MAX)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(CONNECT_LIMIT))
            .create_timeout(Some(CONNECT_LIMIT))
            .build()
            .map_err(|error| UdbError::Failed(error.to_string()))?;
        let mut client = connection(&pool).await?;
        let migrated = timeout(ANSWER_LIMIT, schema::migrate(&mut client)).await;
        finished(client, migrated)?;
        Ok(Self {
            pool,
            clock: DatabaseClock::default(),
            listener: Listener::start(config, tls),
            known: Mutex::new(CommitMark {
                generation: 0,
                mark: 0,
            }),
        })
    }

    /// The database's clock, which all its servers have in common.
    #[must_use]
    pub fn clock(&self) -> ServerClock {
        self.clock.shared()
    }

    /// Takes over everything that another database holds, wholly or not at all; refused unless this one is empty.
    pub(crate) async fn fill(&self, from: &dyn Udb) -> Result<TakenOver, UdbError> {
        fill::fill(self, from).await
    }

    fn known(&self) -> CommitMark {
        *self.known.lock()
    }

    fn note(&self, mark: CommitMark) {
        *self.known.lock() = mark;
    }

    async fn load_once(&self) -> Result<Stored, PostgresTrouble> {
        let mut client = connection(&self.pool).await?;
        let loaded = timeout(LOAD_LIMIT, read::load(&mut client)).await;
        let (stored, head) = finished(client, loaded)?;
        self.clock.note(head.now_ms);
        self.note(head.mark);
        Ok(stored)
    }

    async fn since_once(&self, known: CommitMark) -> Result<MissedCommits, PostgresTrouble> {
        let client = connection(&self.pool).await?;
        let found = timeout(ANSWER_LIMIT, read::since(&client, known)).await;
        let found = finished(client, found)?;
        self.clock.note(found.now_ms);
        if let Some(mark) = found.newest {
            self.note(mark);
        }
        Ok(found.missed)
    }

    async fn events_once(&self, after: u64, limit: u32) -> Result<Vec<Event>, PostgresTrouble> {
        let client = connection(&self.pool).await?;
        let found = timeout(ANSWER_LIMIT, read::events(&client, after, limit)).await;
        finished(client, found)
    }

    async fn events_before_once(
        &self,
        before: u64,
        limit: u32,
    ) -> Result<Vec<Event>, PostgresTrouble> {
        let client = connection(&self.pool).await?;
        let found = timeout(ANSWER_LIMIT, read::events_before(&client, before, limit)).await;
        finished(client, found)
    }

    async fn events_selected_once(
        &self,
        selection: &EventSelection,
        before: u64,
        limit: u32,
    ) -> Result<Vec<Event>, PostgresTrouble> {
        let client = connection(&self.pool).await?;
        let found = read::events_selected(&client, selection, before, limit);
        let found = timeout(ANSWER_LIMIT, found).await;
        finished(client, found)
    }

    async fn text_once(&self, sha256: &str) -> Result<Option<String>, PostgresTrouble> {
        let client = connection(&self.pool).await?;
        let found = timeout(ANSWER_LIMIT, read::kept_text(&client, sha256)).await;
        finished(client, found)
    }
}

/// A connection of the pool, or a new one.
async fn connection(pool: &Pool) -> Result<Object, PostgresTrouble> {
    pool.get().await.map_err(PostgresTrouble::of_pool)
}

/// Takes a result; a connection that broke or is late is used by nobody any more, whatever it still does.
fn finished<T>(
    client: Object,
    done: Result<Result<T, PostgresTrouble>, tokio::time::error::Elapsed>,
) -> Result<T, PostgresTrouble> {
    let done = done.unwrap_or_else(|_| {
        let late = "it has not answered in time; is a standby that it waits for away?";
        Err(PostgresTrouble::Broken(late.to_owned()))
    });
    if matches!(done, Err(PostgresTrouble::Broken(_))) {
        drop(Object::take(client));
    }
    done
}

/// Reads once more where the connection turns out to have ended since it was used last.
macro_rules! again_if_broken {
    ($read:expr) => {
        match $read.await {
            Err(PostgresTrouble::Broken(_)) => $read.await,
            done => done,
        }
    };
}

#[async_trait]
impl Udb for Postgres {
    async fn load(&self) -> Result<Stored, UdbError> {
        Ok(again_if_broken!(self.load_once())?)
    }

    async fn generation(&self) -> Result<u64, UdbError> {
        let client = connection(&self.pool).await?;
        let found = timeout(ANSWER_LIMIT, read::head(&client)).await;
        Ok(finished(client, found)?.mark.generation)
    }

    async fn since(&self, generation: u64) -> Result<MissedCommits, UdbError> {
        let known = self.known();
        if known.generation != generation {
            return Ok(MissedCommits::Everything);
        }
        Ok(again_if_broken!(self.since_once(known))?)
    }

    async fn commit(&self, commit: ChangeSet) -> Result<(), UdbError> {
        let mark = write::commit(self, &commit).await?;
        self.note(mark);
        Ok(())
    }

    async fn events(&self, after: u64, limit: u32) -> Result<Vec<Event>, UdbError> {
        Ok(again_if_broken!(self.events_once(after, limit))?)
    }

    async fn events_before(&self, before: u64, limit: u32) -> Result<Vec<Event>, UdbError> {
        Ok(again_if_broken!(self.events_before_once(before, limit))?)
    }

    async fn events_selected(
        &self,
        selection: EventSelection,
        before: u64,
        limit: u32,
    ) -> Result<Vec<Event>, UdbError> {
        let found = again_if_broken!(self.events_selected_once(&selection, before, limit));
        Ok(found?)
    }

    async fn text(&self, sha256: &str) -> Result<Option<String>, UdbError> {
        Ok(again_if_broken!(self.text_once(sha256))?)
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn news(&self) {
        self.listener.heard().await;
    }

    async fn alone<'a>(&'a self, work: SharedWork<'a>) -> Result<(), UdbError> {
        let mut client = connection(&self.pool).await?;
        let done = async {
            let transaction = client.transaction().await?;
            if read::try_lock(transaction.client(), SWEEP_LOCK).await? {
                work.await;
            }
            // The lock ends with it.
            Ok(transaction.rollback().await?)
        };
        let done: Result<(), PostgresTrouble> = done.await;
        Ok(finished(client, Ok(done))?)
    }

    async fn turn(&self) -> Result<Option<DatabaseTurn>, UdbError> {
        let client = connection(&self.pool).await?;
        let (taken, is_taken) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        tokio::spawn(hold_turn(client, taken, ended));
        let nothing = || UdbError::Failed("PostgreSQL does not say whose turn it is".to_owned());
        let is_taken = timeout(ANSWER_LIMIT, is_taken).await;
        let is_taken = is_taken.map_err(|_| nothing())?.map_err(|_| nothing())?;
        Ok(is_taken.then_some(DatabaseTurn { _end: Some(end) }))
    }
}

/// Has the lock until whoever took it drops the other end; it ends with the transaction, however that ends.
async fn hold_turn(mut client: Object, taken: oneshot::Sender<bool>, ended: oneshot::Receiver<()>) {
    let held = async {
        let transaction = client.transaction().await?;
        let is_taken = read::try_lock(transaction.client(), TURN_LOCK).await?;
        if taken.send(is_taken).is_ok() && is_taken {
            // Dropped is ended.
            let _ = ended.await;
        }
        Ok(transaction.rollback().await?)
    };
    let held: Result<(), PostgresTrouble> = held.await;
    if let Err(error) = finished(client, Ok(held)).map_err(UdbError::from) {
        tracing::warn!(%error, "the turn to change the signed repository ended with its connection");
    }
}

//! The thread that writes a store: what waits is written together, so that many calls share one `fsync`.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use redb::{Database, TableDefinition};
use tokio::sync::oneshot;

use super::Intent;

/// The adapter's own entries.
pub(super) const ENTRIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entries");
/// Intents by number, as JSON.
pub(super) const INTENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("intents");
/// The adapters that have begun, by the file that declares them.
pub(super) const BEGUN: TableDefinition<'_, &str, ()> = TableDefinition::new("begun");

/// Most commits that are written together: what one transaction costs in memory stays bounded.
const TOGETHER_MAX: usize = 1024;

/// Changes by key; `None` removes.
pub(super) type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Calls of which nobody knows how far they came, by number.
pub(super) type Unfinished = Arc<Mutex<BTreeMap<u64, Intent>>>;

/// What is to become durable together.
#[derive(Default)]
pub(super) struct Commit {
    pub(super) changes: Changes,
    /// An intent that begins.
    pub(super) open: Option<(u64, Vec<u8>)>,
    /// An intent that ends.
    pub(super) close: Option<(u64, Intent)>,
    /// An adapter that has begun.
    pub(super) begun: Option<String>,
    /// Told when it is durable, or why it is not.
    pub(super) done: Option<oneshot::Sender<Result<(), String>>>,
    /// Dropped when it is decided: what was counted for the changes.
    pub(super) reserved: Option<super::transaction::Reserved>,
}

/// Starts the thread of a store.
pub(super) fn start(
    database: Arc<Database>,
    unfinished: Unfinished,
    used: Arc<AtomicI64>,
) -> std::io::Result<Committer> {
    let (commits, waiting) = channel();
    let thread = std::thread::Builder::new()
        .name("adapter-state".to_owned())
        .spawn(move || commit_all(&database, &unfinished, &used, &waiting))?;
    Ok(Committer {
        commits: Some(commits),
        thread: Some(thread),
    })
}

/// The thread of a store. Dropped, it writes what it was given and closes the store first.
pub(super) struct Committer {
    commits: Option<Sender<Commit>>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    /// Gives it a commit; says whether it still runs.
    pub(super) fn send(&self, commit: Commit) -> bool {
        let commits = self.commits.as_ref();
        commits.is_some_and(|commits| commits.send(commit).is_ok())
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.commits.take();
        if let Some(thread) = self.thread.take() {
            // It has told whoever waited; a panic of its own was printed.
            let _ = thread.join();
        }
    }
}

fn commit_all(
    database: &Database,
    unfinished: &Unfinished,
    used: &AtomicI64,
    waiting: &Receiver<Commit>,
) {
    while let Ok(first) = waiting.recv() {
        let mut together = vec![first];
        while together.len() < TOGETHER_MAX
            && let Ok(next) = waiting.try_recv()
        {
            together.push(next);
        }
        let written = write(database, &together).map_err(|error| error.to_string());
        settle(&written, together, unfinished, used);
    }
}

fn settle(
    written: &Result<(), String>,
    together: Vec<Commit>,
    unfinished: &Unfinished,
    used: &AtomicI64,
) {
    for mut commit in together {
        if let Some((id, intent)) = commit.close.take() {
            match written {
                Ok(()) => drop(used.fetch_sub(intent.cost(), Ordering::SeqCst)),
                Err(_) => {
                    let mut unfinished = unfinished.lock();
                    unfinished.insert(id, intent);
                }
            }
        }
        if let (Ok(()), Some(reserved)) = (written, &mut commit.reserved) {
            reserved.spend();
        }
        if let Some(done) = commit.done.take() {
            // A call that has been given up does not listen any more.
            let _ = done.send(written.clone());
        }
    }
}

fn write(database: &Database, together: &[Commit]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut entries = transaction.open_table(ENTRIES)?;
        let mut intents = transaction.open_table(INTENTS)?;
        let mut begun = transaction.open_table(BEGUN)?;
        for commit in together {
            for (key, value) in &commit.changes {
                match value {
                    Some(value) => drop(entries.insert(key.as_slice(), value.as_slice())?),
                    None => drop(entries.remove(key.as_slice())?),
                }
            }
            if let Some((id, intent)) = &commit.open {
                intents.insert(id, intent.as_slice())?;
            }
            if let Some((id, _)) = &commit.close {
                intents.remove(id)?;
            }
            if let Some(name) = &commit.begun {
                begun.insert(name.as_str(), ())?;
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

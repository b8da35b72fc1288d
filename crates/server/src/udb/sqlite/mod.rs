//! SQLite, embedded: one thread writes, one reads, so that a long read never delays a commit.

mod copy;
mod read;
mod schema;
mod write;

pub(crate) use copy::{existing, restore, save, set_aside};

use super::{ChangeSet, EventSelection, Stored, Udb, UdbError};
use async_trait::async_trait;
use model::api::Event;
use rusqlite::{Connection, ErrorCode};
use std::fs::{OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long another process (a backup, say) may hold the database before a statement fails.
const BUSY_LIMIT: Duration = Duration::from_secs(5);

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The SQLite backend.
#[derive(Debug)]
pub struct Sqlite {
    writer: mpsc::Sender<Job>,
    reader: mpsc::Sender<Job>,
    threads: [JoinHandle<()>; 2],
}

impl Sqlite {
    /// Opens, or makes, the database in this file and brings its schema up to date.
    ///
    /// # Errors
    /// The file cannot be used, or a newer program made it.
    pub fn open(file: &Path) -> Result<Self, UdbError> {
        keep_private(file).map_err(|error| UdbError::Failed(error.to_string()))?;
        let mut writer = connect(file)?;
        schema::migrate(&mut writer)?;
        let reader = connect(file)?;
        let (writer, writing) = worker("udb-writer", writer)?;
        let (reader, reading) = worker("udb-reader", reader)?;
        Ok(Self {
            writer,
            reader,
            threads: [writing, reading],
        })
    }

    /// Closes it, and waits until everything is in its one file.
    pub(crate) fn close(self) {
        drop((self.writer, self.reader));
        for thread in self.threads {
            // One that broke has closed its connection, too.
            let _ = thread.join();
        }
    }
}

/// Has nobody but the owner read the database, in which keys for labels may lie. What SQLite makes beside it has the same mode.
fn keep_private(file: &Path) -> io::Result<()> {
    const MODE: u32 = 0o600;
    let mut made = OpenOptions::new();
    let made = made.write(true).create(true).truncate(false).mode(MODE);
    made.open(file)?
        .set_permissions(Permissions::from_mode(MODE))?;
    for beside in ["-wal", "-shm"] {
        let mut name = file.as_os_str().to_owned();
        name.push(beside);
        match std::fs::set_permissions(Path::new(&name), Permissions::from_mode(MODE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Opens a connection whose commits survive a power cut.
fn connect(file: &Path) -> Result<Connection, UdbError> {
    let connection = Connection::open(file).map_err(failed)?;
    connection.busy_timeout(BUSY_LIMIT).map_err(failed)?;
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .map_err(failed)?;
    connection
        .pragma_update(None, "synchronous", "FULL")
        .map_err(failed)?;
    connection
        .pragma_update(None, "foreign_keys", "ON")
        .map_err(failed)?;
    Ok(connection)
}

/// A thread that owns a connection; it ends with the last sender.
fn worker(
    name: &str,
    mut connection: Connection,
) -> Result<(mpsc::Sender<Job>, JoinHandle<()>), UdbError> {
    let (sender, jobs) = mpsc::channel::<Job>();
    let thread = thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            for job in jobs {
                // One that breaks gives its asker no answer; its transaction is rolled back, and the next one is served.
                let _ = catch_unwind(AssertUnwindSafe(|| job(&mut connection)));
            }
        })
        .map_err(|error| UdbError::Failed(error.to_string()))?;
    Ok((sender, thread))
}

async fn on<T: Send + 'static>(
    worker: &mpsc::Sender<Job>,
    work: impl FnOnce(&mut Connection) -> Result<T, UdbError> + Send + 'static,
) -> Result<T, UdbError> {
    let (answer, answered) = oneshot::channel();
    let job: Job = Box::new(move |connection| {
        // Nobody waits any more: the work is done all the same.
        let _ = answer.send(work(connection));
    });
    let failed = |what: &str| UdbError::Failed(what.to_owned());
    let gone = |_| failed("the database's thread has ended");
    worker.send(job).map_err(gone)?;
    let broken = |_| failed("the database's thread broke off; see the server's log");
    answered.await.map_err(broken)?
}

/// Tells a full disk, after which nothing has changed, from everything else.
fn failed(error: rusqlite::Error) -> UdbError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => UdbError::Full,
        _ => UdbError::Failed(error.to_string()),
    }
}

#[async_trait]
impl Udb for Sqlite {
    async fn load(&self) -> Result<Stored, UdbError> {
        on(&self.writer, read::load).await
    }

    async fn generation(&self) -> Result<u64, UdbError> {
        on(&self.writer, |connection| {
            read::number(connection, "generation")
        })
        .await
    }

    async fn commit(&self, commit: ChangeSet) -> Result<(), UdbError> {
        on(&self.writer, move |connection| {
            write::commit(connection, &commit)
        })
        .await
    }

    async fn events(&self, after: u64, limit: u32) -> Result<Vec<Event>, UdbError> {
        on(&self.reader, move |connection| {
            read::events(connection, after, limit)
        })
        .await
    }

    async fn events_before(&self, before: u64, limit: u32) -> Result<Vec<Event>, UdbError> {
        on(&self.reader, move |connection| {
            read::events_before(connection, before, limit)
        })
        .await
    }

    async fn events_selected(
        &self,
        selection: EventSelection,
        before: u64,
        limit: u32,
    ) -> Result<Vec<Event>, UdbError> {
        on(&self.reader, move |connection| {
            read::events_selected(connection, &selection, before, limit)
        })
        .await
    }

    async fn text(&self, sha256: &str) -> Result<Option<String>, UdbError> {
        let sha256 = sha256.to_owned();
        on(&self.reader, move |connection| {
            read::kept_text(connection, &sha256)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::udb::suite;

    fn open(folder: &tempfile::TempDir) -> Sqlite {
        Sqlite::open(&folder.path().join("udb.sqlite")).expect("opens")
    }

    #[tokio::test]
    async fn passes_the_suite_of_every_backend() {
        let folder = tempfile::tempdir().expect("a folder");
        suite::run(|| async { open(&folder) }).await;
    }

    #[tokio::test]
    async fn a_newer_schema_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("udb.sqlite");
        drop(open(&folder));
        let connection = Connection::open(&file).expect("opens");
        connection
            .pragma_update(None, "user_version", 99)
            .expect("written");
        assert_eq!(
            Sqlite::open(&file).expect_err("newer"),
            UdbError::Newer {
                found: 99,
                known: 4
            }
        );
    }

    #[tokio::test]
    async fn work_that_breaks_fails_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let udb = open(&folder);
        let broken = on(&udb.writer, |_| -> Result<(), UdbError> {
            panic!("on purpose")
        });
        assert!(matches!(broken.await, Err(UdbError::Failed(_))));
        udb.commit(suite::commit(0, vec![suite::event(1, "later")]))
            .await
            .expect("the thread serves on");
    }

    #[tokio::test]
    async fn a_full_disk_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let udb = open(&folder);
        on(&udb.writer, |connection| {
            connection
                .pragma_update(None, "max_page_count", 20)
                .map_err(failed)
        })
        .await
        .expect("limited");
        let before = udb.load().await.expect("loads");
        let text = "x".repeat(200_000);
        let full = udb.commit(suite::commit(0, vec![suite::event(1, &text)]));
        assert_eq!(full.await, Err(UdbError::Full));
        assert_eq!(udb.load().await.expect("loads"), before);
        udb.commit(suite::commit(0, vec![suite::event(1, "small")]))
            .await
            .expect("there is room for this");
    }
}

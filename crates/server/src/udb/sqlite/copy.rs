//! A copy of the database that is whole, made while a server writes, and the way back.

use super::{Sqlite, connect, failed, schema};
use crate::udb::UdbError;
use rusqlite::backup::Backup;
use rusqlite::{Connection, OpenFlags};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How many pages are copied at once; a server that commits waits no longer than for these.
const PAGES_AT_ONCE: i32 = 256;

/// The pause after them.
const PAUSE: Duration = Duration::from_millis(2);

/// How long a database may be held by somebody else.
const BUSY_LIMIT: Duration = Duration::from_secs(5);

/// Copies a database, in which a server may write meanwhile, into a file that is not there yet.
pub(crate) fn save(database: &Path, file: &Path) -> Result<(), UdbError> {
    let from = open(database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file);
    made.map_err(|error| of_no_use(file, &error.to_string()))?;
    let copied = copy(&from, file);
    if copied.is_err() {
        // Half a copy is none.
        let _ = std::fs::remove_file(file);
    }
    copied
}

/// Puts a copy into a database's place, which nobody uses. The one that was there is kept beside it; says where.
pub(crate) fn restore(file: &Path, database: &Path) -> Result<Option<PathBuf>, UdbError> {
    let from = open(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    schema::check(&from)?;
    let kept = database
        .exists()
        .then(|| database.with_extension("replaced"));
    if let Some(kept) = &kept {
        // That of an earlier time.
        let _ = std::fs::remove_file(kept);
        save(database, kept)?;
    }
    copy(&from, database)?;
    // As the server has it.
    connect(database)?;
    Ok(kept)
}

/// Opens the database of a server that has ended, where there is one.
pub(crate) fn existing(database: &Path) -> Result<Sqlite, UdbError> {
    drop(open(database, OpenFlags::SQLITE_OPEN_READ_WRITE)?);
    Sqlite::open(database)
}

/// Sets a database aside that nobody uses any more, so that no server goes on with it by mistake; says where it is.
pub(crate) fn set_aside(database: &Path) -> Result<PathBuf, UdbError> {
    let kept = database.with_extension("moved");
    let failed = |error: std::io::Error| {
        let (database, kept) = (database.display(), kept.display());
        UdbError::Failed(format!("{database} cannot be renamed to {kept}: {error}"))
    };
    std::fs::rename(database, &kept).map_err(failed)?;
    let folder = database.parent().unwrap_or(Path::new("."));
    let synced = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(failed)?;
    Ok(kept)
}

fn open(file: &Path, how: OpenFlags) -> Result<Connection, UdbError> {
    let opened = Connection::open_with_flags(file, how | OpenFlags::SQLITE_OPEN_NO_MUTEX);
    let opened = opened.map_err(|error| of_no_use(file, &error.to_string()))?;
    let newest = opened.query_row(
        "SELECT COUNT(*) FROM numbers WHERE name = 'generation'",
        [],
        |row| row.get::<_, i64>(0),
    );
    match newest {
        Ok(_) => Ok(opened),
        Err(error) => Err(of_no_use(file, &error.to_string())),
    }
}

/// Copies everything, and looks at what came out.
fn copy(from: &Connection, file: &Path) -> Result<(), UdbError> {
    let mut to = Connection::open(file).map_err(failed)?;
    // Whoever has just closed the database may still hold it for a moment.
    to.busy_timeout(BUSY_LIMIT).map_err(failed)?;
    let copying = Backup::new(from, &mut to).map_err(failed)?;
    let copied = copying.run_to_completion(PAGES_AT_ONCE, PAUSE, None);
    copied.map_err(failed)?;
    drop(copying);
    // One file, without another beside it that belongs to it.
    to.pragma_update(None, "journal_mode", "DELETE")
        .map_err(failed)?;
    let found: String = to
        .query_row("PRAGMA quick_check", [], |row| row.get(0))
        .map_err(failed)?;
    if found == "ok" {
        return Ok(());
    }
    Err(of_no_use(file, &found))
}

fn of_no_use(file: &Path, why: &str) -> UdbError {
    UdbError::Address(format!(
        "{} is of no use as an upgrade database or a copy of one: {why}",
        file.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::udb::{Sqlite, Udb, suite};
    use std::sync::Arc;

    /// How many commits there are before the copy is made, and how many at least meanwhile.
    const COMMITS: u64 = 100;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_copy_that_is_made_while_somebody_commits_is_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| folder.path().join(name);
        let udb = Arc::new(Sqlite::open(&file("udb.sqlite")).expect("opens"));
        let (begun, mut committed) = tokio::sync::watch::channel(0);
        let committing = tokio::spawn({
            let udb = Arc::clone(&udb);
            async move {
                for at in 0..u64::MAX {
                    let event = suite::event(at + 1, &"x".repeat(2000));
                    let commit = udb.commit(suite::commit(at, vec![event]));
                    commit.await.expect("commits");
                    begun.send_replace(at + 1);
                }
            }
        });
        let some = committed.wait_for(|commits| *commits > COMMITS).await;
        let before = *some.expect("commits");
        save(&file("udb.sqlite"), &file("copy")).expect("copied");
        let more = committed.wait_for(|commits| *commits > before + COMMITS);
        drop(more.await.expect("goes on"));
        committing.abort();
        let copied = Sqlite::open(&file("copy")).expect("opens");
        let stored = copied.load().await.expect("loads");
        assert_eq!(stored.generation, stored.last_event);
        assert!(stored.generation >= before, "what was answered is there");
    }

    #[tokio::test]
    async fn what_is_restored_is_the_copy_and_what_was_there_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| folder.path().join(name);
        let database = file("udb.sqlite");
        let generation = async |name: &str| {
            let udb = Sqlite::open(&file(name)).expect("opens");
            udb.generation().await.expect("reads")
        };
        let commit = async |at: u64| {
            let udb = Sqlite::open(&database).expect("opens");
            let commit = suite::commit(at, vec![suite::event(at + 1, "kept")]);
            udb.commit(commit).await.expect("commits");
        };
        commit(0).await;
        save(&database, &file("copy")).expect("copied");
        let again = save(&database, &file("copy")).expect_err("it is there");
        assert!(again.to_string().contains("exists"), "{again}");
        commit(1).await;
        let kept = restore(&file("copy"), &database).expect("restored");
        assert_eq!(kept, Some(file("udb.replaced")));
        assert_eq!(generation("udb.sqlite").await, 1);
        assert_eq!(generation("udb.replaced").await, 2);
    }

    #[tokio::test]
    async fn what_is_no_copy_replaces_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| folder.path().join(name);
        let udb = Sqlite::open(&file("udb.sqlite")).expect("opens");
        let commit = suite::commit(0, vec![suite::event(1, "stays")]);
        udb.commit(commit).await.expect("commits");
        std::fs::write(file("garbage"), "no database".repeat(500)).expect("written");
        drop(Connection::open(file("empty")).expect("made"));
        drop(Sqlite::open(&file("newer")).expect("opens"));
        let newer = Connection::open(file("newer")).expect("opens");
        newer.pragma_update(None, "user_version", 99).expect("set");
        drop(newer);
        for name in ["garbage", "empty", "absent", "newer"] {
            let refused = restore(&file(name), &file("udb.sqlite"));
            let told = refused.expect_err(name).to_string();
            assert!(
                told.contains("of no use") || told.contains("schema 99"),
                "{told}"
            );
            assert!(!file("udb.replaced").exists(), "{name}");
        }
        let stored = udb.load().await.expect("loads");
        assert_eq!((stored.generation, stored.last_event), (1, 1));
    }
}

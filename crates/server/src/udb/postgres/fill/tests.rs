//! From a real SQLite database into a real PostgreSQL.

use crate::udb::{Postgres, Sqlite, Stored, TakenOver, Udb, UdbError, suite};
use harness::Postgres as Cluster;
use std::path::{Path, PathBuf};

/// How many entries the history has besides: more than are in memory at once.
const ENTRIES: u64 = 2_500;

/// A database with something of everything in it.
async fn source(folder: &Path) -> (PathBuf, Sqlite) {
    let file = folder.join("udb.sqlite");
    let udb = Sqlite::open(&file).expect("opens");
    suite::everything_comes_back(&udb).await;
    let entries = (2..=ENTRIES).map(|sequence| suite::event(sequence, "more, with a \0"));
    let commit = suite::commit(1, entries.collect());
    udb.commit(commit).await.expect("commits");
    (file, udb)
}

#[tokio::test]
async fn everything_is_taken_over_and_goes_on_from_there() {
    let Some(cluster) = Cluster::start("everything_is_taken_over_and_goes_on_from_there") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let (_, from) = source(folder.path()).await;
    let to = Postgres::open(&cluster.url()).await.expect("opens");
    let taken_over = to.fill(&from).await.expect("taken over");
    let expected = TakenOver {
        revisions: 1,
        nodes: 2,
        identities: 1,
        entries: ENTRIES,
    };
    assert_eq!(taken_over, expected);
    let stored = from.load().await.expect("loads");
    let other = Postgres::open(&cluster.url()).await.expect("opens");
    assert_eq!(other.load().await.as_ref(), Ok(&stored));
    for after in [0, 999, ENTRIES - 1] {
        let page = from.events(after, 9).await.expect("reads");
        assert_eq!(other.events(after, 9).await, Ok(page));
    }
    for sha256 in &stored.texts {
        let text = from.text(sha256).await.expect("reads");
        assert_eq!(other.text(sha256).await, Ok(text));
    }
    let next = suite::commit(stored.generation, vec![suite::event(ENTRIES + 1, "next")]);
    other.commit(next).await.expect("goes on");
    let again = to.fill(&from).await;
    assert_eq!(again, Err(UdbError::Taken { commits: 3 }));
}

#[tokio::test]
async fn what_cannot_be_read_to_its_end_leaves_nothing_behind() {
    let test = "what_cannot_be_read_to_its_end_leaves_nothing_behind";
    let Some(cluster) = Cluster::start(test) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let (file, from) = source(folder.path()).await;
    let damaging = rusqlite::Connection::open(file).expect("opens");
    let damaged = "UPDATE events SET version = -1 WHERE sequence = 2000";
    damaging.execute(damaged, []).expect("damaged");
    let to = Postgres::open(&cluster.url()).await.expect("opens");
    to.fill(&from).await.expect_err("not to its end");
    assert_eq!(to.load().await, Ok(Stored::default()));
    assert_eq!(to.events(0, 9).await, Ok(Vec::new()));
    let mended = "UPDATE events SET version = 2 WHERE sequence = 2000";
    damaging.execute(mended, []).expect("mended");
    to.fill(&from).await.expect("taken over");
}

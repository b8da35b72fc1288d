//! Two servers' copies of what is signed, over a real bucket; their turns, over a real PostgreSQL.

use super::SharedDocuments;
use crate::repository::artifacts::tests::open;
use crate::udb::{Postgres, Sqlite, Udb};
use harness::{ObjectStore, Postgres as Cluster};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A server's copy, in a folder of its own.
struct Copy {
    shared: SharedDocuments,
    folder: TempDir,
}

impl Copy {
    async fn of(objects: &ObjectStore) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let bucket = open(objects, "a", &folder.path().join("uploads")).await;
        // Whose turn it is makes no difference to what a server has.
        let udb = Sqlite::open(&folder.path().join("udb.sqlite")).expect("opens");
        Self {
            shared: SharedDocuments::new(bucket, Arc::new(udb)),
            folder,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("metadata").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::create_dir_all(self.folder.path().join("metadata")).expect("made");
        std::fs::write(self.path(name), text).expect("written");
    }

    /// All documents with their texts, as `name=text`.
    fn all(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.folder.path().join("metadata")).expect("reads");
        let shown = |path: &Path| {
            let name = path
                .file_name()
                .expect("named")
                .to_string_lossy()
                .into_owned();
            format!("{name}={}", std::fs::read_to_string(path).expect("reads"))
        };
        let mut all: Vec<String> = files
            .map(|file| shown(&file.expect("reads").path()))
            .collect();
        all.sort();
        all
    }

    async fn pull(&self) -> bool {
        let pulled = self.shared.pull(self.folder.path()).await;
        pulled.expect("pulled")
    }

    async fn push(&self) {
        let pushed = self.shared.push(self.folder.path()).await;
        pushed.expect("pushed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_without_a_common_folder_have_the_same_documents() {
    let test = "servers_without_a_common_folder_have_the_same_documents";
    let Some(objects) = ObjectStore::start(test) else {
        return;
    };
    let (one, other) = (Copy::of(&objects).await, Copy::of(&objects).await);
    assert!(!one.pull().await, "nothing yet");
    one.write("1.root.json", "root");
    one.write("timestamp.json", "1");
    one.push().await;
    // What a server that was killed had begun to write there is nothing.
    other.write("replacing.json", "[]");
    other.write("7.snapshot.json", "never sealed");
    assert!(other.pull().await);
    assert_eq!(other.all(), ["1.root.json=root", "timestamp.json=1"]);
    other.write("pending.json", "signed");
    other.push().await;
    assert!(one.pull().await);
    assert_eq!(one.all().len(), 3, "what is not sealed is known, too");
    one.write("2.targets.json", "signed");
    one.write("timestamp.json", "2");
    std::fs::remove_file(one.path("pending.json")).expect("sealed");
    one.push().await;
    let sealed = [
        "1.root.json=root",
        "2.targets.json=signed",
        "timestamp.json=2",
    ];
    a_late_change_is_refused(&other, &sealed).await;
    // One that was put there and is named by no timestamp may be replaced by whoever ends the change.
    one.write("3.snapshot.json", "first");
    one.push().await;
    assert!(other.pull().await);
    other.write("3.snapshot.json", "second");
    other.push().await;
    assert!(one.pull().await);
    assert_eq!(one.all(), other.all());
}

/// A server that lost its turn changes nothing, and has what the others have afterwards.
async fn a_late_change_is_refused(late: &Copy, sealed: &[&str]) {
    late.write("2.targets.json", "others");
    late.write("timestamp.json", "other");
    let refused = late.shared.push(late.folder.path()).await;
    let refused = refused.expect_err("somebody else was quicker").to_string();
    assert!(refused.contains("meanwhile"), "{refused}");
    assert!(late.pull().await);
    assert_eq!(late.all(), sealed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_has_lost_what_is_signed_is_given_a_copy() {
    let test = "a_bucket_that_has_lost_what_is_signed_is_given_a_copy";
    let Some(mut objects) = ObjectStore::start(test) else {
        return;
    };
    let one = Copy::of(&objects).await;
    one.write("1.root.json", "root");
    one.write("timestamp.json", "1");
    one.push().await;
    objects.kill();
    objects.resume();
    assert!(!one.pull().await, "it is lost");
    assert_eq!(one.all().len(), 2, "not here");
    one.push().await;
    let other = Copy::of(&objects).await;
    assert!(other.pull().await);
    assert_eq!(other.all(), one.all());
}

/// Also where the server that had it was killed, or its connection was cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_at_a_time_has_the_turn() {
    let Some(cluster) = Cluster::start("one_server_at_a_time_has_the_turn") else {
        return;
    };
    let one = Postgres::open(&cluster.url()).await.expect("opens");
    let other = Postgres::open(&cluster.url()).await.expect("opens");
    let turn = one.turn().await.expect("asked").expect("nobody has it");
    assert!(other.turn().await.expect("asked").is_none());
    drop(turn);
    let turn = until_turn(&other).await;
    assert!(one.turn().await.expect("asked").is_none());
    cluster.sql(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE state = 'idle in transaction'",
    );
    let _after_the_cut = until_turn(&one).await;
    drop(turn);
}

async fn until_turn(udb: &Postgres) -> crate::udb::DatabaseTurn {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        // A connection that was cut is noticed when it is used.
        if let Ok(Some(turn)) = udb.turn().await {
            return turn;
        }
        assert!(Instant::now() < end, "it is never this server's turn");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

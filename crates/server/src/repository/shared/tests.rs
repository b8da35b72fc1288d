//! Two servers' copies of what is signed, over a real bucket and a real registry; their turns, over a real PostgreSQL.

use super::{KEPT, SharedDocuments, without_old};
use crate::repository::artifacts::tests::{open, open_registry};
use crate::repository::artifacts::{DocumentStore, StoredDocument};
use crate::udb::{Postgres, Sqlite, Udb};
use async_trait::async_trait;
use harness::{ObjectStore, OciRegistry, Postgres as Cluster};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What servers have their documents in.
enum Stores {
    Bucket(ObjectStore),
    Registry(OciRegistry),
}

impl Stores {
    /// One of each kind that can run here, with nothing in it.
    fn all(test: &str) -> Vec<Self> {
        let bucket = ObjectStore::start(test).map(Self::Bucket);
        let registry = OciRegistry::start(test).map(Self::Registry);
        bucket.into_iter().chain(registry).collect()
    }

    /// One server's way to it.
    async fn store(&self, notes: &Path) -> Arc<dyn DocumentStore> {
        match self {
            Self::Bucket(objects) => Arc::new(open(objects, "a", notes).await),
            Self::Registry(registry) => Arc::new(open_registry(registry).await),
        }
    }

    fn lose_everything(&mut self) {
        match self {
            Self::Bucket(objects) => {
                objects.kill();
                objects.resume();
            }
            Self::Registry(registry) => registry.lose_everything(),
        }
    }
}

/// A server's copy, in a folder of its own.
#[derive(Debug)]
struct Copy {
    shared: SharedDocuments,
    folder: TempDir,
}

impl Copy {
    async fn of(stores: &Stores) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = stores.store(&folder.path().join("uploads")).await;
        Self::over(store, folder)
    }

    fn over(store: Arc<dyn DocumentStore>, folder: TempDir) -> Self {
        // Whose turn it is makes no difference to what a server has.
        let udb = Sqlite::open(&folder.path().join("udb.sqlite")).expect("opens");
        Self {
            shared: SharedDocuments::new(store, Arc::new(udb)),
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
    for stores in Stores::all("servers_without_a_common_folder_have_the_same_documents") {
        have_the_same(&stores).await;
    }
}

async fn have_the_same(stores: &Stores) {
    let (one, other) = (Copy::of(stores).await, Copy::of(stores).await);
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

/// A server that was asked for what is signed before it had brought anything, while it has the turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_has_is_brought_once_though_it_has_the_turn() {
    for stores in Stores::all("what_a_server_has_is_brought_once_though_it_has_the_turn") {
        let (one, other) = (Copy::of(&stores).await, Copy::of(&stores).await);
        one.write("timestamp.json", "begun");
        let bring_first = async |copy: &Copy| {
            let brought = copy.shared.pull_first(copy.folder.path());
            brought.await.expect("brought");
        };
        bring_first(&one).await;
        assert_eq!(one.all(), ["timestamp.json=begun"], "there is nothing else");
        one.push().await;
        bring_first(&other).await;
        assert_eq!(other.all(), one.all());
        other.write("timestamp.json", "changed by whoever has the turn");
        bring_first(&other).await;
        assert_ne!(other.all(), one.all());
    }
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
async fn a_store_that_has_lost_what_is_signed_is_given_a_copy() {
    for mut stores in Stores::all("a_store_that_has_lost_what_is_signed_is_given_a_copy") {
        let one = Copy::of(&stores).await;
        one.write("1.root.json", "root");
        one.write("timestamp.json", "1");
        one.push().await;
        tokio::task::block_in_place(|| stores.lose_everything());
        assert!(!one.pull().await, "it is lost");
        assert_eq!(one.all().len(), 2, "not here");
        one.push().await;
        let other = Copy::of(&stores).await;
        assert!(other.pull().await);
        assert_eq!(other.all(), one.all());
    }
}

/// A registry names them all in one manifest, which must not grow for ever.
#[test]
fn every_root_is_kept_for_all_servers_and_of_the_rest_the_last() {
    let numbered = |role: &str, last: u64| -> Vec<String> {
        (1..=last).map(|it| format!("{it}.{role}.json")).collect()
    };
    let always = ["pending.json", "timestamp.json"].map(str::to_owned);
    let names = [
        numbered("root", 40),
        numbered("snapshot", KEPT + 9),
        numbered("targets", 3),
        always.into(),
    ];
    let (kept, old) = without_old(names.concat());
    assert_eq!(old, numbered("snapshot", 9));
    let all = names.concat().into_iter();
    let expected: Vec<String> = all.filter(|name| !old.contains(name)).collect();
    assert_eq!(kept, expected);
    assert_eq!(without_old(kept.clone()), (kept, Vec::new()));
}

/// A store in which another server changes everything between two looks.
#[derive(Debug)]
struct Quickened {
    store: Arc<dyn DocumentStore>,
    other: tokio::sync::Mutex<Option<Copy>>,
}

#[async_trait]
impl DocumentStore for Quickened {
    async fn documents(&self) -> io::Result<BTreeMap<String, Option<String>>> {
        if let Some(other) = self.other.lock().await.take() {
            other.push().await;
        }
        self.store.documents().await
    }

    async fn document(&self, name: &str) -> io::Result<Option<StoredDocument>> {
        self.store.document(name).await
    }

    async fn replace(
        &self,
        documents: Vec<(String, Option<Vec<u8>>)>,
        gone: &[String],
    ) -> io::Result<BTreeMap<String, Option<String>>> {
        self.store.replace(documents, gone).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_server_changes_meanwhile_is_read_the_next_time() {
    let test = "what_another_server_changes_meanwhile_is_read_the_next_time";
    for stores in Stores::all(test) {
        let other = Copy::of(&stores).await;
        other.write("1.root.json", "root");
        other.write("timestamp.json", "1");
        other.push().await;
        other.write("timestamp.json", "2");
        let folder = tempfile::tempdir().expect("a folder");
        let quickened = Quickened {
            store: stores.store(&folder.path().join("uploads")).await,
            other: Some(other).into(),
        };
        let one = Copy::over(Arc::new(quickened), folder);
        assert!(one.pull().await);
        assert!(one.all().contains(&"timestamp.json=1".to_owned()));
        assert!(one.pull().await);
        assert!(one.all().contains(&"timestamp.json=2".to_owned()));
    }
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

//! The state writer over a database that fails, and over one that another server changes too.

use super::StateWriter;
use crate::clock::ServerClock;
use crate::config::ServerConfig;
use crate::problem::RequestRefusal;
use crate::repository::RepositoryFolder;
use crate::rules::{Order, Publication};
use crate::state::SystemState;
use crate::udb::{ChangeSet, EventSelection, Sqlite, Stored, Udb, UdbError};
use async_trait::async_trait;
use model::api::{
    ChildState, EnrolRequest, Event, NodeReport, PauseRequest, SyncRequest, VerdictRequest,
};
use model::bundle::UpgradeFile;
use model::ids::{NodeId, Place, Revision, Version};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// How the next commit goes wrong.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    Full,
    /// It fails and has not happened.
    Lost,
    /// It fails and has happened all the same.
    Unanswered,
}

/// A database with trouble on order.
struct Troubled {
    inner: Sqlite,
    next: Mutex<Option<Trouble>>,
}

#[async_trait]
impl Udb for Troubled {
    async fn load(&self) -> Result<Stored, UdbError> {
        self.inner.load().await
    }

    async fn generation(&self) -> Result<u64, UdbError> {
        self.inner.generation().await
    }

    async fn commit(&self, commit: ChangeSet) -> Result<(), UdbError> {
        let trouble = self.next.lock().take();
        let failed = || UdbError::Failed("the cable is out".to_owned());
        match trouble {
            None => self.inner.commit(commit).await,
            Some(Trouble::Full) => Err(UdbError::Full),
            Some(Trouble::Lost) => Err(failed()),
            Some(Trouble::Unanswered) => {
                self.inner.commit(commit).await?;
                Err(failed())
            }
        }
    }

    async fn events(&self, after: u64, limit: u32) -> Result<Vec<Event>, UdbError> {
        self.inner.events(after, limit).await
    }

    async fn events_before(&self, before: u64, limit: u32) -> Result<Vec<Event>, UdbError> {
        self.inner.events_before(before, limit).await
    }

    async fn events_selected(
        &self,
        selection: EventSelection,
        before: u64,
        limit: u32,
    ) -> Result<Vec<Event>, UdbError> {
        self.inner.events_selected(selection, before, limit).await
    }

    async fn text(&self, sha256: &str) -> Result<Option<String>, UdbError> {
        self.inner.text(sha256).await
    }
}

struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    fn open(&self) -> Arc<Troubled> {
        let file = self.folder.path().join("udb.sqlite");
        Arc::new(Troubled {
            inner: Sqlite::open(&file).expect("opens"),
            next: Mutex::new(None),
        })
    }

    /// A server over the database as it is now.
    async fn state_writer(&self, udb: &Arc<Troubled>) -> StateWriter {
        let stored = udb.load().await.expect("loads");
        let state = SystemState::restore(stored, |summary| Some(upgrade(summary.version)), 1000);
        let udb: Arc<dyn Udb> = Arc::<Troubled>::clone(udb);
        let repository = RepositoryFolder::open(self.folder.path().join("repository"), 0);
        let repository = repository.await.expect("opens");
        let config = config(self.folder.path());
        StateWriter::start(state.expect("restores"), udb, repository, &config).0
    }
}

fn config(data: &Path) -> ServerConfig {
    let listen = "127.0.0.1:0".parse().expect("an address");
    ServerConfig {
        clock: ServerClock::new(|| 1000),
        ..ServerConfig::new(listen, data.to_owned())
    }
}

fn upgrade(version: Version) -> Arc<model::bundle::Upgrade> {
    let from = match version.0 {
        1 => String::new(),
        number => format!("from = {}\n", number - 1),
    };
    let text = format!(
        "system = \"store\"\nversion = {version}\n{from}[class.storage]\n\
         software = {{ command = [\"true\"] }}\nlifecycle.probe = {{ alive_ms = 1 }}\n\
         schedule = {{ max_unavailable = 1 }}"
    );
    let file = UpgradeFile::parse(&text).expect("reads");
    Arc::new(file.prove(&BTreeMap::new()).expect("proves"))
}

fn publish(version: u32) -> Order {
    Order::Publish(Box::new(Publication {
        manifest_sha256: format!("{version:064x}"),
        upgrade: upgrade(Version(version)),
        texts: Vec::new(),
        revise: false,
        is_withdrawn: false,
        system_id: 1,
    }))
}

fn enrol(name: &str) -> Order {
    Order::Enrol(EnrolRequest {
        system_id: None,
        name: name.to_owned(),
        class: "storage".to_owned(),
        attributes: [].into(),
        host: "host".to_owned(),
        data_directory: "/data".to_owned(),
        ..EnrolRequest::default()
    })
}

fn pause(reason: &str) -> Order {
    let reason = reason.to_owned();
    Order::Pause(PauseRequest { reason })
}

async fn ask(state_writer: &StateWriter, command: Order) -> Result<Value, RequestRefusal> {
    state_writer.ask(command, "tester".to_owned(), None).await
}

#[tokio::test]
async fn a_commit_that_fails_shows_nothing_and_the_next_goes_on() {
    let world = World::new();
    let udb = world.open();
    let state_writer = world.state_writer(&udb).await;
    for (trouble, status) in [(Trouble::Full, 507), (Trouble::Lost, 503)] {
        let before = state_writer.state().system_view(0);
        *udb.next.lock() = Some(trouble);
        let refusal = ask(&state_writer, pause("lunch"))
            .await
            .expect_err("refused");
        assert_eq!(refusal.kind.status, status, "{trouble:?}");
        assert_eq!(state_writer.state().system_view(0), before);
        ask(&state_writer, pause("dinner")).await.expect("goes on");
        let paused = state_writer.state().paused.clone().expect("paused");
        assert_eq!(paused.reason, "dinner");
        ask(&state_writer, Order::Resume).await.expect("goes on");
    }
    let history = udb.events(0, 100).await.expect("reads");
    let kinds: Vec<&str> = history.iter().map(|event| event.kind.as_str()).collect();
    let pair = ["system.paused", "system.resumed"];
    assert_eq!(kinds, [pair, pair].concat());
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_found() {
    let world = World::new();
    let udb = world.open();
    let state_writer = world.state_writer(&udb).await;
    ask(&state_writer, publish(1)).await.expect("published");
    *udb.next.lock() = Some(Trouble::Unanswered);
    ask(&state_writer, publish(2)).await.expect_err("not known");
    ask(&state_writer, publish(2))
        .await
        .expect("the same again is the same");
    ask(&state_writer, enrol("a")).await.expect("goes on");
    assert_eq!(state_writer.state().summaries().len(), 2);
    assert_eq!(udb.load().await.expect("loads").upgrades.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_over_one_database_keep_one_limit() {
    let world = World::new();
    let first = world.state_writer(&world.open()).await;
    for command in [publish(1), publish(2), enrol("a"), enrol("b")] {
        ask(&first, command).await.expect("done");
    }
    let udb = world.open();
    let second = world.state_writer(&udb).await;
    for node in [1, 2] {
        let mut staged = NodeReport::default();
        staged.status.staged = Version(2);
        staged.status.version = Version(1);
        staged.status.child = ChildState::Running;
        let request = SyncRequest {
            seen_view: None,
            report: Some(staged),
            identity: None,
            number: None,
            events: Vec::new(),
            ..SyncRequest::default()
        };
        let order = Order::Sync(NodeId(node), Box::new(request));
        ask(&first, order).await.expect("heard");
    }
    let acquire = |state_writer: StateWriter, node: u32| async move {
        let request = VerdictRequest {
            ahead: vec![Place {
                version: Version(2),
                revision: Revision(1),
            }],
            coming: None,
            mends: false,
            role: None,
            moment: None,
        };
        ask(&state_writer, Order::Judge(NodeId(node), request)).await
    };
    for _ in 0..20 {
        let (one, two) = tokio::join!(
            tokio::spawn(acquire(first.clone(), 1)),
            tokio::spawn(acquire(second.clone(), 2))
        );
        let given: Vec<Value> = [one, two]
            .into_iter()
            .filter_map(|asked| asked.expect("no panic").ok())
            .filter(|answer| !answer["go"].is_null())
            .collect();
        assert_eq!(given.len(), 1, "one server sees what the other has given");
        let permit = serde_json::from_value(given[0]["go"]["permit"].clone()).expect("a number");
        ask(&second, Order::EndPermit(permit, None))
            .await
            .expect("ended");
        assert!(udb.load().await.expect("loads").permits.is_empty());
    }
}

#[tokio::test]
async fn many_at_once_are_all_answered_in_few_commits() {
    let world = World::new();
    let udb = world.open();
    let state_writer = world.state_writer(&udb).await;
    ask(&state_writer, publish(1)).await.expect("published");
    let before = udb.generation().await.expect("reads");
    let mut tasks = tokio::task::JoinSet::new();
    for at in 0..200 {
        let state_writer = state_writer.clone();
        tasks.spawn(async move { ask(&state_writer, enrol(&format!("n{at}"))).await });
    }
    let answers = tasks.join_all().await;
    assert!(answers.iter().all(Result::is_ok));
    let commits = udb.generation().await.expect("reads") - before;
    assert!(commits < 100, "{commits} commits for 200 changes");
    assert_eq!(udb.load().await.expect("loads").nodes.len(), 200);
}

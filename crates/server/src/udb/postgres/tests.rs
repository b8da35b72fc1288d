//! The backend over a real PostgreSQL.

use super::{Postgres, schema};
use crate::udb::{Change, MissedCommits, Udb, UdbError, suite};
use harness::{PgBouncer, Postgres as Cluster, until};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many commits are made, and how many connections are cut meanwhile, at least.
const COMMITS: u64 = 300;
const CUTS: u64 = 100;

async fn open(cluster: &Cluster) -> Postgres {
    Postgres::open(&cluster.url()).await.expect("opens")
}

#[tokio::test]
async fn passes_the_suite_of_every_backend() {
    let Some(cluster) = Cluster::start("passes_the_suite_of_every_backend") else {
        return;
    };
    suite::run(|| open(&cluster)).await;
}

/// Nothing belongs to a session, so it does not matter whose connection a transaction runs on.
#[tokio::test]
async fn passes_the_suite_through_pgbouncer_by_the_transaction() {
    let test = "passes_the_suite_through_pgbouncer_by_the_transaction";
    let Some(cluster) = Cluster::start(test) else {
        return;
    };
    let Some(bouncer) = PgBouncer::start(test, &cluster) else {
        return;
    };
    suite::run(|| async { Postgres::open(&bouncer.url()).await.expect("opens") }).await;
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_ends_the_commits_of_older_programs() {
    let test = "a_newer_schema_is_refused_and_ends_the_commits_of_older_programs";
    let Some(cluster) = Cluster::start(test) else {
        return;
    };
    let old = open(&cluster).await;
    let newer = UdbError::Newer {
        found: 99,
        known: u32::try_from(schema::known()).expect("small"),
    };
    cluster.sql("UPDATE upstart.head SET schema = 99");
    let refused = Postgres::open(&cluster.url()).await.expect_err("newer");
    assert_eq!(refused, newer);
    let late = old.commit(suite::commit(0, Vec::new())).await;
    assert_eq!(late, Err(UdbError::Conflict));
    assert_eq!(old.since(0).await, Err(newer));
}

#[tokio::test]
async fn who_cannot_get_in_is_told_why() {
    let Some(mut cluster) = Cluster::start("who_cannot_get_in_is_told_why") else {
        return;
    };
    let told = async |url: &str| Postgres::open(url).await.expect_err("refused").to_string();
    let elsewhere = cluster.url().replace("/upstart", "/elsewhere");
    let text = told(&elsewhere).await;
    assert!(text.contains("\"elsewhere\" does not exist"), "{text}");
    cluster.sql("CREATE ROLE guest LOGIN");
    let text = told(&cluster.url().replace("postgres@", "guest@")).await;
    assert!(text.contains("permission denied"), "{text}");
    cluster.kill();
    let text = told(&cluster.url()).await;
    assert!(text.contains("cannot be used: no connection"), "{text}");
}

/// A database that was restored, or a standby that lacked a commit, has another commit in the place of one that was read.
#[tokio::test]
async fn a_commit_in_the_place_of_another_is_noticed() {
    let Some(cluster) = Cluster::start("a_commit_in_the_place_of_another_is_noticed") else {
        return;
    };
    let udb = open(&cluster).await;
    let first = suite::commit(0, vec![suite::event(1, "first")]);
    udb.commit(first).await.expect("commits");
    cluster.sql("UPDATE upstart.head SET mark = 7");
    cluster.sql("UPDATE upstart.commits SET mark = 7 WHERE generation = 1");
    let late = udb.commit(suite::commit(1, Vec::new())).await;
    assert_eq!(late, Err(UdbError::Conflict));
    assert_eq!(udb.since(1).await, Ok(MissedCommits::Everything));
    udb.load().await.expect("loads");
    let next = udb.commit(suite::commit(1, Vec::new())).await;
    next.expect("goes on from what it has read");
}

/// Who missed more than is kept reads everything; the log does not grow.
#[tokio::test]
async fn the_log_of_commits_ends_somewhere() {
    let Some(cluster) = Cluster::start("the_log_of_commits_ends_somewhere") else {
        return;
    };
    let (one, other) = (open(&cluster).await, open(&cluster).await);
    for at in 0..super::write::COMMITS_KEPT + 5 {
        let commit = suite::commit(at, Vec::new());
        one.commit(commit).await.expect("commits");
    }
    let kept = cluster.sql("SELECT count(*) FROM upstart.commits");
    assert_eq!(kept, (super::write::COMMITS_KEPT + 1).to_string());
    assert_eq!(other.since(0).await, Ok(MissedCommits::Everything));
}

/// Connections are cut at any moment: each commit happens once, and its caller is told. Many are cut while a commit waits for the
/// standby: then it has happened, and nobody was told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_connection_is_cut_happens_once() {
    let Some(cluster) = Cluster::start("a_commit_whose_connection_is_cut_happens_once") else {
        return;
    };
    let udb = open(&cluster).await;
    let _standby = cluster.standby(true);
    let (over, cuts) = (AtomicBool::new(false), AtomicU64::new(0));
    let commits = std::thread::scope(|scope| {
        scope.spawn(|| {
            let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'upstart'";
            while !over.load(Ordering::Relaxed) {
                let cut = cluster.sql(cut).parse().expect("a number");
                cuts.fetch_add(cut, Ordering::Relaxed);
            }
        });
        let ends = Ends(&over);
        let commits = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(commit_until_cut(&udb, &cuts))
        });
        drop(ends);
        commits
    });
    let stored = udb.load().await.expect("loads");
    assert_eq!((stored.generation, stored.last_event), (commits, commits));
    let count = cluster.sql("SELECT count(*) FROM upstart.events");
    assert_eq!(count, commits.to_string());
}

/// Commits until enough connections were cut; says how many commits that were.
async fn commit_until_cut(udb: &Postgres, cuts: &AtomicU64) -> u64 {
    let mut at = 0;
    while at < COMMITS || cuts.load(Ordering::Relaxed) < CUTS {
        let changes = vec![suite::event(at + 1, "once")];
        while let Err(error) = udb.commit(suite::commit(at, changes.clone())).await {
            // No connection, so that nothing was sent: anything else would be a commit that is lost or done twice.
            assert!(matches!(error, UdbError::Failed(_)), "{at}: {error}");
            let missed = until_read(udb, at).await;
            assert_eq!(missed, MissedCommits::Nothing, "{at}: {error}");
        }
        at += 1;
    }
    at
}

async fn until_read(udb: &Postgres, at: u64) -> MissedCommits {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        match udb.since(at).await {
            Ok(missed) => return missed,
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
    }
}

/// Says that it is over when this ends, also by a panic.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A commit that was answered is at the standby, too; one that was not is looked up there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_commit_is_lost_when_a_synchronous_standby_takes_over() {
    let test = "no_commit_is_lost_when_a_synchronous_standby_takes_over";
    let Some(mut first) = Cluster::start(test) else {
        return;
    };
    drop(open(&first).await);
    let second = first.standby(true);
    let url = first.url_with(&second);
    let udb = Arc::new(Postgres::open(&url).await.expect("opens"));
    let answered = Arc::new(AtomicU64::new(0));
    let committing = tokio::spawn(commit_on(Arc::clone(&udb), Arc::clone(&answered)));
    until("some commits", || {
        (answered.load(Ordering::Relaxed) > 50).then_some(())
    });
    first.kill();
    let before = answered.load(Ordering::Relaxed);
    second.promote();
    let end = Instant::now() + Duration::from_secs(60);
    while answered.load(Ordering::Relaxed) < before + 50 {
        assert!(Instant::now() < end, "it does not go on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    committing.abort();
    // Whoever commits has ended before anything is counted.
    let _ = committing.await;
    let answered = answered.load(Ordering::Relaxed);
    let there: u64 = second
        .sql("SELECT max(sequence) FROM upstart.events")
        .parse()
        .expect("a number");
    let count = second.sql("SELECT count(*) FROM upstart.events");
    assert_eq!(count, there.to_string(), "each once");
    // The one under way when this ended may be there.
    assert!(
        (answered..=answered + 1).contains(&there),
        "{answered} were answered, {there} are there"
    );
}

/// Nothing is answered while a standby that is awaited is away; when it is back, what was under way is found, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_waits_for_a_standby_is_found_when_that_is_back() {
    let test = "a_commit_that_waits_for_a_standby_is_found_when_that_is_back";
    let Some(cluster) = Cluster::start(test) else {
        return;
    };
    let udb = open(&cluster).await;
    let mut standby = cluster.standby(true);
    udb.commit(suite::commit(0, vec![suite::event(1, "both")]))
        .await
        .expect("commits");
    standby.kill();
    let waits = suite::commit(1, vec![suite::event(2, "waits")]);
    let unknown = udb.commit(waits.clone()).await.expect_err("no answer");
    assert!(unknown.to_string().contains("cannot be used"), "{unknown}");
    standby.resume();
    let end = Instant::now() + Duration::from_secs(60);
    let missed = loop {
        match udb.since(1).await {
            // The commit waits for the standby to have it.
            Ok(MissedCommits::Nothing) | Err(_) => assert!(Instant::now() < end, "never there"),
            Ok(missed) => break missed,
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let MissedCommits::Commits(commits) = missed else {
        panic!("{missed:?}");
    };
    assert_eq!((commits.len(), &commits[0].changes), (1, &waits.changes));
    let next = udb.commit(suite::commit(2, vec![suite::event(3, "goes on")]));
    next.await.expect("commits");
    let events = cluster.sql("SELECT count(*) FROM upstart.events");
    assert_eq!(events, "3");
}

/// Commits one event after another, for ever; reads again what holds where that is not known.
async fn commit_on(udb: Arc<Postgres>, answered: Arc<AtomicU64>) {
    let mut at = 0;
    loop {
        let commit = suite::commit(at, vec![suite::event(at + 1, "kept")]);
        match udb.commit(commit).await {
            Ok(()) => {
                at += 1;
                answered.store(at, Ordering::Relaxed);
            }
            Err(UdbError::Failed(_)) => {
                if let Ok(stored) = udb.load().await {
                    assert!(stored.generation >= at, "{at} commits were answered");
                    at = stored.generation;
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn one_at_a_time_works_alone() {
    let Some(cluster) = Cluster::start("one_at_a_time_works_alone") else {
        return;
    };
    let (one, other) = (open(&cluster).await, open(&cluster).await);
    let did = AtomicBool::new(false);
    let while_the_other_works = async {
        let work = async { did.store(true, Ordering::Relaxed) };
        one.alone(Box::pin(work)).await.expect("asked");
        assert!(!did.load(Ordering::Relaxed), "two work at once");
    };
    let outer = other.alone(Box::pin(while_the_other_works));
    outer.await.expect("asked");
    let work = async { did.store(true, Ordering::Relaxed) };
    one.alone(Box::pin(work)).await.expect("asked");
    assert!(did.load(Ordering::Relaxed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_matters_is_told_and_what_does_not_is_not() {
    let test = "what_matters_is_told_and_what_does_not_is_not";
    let Some(cluster) = Cluster::start(test) else {
        return;
    };
    let (one, other) = (open(&cluster).await, open(&cluster).await);
    until("the listener", || {
        let query =
            "SELECT 1 FROM pg_stat_activity WHERE query = 'LISTEN upstart' HAVING count(*) = 2";
        (cluster.sql(query) == "1").then_some(())
    });
    let quiet = Change::Unqueue(model::ids::NodeId(1));
    one.commit(suite::commit(0, vec![quiet]))
        .await
        .expect("commits");
    let told = tokio::time::timeout(Duration::from_millis(300), other.news()).await;
    assert!(told.is_err(), "of nothing that anybody waits for");
    let loud = suite::commit(1, vec![suite::event(1, "loud")]);
    one.commit(loud).await.expect("commits");
    let told = tokio::time::timeout(Duration::from_secs(20), other.news()).await;
    told.expect("told");
}

/// All servers stamp times by one clock, whatever their own shows.
#[tokio::test]
async fn the_clock_is_the_databases() {
    let Some(cluster) = Cluster::start("the_clock_is_the_databases") else {
        return;
    };
    let udb = open(&cluster).await;
    let clock = udb.clock();
    udb.clock.note(1_000);
    let read = clock.now_ms();
    assert!((1_000..60_000).contains(&read), "{read}");
    udb.since(0).await.expect("reads");
    let query = format!("SELECT {}", super::read::NOW_MS);
    let there: u64 = cluster.sql(&query).parse().expect("a number");
    let apart_ms = there.abs_diff(clock.now_ms());
    assert!(apart_ms < 5_000, "{apart_ms} ms apart");
}

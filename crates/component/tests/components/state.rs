//! What components remember: durable together, recovered from after a crash, limited, given to transforms and back.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use call::{Direction, Failure};
use component::{ENTRIES_FILE, StateId, Stores, UNFINISHED_FILE};

use crate::guests::{handling, remembering};
use crate::stage::{Stage, call};

const BY_TARGET: &str = "[[operation]]\ncall = \"* /{id}\"\nconflict_key = \"path.id\"\n";
const PAST: StateId = StateId {
    upgrade: 2,
    direction: Direction::Past,
};

async fn put(stage: &Stage, target: &str, text: &str) {
    let answer = stage.ask("PUT", target, text).await;
    assert_eq!(answer.unwrap_or_else(|error| panic!("{error}")).1, text);
}

async fn get(stage: &Stage, target: &str) -> Option<String> {
    match stage.ask("GET", target, "").await.expect("an answer") {
        (200, text) => Some(text),
        (status, _) => {
            assert_eq!(status, 404);
            None
        }
    }
}

#[tokio::test]
async fn what_a_call_changes_is_durable_when_it_is_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    {
        let stage = Stage::new(&remembering(), BY_TARGET, folder.path());
        assert_eq!(get(&stage, "/a").await, None);
        put(&stage, "/a", "one").await;
        put(&stage, "/b", "two").await;
        put(&stage, "/a", "three").await;
        assert_eq!(get(&stage, "/a").await.as_deref(), Some("three"));
    }
    let stage = Stage::new(&remembering(), BY_TARGET, folder.path());
    assert_eq!(get(&stage, "/a").await.as_deref(), Some("three"));
    assert_eq!(get(&stage, "/b").await.as_deref(), Some("two"));
    assert_eq!(
        get(&stage, "/recovered").await,
        None,
        "nothing was left open"
    );
}

#[tokio::test]
async fn a_call_that_breaks_changes_nothing_and_is_recovered_from() {
    let folder = tempfile::tempdir().expect("a folder");
    let stage = Stage::new(&remembering(), BY_TARGET, folder.path());
    let fault = stage.fault("PUT", "/trap-first", "x").await;
    assert!(fault.contains("unreachable"), "{fault}");
    assert_eq!(get(&stage, "/trap-first").await, None);
    assert_eq!(
        get(&stage, "/recovered").await,
        None,
        "nothing was delegated"
    );
    stage.fault("PUT", "/trap", "x").await;
    assert_eq!(get(&stage, "/other").await, None);
    assert_eq!(get(&stage, "/recovered").await, None, "another key");
    assert_eq!(get(&stage, "/trap").await, None, "its changes are gone");
    assert_eq!(get(&stage, "/recovered").await.as_deref(), Some("/trap"));
}

#[tokio::test]
async fn a_call_cut_off_while_it_delegates_is_recovered_from_by_the_next_process() {
    let folder = tempfile::tempdir().expect("a folder");
    {
        let mut stage = Stage::new(&remembering(), BY_TARGET, folder.path());
        put(&stage, "/a", "one").await;
        stage.software.mute = true;
        let asked = stage.software.calls.clone();
        let before = asked.load(std::sync::atomic::Ordering::SeqCst);
        let mut software = stage.software.clone();
        let cut_off = stage.chain.call(call("PUT", "/a", "two"), &mut software);
        let reached = async {
            while asked.load(std::sync::atomic::Ordering::SeqCst) == before {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            _ = cut_off => panic!("mute software has answered"),
            () = reached => {}
        }
    }
    let stage = Stage::new(&remembering(), BY_TARGET, folder.path());
    assert_eq!(get(&stage, "/recovered").await, None, "another key");
    assert_eq!(get(&stage, "/a").await.as_deref(), Some("one"));
    assert_eq!(get(&stage, "/recovered").await.as_deref(), Some("/a"));
}

#[tokio::test]
async fn adapters_are_told_how_they_begin_and_transforms_see_what_they_remember() {
    let folder = tempfile::tempdir().expect("a folder");
    let stores = Arc::new(Stores::new(folder.path().join("states")));
    let future = Stage::of(&remembering(), BY_TARGET, stores.clone(), Direction::Future);
    let past = Stage::of(&remembering(), BY_TARGET, stores.clone(), Direction::Past);
    assert_eq!(get(&future, "/began").await.as_deref(), Some("0"), "staged");
    assert_eq!(get(&past, "/began").await.as_deref(), Some("2"), "joined");
    put(&future, "/a", "one").await;
    future.fault("PUT", "/trap", "half").await;
    let given = folder.path().join("in");
    std::fs::create_dir(&given).expect("a folder");
    let id = StateId {
        upgrade: 2,
        direction: Direction::Future,
    };
    stores.freeze();
    assert!(matches!(
        future.ask("PUT", "/a", "two").await,
        Err(Failure::Adapter(_))
    ));
    stores.export(id, &given).expect("exported");
    stores.thaw();
    let entries = std::fs::read_to_string(given.join(ENTRIES_FILE)).expect("entries");
    assert_eq!(
        entries,
        "{\"key\":\"a\",\"value\":\"one\"}\n{\"key\":\"began\",\"value\":\"0\"}\n"
    );
    let unfinished = std::fs::read_to_string(given.join(UNFINISHED_FILE)).expect("unfinished");
    assert!(unfinished.contains("\"target\":\"/trap\""), "{unfinished}");
    drop(past);
    let written = "{\"key\": \"b\", \"value_base64\": \"dHdv\"}\n\n{\"key_base64\": \"Yw==\", \"value\": \"\"}\n";
    let left = folder.path().join("out");
    std::fs::create_dir(&left).expect("a folder");
    std::fs::write(left.join(ENTRIES_FILE), written).expect("written");
    stores.import(PAST, &left).expect("imported");
    let past = Stage::of(&remembering(), BY_TARGET, stores.clone(), Direction::Past);
    assert_eq!(
        get(&past, "/began").await.as_deref(),
        Some("1"),
        "transformed"
    );
    assert_eq!(get(&past, "/b").await.as_deref(), Some("two"));
    assert_eq!(get(&past, "/c").await.as_deref(), Some(""));
    for wrong in [
        "{}",
        "{\"key\":\"a\",\"value\":\"\",\"key_base64\":\"\"}",
        "no",
        "{\"ky\":1}",
    ] {
        std::fs::write(left.join(ENTRIES_FILE), wrong).expect("written");
        let error = stores.import(PAST, &left).expect_err(wrong).to_string();
        assert!(error.contains("entries.jsonl:1: "), "{error}");
    }
    what_somebody_else_left_is_looked_at_first(&stores, &left);
    stores.remove_through(2).expect("removed");
    let left = std::fs::read_dir(folder.path().join("states")).expect("a folder");
    assert_eq!(
        left.filter(|file| file
            .as_ref()
            .is_ok_and(|file| !file.path().ends_with("2-past.incoming")))
            .count(),
        0
    );
}

/// The folder was another user's: neither is a pipe waited for, nor a link followed.
fn what_somebody_else_left_is_looked_at_first(stores: &Stores, left: &Path) {
    let entries = left.join(ENTRIES_FILE);
    std::fs::remove_file(&entries).expect("removed");
    rustix::fs::mkfifoat(rustix::fs::CWD, &entries, rustix::fs::Mode::RWXU).expect("made");
    let error = stores.import(PAST, left).expect_err("a pipe").to_string();
    assert!(error.contains("it is no file"), "{error}");
    std::fs::remove_file(&entries).expect("removed");
    let secret = left.with_file_name("secret");
    std::fs::write(&secret, "{\"key\":\"a\",\"value\":\"\"}").expect("written");
    std::os::unix::fs::symlink(&secret, &entries).expect("made");
    let error = stores.import(PAST, left).expect_err("a link").to_string();
    assert!(error.contains("it is a link"), "{error}");
}

#[tokio::test]
async fn an_export_writes_through_no_link() {
    let folder = tempfile::tempdir().expect("a folder");
    let stores = Arc::new(Stores::new(folder.path().join("states")));
    let future = Stage::of(&remembering(), BY_TARGET, stores.clone(), Direction::Future);
    put(&future, "/a", "one").await;
    let (given, precious) = (folder.path().join("in"), folder.path().join("precious"));
    std::fs::create_dir(&given).expect("a folder");
    std::fs::write(&precious, "precious").expect("written");
    std::os::unix::fs::symlink(&precious, given.join(ENTRIES_FILE)).expect("made");
    let id = StateId {
        upgrade: 2,
        direction: Direction::Future,
    };
    stores.export(id, &given).expect_err("something is there");
    let kept = std::fs::read_to_string(&precious).expect("there");
    assert_eq!(kept, "precious");
}

#[tokio::test]
async fn state_has_a_limit_and_what_only_reads_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    // Sets one key of 64 KiB after another under one limit of 1 MiB; answers 200 with the count that fitted, in one byte.
    let flood = handling(
        "(loop $more
           (i32.store8 (i32.const 200) (local.get $n))
           (call $set (i32.const 200) (i32.const 1) (i32.const 0) (i32.const 65536) (i32.const 96))
           (if (i32.eqz (i32.load8_u (i32.const 96)))
             (then (local.set $n (i32.add (local.get $n) (i32.const 1))) (br $more))))
         (i32.store8 (i32.const 210) (i32.add (i32.const 48) (local.get $n)))
         (i32.store8 (i32.const 211) (i32.add (i32.const 48) (i32.load8_u (i32.const 97))))
         (i32.store (i32.const 128) (i32.const 0)) (i32.store (i32.const 132) (i32.const 0))
         (i32.store (i32.const 136) (i32.const 200)) (i32.store (i32.const 140) (i32.const 0))
         (i32.store (i32.const 144) (i32.const 0)) (i32.store (i32.const 148) (i32.const 210))
         (i32.store (i32.const 152) (i32.const 2)) (i32.const 128)",
    );
    let stage = Stage::new(&flood, "[limits]\nstate_mib = 1\n", folder.path());
    // Fifteen of them and what each costs beside fit; 0 is `full`.
    assert_eq!(stage.ask("PUT", "/", "").await.expect("an answer").1, "?0");
    // The second call finds its own keys and replaces them: nothing grows.
    assert_eq!(stage.ask("PUT", "/", "").await.expect("an answer").1, "?0");
    let rest = "[[operation]]\ncall = \"* /\"\nreads = true\n";
    let reads = Stage::of(&flood, rest, stage.stores.clone(), Direction::Past);
    assert_eq!(
        reads.ask("PUT", "/", "").await.expect("an answer").1,
        "02",
        "read-only"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_with_one_key_run_one_at_a_time_and_others_together() {
    let folder = tempfile::tempdir().expect("a folder");
    let stage = Arc::new(Stage::new(&remembering(), BY_TARGET, folder.path()));
    let mut running = tokio::task::JoinSet::new();
    for number in 0..200 {
        let stage = stage.clone();
        running.spawn(async move {
            let target = format!("/k{}", number % 40);
            put(&stage, &target, &number.to_string()).await;
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.expect("an answer");
    }
    for key in 0..40 {
        let last = get(&stage, &format!("/k{key}")).await.expect("there");
        assert_eq!(last.parse::<u32>().expect("a number") % 40, key);
    }
}

//! Observed dispatch: adapters are told of calls that others make, in order, durably, and whatever breaks meanwhile.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use call::{Calls, Chain, Conflicts, Direction, Failure};
use component::Stores;

use crate::guests::{following_memory, remembering};
use crate::stage::{Software, Stage, call, step_of};

/// `GET` only reads; everything else is told.
const RULES: &str = "[[operation]]\ncall = \"* /{id}\"\nconflict_key = \"path.id\"\n\
    [[operation]]\ncall = \"GET /{id}\"\nconflict_key = \"path.id\"\nreads = true\n";

/// A node at version 3: past adapters of the upgrades to 3 and to 2, future ones of those to 4 and to 5.
struct Node {
    stores: Arc<Stores>,
    conflicts: Conflicts,
    past: Vec<Arc<dyn Calls>>,
    future: Vec<Arc<dyn Calls>>,
}

impl Node {
    fn new(folder: &Path, rules: &str) -> Self {
        let stores = Arc::new(Stores::new(folder));
        let follows = following_memory();
        let step = |upgrade, direction| step_of(&follows, rules, &stores, upgrade, direction);
        Self {
            past: vec![step(3, Direction::Past), step(2, Direction::Past)],
            future: vec![step(4, Direction::Future), step(5, Direction::Future)],
            conflicts: Conflicts::default(),
            stores: stores.clone(),
        }
    }

    /// Calls of callers at a version.
    fn at(&self, version: u32) -> Stage {
        let (past, future) = (self.past.clone(), self.future.clone());
        let chain = match version {
            3 => Chain::empty().observed(past, future, &self.conflicts),
            1 | 2 => {
                let (steps, outer) = past.split_at(3 - version as usize);
                let steps = steps.iter().rev().cloned().collect();
                let chain = Chain::of(Direction::Past, steps, &self.conflicts);
                chain.observed(outer.to_vec(), future, &self.conflicts)
            }
            _ => {
                let (steps, outer) = future.split_at(version as usize - 3);
                let steps = steps.iter().rev().cloned().collect();
                let chain = Chain::of(Direction::Future, steps, &self.conflicts);
                chain.observed(outer.to_vec(), past, &self.conflicts)
            }
        };
        Stage {
            chain,
            software: Software::default(),
            stores: self.stores.clone(),
        }
    }

    async fn knows(&self, version: u32, target: &str) -> Option<String> {
        match self.at(version).ask("GET", target, "").await {
            Ok((200, text)) => Some(text),
            Ok((404, _)) => None,
            other => panic!("{other:?}"),
        }
    }
}

async fn put(stage: &Stage, target: &str, text: &str) {
    let answer = stage.ask("PUT", target, text).await;
    assert_eq!(answer.expect("an answer"), (200, text.to_owned()));
}

#[tokio::test]
async fn every_adapter_is_told_of_every_call_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = Node::new(folder.path(), RULES);
    for version in 1..=5 {
        let (target, stage) = (format!("/from-{version}"), node.at(version));
        put(&stage, &target, "said").await;
        assert_eq!(stage.software.calls.load(Ordering::SeqCst), 1, "{version}");
        for other in [1, 2, 4, 5] {
            let known = node.knows(other, &target).await;
            assert_eq!(known.as_deref(), Some("said"), "{version} to {other}");
        }
    }
    // What only reads passes, and nobody is told.
    let (status, _) = node
        .at(3)
        .ask("GET", "/asked", "")
        .await
        .expect("an answer");
    assert_eq!(status, 200);
    assert_eq!(node.knows(2, "/asked").await, None);
}

#[tokio::test]
async fn a_call_that_an_adapter_cannot_follow_is_answered_and_recovered_from() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = Node::new(folder.path(), RULES);
    put(&node.at(3), "/trap", "said").await;
    assert_eq!(node.knows(2, "/recovered").await, None, "another key");
    assert_eq!(node.knows(2, "/trap").await, None);
    assert_eq!(node.knows(2, "/recovered").await.as_deref(), Some("/trap"));
}

#[tokio::test]
async fn a_call_that_is_cut_off_is_recovered_from_by_the_next_process() {
    let folder = tempfile::tempdir().expect("a folder");
    {
        let node = Node::new(folder.path(), RULES);
        let mut stage = node.at(3);
        stage.software.mute = true;
        let asked = stage.software.calls.clone();
        let mut software = stage.software.clone();
        let cut_off = stage.chain.call(call("PUT", "/a", "one"), &mut software);
        let reached = async {
            while asked.load(Ordering::SeqCst) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            _ = cut_off => panic!("mute software has answered"),
            () = reached => {}
        }
    }
    let node = Node::new(folder.path(), RULES);
    for version in [2, 4] {
        assert_eq!(node.knows(version, "/recovered").await, None, "another key");
        assert_eq!(node.knows(version, "/a").await, None);
        let recovered = node.knows(version, "/recovered").await;
        assert_eq!(recovered.as_deref(), Some("/a"), "{version}");
    }
}

#[tokio::test]
async fn a_call_of_which_nothing_can_be_noted_is_not_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = format!("[limits]\nstate_mib = 0\n{RULES}");
    let node = Node::new(folder.path(), &rules);
    let stage = node.at(3);
    let failed = stage.ask("PUT", "/a", "one").await;
    assert!(matches!(failed, Err(Failure::Adapter(_))), "{failed:?}");
    assert_eq!(stage.software.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_adapter_waits_for_the_call_that_it_is_to_follow() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = Node::new(folder.path(), RULES);
    let mut stage = node.at(3);
    stage.software.mute = true;
    let mut software = stage.software.clone();
    let mut under_way = stage.chain.call(call("PUT", "/a", "one"), &mut software);
    let look = |target| {
        let asked = node.knows(2, target);
        tokio::time::timeout(Duration::from_millis(300), asked)
    };
    tokio::select! {
        _ = &mut under_way => panic!("mute software has answered"),
        () = tokio::time::sleep(Duration::from_millis(300)) => {}
    }
    look("/a").await.expect_err("the same key waits");
    drop(under_way);
    look("/a").await.expect("nobody holds it");
}

#[tokio::test]
async fn calls_of_all_versions_at_a_time_never_wait_in_a_circle() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = Arc::new(Node::new(folder.path(), RULES));
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..150_u32 {
        let node = node.clone();
        calls.spawn(async move {
            let target = format!("/k{}", number % 3);
            put(&node.at(1 + number % 5), &target, "said").await;
        });
    }
    let all = tokio::time::timeout(Duration::from_secs(60), calls.join_all());
    all.await.expect("all end");
}

#[tokio::test]
async fn who_is_deaf_is_asked_to_recover_each_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let stores = Arc::new(Stores::new(folder.path()));
    let deaf = step_of(&remembering(), RULES, &stores, 3, Direction::Past);
    let conflicts = Conflicts::default();
    let empty = Chain::empty().observed(vec![deaf.clone()], Vec::new(), &conflicts);
    let own = Chain::of(Direction::Past, vec![deaf], &conflicts);
    let stage = |chain| Stage {
        chain,
        software: Software::default(),
        stores: stores.clone(),
    };
    put(&stage(empty), "/a", "one").await;
    let own = stage(own);
    let asked = own.ask("GET", "/a", "").await.expect("an answer");
    assert_eq!(asked.0, 404);
    let asked = own.ask("GET", "/recovered", "").await.expect("an answer");
    assert_eq!(asked, (200, "/a".to_owned()));
}

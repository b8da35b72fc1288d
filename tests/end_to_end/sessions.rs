//! Sessions: software whose messages go both ways, upgraded under load through an adapter in WebAssembly.

use crate::harness::{Node, System, is_crash, until};
use crate::peers::{PeerCaller, peers};
use kit::OverAtEnd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a caller in the background saw.
#[derive(Debug, Default)]
struct Seen {
    /// The last number that was acknowledged.
    acknowledged: u64,
    /// How often its connection ended as in a crash.
    crashes: u64,
}

/// A node of version 1 that has staged version 2 and waits for approval.
fn staged() -> (System, Node) {
    System::staged(&peers(1, ""), &peers(2, "schedule = { approval = true }"))
}

/// Waits until a caller is told of a change; others may come before.
fn until_told(caller: &mut PeerCaller, key: &str) {
    while caller.news().expect("told") != key {}
}

#[test]
fn both_versions_speak_and_are_told_before_and_after_the_upgrade() {
    let (system, node) = staged();
    let (port, id) = (system.port(1), system.view().system_id);
    let greet = |round: &str| {
        let mut old = PeerCaller::labelled(port, id, 1).expect("connected");
        let mut new = PeerCaller::labelled(port, id, 2).expect("connected");
        // Each has been heard, and so is told of what the other does.
        old.put("greeting", "hello").expect("answered");
        assert_eq!(new.get("greeting").expect("answered"), "hello");
        new.put(round, "from the new").expect("answered");
        until_told(&mut old, round);
        assert_eq!(old.get(round).expect("answered"), "from the new");
        old.put("answer", "from the old").expect("answered");
        until_told(&mut new, "answer");
        (old, new)
    };
    let (mut old, mut new) = greet("before");
    system.approve(2, None);
    system.until_settled(&node, 2);
    // What a session had agreed on is gone with the software: both end with it.
    for caller in [&mut old, &mut new] {
        let error = caller.get("before").expect_err("ended at the flip");
        assert!(is_crash(&error), "{error}");
    }
    let _open = greet("after");
    for (name, least) in [("sessions.opened", 2), ("reset.session_flipped", 1)] {
        until(name, || (system.counter("a", name) >= least).then_some(()));
    }
}

#[test]
fn sessions_live_until_the_software_that_is_told_to_stop_has_ended() {
    let (system, node) = staged();
    let (port, id) = (system.port(1), system.view().system_id);
    let mut old = PeerCaller::labelled(port, id, 1).expect("connected");
    let mut new = PeerCaller::labelled(port, id, 2).expect("connected");
    old.put("greeting", "hello").expect("answered");
    new.put("drain", "yes").expect("answered");
    system.approve(2, None);
    // Both are told by software that is being stopped, and the one whose session passes an adapter answers it.
    until_told(&mut old, "stopping");
    until_told(&mut new, "stopping");
    new.put("done", "yes").expect("answered");
    system.until_settled(&node, 2);
    for caller in [&mut old, &mut new] {
        let error = caller.get("greeting").expect_err("ended with the software");
        assert!(is_crash(&error), "{error}");
    }
    let mut after = PeerCaller::labelled(port, id, 1).expect("connected");
    assert_eq!(after.get("done").expect("answered"), "yes");
}

/// Stores rising numbers and reads them back until told to end, on connections that are made anew when they crash.
fn load(name: &str, dial: impl Fn() -> PeerCaller, rounds: &AtomicU64, over: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    let mut caller = dial();
    while !over.load(Ordering::Relaxed) {
        let next = seen.acknowledged + 1;
        let round = caller.put(name, &next.to_string());
        match round.and_then(|()| caller.get(name)) {
            Ok(read) => {
                assert_eq!(
                    read,
                    next.to_string(),
                    "{name}: an acknowledged write is lost"
                );
                seen.acknowledged = next;
                rounds.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if is_crash(&error) => {
                seen.crashes += 1;
                caller = dial();
            }
            Err(error) => panic!("{name}: {error}"),
        }
    }
    seen
}

#[test]
fn sessions_of_both_versions_lose_nothing_through_an_upgrade_under_load() {
    let (system, node) = staged();
    let (port, id) = (system.port(1), system.view().system_id);
    let kinds = [("old-1", 1), ("old-2", 1), ("new-1", 2), ("new-2", 2)];
    let over = AtomicBool::new(false);
    let rounds = kinds.map(|_| AtomicU64::new(0));
    let all_reach = |more: u64| {
        let from = rounds.each_ref().map(|count| count.load(Ordering::Relaxed));
        until("every caller to go on", || {
            let mut all = rounds.iter().zip(from);
            all.all(|(now, from)| now.load(Ordering::Relaxed) >= from + more)
                .then_some(())
        });
    };
    let seen: Vec<Seen> = std::thread::scope(|scope| {
        let start = |((name, version), rounds)| {
            let dial = move || {
                until("a connection", || {
                    PeerCaller::labelled(port, id, version).ok()
                })
            };
            let over = &over;
            scope.spawn(move || load(name, dial, rounds, over))
        };
        let running: Vec<_> = kinds.into_iter().zip(&rounds).map(start).collect();
        // Whatever fails here, the callers must not run for ever.
        let ends = OverAtEnd(&over);
        all_reach(100);
        system.approve(2, None);
        system.until_settled(&node, 2);
        all_reach(100);
        drop(ends);
        let ended = running.into_iter().map(std::thread::ScopedJoinHandle::join);
        ended.map(|seen| seen.expect("no wrong answer")).collect()
    });
    let mut after = PeerCaller::labelled(port, id, 2).expect("connected");
    for ((name, _), seen) in kinds.iter().zip(&seen) {
        // One flip, one reset; whoever dials while the software is stopped may be reset once more.
        assert!((1..=2).contains(&seen.crashes), "{name}: {seen:?}");
        let stored = after.get(name).expect("answered");
        let stored: u64 = stored.parse().expect("a number");
        assert!(stored >= seen.acknowledged, "{name}: {stored}, {seen:?}");
    }
}

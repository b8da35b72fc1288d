//! Calls over RESP: real redis upgraded to a version that names a command differently, under callers of both.

use crate::harness::{Node, System, is_crash, until};
use crate::redis::{CacheCaller, cache, has_redis};
use kit::OverAtEnd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A node of version 1 that has staged version 2 and waits for approval.
fn staged() -> (System, Node) {
    System::staged(&cache(1, ""), &cache(2, "schedule = { approval = true }"))
}

/// What one caller says, and is answered.
fn told(caller: &mut CacheCaller, commands: &[&str]) -> Vec<String> {
    caller.say(commands).expect("answered")
}

#[test]
fn both_versions_call_before_and_after_the_upgrade() {
    if !has_redis("both_versions_call_before_and_after_the_upgrade") {
        return;
    }
    let (system, node) = staged();
    let (port, id) = (system.port(1), system.view().system_id);
    let dial = |version| CacheCaller::labelled(port, id, version).expect("connected");
    let (mut old, mut new) = (dial(1), dial(2));
    // Sent ahead, answered in order.
    assert_eq!(told(&mut old, &["SET a 1", "GET a"]), ["OK", "1"]);
    let said = ["FETCH a", "SET a 2", "fetch a", "FETCH none"];
    assert_eq!(told(&mut new, &said), ["1", "OK", "2", "nil"]);
    assert_eq!(
        told(&mut new, &["MULTI", "FETCH a", "EXEC"]),
        ["OK", "QUEUED", "[2]"]
    );
    // The adapter traps: that call has no answer but an error.
    let trapped = told(&mut new, &["GETEX a", "FETCH a"]);
    assert!(trapped[0].starts_with("-ERR "), "{trapped:?}");
    assert_eq!(trapped[1], "2");

    // Pushes pass: of channels, and of what a caller has read, which redis follows for it.
    let (mut listener, mut reader) = (dial(2), dial(2));
    assert_eq!(
        told(&mut listener, &["SUBSCRIBE news"]),
        ["[subscribe news 1]"]
    );
    assert_eq!(told(&mut old, &["PUBLISH news hello"]), ["1"]);
    assert_eq!(listener.hear().expect("told"), "[message news hello]");
    told(&mut reader, &["HELLO 3"]);
    let tracked = told(&mut reader, &["CLIENT TRACKING ON", "FETCH a"]);
    assert_eq!(tracked, ["OK", "2"]);
    assert_eq!(told(&mut old, &["SET a 3"]), ["OK"]);
    assert_eq!(reader.hear().expect("told"), ">[invalidate [a]]");

    system.approve(2, None);
    system.until_settled(&node, 2);
    // Who had set nothing up on the agent's connection did not notice; what the others had set up is gone with the process.
    assert_eq!(told(&mut new, &["FETCH a"]), ["3"]);
    let error = old.say(&["PING"]).expect_err("it was the software's own");
    assert!(is_crash(&error), "{error}");
    let mut old = dial(1);
    assert_eq!(
        told(&mut old, &["GET a", "SET a 4", "get a"]),
        ["3", "OK", "4"]
    );
    assert_eq!(told(&mut new, &["FETCH a"]), ["4"]);
    for caller in [&mut listener, &mut reader] {
        let error = caller.say(&["PING"]).expect_err("reset at the flip");
        assert!(is_crash(&error), "{error}");
    }
    assert_eq!(system.counter("a", "calls.failed"), 1);
}

/// Counts up under a key of its own and reads it back, until told to end; gives how often its connection ended as in a crash.
fn load(
    key: &str,
    read: &str,
    dial: impl Fn() -> CacheCaller,
    rounds: &AtomicU64,
    over: &AtomicBool,
) -> u64 {
    let mut crashes = 0;
    let mut caller = dial();
    let mut number = 0;
    while !over.load(Ordering::Relaxed) {
        number += 1;
        let (set, get) = (format!("SET {key} {number}"), format!("{read} {key}"));
        match caller.say(&[&set, &get]) {
            Ok(answers) => {
                assert_eq!(answers, ["OK", &number.to_string()], "{key}");
                rounds.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if is_crash(&error) => {
                crashes += 1;
                caller = dial();
            }
            Err(error) => panic!("{key}: {error}"),
        }
    }
    crashes
}

#[test]
fn callers_of_both_versions_are_answered_all_through_an_upgrade() {
    if !has_redis("callers_of_both_versions_are_answered_all_through_an_upgrade") {
        return;
    }
    let (system, node) = staged();
    let (port, id) = (system.port(1), system.view().system_id);
    let kinds = [
        ("o1", "GET", 1),
        ("o2", "GET", 1),
        ("n1", "FETCH", 2),
        ("n2", "FETCH", 2),
    ];
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
    std::thread::scope(|scope| {
        let start = |((key, read, version), rounds)| {
            let dial = move || {
                until("a connection", || {
                    CacheCaller::labelled(port, id, version).ok()
                })
            };
            let over = &over;
            scope.spawn(move || load(key, read, dial, rounds, over))
        };
        let running: Vec<_> = kinds.into_iter().zip(&rounds).map(start).collect();
        // Whatever fails here, the callers must not run for ever.
        let ends = OverAtEnd(&over);
        all_reach(100);
        system.approve(2, None);
        system.until_settled(&node, 2);
        all_reach(100);
        drop(ends);
        for one in running {
            // Those that were the software's own end with it; who dials while it is stopped may be reset once more.
            let crashes = one.join().expect("no wrong answer");
            assert!(crashes <= 2, "{crashes}");
        }
    });
}

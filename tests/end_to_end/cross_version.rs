//! Callers of both versions through one node's upgrade.

use crate::harness::{Boxes, Bundle, Caller, NodeOptions, System, is_crash, kill, until};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// Who calls in the background, and how.
struct Load<'a> {
    name: &'static str,
    connect: Box<dyn Fn() -> io::Result<Caller> + Send + Sync + 'a>,
    /// One connection for all calls, or one for each.
    keeps: bool,
}

/// What a caller in the background saw.
#[derive(Debug, Default)]
struct Seen {
    acknowledged: i64,
    crashes: usize,
}

/// Writes rising numbers and reads them back until told to end. A call that ends as in a crash is made again; everything
/// else but the right answer is a panic.
fn load(caller: &Load<'_>, rounds: &AtomicI64, over: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    let mut connection = None;
    while !over.load(Ordering::Relaxed) {
        let next = seen.acknowledged + 1;
        match round(caller, &mut connection, next) {
            Ok(read) => {
                assert_eq!(
                    read,
                    Some(next),
                    "{}: an acknowledged write is lost",
                    caller.name
                );
                seen.acknowledged = next;
                rounds.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if is_crash(&error) => {
                seen.crashes += 1;
                connection = None;
            }
            Err(error) => panic!("{}: {error}", caller.name),
        }
        if !caller.keeps {
            connection = None;
        }
    }
    seen
}

fn round(
    caller: &Load<'_>,
    connection: &mut Option<Caller>,
    number: i64,
) -> io::Result<Option<i64>> {
    if connection.is_none() {
        *connection = Some((caller.connect)()?);
    }
    let open = connection.as_mut().expect("just opened");
    open.put(caller.name, number)?;
    open.get(caller.name)
}

/// Callers of every kind.
fn loads(port: u16, id: u64) -> Vec<Load<'static>> {
    let kinds = [
        ("unlabelled", None, false),
        ("unlabelled-kept", None, true),
        ("old", Some(1), false),
        ("old-kept", Some(1), true),
        ("new", Some(2), false),
        ("new-kept", Some(2), true),
    ];
    kinds
        .into_iter()
        .map(|(name, version, keeps)| Load {
            name,
            keeps,
            connect: Box::new(move || match version {
                Some(version) => Caller::labelled(port, id, version),
                None => Caller::unlabelled(port, 1),
            }),
        })
        .collect()
}

#[test]
fn callers_of_every_kind_lose_no_call_through_an_upgrade() {
    lose_no_call(|bundle| bundle);
}

/// The preloaded library is in none of it: all of its calls go through the net.
#[test]
fn callers_of_software_without_the_library_lose_no_call() {
    lose_no_call(|bundle| {
        bundle.replaced(
            r#"command = ["python3", "${software}"#,
            r#"command = ["/usr/bin/env", "-i", "/usr/bin/python3", "${software}"#,
        )
    });
}

fn lose_no_call(started: impl Fn(Bundle) -> Bundle) {
    let system = System::with(&started(Boxes::version(1).bundle()));
    let node = system.settled_box("a", 1, 1);
    let hold = Boxes::version(2).schedule("approval = true");
    system.publish(&started(hold.bundle()));
    system.until_staged(&node, 2);
    let (port, id) = (system.port(1), system.view().system_id);
    let loads = loads(port, id);
    let over = AtomicBool::new(false);
    let rounds: Vec<AtomicI64> = loads.iter().map(|_| AtomicI64::new(0)).collect();
    let all_reach = |more: i64| {
        let from: Vec<i64> = rounds.iter().map(|n| n.load(Ordering::Relaxed)).collect();
        until("every caller to go on", || {
            let here = rounds.iter().zip(&from);
            here.map(|(now, from)| now.load(Ordering::Relaxed) - from)
                .all(|gone| gone >= more)
                .then_some(())
        });
    };
    let seen: Vec<Seen> = std::thread::scope(|scope| {
        let running: Vec<_> = loads
            .iter()
            .zip(&rounds)
            .map(|(caller, rounds)| scope.spawn(|| load(caller, rounds, &over)))
            .collect();
        // Whatever fails here, the callers must not run for ever.
        let ends = EndsLoad(&over);
        all_reach(15);
        system.approve(2, None);
        system.until_settled(&node, 2);
        all_reach(15);
        drop(ends);
        let ended = running
            .into_iter()
            .map(|one| one.join().expect("no wrong answer"));
        ended.collect()
    });
    for (caller, seen) in loads.iter().zip(&seen) {
        // Those that the old software served directly lose what was under way when it was stopped; adapters lose nothing.
        let direct = !caller.name.starts_with("new");
        let most = usize::from(direct);
        assert!(seen.crashes <= most, "{}: {seen:?}", caller.name);
        let mut after = system.member(port, 2).expect("connected");
        assert_eq!(
            after.get(caller.name).expect("answered"),
            Some(seen.acknowledged)
        );
    }
    let counters = system.fact("a").report.counters;
    for name in ["calls.future.1", "calls.past.1"] {
        let calls = counters.get(name).copied().unwrap_or(0);
        assert!(calls >= 60, "{name}: {counters:?}");
    }
    assert_eq!(counters["refused"], 0, "{counters:?}");
}

struct EndsLoad<'a>(&'a AtomicBool);

impl Drop for EndsLoad<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_foreign_callers_connection_outlives_the_upgrade_and_is_raw_afterwards() {
    let system = System::with(&Boxes::version(1).bundle());
    let mut node = system.settled_box("a", 1, 1);
    system.publish(&Boxes::version(2).schedule("approval = true").bundle());
    system.until_staged(&node, 2);
    let mut caller = system.member(system.port(1), 2).expect("connected");
    caller.put("apples", 7).expect("answered");
    let before = caller.last.clone().expect("an answer");
    assert_eq!(
        before.caller(),
        caller.address(),
        "the software sees its true caller"
    );

    system.approve(2, None);
    system.until_settled(&node, 2);
    assert_eq!(
        caller.get("apples").expect("the same connection goes on"),
        Some(7)
    );
    let after = caller.last.clone().expect("an answer");
    assert_ne!(after.pid(), before.pid());
    assert_eq!(after.pid(), node.running_child());

    // From here on the connection is the software's own: no agent is needed for it.
    system.until_fact(&node, "giving the connection back", |fact| {
        fact.report
            .counters
            .get("given_back")
            .is_some_and(|number| *number >= 1)
    });
    node.kill_agent();
    for number in 0..20 {
        caller
            .put("apples", number)
            .expect("answered without an agent");
        assert_eq!(caller.last.as_ref().expect("an answer").pid(), after.pid());
        assert_eq!(
            caller.last.as_ref().expect("an answer").caller(),
            caller.address()
        );
    }
}

#[test]
fn software_and_direct_connections_outlive_the_agent_and_foreign_callers_wait_for_the_next() {
    let system = System::with(&Boxes::version(1).bundle());
    let mut node = system.settled_box("a", 1, 1);
    system.publish(&Boxes::version(2).schedule("approval = true").bundle());
    system.until_staged(&node, 2);
    let pid = node.running_child();
    let mut kept = Caller::unlabelled(system.port(1), 1).expect("connected");
    kept.put("apples", 7).expect("answered");

    node.kill_agent();
    kept.put("apples", 8).expect("a kept connection goes on");
    let mut fresh = system.member(system.port(1), 1).expect("connected");
    assert_eq!(fresh.get("apples").expect("answered"), Some(8));
    let mut foreign = system
        .member(system.port(1), 2)
        .expect("the holder keeps it");
    foreign.send("GET", "/items?id=apples", None).expect("sent");

    node.start_agent();
    let answer = foreign.receive().expect("answered by the next agent");
    assert_eq!(answer.body["amount"], 8);
    kept.put("apples", 9).expect("the kept connection goes on");
    assert_eq!(kept.last.expect("an answer").pid(), pid);
    assert_eq!(node.running_child(), pid);

    // The same when the agent is asked to end.
    node.end_agent();
    assert_eq!(fresh.get("apples").expect("answered"), Some(9));
    node.start_agent();
    system.approve(2, None);
    system.until_settled(&node, 2);
}

/// A class whose nodes call the boxes in their own version's dialect when they are told to.
const FRONT: &str = r#"
[class.front.software]
path = "software"
command = ["python3", "${software}/box.py", "--dialect", "DIALECT", "--port", "${ports.relay}", "--state", "${state}"]

[class.front.service.relay]
port = "vars.port"
protocol = "http"
connections = "stateless"

[class.front.lifecycle]
probe = { http = "PATH", service = "relay", interval_ms = 50 }
"#;

#[test]
fn members_at_two_versions_call_each_other_in_their_own_words() {
    let front = FRONT.replace("DIALECT", "1").replace("PATH", "/ready");
    let system = System::with(&Boxes::version(1).and(&front).bundle());
    let old_box = system.settled_box("old-box", 1, 1);
    let new_box = system.settled_box("new-box", 2, 1);
    let front_node = |name, number| {
        let node = system.node(NodeOptions::new(name, system.port(number)).class("front"));
        system.until_settled(&node, 1);
        node
    };
    let old_front = front_node("old-front", 3);
    let new_front = front_node("new-front", 4);
    let front = FRONT
        .replace("DIALECT", "2")
        .replace("PATH", "/health")
        .replace(
            "protocol = \"http\"",
            "protocol = \"http\"\ninterface = \"same\"",
        )
        .replace(
            "[class.front.software]",
            "[class.front]\nschedule = { approval = true }\n[class.front.software]",
        )
        + "[class.front.state]\ntransform = { command = [\"true\"] }\n";
    let second = Boxes::version(2).schedule("approval = true").and(&front);
    system.publish(&second.bundle());
    for node in [&new_box, &new_front] {
        system.approve(2, Some(node));
        system.until_settled(node, 2);
    }
    for (front, direction) in [(&old_front, "old"), (&new_front, "new")] {
        let port = if direction == "old" { 3 } else { 4 };
        let mut caller = Caller::unlabelled(system.port(port), 1).expect("connected");
        for target in [1, 2] {
            let path = format!("/relay/{}/by-{direction}", system.port(target));
            let body = serde_json::json!({ "count": i64::from(target) });
            let answer = caller.call("PUT", &path, Some(&body)).expect("answered");
            let stored = if direction == "old" { 200 } else { 201 };
            let expected = serde_json::json!({ "stored": stored, "status": 200, "count": target });
            assert_eq!(
                answer.body, expected,
                "{} calls {target}",
                front.options.name
            );
        }
    }
    for (name, counter) in [("new-box", "calls.past.1"), ("old-box", "calls.future.1")] {
        let node = if name == "new-box" {
            &new_box
        } else {
            &old_box
        };
        system.until_fact(node, "counting its calls", |fact| {
            fact.report.counters.get(counter) == Some(&2)
        });
    }
}

#[test]
fn a_killed_agents_foreign_connections_are_reset_and_can_be_made_again() {
    let system = System::with(&Boxes::version(1).bundle());
    let mut node = system.settled_box("a", 1, 1);
    system.publish(&Boxes::version(2).schedule("approval = true").bundle());
    system.until_staged(&node, 2);
    let mut foreign = system.member(system.port(1), 2).expect("connected");
    foreign.put("apples", 7).expect("answered");
    node.kill_agent();
    let error = foreign.get("apples").expect_err("the agent held it");
    assert!(is_crash(&error), "{error}");
    // The software's own end in between is the holder's to notice.
    kill(node.running_child());
    node.start_agent();
    let number = until("a foreign caller to be answered", || {
        let mut caller = system.member(system.port(1), 2).ok()?;
        caller.get("apples").ok()
    });
    assert_eq!(number, Some(7));
    assert!(node.printed("speaks dialect 1") >= 2, "{}", node.output());
}

#[test]
fn nobody_is_refused_while_software_that_is_probed_among_its_peers_starts() {
    let system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    let port = system.port(1);
    let joined = "http = \"/ready\", service = \"data\", interval_ms = 50, mode = \"joined\"";
    let second = Boxes::version(2)
        .same(1)
        .probe(joined)
        .arguments(&["--start-delay-ms", "1500"]);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let refusals = scope.spawn(|| {
            let mut refusals = 0;
            while !over.load(Ordering::Relaxed) {
                match Caller::unlabelled(port, 1).and_then(|mut caller| caller.put("apples", 7)) {
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => refusals += 1,
                    Err(error) => assert!(is_crash(&error), "{error}"),
                    Ok(()) => {}
                }
            }
            refusals
        });
        let ends = EndsLoad(&over);
        system.publish(&second.bundle());
        // It counts as settled before it listens: its health is a later matter.
        system.until_fact(&node, "settled at 2", |fact| {
            fact.report.status.version.0 == 2
        });
        until("the new software to answer", || {
            let mut caller = Caller::unlabelled(port, 1).ok()?;
            caller.get("apples").ok()
        });
        drop(ends);
        assert_eq!(refusals.join().expect("no wrong answer"), 0);
    });
}

//! A node serves at an address only when the other members know it: what they do not know they would call without a label.

use crate::harness::{Boxes, Caller, Node, NodeOptions, System, is_crash, refused, until};
use model::ids::Version;
use serde_json::json;

/// A poll interval at which nothing is learned by polling within a test.
const NEVER_MS: u64 = 3_600_000;

/// A class whose nodes call the boxes in their own version's dialect when they are told to.
pub(crate) const FRONT: &str = r#"
[class.front.software]
path = "software"
command = ["python3", "${software}/box.py", "--dialect", "DIALECT", "--port", "${ports.relay}", "--state", "${state}"]

[class.front.service.relay]
port = "vars.port"
protocol = "http"
INTERFACE

[class.front.lifecycle]
probe = { http = "PATH", service = "relay", interval_ms = 50 }
"#;

/// A box and a front at version 2, while callers without a label are still served at version 1.
fn at_two() -> (System, Node, Node) {
    let first = FRONT.replace("DIALECT", "1").replace("PATH", "/ready");
    let second = FRONT.replace("DIALECT", "2").replace("PATH", "/health");
    let system = System::with(
        &Boxes::version(1)
            .and(&first.replace("INTERFACE", ""))
            .bundle(),
    );
    let settled = system.settled_box("box", 1, 1);
    let same = second.replace("INTERFACE", "interface = \"same\"");
    system.publish(&Boxes::version(2).and(&same).bundle());
    system.until_settled(&settled, 2);
    let options = NodeOptions::new("front", system.port(3)).class("front");
    let front = system.node(options);
    system.until_settled(&front, 2);
    (system, settled, front)
}

/// What a front gets when it stores at a box.
fn relayed(system: &System, to: u16) -> serde_json::Value {
    let mut caller = Caller::unlabelled(system.port(3), 2).expect("connected");
    let path = format!("/relay/{}/apples", system.port(to));
    let answer = caller.call("PUT", &path, Some(&json!({ "count": 7 })));
    answer.expect("the front answers").body
}

fn stored() -> serde_json::Value {
    json!({ "stored": 201, "status": 200, "count": 7 })
}

/// The node waits for that member.
fn until_waiting(system: &System, node: &Node, member: &str) {
    let words = format!("make itself known to {member}");
    system.until_fact(node, "waiting to be known", |fact| {
        let progress = fact.report.status.progress.as_ref();
        progress.is_some_and(|progress| progress.what == words)
    });
}

#[test]
fn a_member_that_does_not_poll_calls_a_node_that_has_just_joined_in_its_own_words() {
    let (system, _settled, mut front) = at_two();
    front.end_agent();
    front.options.poll_ms = NEVER_MS;
    front.start_agent();
    system.until_fact(&front, "asking rarely", |fact| {
        fact.report.poll_ms == NEVER_MS
    });
    let _joined = system.settled_box("late", 2, 2);
    assert_eq!(relayed(&system, 2), stored());
    let mut outside = Caller::unlabelled(system.port(2), 1).expect("connected");
    assert_eq!(outside.get("apples").expect("answered"), Some(7));
}

#[test]
fn a_joining_node_is_not_reachable_before_every_reachable_member_knows_it() {
    let system = System::with(&Boxes::version(1).bundle());
    let options = NodeOptions::new("a", system.port(1)).poll_ms(NEVER_MS);
    let first = system.node(options);
    system.until_settled(&first, 1);
    let asleep = first.freeze_agent();
    let joining = system.node(NodeOptions::new("b", system.port(2)));
    until_waiting(&system, &joining, "a");
    assert!(refused(system.port(2)), "it serves");
    assert_eq!(joining.child(), None);
    drop(asleep);
    system.until_settled(&joining, 1);
}

#[test]
fn a_staged_versions_port_is_opened_when_every_reachable_member_knows_it() {
    let system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    let options = NodeOptions::new("b", system.port(2)).poll_ms(NEVER_MS);
    let other = system.node(options);
    system.until_settled(&other, 1);
    let asleep = other.freeze_agent();
    let second = Boxes::version(2).port("vars.port + 10");
    system.publish(&second.schedule("approval = true").bundle());
    until_waiting(&system, &node, "b");
    assert!(refused(system.port(11)), "the new port is open");
    assert_eq!(system.fact("a").report.status.staged, Version(1));
    drop(asleep);
    system.until_staged(&node, 2);
    assert!(!refused(system.port(11)));
}

#[test]
fn a_nodes_changed_address_is_known_before_its_software_starts() {
    let system = System::with(&Boxes::version(1).bundle());
    let options = NodeOptions::new("a", system.port(1)).poll_ms(NEVER_MS);
    let other = system.node(options);
    system.until_settled(&other, 1);
    let mut node = system.settled_box("b", 2, 1);
    node.end_agent();
    node.stop_software();
    let asleep = other.freeze_agent();
    node.options.addresses = ["127.0.0.1", "127.0.0.2"].map(str::to_owned).into();
    node.start_agent();
    until_waiting(&system, &node, "a");
    assert!(refused(system.port(2)), "it serves");
    drop(asleep);
    until("the software to listen", || {
        (!refused(system.port(2))).then_some(())
    });
    // Where nothing has changed nobody is waited for: software that ended is started at once.
    node.end_agent();
    node.stop_software();
    let _asleep = other.freeze_agent();
    node.start_agent();
    until("the software to listen", || {
        (!refused(system.port(2))).then_some(())
    });
}

#[test]
fn software_that_runs_keeps_the_variables_that_it_was_started_with() {
    let system = System::with(&Boxes::version(1).bundle());
    let mut node = system.settled_box("a", 1, 1);
    let pid = node.running_child();
    let ports = || {
        let endpoints = system.fact("a").report.endpoints;
        endpoints.iter().map(|it| it.port).collect::<Vec<_>>()
    };
    node.end_agent();
    node.options.variables = vec![("port".to_owned(), system.port(2).to_string())];
    node.start_agent();
    let told = format!("port: {} instead of {}", system.port(1), system.port(2));
    system.until_fact(&node, "told", |fact| {
        let mut remarks = fact.report.remarks.iter();
        remarks.any(|remark| remark.contains(&told) && remark.contains("upstart stop"))
    });
    assert_eq!((ports(), node.running_child()), (vec![system.port(1)], pid));
    assert_eq!(system.events_of(&node, "node.variables_kept").len(), 1);
    // What is advised.
    node.end_agent();
    node.stop_software();
    node.start_agent();
    until("the software to listen", || {
        (!refused(system.port(2))).then_some(())
    });
    system.until_fact(&node, "without a remark", |fact| {
        fact.report.remarks.is_empty() && fact.report.endpoints[0].port == system.port(2)
    });
}

#[test]
fn a_member_that_cannot_be_told_is_never_answered_at_another_version() {
    let (system, _settled, mut front) = at_two();
    front.kill_agent();
    system.until_fact(&front, "out of reach", |fact| !fact.reachable);
    // Its software runs on, and knows nothing of a node that joins now.
    let joined = system.settled_box("late", 2, 2);
    let answer = relayed(&system, 2);
    assert!(answer["error"].is_string(), "{answer}");
    let outside = Caller::unlabelled(system.port(2), 1).and_then(|mut caller| caller.get("apples"));
    assert!(is_crash(
        &outside.expect_err("nobody can tell whose call it is")
    ));
    system.until_fact(&joined, "counting what it reset", |fact| {
        fact.report
            .counters
            .get("reset.maybe_a_member")
            .is_some_and(|resets| *resets >= 2)
    });
    // Who was known before is not in doubt.
    assert_eq!(relayed(&system, 1), stored());
    let mut outside = Caller::unlabelled(system.port(1), 1).expect("connected");
    assert_eq!(outside.get("apples").expect("answered"), Some(7));

    front.start_agent();
    until("the front to know it", || {
        (relayed(&system, 2) == stored()).then_some(())
    });
    until("callers from outside to be served again", || {
        let mut outside = Caller::unlabelled(system.port(2), 1).ok()?;
        (outside.get("apples").ok()? == Some(7)).then_some(())
    });
}

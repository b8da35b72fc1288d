//! Versions that a node has staged, or learns of from its callers; ports that come and go with them.

use crate::harness::{Boxes, Caller, Node, NodeOptions, System, is_crash, refused, until};
use model::api::{PublicRequest, RetireRequest};
use model::ids::Version;
use std::net::TcpListener;

/// A poll interval at which nothing is learned by polling within a test.
const NEVER_MS: u64 = 3_600_000;

#[test]
fn a_call_at_a_version_that_is_not_staged_waits_while_it_is_fetched() {
    let system = System::with(&Boxes::version(1).bundle());
    let options = NodeOptions::new("a", system.port(1)).poll_ms(NEVER_MS);
    let node = system.node(options);
    system.until_settled(&node, 1);
    Caller::unlabelled(system.port(1), 1)
        .and_then(|mut caller| caller.put("apples", 7))
        .expect("answered");
    system.publish(&Boxes::version(2).schedule("approval = true").bundle());
    assert_eq!(
        system.fact("a").report.status.staged,
        Version(1),
        "it polled"
    );
    let mut caller = system.member(system.port(1), 2).expect("connected");
    assert_eq!(caller.get("apples").expect("answered"), Some(7));
    let fact = system.until_staged(&node, 2);
    assert_eq!(fact.report.status.version, Version(1));
}

#[test]
fn a_version_that_nobody_published_is_not_waited_for_beyond_the_bound() {
    let system = System::with(&Boxes::version(1).setting("hold_ms = 700").bundle());
    let _node = system.settled_box("a", 1, 1);
    let answer = system
        .member(system.port(1), 9)
        .and_then(|mut caller| caller.get("apples"));
    assert!(is_crash(&answer.expect_err("version 9 does not exist")));
}

/// Two versions on two ports, the second one approved by hand.
fn moving(system: &System) -> Node {
    let node = system.settled_box("a", 1, 1);
    let second = Boxes::version(2)
        .port("vars.port + 10")
        .schedule("approval = true");
    system.publish(&second.bundle());
    system.until_staged(&node, 2);
    node
}

#[test]
fn each_versions_port_is_open_from_its_staging_to_its_retirement() {
    let system = System::with(&Boxes::version(1).bundle());
    let (old, new) = (system.port(1), system.port(11));
    assert!(refused(new));
    let node = moving(&system);
    let mut old_caller = system.member(old, 1).expect("connected");
    old_caller.put("apples", 7).expect("answered");
    let mut new_caller = system
        .member(new, 2)
        .expect("the staged version's port is open");
    assert_eq!(new_caller.get("apples").expect("answered"), Some(7));
    let facts = system.fact("a").report.endpoints;
    let ports: Vec<(u32, u16)> = facts.iter().map(|at| (at.version.0, at.port)).collect();
    assert_eq!(ports, [(1, old), (2, new)]);

    system.approve(2, None);
    system.until_settled(&node, 2);
    assert_eq!(
        new_caller.get("apples").expect("the same connection"),
        Some(7)
    );
    let mut old_caller = system.member(old, 1).expect("the old port is served on");
    old_caller.put("apples", 8).expect("answered");
    assert_eq!(new_caller.get("apples").expect("answered"), Some(8));
    let mut unlabelled = Caller::unlabelled(old, 1).expect("connected");
    assert_eq!(unlabelled.get("apples").expect("answered"), Some(8));

    let public = PublicRequest {
        service: None,
        version: Version(2),
    };
    system.ask(system.client.set_public(&public));
    drop(unlabelled);
    let close = RetireRequest {
        version: Version(1),
        close: true,
    };
    system.ask(system.client.retire(&close));
    let error = until("the old caller to be reset", || {
        old_caller.get("apples").err()
    });
    assert!(is_crash(&error), "{error}");
    until("the old port to close", || refused(old).then_some(()));
    until("the retirement to end", || {
        (system.view().retired_through == Version(1)).then_some(())
    });
    let late = system
        .member(new, 1)
        .and_then(|mut caller| caller.get("apples"));
    assert!(is_crash(&late.expect_err("a retired label")));
    system.until_fact(&node, "counting what it reset", |fact| {
        fact.report
            .counters
            .get("reset.retired")
            .is_some_and(|resets| *resets >= 2)
    });
    assert_eq!(
        new_caller
            .get("apples")
            .expect("the present version goes on"),
        Some(8)
    );
    until("the old state to be deleted", || {
        (!node.data.join("versions/1.1/state").exists()).then_some(())
    });
}

#[test]
fn a_service_that_the_nodes_version_does_not_have_is_refused() {
    let admin = "[class.box.service.admin]\nport = \"vars.port + 20\"\nprotocol = \"http\"";
    let system = System::with(&Boxes::version(1).and(admin).bundle());
    let node = system.settled_box("a", 1, 1);
    let debug = admin.replace("admin", "debug").replace("20", "21");
    let second = Boxes::version(2).port("vars.port + 10").and(&debug);
    system.publish(&second.schedule("approval = true").bundle());
    system.until_staged(&node, 2);
    assert!(!refused(system.port(11)), "a changed port is open");
    assert!(refused(system.port(22)), "a new service cannot be answered");
    system.approve(2, None);
    system.until_settled(&node, 2);
    assert!(!refused(system.port(1)), "the old version's port is open");
    assert!(
        refused(system.port(21)),
        "a service that is gone cannot be answered"
    );
}

#[test]
fn a_versions_port_outlives_a_killed_agent_and_a_restarted_one() {
    let system = System::with(&Boxes::version(1).bundle());
    let (old, new) = (system.port(1), system.port(11));
    let mut node = moving(&system);
    Caller::unlabelled(old, 1)
        .and_then(|mut caller| caller.put("apples", 7))
        .expect("answered");
    node.kill_agent();
    // The holder listens: the call waits for the next agent.
    let mut caller = system.member(new, 2).expect("connected without an agent");
    caller.send("GET", "/items?id=apples", None).expect("sent");
    node.start_agent();
    assert_eq!(caller.receive().expect("answered").body["amount"], 7);
    system.approve(2, None);
    system.until_settled(&node, 2);
    node.kill_agent();
    let mut caller = system.member(old, 1).expect("connected without an agent");
    caller.send("GET", "/boxes/apples", None).expect("sent");
    node.start_agent();
    assert_eq!(caller.receive().expect("answered").body["count"], 7);
}

#[test]
fn no_node_flips_before_every_reachable_node_has_staged() {
    let system = System::with(&Boxes::version(1).bundle());
    let first = system.settled_box("a", 1, 1);
    let mut second = system.settled_box("b", 2, 1);
    // A node that cannot stage: its agent is not there to do so, yet was heard a moment ago.
    second.kill_agent();
    system.publish(&Boxes::version(2).bundle());
    let fact = system.until_fact(&first, "waiting for the other", |fact| {
        fact.report
            .status
            .reason
            .as_ref()
            .is_some_and(|reason| reason.contains('b'))
    });
    assert_eq!(fact.report.status.version, Version(1));
    second.start_agent();
    system.until_settled(&first, 2);
    system.until_settled(&second, 2);
    let staged = system.events_of(&second, "node.staged")[0].sequence;
    let left = system.events_of(&first, "node.stopping")[0].sequence;
    assert!(staged < left, "it left before the other had staged");
}

#[test]
fn a_node_that_is_not_heard_of_any_more_holds_nobody_up() {
    let system = System::with(&Boxes::version(1).bundle());
    let first = system.settled_box("a", 1, 1);
    let mut second = system.settled_box("b", 2, 1);
    second.kill_agent();
    system.publish(&Boxes::version(2).bundle());
    system.until_settled(&first, 2);
    assert!(!system.fact("b").reachable);
    // It serves its old version all the while, and follows when it is back.
    let mut caller = Caller::unlabelled(system.port(2), 1).expect("connected");
    caller.put("pears", 1).expect("answered");
    second.start_agent();
    system.until_settled(&second, 2);
}

#[test]
fn versions_that_follow_one_another_closely_are_all_staged() {
    let system = System::with(&Boxes::version(1).bundle());
    let options = NodeOptions::new("a", system.port(1)).poll_ms(20);
    let node = system.node(options);
    system.until_settled(&node, 1);
    Caller::unlabelled(system.port(1), 1)
        .and_then(|mut caller| caller.put("apples", 7))
        .expect("answered");
    let later = |version| Boxes::version(version).schedule("approval = true");
    system.publish(&later(2).bundle());
    system.publish(&later(3).bundle());
    let revised = later(2).arguments(&["--start-delay-ms", "1"]);
    system.revise(&revised.bundle());
    system.publish(&later(4).same(3).bundle());
    system.until_fact(&node, "at the last of them", |fact| {
        fact.report.status.staged == Version(4) && node.data.join("versions/2.2/bundle").exists()
    });
    for version in [1, 2, 3] {
        let mut caller = system.member(system.port(1), version).expect("connected");
        assert_eq!(
            caller.get("apples").expect("answered"),
            Some(7),
            "version {version}"
        );
    }
    for place in ["1.1", "2.2", "3.1", "4.1"] {
        let bundle = node
            .data
            .join("versions")
            .join(place)
            .join("bundle/upgrade.toml");
        assert!(bundle.exists(), "{place} is not there");
    }
    until("the superseded revision to be deleted", || {
        (!node.data.join("versions/2.1").exists()).then_some(())
    });
    for version in [2, 3, 4] {
        system.approve(version, None);
        system.until_fact(&node, "there", |fact| {
            fact.report.status.version == Version(version)
        });
    }
    let system_id = system.view().system_id;
    let mut caller = Caller::labelled_as(system.port(1), system_id, 4, 3).expect("connected");
    assert_eq!(caller.get("apples").expect("answered"), Some(7));
}

#[test]
fn callers_are_released_though_a_port_of_another_version_is_taken() {
    let system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    let admin = |offset: u32, interface: &str| {
        format!(
            "[class.box.service.admin]\nport = \"vars.port + {offset}\"\nprotocol = \"http\"\n{interface}"
        )
    };
    let second = Boxes::version(2).and(&admin(5, ""));
    let second = second.schedule("approval = true");
    system.publish(&second.bundle());
    let third = Boxes::version(3).same(2);
    let third = third.and(&admin(10, "interface = \"same\"\n"));
    system.publish(&third.schedule("approval = true").bundle());
    system.until_staged(&node, 3);
    let taken = TcpListener::bind(("127.0.0.1", system.port(11))).expect("free");
    system.approve(2, None);
    system.until_fact(&node, "at version 2", |fact| {
        fact.report.status.version == Version(2)
    });
    let released = until("the release", || {
        system.events_of(&node, "node.released").pop()
    });
    assert_eq!(released.version, Some(Version(2)));
    let mut caller = system.member(system.port(1), 2).expect("connected");
    caller.put("apples", 7).expect("answered");
    // What is missing is said, and made up for.
    system.until_fact(&node, "missing a port", |fact| {
        let reason = fact.report.status.reason.as_deref();
        reason.is_some_and(|reason| reason.contains("which another version needs"))
    });
    assert!(system.counter("a", "unavailable_ms.2") > 0);
    drop(taken);
    system.approve(3, None);
    system.until_settled(&node, 3);
}

//! What operators do and what schedules keep: limits, pauses, approvals, retirement, nodes that are gone for good.

use crate::harness::{Boxes, Caller, Node, NodeOptions, System, is_crash, until, until_ok};
use client::ClientError;
use model::api::{PauseRequest, Phase, Problem, PublicRequest, RetireRequest};
use model::ids::Version;

/// Boxes of one replica group, each settled at version 1.
fn group(system: &System, names: &[&str]) -> Vec<Node> {
    let nodes: Vec<Node> = (1..)
        .zip(names)
        .map(|(number, name)| {
            let options = NodeOptions::new(name, system.port(number)).attribute("group", "x");
            system.node(options)
        })
        .collect();
    for node in &nodes {
        system.until_settled(node, 1);
    }
    nodes
}

/// From when to when each node was unavailable for version 2, by the server's clock and history.
fn absences(system: &System, nodes: &[Node]) -> Vec<(u64, u64)> {
    let mut absences: Vec<(u64, u64)> = nodes
        .iter()
        .map(|node| {
            let at = |kind: &str, number: usize| system.events_of(node, kind)[number].sequence;
            (at("node.stopping", 0), at("node.settled", 1))
        })
        .collect();
    absences.sort_unstable();
    absences
}

#[test]
fn a_rolling_upgrade_takes_at_most_one_of_a_group_away_at_once() {
    let system = System::with(&Boxes::version(1).bundle());
    let nodes = group(&system, &["a", "b", "c"]);
    let other = NodeOptions::new("d", system.port(4)).attribute("group", "y");
    let other = system.node(other);
    system.until_settled(&other, 1);
    let rolling = "max_unavailable = 1, group_by = \"group\"";
    system.publish(&Boxes::version(2).schedule(rolling).bundle());
    let mut most = 0;
    until_ok("all to be upgraded", || {
        let view = system.view();
        let held = view
            .permits
            .iter()
            .filter(|permit| permit.group.ends_with('x'));
        most = held.count().max(most);
        let behind = view
            .nodes
            .iter()
            .filter(|node| node.report.status.version < Version(2));
        match behind.count() {
            0 => Ok(()),
            number => Err(format!("{number} are behind")),
        }
    });
    assert_eq!(most, 1, "so many permits of the group were held at once");
    for node in nodes.iter().chain([&other]) {
        system.until_settled(node, 2);
    }
    let absences = absences(&system, &nodes);
    for pair in absences.windows(2) {
        assert!(pair[0].1 < pair[1].0, "two were away at once: {absences:?}");
    }
    let waited = nodes
        .iter()
        .flat_map(|node| system.events_of(node, "node.waits"));
    assert!(waited.count() > 0, "nobody says that it waits");
    until("all permits to be given back", || {
        system.view().permits.is_empty().then_some(())
    });
}

#[test]
fn a_node_that_died_while_it_was_away_counts_as_unavailable_until_it_is_forgotten() {
    let system = System::with(&Boxes::version(1).bundle());
    let mut nodes = group(&system, &["a", "b", "c"]);
    nodes[1].end_agent();
    nodes[1].options.kill_at = Some("transforming:before".to_owned());
    nodes[1].start_agent();
    let rolling = Boxes::version(2).schedule("max_unavailable = 1, approval = true");
    system.publish(&rolling.bundle());
    for node in &nodes {
        system.until_staged(node, 2);
    }
    system.approve(2, Some(&nodes[1]));
    nodes[1].until_agent_dies();
    system.approve(2, None);
    for node in [&nodes[0], &nodes[2]] {
        let fact = system.until_fact(node, "waiting for the dead one", |fact| {
            let reason = fact.report.status.reason.as_deref();
            reason.is_some_and(|reason| reason.contains('b') && !reason.contains("approv"))
        });
        assert_eq!(fact.report.status.version, Version(1));
    }
    // Also when it is not heard of any more: its permit does not expire.
    until("the dead one to be unreachable", || {
        (!system.fact("b").reachable).then_some(())
    });
    assert_eq!(system.fact("a").report.status.version, Version(1));
    assert_eq!(system.view().permits.len(), 1);

    system.ask(system.client.forget("b"));
    system.until_settled(&nodes[0], 2);
    system.until_settled(&nodes[2], 2);
    let mut names: Vec<String> = system
        .view()
        .nodes
        .into_iter()
        .map(|node| node.name)
        .collect();
    names.sort();
    assert_eq!(names, ["a", "c"]);
}

#[test]
fn a_broken_permit_is_fenced_and_the_node_asks_anew() {
    let mut system = System::with(&Boxes::version(1).bundle());
    let nodes = group(&system, &["a"]);
    let slow = Boxes::version(2)
        .schedule("max_unavailable = 1")
        .transform_argument("sleep_ms=800");
    system.publish(&slow.bundle());
    let permit = until("a confirmed permit", || {
        let permits = system.view().permits;
        permits.into_iter().find(|permit| permit.confirmed)
    });
    system.ask(system.client.break_permit(permit.permit));
    let again = system.try_ask(system.client.confirm_permit(permit.permit));
    assert_eq!(problem(again.err()).status, 410);
    // What has begun is ended all the same; the server's memory of the break outlives it.
    system.until_settled(&nodes[0], 2);
    system.server.restart();
    let again = system.try_ask(system.client.confirm_permit(permit.permit));
    assert_eq!(problem(again.err()).status, 410);
}

fn problem(error: Option<ClientError>) -> Problem {
    match error {
        Some(ClientError::Problem(problem)) => problem,
        other => panic!("no refusal: {other:?}"),
    }
}

#[test]
fn a_pause_holds_every_node_at_its_version_with_the_reason() {
    let system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    let pause = PauseRequest {
        reason: "the audit".to_owned(),
    };
    system.ask(system.client.pause(&pause));
    system.publish(&Boxes::version(2).bundle());
    let fact = system.until_fact(&node, "waiting for the audit", |fact| {
        let reason = fact.report.status.reason.as_deref();
        reason.is_some_and(|reason| reason.contains("the audit"))
    });
    assert_eq!(fact.report.status.version, Version(1));
    assert_eq!(fact.report.status.staged, Version(2), "staging goes on");
    system.ask(system.client.resume());
    system.until_settled(&node, 2);
}

#[test]
fn an_approval_may_be_given_to_one_node_and_then_to_all() {
    let system = System::with(&Boxes::version(1).bundle());
    let nodes = group(&system, &["a", "b"]);
    system.publish(&Boxes::version(2).schedule("approval = true").bundle());
    for node in &nodes {
        system.until_fact(node, "waiting for approval", |fact| {
            let reason = fact.report.status.reason.as_deref();
            reason.is_some_and(|reason| reason.contains("upstart approve 2"))
        });
    }
    system.approve(2, Some(&nodes[1]));
    system.until_settled(&nodes[1], 2);
    assert_eq!(system.fact("a").report.status.version, Version(1));
    system.approve(2, None);
    system.until_settled(&nodes[0], 2);
}

/// The same boxes under another name; the gateways of these tests.
const GATES: &str = r#"
[class.gate]
schedule = { after = ["box"], after_soak_ms = 1200 }

[class.gate.software]
path = "software"
command = ["python3", "${software}/box.py", "--dialect", "1", "--port", "${ports.door}", "--state", "${state}"]

[class.gate.service.door]
port = "vars.port"
protocol = "http"

[class.gate.lifecycle]
probe = { http = "/ready", service = "door", interval_ms = 50 }
"#;

#[test]
fn a_class_waits_for_another_to_settle_and_soak() {
    let first = GATES.replace("schedule = { after = [\"box\"], after_soak_ms = 1200 }", "");
    let system = System::with(&Boxes::version(1).and(&first).bundle());
    let boxes = system.settled_box("a", 1, 1);
    let gate = system.node(NodeOptions::new("b", system.port(2)).class("gate"));
    system.until_settled(&gate, 1);
    let second = GATES.replace(
        "protocol = \"http\"",
        "protocol = \"http\"\ninterface = \"same\"",
    );
    let slow = Boxes::version(2).transform_argument("sleep_ms=500");
    system.publish(&slow.and(&second).bundle());
    let fact = system.until_fact(&gate, "waiting until a time", |fact| {
        fact.report.status.until_ms.is_some()
    });
    assert!(fact.report.status.reason.is_some());
    system.until_settled(&gate, 2);
    let settled = system.events_of(&boxes, "node.settled")[1].at_ms;
    let left = system.events_of(&gate, "node.stopping")[0].at_ms;
    assert!(left >= settled + 1_200, "soaked for {} ms", left - settled);
}

#[test]
fn retirement_is_refused_with_what_holds_it_then_done_in_two_phases() {
    let system = System::with(&Boxes::version(1).bundle());
    let mut nodes = group(&system, &["a", "b"]);
    let retire = |close| {
        let version = Version(1);
        system.try_ask(system.client.retire(&RetireRequest { version, close }))
    };
    let refusal = |what: &str| {
        let problem = until(&format!("`{what}` to hold it"), || {
            let problem = problem(retire(false).err());
            problem.detail.contains(what).then_some(problem)
        });
        assert_eq!(problem.status, 409);
    };
    system.publish(&Boxes::version(2).schedule("approval = true").bundle());
    system.until_staged(&nodes[0], 2);
    refusal("a");
    for node in &nodes {
        system.approve(2, Some(node));
        system.until_settled(node, 2);
    }
    refusal("box/data");
    let public = PublicRequest {
        service: Some("box/data".to_owned()),
        version: Version(2),
    };
    system.ask(system.client.set_public(&public));
    let mut unlabelled = Caller::unlabelled(system.port(2), 2).expect("connected");
    until("unlabelled callers to be served at 2", || {
        unlabelled = Caller::unlabelled(system.port(2), 2).ok()?;
        unlabelled
            .call("GET", "/items?id=apples", None)
            .is_ok_and(|answer| answer.status == 410)
            .then_some(())
    });
    system.until_fact(&nodes[0], "without the callers that came before", |fact| {
        !fact.report.connections.contains_key(&Version(1))
    });
    let mut old = system.member(system.port(1), 1).expect("connected");
    old.put("apples", 7).expect("answered");
    system.until_fact(&nodes[0], "reporting the connection", |fact| {
        fact.report.connections.contains_key(&Version(1))
    });
    refusal("connection");
    drop(old);

    // One node is not there to acknowledge: the second phase waits for it.
    system.until_fact(&nodes[1], "without open connections", |fact| {
        fact.report.connections.is_empty()
    });
    nodes[1].kill_agent();
    until_ok("the first phase to begin", || retire(false));
    let answer = retire(false).expect("asked again, it is the same");
    assert_eq!(answer.retiring_through, Version(1));
    until("the other node to acknowledge", || {
        let waits = retire(false).ok()?.waiting_for;
        (waits == ["b"]).then_some(())
    });
    assert_eq!(system.view().retired_through, Version(0));
    let reset = system
        .member(system.port(1), 1)
        .and_then(|mut caller| caller.get("apples"));
    assert!(is_crash(&reset.expect_err("the first phase resets")));
    nodes[1].start_agent();
    until("the second phase", || {
        (system.view().retired_through == Version(1)).then_some(())
    });
    for node in &nodes {
        let state = node.data.join("versions/1.1/state");
        until("the old state to be deleted", || {
            (!state.exists()).then_some(())
        });
    }
    assert_eq!(
        unlabelled
            .get("apples")
            .expect("the present version goes on"),
        None
    );
}

#[test]
fn a_held_call_without_a_label_is_served_at_what_is_public_then() {
    let system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    let port = system.port(1);
    Caller::unlabelled(port, 1)
        .and_then(|mut caller| caller.put("apples", 7))
        .expect("answered");
    let second = Boxes::version(2).schedule("approval = true");
    system.publish(&second.transform_argument("sleep_ms=4000").bundle());
    system.until_staged(&node, 2);
    let public = |version| PublicRequest {
        service: None,
        version: Version(version),
    };
    system.ask(system.client.set_public(&public(2)));
    until("callers to be served at version 2", || {
        let answered = Caller::unlabelled(port, 2).and_then(|mut caller| caller.get("apples"));
        (answered.ok() == Some(Some(7))).then_some(())
    });
    system.approve(2, None);
    system.until_phase(&node, Phase::Transforming);
    let mut caller = Caller::unlabelled(port, 1).expect("connected");
    let held = std::thread::spawn(move || caller.get("apples"));
    // Long enough for it to be held, while version 2 is public.
    std::thread::sleep(std::time::Duration::from_millis(500));
    system.ask(system.client.set_public(&public(1)));
    let answered = held.join().expect("no panic");
    assert_eq!(answered.expect("answered"), Some(7));
    system.until_settled(&node, 2);
}

#[test]
fn a_node_whose_version_was_retired_while_it_was_away_upgrades_before_it_serves() {
    let system = System::with(&Boxes::version(1).bundle());
    let mut nodes = group(&system, &["a", "b"]);
    Caller::unlabelled(system.port(2), 1)
        .and_then(|mut caller| caller.put("apples", 7))
        .expect("answered");
    nodes[1].end_agent();
    nodes[1].stop_software();
    let printed = nodes[1].printed("speaks dialect 1");
    system.publish(&Boxes::version(2).setting("require_staged = false").bundle());
    system.until_settled(&nodes[0], 2);
    let public = PublicRequest {
        service: None,
        version: Version(2),
    };
    system.ask(system.client.set_public(&public));
    // It holds the retirement up, so that somebody must say that it does not count.
    until("the absent node to hold it up", || {
        let version = Version(1);
        let refused = system.try_ask(system.client.retire(&RetireRequest {
            version,
            close: false,
        }));
        problem(refused.err()).detail.contains('b').then_some(())
    });
    system.ask(system.client.forget("b"));
    let close = RetireRequest {
        version: Version(1),
        close: true,
    };
    system.ask(system.client.retire(&close));
    until("the retirement to end", || {
        (system.view().retired_through == Version(1)).then_some(())
    });
    nodes[1].start_agent();
    let fact = system.until_fact(&nodes[1], "back at 2", |fact| {
        let status = &fact.report.status;
        status.version == Version(2) && status.phase == Phase::Settled
    });
    assert_eq!(fact.name, "b");
    assert_eq!(
        nodes[1].printed("speaks dialect 1"),
        printed,
        "it ran a retired version"
    );
    let mut caller = system.member(system.port(2), 2).expect("connected");
    assert_eq!(caller.get("apples").expect("answered"), Some(7));
}

//! Agents killed at every record of the journal, before and after its action.

use crate::harness::{Boxes, Caller, Node, NodeOptions, System, alive, pids_naming, until};
use model::api::Phase;
use model::ids::Version;

/// Starts a box with its number stored, ready to be upgraded by an agent that dies at `place`.
fn doomed(system: &System, number: u16, place: &str) -> Node {
    let port = system.port(number);
    let mut node = system.node(NodeOptions::new(place, port));
    system.until_settled(&node, 1);
    let mut caller = Caller::unlabelled(port, 1).expect("connected");
    caller.put("apples", i64::from(number)).expect("answered");
    node.end_agent();
    node.options.kill_at = Some(place.to_owned());
    node.start_agent();
    node
}

/// The node ends where it should, with its number, and one process.
fn is_at(system: &System, node: &Node, number: u16, version: u32) {
    let port = system.port(number);
    let mut caller = system.member(port, version).expect("connected");
    let read = caller.get("apples").expect("answered");
    assert_eq!(read, Some(i64::from(number)), "{}", node.options.name);
    let pid = caller.last.expect("an answer").pid();
    assert_eq!(node.running_child(), pid);
    let mut old = system.member(port, 1).expect("connected");
    assert_eq!(
        old.get("apples").expect("answered"),
        Some(i64::from(number))
    );
    let left = node.data.join("transform");
    assert!(!left.exists(), "{} is left", left.display());
}

/// Kills the agents of so many nodes at these places of an upgrade; each next agent brings its node to version 2.
fn killed_at(records: &[&str]) {
    let system = System::with(&Boxes::version(1).bundle());
    let places: Vec<String> = records
        .iter()
        .flat_map(|record| [format!("{record}:before"), format!("{record}:after")])
        .collect();
    let mut nodes: Vec<Node> = Vec::new();
    for (number, place) in (1..).zip(&places) {
        nodes.push(doomed(&system, number, place));
    }
    system.publish(&Boxes::version(2).setting("require_staged = false").bundle());
    for node in &mut nodes {
        node.until_agent_dies();
        node.options.kill_at = None;
        node.start_agent();
    }
    for (number, node) in (1..).zip(&nodes) {
        system.until_settled(node, 2);
        is_at(&system, node, number, 2);
    }
}

#[test]
fn an_agent_killed_on_its_way_to_the_transform_is_followed_by_one_that_ends_it() {
    killed_at(&["staged", "stopping", "transforming"]);
}

#[test]
fn an_agent_killed_from_the_commit_on_is_followed_by_one_that_ends_it() {
    killed_at(&["committed", "probing", "settled"]);
}

#[test]
fn an_agent_killed_while_it_joins_is_followed_by_one_that_joins() {
    let system = System::with(&Boxes::version(1).bundle());
    let places = [
        "joining:before",
        "joining:after",
        "settled:before",
        "settled:after",
        "released:before",
    ];
    for (number, place) in (1..).zip(places) {
        let options = NodeOptions::new(place, system.port(number)).kill_at(place);
        let mut node = system.node(options);
        node.until_agent_dies();
        node.options.kill_at = None;
        node.start_agent();
        system.until_settled(&node, 1);
        let mut caller = Caller::unlabelled(system.port(number), 1).expect("connected");
        caller.put("apples", 1).expect("answered");
        assert_eq!(caller.last.expect("an answer").pid(), node.running_child());
        node.end_agent();
        node.stop_software();
    }
}

#[test]
fn an_agent_killed_on_the_way_back_is_followed_by_one_that_goes_back() {
    let places = [
        "flipping_back:before",
        "flipping_back:after",
        "blocked:before",
        "blocked:after",
    ];
    // Each in a system of its own: a node that is blocked holds the others of its class.
    places.into_iter().for_each(killed_on_the_way_back_at);
}

fn killed_on_the_way_back_at(place: &str) {
    let system = System::with(&Boxes::version(1).bundle());
    let mut node = doomed(&system, 1, place);
    let probe = "http = \"/health\", service = \"data\", interval_ms = 50, timeout_ms = 700";
    let second = Boxes::version(2).setting("require_staged = false");
    let broken = second.clone().arguments(&["--unhealthy"]).probe(probe);
    system.publish(&broken.bundle());
    node.until_agent_dies();
    node.options.kill_at = None;
    node.start_agent();
    let fact = system.until_phase(&node, Phase::Blocked);
    assert_eq!(fact.report.status.version, Version(1));
    let reason = fact.report.status.reason.unwrap_or_default();
    assert!(reason.contains("probe"), "{reason}");
    is_at(&system, &node, 1, 1);
    system.revise(&second.bundle());
    system.until_settled(&node, 2);
    is_at(&system, &node, 1, 2);
}

#[test]
fn an_agent_killed_again_and_again_during_a_transform_gives_the_upgrade_up_at_last() {
    let system = System::with(&Boxes::version(1).bundle());
    let mut node = doomed(&system, 1, "nowhere:before");
    let slow = Boxes::version(2).transform_argument("sleep_ms=6000");
    system.publish(&slow.bundle());
    let mut killed = 0;
    until("a block", || {
        let fact = system.fact("nowhere:before");
        if fact.report.status.phase == Phase::Blocked {
            return Some(());
        }
        let transform = pids_naming(&node.data.join("versions/2.1/bundle/transform.py"));
        if !transform.is_empty() {
            node.kill_agent();
            killed += 1;
            node.start_agent();
            until("the killed agent's transform to end", || {
                (!transform.iter().any(|pid| alive(*pid))).then_some(())
            });
        }
        None
    });
    assert!(killed > 1, "the first attempt was the last");
    is_at(&system, &node, 1, 1);
    system.revise(&Boxes::version(2).bundle());
    system.until_settled(&node, 2);
    is_at(&system, &node, 1, 2);
}

#[test]
fn a_command_before_the_stop_ends_with_its_agent_and_runs_again() {
    let system = System::start();
    let ran = system.folder().join("ran");
    let command = format!("echo $$ >> {}; exec sleep 600", ran.display());
    let before_stop = format!("before_stop = {{ command = ['sh', '-c', '{command}'] }}");
    system.publish(&Boxes::version(1).and(&before_stop).bundle());
    let mut node = system.settled_box("a", 1, 1);
    system.publish(&Boxes::version(2).bundle());
    let runs = |count: usize| {
        until("the command to run", || {
            let text = std::fs::read_to_string(&ran).ok()?;
            let pids: Vec<i32> = text.lines().filter_map(|pid| pid.parse().ok()).collect();
            (pids.len() == count).then(|| pids[count - 1])
        })
    };
    let first = runs(1);
    assert!(alive(first));
    node.kill_agent();
    until("the command to end", || (!alive(first)).then_some(()));
    node.start_agent();
    let last = runs(2);
    // The command may need others' answers, and others this one's: callers at both versions are served.
    for version in [1, 2] {
        let mut caller = system.member(system.port(1), version).expect("connected");
        let answer = caller.get("apples");
        assert_eq!(answer.expect("it serves on"), None, "version {version}");
    }
    assert!(alive(last));
}

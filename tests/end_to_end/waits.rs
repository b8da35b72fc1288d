//! Whatever keeps a node from what it should do for longer than some seconds is told, truly, and told no more when it is over.

use crate::harness::{Boxes, Frozen, Node, NodeOptions, System};
use model::api::{ChildState, NodeStatus, Phase};
use model::ids::Version;

/// Waits until the node's reason says this.
fn until_told(system: &System, node: &Node, words: &str) -> NodeStatus {
    let fact = system.until_fact(node, &format!("told `{words}`"), |fact| {
        let reason = fact.report.status.reason.as_ref();
        reason.is_some_and(|reason| reason.contains(words))
    });
    fact.report.status
}

/// Waits until nothing is in the node's way any more.
fn until_over(system: &System, node: &Node, words: &str) {
    system.until_fact(node, &format!("told `{words}` no more"), |fact| {
        let reason = fact.report.status.reason.as_ref();
        reason.is_none_or(|reason| !reason.contains(words))
    });
}

#[test]
fn a_holder_that_stands_still_is_told_and_nothing_counts_as_staged_before_its_ports_are_open() {
    let system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    let frozen = Frozen::new(node.holder().expect("a holder runs"));
    let holder = node.holder().expect("a holder runs");
    let second = Boxes::version(2).port("vars.port + 1");
    system.publish(&second.schedule("approval = true").bundle());
    let words = format!("the node's holder, process {holder}, does not answer");
    let status = until_told(&system, &node, &words);
    assert_ne!(status.phase, Phase::Staged, "{status:?}");
    assert_eq!(status.staged, Version(1), "{status:?}");
    node.until_said("the holder does not answer");
    drop(frozen);
    until_over(&system, &node, &words);
    system.until_staged(&node, 2);
    system.until_phase(&node, Phase::Staged);
}

#[test]
fn software_that_was_stopped_is_told_as_such() {
    let system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    let pid = node.running_child();
    let frozen = node.freeze_software();
    let words = format!("main process {pid} is stopped");
    let status = until_told(&system, &node, &words);
    assert_eq!(status.child, ChildState::Silent);
    drop(frozen);
    until_over(&system, &node, &words);
    system.until_fact(&node, "running", |fact| {
        fact.report.status.child == ChildState::Running
    });
}

#[test]
fn callers_that_are_reset_for_want_of_descriptors_are_counted_and_told_with_what_to_do() {
    let system = System::with(&Boxes::version(1).bundle());
    let options = NodeOptions::new("a", system.port(1)).open_files(80);
    let node = system.node(options);
    system.until_settled(&node, 1);
    system.publish(&Boxes::version(2).schedule("approval = true").bundle());
    system.until_staged(&node, 2);
    // Those that are reset may be told so already while they connect.
    let callers: Vec<_> = (0..200)
        .filter_map(|_| system.member(system.port(1), 2).ok())
        .collect();
    until_told(&system, &node, "no more than 80 files open");
    assert!(system.counter("a", "reset.no_descriptors") > 0);
    node.until_said("raise its hard limit");
    drop(callers);
}

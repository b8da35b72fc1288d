//! What a schedule asks at the node itself: whether its software is idle, which role it has, and that it hands that over first.

use crate::harness::{Boxes, Bundle, Node, System};
use model::api::Phase;
use std::fs;
use std::path::PathBuf;

/// The role of a box stands in a file of its group; whoever is asked to hand it over gives it to the other.
const ROLE: &str = r#"
import sys
what, file, name = sys.argv[1:]
leader = open(file).read().strip()
if what == "role":
    print("looks into the file")
    print("leader" if leader == name else "follower")
elif leader == name:
    other = "b" if name == "a" else "a"
    open(file + ".handed", "a").write(name + "\n")
    open(file, "w").write(other)
"#;

/// Says how much there is to do.
const IDLE: &str = r#"
import os, sys
jobs = os.listdir(sys.argv[1])
if jobs:
    print(len(jobs), "jobs run, with state at", sys.argv[2])
    sys.exit(1)
"#;

fn two(schedule: &str) -> Bundle {
    let bundle = Boxes::version(2).schedule(schedule).bundle();
    bundle.file("role.py", ROLE).file("idle.py", IDLE)
}

/// How often a node has begun to stop, in the order of the history.
fn stopped(system: &System) -> Vec<String> {
    let events = system.events().into_iter();
    let stopping = events.filter(|event| event.kind == "node.stopping");
    stopping.filter_map(|event| event.node).collect()
}

fn until_told(system: &System, node: &Node, words: &str) {
    system.until_fact(node, &format!("told `{words}`"), |fact| {
        let reason = fact.report.status.reason.as_ref();
        reason.is_some_and(|reason| reason.contains(words))
    });
}

fn file(system: &System, name: &str, content: &str) -> PathBuf {
    let path = system.folder().join(name);
    fs::write(&path, content).expect("written");
    path
}

#[test]
fn a_leader_goes_last_and_hands_its_role_over_first() {
    let system = System::with(&Boxes::version(1).bundle());
    let leader = file(&system, "leader", "a");
    let nodes = [("a", 1), ("b", 2)].map(|(name, port)| system.settled_box(name, port, 1));
    let leader = leader.display();
    let asks = |what: &str| {
        format!(
            "[\"python3\", \"${{bundle}}/role.py\", \"{what}\", \"{leader}\", \"${{node.name}}\"]"
        )
    };
    system.publish(&two(&format!(
        "max_unavailable = 1, role = {{ command = {}, every_ms = 50, last = [\"leader\"], hand_over = {{ command = {} }} }}",
        asks("role"),
        asks("hand_over"),
    )));
    for node in &nodes {
        system.until_settled(node, 2);
    }
    assert_eq!(stopped(&system), ["b", "a"]);
    let handed = fs::read_to_string(format!("{leader}.handed")).expect("handed over");
    assert_eq!(handed, "a\n");
}

#[test]
fn a_role_that_is_not_handed_over_keeps_the_node_and_gives_the_permit_back() {
    let system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    system.publish(&two(
        "max_unavailable = 1, role = { command = [\"echo\", \"leader\"], every_ms = 50, last = [\"leader\"], \
         hand_over = { command = [\"true\"], timeout_ms = 100 } }",
    ));
    until_told(
        &system,
        &node,
        "does not hand over its role within 100 ms: it is still leader",
    );
    let fact = system.fact("a");
    assert_eq!(
        (fact.report.status.phase, stopped(&system).len()),
        (Phase::Staged, 0)
    );
    // The rest of its group is not kept waiting by it.
    let other = system.node(crate::harness::NodeOptions::new("b", system.port(2)));
    system.until_fact(&other, "there", |fact| fact.report.status.version.0 > 0);
    system.revise(&two(
        "max_unavailable = 1, role = { command = [\"false\"], every_ms = 50, last = [\"leader\"] }",
    ));
    until_told(
        &system,
        &node,
        "does not tell which role it has: `role` ended with exit code 1",
    );
    system.revise(&two("max_unavailable = 1"));
    system.until_settled(&node, 2);
}

#[test]
fn a_busy_node_waits_until_it_is_idle_or_the_deadline_has_passed() {
    let system = System::with(&Boxes::version(1).bundle());
    let jobs = system.folder().join("jobs");
    fs::create_dir(&jobs).expect("made");
    fs::write(jobs.join("one"), "").expect("written");
    let node = system.settled_box("a", 1, 1);
    let idle = format!(
        "idle = {{ command = [\"python3\", \"${{bundle}}/idle.py\", \"{}\", \"${{state}}\"], every_ms = 50 }}",
        jobs.display()
    );
    system.publish(&two(&idle));
    let words = "waits until it is idle: `idle` ended with exit code 1: 1 jobs run, with state at ";
    until_told(&system, &node, words);
    let told = system.fact("a").report.status.reason.expect("a reason");
    assert!(told.ends_with("/current"), "{told}");
    assert_eq!(stopped(&system).len(), 0);
    fs::remove_file(jobs.join("one")).expect("removed");
    system.until_settled(&node, 2);

    fs::write(jobs.join("two"), "").expect("written");
    let third = |more: &str| {
        let bundle = Boxes::version(3)
            .schedule(&format!("{idle}{more}"))
            .bundle();
        bundle.file("idle.py", IDLE)
    };
    system.publish(&third(""));
    until_told(&system, &node, words);
    system.revise(&third(
        ", deadline = { at = \"2020-01-01\", zone = \"UTC\" }",
    ));
    system.until_settled(&node, 3);
}

//! A node's first start, its software's output and restarts.

use crate::harness::{Boxes, NodeOptions, System, kill, pids_naming, until};
use model::api::ChildState;
use std::time::{Duration, Instant};

#[test]
fn a_node_joins_serves_and_logs() {
    let system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    let mut caller = harness::Caller::unlabelled(system.port(1), 1).expect("connected");
    assert_eq!(caller.get("apples").expect("answered"), None);
    caller.put("apples", 7).expect("answered");
    assert_eq!(caller.get("apples").expect("answered"), Some(7));
    let answer = caller.last.clone().expect("an answer");
    assert_eq!(answer.pid(), node.running_child());
    assert_eq!(answer.caller(), caller.address());
    node.until_printed("speaks dialect 1");
    node.until_printed("GET /boxes/apples");
    let state = std::fs::canonicalize(node.data.join("current")).expect("a state");
    assert_eq!(
        state,
        std::fs::canonicalize(node.data.join("versions/1.1/state")).expect("a state")
    );
    assert!(state.join("boxes.json").exists());
    let fact = system.fact("a");
    assert_eq!(fact.report.status.child, ChildState::Running);
    assert_eq!(
        fact.report.endpoints.len(),
        1,
        "{:?}",
        fact.report.endpoints
    );
    assert_eq!(fact.report.endpoints[0].port, system.port(1));
}

#[test]
fn killed_software_is_started_again_after_growing_pauses() {
    let system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    let mut caller = harness::Caller::unlabelled(system.port(1), 1).expect("connected");
    caller.put("apples", 7).expect("answered");
    let mut pauses = Vec::new();
    let mut pid = node.running_child();
    for _ in 0..3 {
        kill(pid);
        let begun = Instant::now();
        pid = until("another process", || node.child().filter(|new| *new != pid));
        pauses.push(begun.elapsed());
    }
    // The third back-off is a second; the first look at the new process may come late, never early by half.
    assert!(pauses[2] >= Duration::from_millis(500), "{pauses:?}");
    assert!(pauses[0] < pauses[2], "{pauses:?}");
    let number = until("an answer", || {
        let mut caller = harness::Caller::unlabelled(system.port(1), 1).ok()?;
        caller.get("apples").ok()
    });
    assert_eq!(number, Some(7));
    system.until_fact(&node, "running", |fact| {
        fact.report.status.child == ChildState::Running
    });
    assert!(!system.events_of(&node, "child.crashed").is_empty());
}

#[test]
fn an_existing_directory_becomes_the_first_state_where_it_is() {
    let adopt = "[class.box.state]\nadopt = \"${vars.old}\"";
    let system = System::with(&Boxes::version(1).and(adopt).bundle());
    let old = system.folder().join("in-use-for-years");
    std::fs::create_dir(&old).expect("a directory");
    std::fs::write(old.join("boxes.json"), r#"{"pears": 3}"#).expect("written");
    let options = NodeOptions::new("a", system.port(1)).variable("old", old.display());
    let node = system.node(options);
    system.until_settled(&node, 1);
    let mut caller = harness::Caller::unlabelled(system.port(1), 1).expect("connected");
    assert_eq!(caller.get("pears").expect("answered"), Some(3));
    caller.put("apples", 7).expect("answered");
    let here = std::fs::canonicalize(node.data.join("current")).expect("a state");
    assert_eq!(here, std::fs::canonicalize(&old).expect("a state"));
    let first = std::fs::read_to_string(old.join("boxes.json")).expect("written");
    assert!(first.contains("apples"), "{first}");

    system.publish(&Boxes::version(2).bundle());
    system.until_settled(&node, 2);
    let mut caller = system.member(system.port(1), 2).expect("connected");
    assert_eq!(caller.get("pears").expect("answered"), Some(3));
    caller.put("plums", 1).expect("answered");
    let left = std::fs::read_to_string(old.join("boxes.json")).expect("the old state stays");
    assert_eq!(left, first, "the old version's state changed");
    assert!(!old.join("items.tsv").exists());
}

#[test]
fn a_node_that_the_server_refuses_leaves_nothing_behind() {
    let system = System::with(&Boxes::version(1).bundle());
    let mut node = system.node(NodeOptions::new("a", system.port(1)).class("crate"));
    let said = node.until_agent_gives_up();
    assert!(said.contains("crate"), "{said}");
    until("no process of the node", || {
        pids_naming(&node.data).is_empty().then_some(())
    });
}

#[test]
fn what_everybody_can_read_does_not_make_anybody_the_agent() {
    let system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    let file = |name: &str| node.data.join(name);
    let about = std::fs::metadata(file("agent.key")).expect("a file");
    let mode = std::os::unix::fs::PermissionsExt::mode(&about.permissions());
    assert_eq!(mode & 0o777, 0o600);
    let key = std::fs::read(file("agent.key")).expect("the key");
    let table = agent::shared::published(&node.data).expect("the table");
    let table: Vec<u8> = table.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let mut turned = key.clone();
    turned.reverse();
    for form in [&key, &turned] {
        for half in form.chunks(8) {
            let found = table.windows(half.len()).any(|bytes| bytes == half);
            assert!(!found, "the table holds the key");
        }
    }
    // Another start of the software has another key, and its agent is known by it: the probe is the agent's.
    kill(node.running_child());
    until("another key", || {
        let again = std::fs::read(file("agent.key")).expect("the key");
        (again != key).then_some(())
    });
    system.until_fact(&node, "running", |fact| {
        fact.report.status.child == ChildState::Running
    });
    system.publish(&Boxes::version(2).bundle());
    system.until_settled(&node, 2);
}

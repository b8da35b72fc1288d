//! What the software shares with its agent: nothing that is done to files ends it, and where it cannot see its table, or nobody can
//! tell in whose words callers speak, no call reaches it at the wrong interface.

use crate::harness::{Boxes, Caller, Node, System, until, until_ok};
use model::api::ChildState;
use std::path::Path;

/// Members at both versions are answered, each in its own words.
fn serves_both(system: &System, port: u16) {
    let mut old = system.member(port, 1).expect("connected");
    old.put("apples", 7).expect("in the words of version 1");
    let mut new = system.member(port, 2).expect("connected");
    let answer = new.get("apples").expect("in the words of version 2");
    assert_eq!(answer, Some(7));
}

#[test]
fn software_that_cannot_see_its_table_is_intercepted_by_the_net() {
    let name = "software_that_cannot_see_its_table_is_intercepted_by_the_net";
    // Segments are of one namespace: what runs in another does not find them.
    let apart = ["unshare", "--ipc"];
    let tried = std::process::Command::new(apart[0])
        .args([apart[1], "true"])
        .status();
    if !tried.is_ok_and(|status| status.success()) {
        println!("SKIPPED: {name}: no namespace can be made here");
        return;
    }
    let system = System::with(&Boxes::version(1).behind(&apart).bundle());
    let node = system.settled_box("a", 1, 1);
    let port = system.port(1);
    let second = Boxes::version(2).behind(&apart).schedule("approval = true");
    system.publish(&second.bundle());
    system.until_staged(&node, 2);
    serves_both(&system, port);
    assert!(system.counter("a", "net.calls") > 0);
    system.approve(2, None);
    system.until_settled(&node, 2);
    serves_both(&system, port);
    assert_eq!(system.fact("a").report.status.child, ChildState::Running);
}

/// The files below a folder that a process shares with others by mapping them.
fn shared_files(pid: i32, folder: &Path) -> Vec<String> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("it runs");
    let shared = maps.lines().filter(|line| {
        let manner = line.split_ascii_whitespace().nth(1).unwrap_or_default();
        manner.ends_with('s') && line.contains(&*folder.to_string_lossy())
    });
    shared.map(str::to_owned).collect()
}

#[test]
fn nothing_that_the_software_shares_can_be_cut_and_the_next_agent_finds_it() {
    let system = System::with(&Boxes::version(1).bundle());
    let mut node = system.settled_box("a", 1, 1);
    let port = system.port(1);
    system.publish(&Boxes::version(2).schedule("approval = true").bundle());
    system.until_staged(&node, 2);
    let pid = node.running_child();
    let data = std::fs::canonicalize(&node.data).expect("there");
    assert_eq!(shared_files(pid, &data), [""; 0]);
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("it runs");
    let segments = maps.lines().filter(|line| line.contains("/SYSV"));
    assert_eq!(segments.count(), 2, "{maps}");
    // Another agent goes on with the same.
    node.kill_agent();
    serves_directly(port, pid);
    node.start_agent();
    until_ok("members at both versions to be answered", || {
        let mut new = system.member(port, 2)?;
        new.get("apples")
    });
    serves_both(&system, port);
    system.approve(2, None);
    system.until_settled(&node, 2);
    serves_both(&system, port);
}

fn serves_directly(port: u16, pid: i32) {
    let mut caller = Caller::unlabelled(port, 1).expect("connected");
    caller.put("apples", 7).expect("answered");
    assert_eq!(caller.last.expect("an answer").pid(), pid);
}

/// Waits until whoever calls is turned away.
fn until_closed(port: u16) {
    until("callers to be reset", || {
        let answer = Caller::unlabelled(port, 1).and_then(|mut caller| caller.get("apples"));
        answer.is_err().then_some(())
    });
}

#[test]
fn a_node_that_was_forgotten_while_it_lives_serves_nobody_until_it_is_enrolled_anew() {
    let system = System::with(&Boxes::version(1).bundle());
    let mut node: Node = system.settled_box("a", 1, 1);
    let port = system.port(1);
    let pid = node.running_child();
    serves_directly(port, pid);
    system.ask(system.client.forget("a"));
    until_closed(port);
    node.until_said("whoever calls it is reset");
    assert!(
        system
            .member(port, 1)
            .and_then(|mut caller| caller.get("apples"))
            .is_err()
    );
    assert_eq!(node.running_child(), pid);
    node.end_agent();
    node.start_agent();
    system.until_settled(&node, 1);
    until_ok("the node to serve again", || {
        Caller::unlabelled(port, 1)?.get("apples")
    });
    assert_eq!(node.running_child(), pid);
}

//! Holders that were killed, stand still or cannot be found: nobody is told that software is stopped which runs, and a way to
//! its end is always there.

use crate::harness::{
    Boxes, Caller, Frozen, Node, NodeOptions, System, alive, hide_control_groups, kill, program,
    refused, until, until_ok,
};
use model::api::ChildState;

/// A node that serves version 1, the process of its software, and its port.
fn serving() -> (System, Node, i32, u16) {
    let system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    let port = system.port(1);
    let pid = serves(port);
    (system, node, pid, port)
}

/// The process that answers there.
fn serves(port: u16) -> i32 {
    until_ok("the software to answer", || {
        let mut caller = Caller::unlabelled(port, 1)?;
        caller.put("apples", 7)?;
        Ok::<_, std::io::Error>(caller.last.expect("an answer").pid())
    })
}

/// `upstart stop` says that nothing runs, and so it is.
fn stops(node: &Node, pid: i32, port: u16) {
    let output = node.try_stop();
    assert!(output.status.success(), "{output:?}");
    assert!(!alive(pid), "the software lives");
    assert!(refused(port), "somebody listens at the software's port");
}

#[test]
fn software_whose_holder_was_killed_is_ended_by_stop() {
    let (_system, mut node, pid, port) = serving();
    node.kill_agent();
    kill(node.holder().expect("a holder runs"));
    assert_eq!(serves(port), pid);
    stops(&node, pid, port);
}

#[test]
fn software_is_ended_by_stop_though_the_holders_socket_was_removed() {
    let (_system, mut node, pid, port) = serving();
    node.end_agent();
    std::fs::remove_file(node.data.join("holder.sock")).expect("removed");
    assert_eq!(serves(port), pid);
    stops(&node, pid, port);
}

#[test]
fn an_agent_finds_a_holder_whose_socket_was_removed() {
    let (system, mut node, pid, port) = serving();
    node.end_agent();
    std::fs::remove_file(node.data.join("holder.sock")).expect("removed");
    node.start_agent();
    system.publish(&Boxes::version(2).bundle());
    system.until_settled(&node, 2);
    assert!(!alive(pid) && !refused(port));
}

#[test]
fn a_holder_that_stands_still_is_named_by_stop_and_its_software_can_be_ended() {
    let (_system, mut node, pid, port) = serving();
    node.end_agent();
    let holder = node.holder().expect("a holder runs");
    let frozen = Frozen::new(node.holder().expect("a holder runs"));
    let output = node.try_stop();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains(&format!("process {holder}, does not answer")),
        "{said}"
    );
    assert!(said.contains(&format!("kill -KILL {holder}")), "{said}");
    assert!(alive(pid), "{said}");
    kill(holder);
    until("the holder to end", || (!alive(holder)).then_some(()));
    drop(frozen);
    stops(&node, pid, port);
}

/// As a package manager replaces it under a running agent.
#[test]
fn an_agent_whose_program_was_removed_and_put_back_outlives_its_holder() {
    let system = System::with(&Boxes::version(1).bundle());
    let folder = system.folder().join("bin");
    std::fs::create_dir(&folder).expect("made");
    let own = program();
    for name in ["upstart", "libupstart_preload.so"] {
        std::fs::copy(own.with_file_name(name), folder.join(name)).expect("copied");
    }
    let program = folder.join("upstart");
    let options = NodeOptions::new("a", system.port(1)).program(&program);
    let mut node = system.node(options);
    system.until_settled(&node, 1);
    let (agent, pid) = (node.agent(), node.running_child());
    std::fs::remove_file(&program).expect("removed");
    std::fs::copy(own, &program).expect("put back");
    kill(node.holder().expect("a holder runs"));
    until("the software to run again", || {
        node.child().filter(|again| *again != pid)
    });
    assert!(!node.agent_has_ended() && node.agent() == agent);
    system.publish(&Boxes::version(2).bundle());
    system.until_settled(&node, 2);
}

#[test]
fn software_without_a_control_group_is_found_too() {
    if let Err(why) = hide_control_groups() {
        println!("SKIPPED: software_without_a_control_group_is_found_too: {why}");
        return;
    }
    let (system, mut node, pid, port) = serving();
    // Its agent takes over: the software is ended, and runs once.
    kill(node.holder().expect("a holder runs"));
    let again = until("the software to run again", || {
        node.child().filter(|again| *again != pid)
    });
    until("the former software to end", || (!alive(pid)).then_some(()));
    assert_eq!(serves(port), again);
    system.until_fact(&node, "running", |fact| {
        fact.report.status.child == ChildState::Running
    });
    node.kill_agent();
    kill(node.holder().expect("a holder runs"));
    assert_eq!(serves(port), again);
    stops(&node, again, port);
}

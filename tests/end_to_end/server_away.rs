//! Nodes without their server.

use crate::harness::{Boxes, Caller, Node, System, until, until_ok};
use kit::copy_all;
use model::api::{Phase, Principal};
use model::ids::NodeId;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

#[test]
fn a_node_serves_both_versions_without_the_server_and_goes_on_when_it_is_back() {
    let mut system = System::with(&Boxes::version(1).bundle());
    let mut node = system.settled_box("a", 1, 1);
    system.publish(&Boxes::version(2).schedule("approval = true").bundle());
    system.until_staged(&node, 2);
    let (port, id) = (system.port(1), system.view().system_id);
    system.server.kill();
    let serves = |number| {
        let mut old = Caller::unlabelled(port, 1)?;
        old.put("apples", number)?;
        let mut new = Caller::labelled(port, id, 2)?;
        new.get("apples")
    };
    assert_eq!(serves(1).expect("without the server"), Some(1));

    // The next agent knows from its cache what the one before knew.
    let pid = node.running_child();
    node.kill_agent();
    node.start_agent();
    assert_eq!(
        serves(2).expect("by an agent that never met the server"),
        Some(2)
    );
    assert_eq!(node.running_child(), pid);

    // And the software too, started anew.
    node.end_agent();
    node.stop_software();
    node.start_agent();
    until("the software to serve again", || {
        (serves(3).ok() == Some(Some(3))).then_some(())
    });

    system.server.resume();
    system.approve(2, None);
    system.until_settled(&node, 2);
    let mut new = system.member(port, 2).expect("connected");
    assert_eq!(new.get("apples").expect("answered"), Some(3));
}

#[test]
fn an_upgrade_that_has_begun_ends_without_the_server() {
    let mut system = System::with(&Boxes::version(1).bundle());
    let mut node = system.settled_box("a", 1, 1);
    let slow = Boxes::version(2)
        .schedule("max_unavailable = 1")
        .transform_argument("sleep_ms=1500");
    system.publish(&slow.bundle());
    system.until_phase(&node, Phase::Transforming);
    let id = system.view().system_id;
    system.server.kill();
    let port = system.port(1);
    until("the new version to answer without the server", || {
        let current = std::fs::read_link(node.data.join("current")).ok()?;
        let there = current.ends_with("versions/2.1/state");
        let mut caller = there
            .then(|| Caller::labelled(port, id, 2).ok())
            .flatten()?;
        caller.put("apples", 7).ok()
    });
    // A restart of the agent does not take it back either.
    node.kill_agent();
    node.start_agent();
    let mut caller = Caller::labelled(port, id, 2).expect("connected");
    assert_eq!(caller.get("apples").expect("answered"), Some(7));

    system.server.resume();
    system.until_settled(&node, 2);
    until("the permit to be given back", || {
        system.view().permits.is_empty().then_some(())
    });
}

/// The last to join is the one whose addresses another member learns last, which gives the members' list no new number.
#[test]
fn an_agent_that_starts_without_the_server_serves_the_same_callers() {
    let mut system = System::with(&Boxes::version(1).bundle());
    let first = system.settled_box("first", 2, 1);
    let mut last = system.settled_box("last", 1, 1);
    system.publish(&Boxes::version(2).bundle());
    system.until_settled(&first, 2);
    system.until_settled(&last, 2);
    let port = system.port(1);
    until_ok("a caller without a label to be served", || {
        Caller::unlabelled(port, 1)?.get("apples")
    });
    system.server.kill();
    for _ in 0..2 {
        last.kill_agent();
        last.start_agent();
        let mut caller = Caller::unlabelled(port, 1).expect("connected");
        caller.get("apples").expect("served as before");
    }
}

/// Ends a node as a power cut and a reboot do, and has it serve again.
fn rebooted(node: &mut Node, port: u16) {
    node.end_agent();
    node.stop_software();
    node.start_agent();
    until_ok("the software to serve again", || {
        Caller::unlabelled(port, 1)?.get("apples")
    });
}

/// What looks as if nobody would miss it, nobody misses; where an earlier build kept what is needed, it is taken over.
#[test]
fn a_node_whose_cache_was_deleted_starts_without_the_server() {
    let mut system = System::with(&Boxes::version(1).bundle());
    let mut node = system.settled_box("a", 1, 1);
    let port = system.port(1);
    system.server.kill();
    let cache = node.data.join("cache");
    node.end_agent();
    node.stop_software();
    std::fs::create_dir_all(&cache).expect("made");
    std::fs::remove_dir_all(&cache).expect("deleted");
    node.start_agent();
    until_ok("the software to serve without a cache", || {
        Caller::unlabelled(port, 1)?.get("apples")
    });
    node.end_agent();
    node.stop_software();
    std::fs::rename(node.data.join("from-server"), &cache).expect("as earlier builds had it");
    node.start_agent();
    until_ok("the software to serve with what was taken over", || {
        Caller::unlabelled(port, 1)?.get("apples")
    });
    assert!(!cache.exists());
}

/// Nobody waits for such a server as long as for an answer that takes its time, which is a minute.
#[test]
fn a_node_starts_its_software_under_a_server_that_accepts_and_says_nothing() {
    let system = System::with(&Boxes::version(1).bundle());
    let mut node = system.settled_box("a", 1, 1);
    let port = system.port(1);
    node.end_agent();
    node.stop_software();
    // It need not ask the server for its token, and gets no answer to anything else.
    let token = system.server.data().join("token");
    let variable = ("UPSTART_TOKEN_FILE".to_owned(), token.into_os_string());
    node.options.environment.push(variable);
    kit::signal(system.server.pid().cast_signed(), libc::SIGSTOP);
    let begun = Instant::now();
    node.start_agent();
    until_ok("the software to serve without an answer", || {
        Caller::unlabelled(port, 1)?.get("apples")
    });
    assert!(begun.elapsed() < Duration::from_secs(30));
    node.until_said("has accepted the request but does not answer");
    kit::signal(system.server.pid().cast_signed(), libc::SIGCONT);
    system.publish(&Boxes::version(2).bundle());
    system.until_settled(&node, 2);
}

#[test]
fn a_node_that_its_server_refuses_starts_its_software_and_is_heard_when_it_is_taken_again() {
    let mut system = System::with(&Boxes::version(1).bundle());
    let mut node = system.settled_box("a", 1, 1);
    let port = system.port(1);

    // Its key is revoked, and it has another token than the server's.
    let node_a = Principal::node("a");
    system.ask(system.client.revoke(&node_a));
    let wrong = ("UPSTART_TOKEN".to_owned(), "another".into());
    node.options.environment.push(wrong);
    rebooted(&mut node, port);
    node.until_said("the upgrade server refuses this node: The key is not known here any more");
    node.options.environment.clear();

    // Another database, in which nothing is published.
    let aside = system.server.data().with_extension("aside");
    (system.server).changed(|data| std::fs::rename(data, &aside).expect("moved"));
    rebooted(&mut node, port);
    node.until_said("This server knows no system");

    // The right one again.
    system.server.changed(|data| {
        std::fs::remove_dir_all(data).expect("removed");
        std::fs::rename(&aside, data).expect("moved");
    });
    rebooted(&mut node, port);
    system.publish(&Boxes::version(2).bundle());
    system.until_settled(&node, 2);
}

#[test]
fn a_server_that_does_not_answer_is_said_in_the_agents_log() {
    let mut system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    system.server.kill();
    node.until_said("the node serves on, and upgrades wait");
    system.server.resume();
    node.until_said("the upgrade server answers again");
}

/// Puts a server's database back to what was copied.
fn set_back(system: &mut System, copied: &Path) {
    system.server.changed(|data| {
        std::fs::remove_dir_all(data).expect("removed");
        copy_all(copied, data);
    });
}

/// It gives the first one's number to the second.
#[test]
fn a_server_that_was_set_back_takes_no_node_for_another() {
    let mut system = System::with(&Boxes::version(1).bundle());
    let copied = system.folder().join("copied");
    system.server.changed(|data| copy_all(data, &copied));
    let mut first = system.settled_box("a", 1, 1);
    let pid = first.running_child();
    let number = system.fact("a").node;
    first.end_agent();
    set_back(&mut system, &copied);
    let second = system.settled_box("b", 2, 1);
    assert_eq!(system.fact("b").node, number);
    first.start_agent();
    system.until_settled(&first, 1);
    assert_ne!(system.fact("a").node, number);
    // It was given another number, and its software did not notice.
    assert_eq!(first.running_child(), pid);
    system.publish(&Boxes::version(2).bundle());
    system.ask(system.client.resume());
    for (node, port) in [(&first, 1), (&second, 2)] {
        system.until_settled(node, 2);
        let mut caller = system.member(system.port(port), 2).expect("connected");
        caller.put("apples", i64::from(port)).expect("answered");
    }
    // The same while its agent runs.
    set_back(&mut system, &copied);
    let third = system.settled_box("c", 3, 1);
    until("all to be there under numbers of their own", || {
        let nodes = system.view().nodes;
        let numbers: BTreeSet<NodeId> = nodes.iter().map(|fact| fact.node).collect();
        (nodes.len() == 3 && numbers.len() == 3).then_some(())
    });
    drop(third);
}

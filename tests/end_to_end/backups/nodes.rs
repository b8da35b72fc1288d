//! Nodes that were away, joined, or were forgotten since the backup.

use super::*;

#[test]
fn of_before_a_node_joined_it_comes_back_by_itself_under_its_number() {
    let mut system = System::with(&Boxes::version(1).bundle());
    let first = system.settled_box("a", 1, 1);
    let backup = Backup::of(&mut system);
    let second = system.settled_box("b", 2, 1);
    let (number, pid) = (system.fact("b").node, second.running_child());
    let epoch = system.view().epoch;
    backup.restore(&mut system);
    until_found(&system, epoch);
    system.until_settled(&second, 1);
    assert_eq!(system.fact("b").node, number);
    system.publish(&Boxes::version(2).bundle());
    for node in [&first, &second] {
        system.until_staged(node, 2);
    }
    assert_eq!(second.running_child(), pid);
    resume(&system);
    for node in [&first, &second] {
        system.until_settled(node, 2);
    }
}

#[test]
fn of_before_a_node_was_forgotten_it_is_known_again_until_it_is_forgotten_again() {
    let mut system = System::with(&Boxes::version(1).bundle());
    let first = system.settled_box("a", 1, 1);
    let second = system.settled_box("b", 2, 1);
    let (port, id) = (system.port(2), system.view().system_id);
    let backup = Backup::of(&mut system);
    system.ask(system.client.forget("b"));
    second.until_said("this node was forgotten by an operator");
    until("its callers to be reset", || {
        let mut caller = Caller::labelled(port, id, 1).ok()?;
        caller.get("b").is_err().then_some(())
    });
    let epoch = system.view().epoch;
    backup.restore(&mut system);
    until_found(&system, epoch);
    second.until_said("the server knows this node again");
    until_ok("its callers to be served", || {
        Caller::labelled(port, id, 1)?.get("b")
    });
    system.ask(system.client.forget("b"));
    until("its callers to be reset again", || {
        let mut caller = Caller::labelled(port, id, 1).ok()?;
        caller.get("b").is_err().then_some(())
    });
    system.publish(&Boxes::version(2).bundle());
    resume(&system);
    system.until_settled(&first, 2);
    assert_eq!(system.view().nodes.len(), 1);
}

/// Two nodes of which one at a time may be away, and an upgrade that takes a while.
fn one_at_a_time() -> (System, Node, Node, Bundle) {
    let system = System::with(&Boxes::version(1).bundle());
    let first = system.settled_box("a", 1, 1);
    let second = system.settled_box("b", 2, 1);
    let slow = Boxes::version(2)
        .schedule("max_unavailable = 1, approval = true")
        .transform_argument("sleep_ms=4000");
    let slow = slow.bundle();
    (system, first, second, slow)
}

#[test]
fn of_before_a_permit_whoever_is_away_counts_as_away() {
    let (mut system, first, second, slow) = one_at_a_time();
    system.publish(&slow);
    for node in [&first, &second] {
        system.until_staged(node, 2);
    }
    let backup = Backup::of(&mut system);
    system.approve(2, None);
    let away = until("one to be away", || {
        let permits = system.view().permits;
        permits
            .iter()
            .find(|permit| permit.confirmed)
            .map(|permit| permit.node)
    });
    let permit = system.view().permits[0].permit;
    let epoch = system.view().epoch;
    backup.restore(&mut system);
    until_found(&system, epoch);
    let held = until("the permit to be known again", || {
        system.view().permits.first().cloned()
    });
    assert_eq!(
        (held.permit, held.node, held.confirmed),
        (permit, away, true)
    );
    system.approve(2, None);
    resume(&system);
    for node in [&first, &second] {
        system.until_settled(node, 2);
    }
    until("the permits to be given back", || {
        system.view().permits.is_empty().then_some(())
    });
}

#[test]
fn of_during_a_permit_it_ends_where_its_node_is_back() {
    let (mut system, first, second, slow) = one_at_a_time();
    system.publish(&slow);
    for node in [&first, &second] {
        system.until_staged(node, 2);
    }
    system.approve(2, Some(&first));
    system.until_phase(&first, Phase::Transforming);
    let backup = Backup::of(&mut system);
    system.until_settled(&first, 2);
    until("the permit to be given back", || {
        system.view().permits.is_empty().then_some(())
    });
    let epoch = system.view().epoch;
    backup.restore(&mut system);
    until_found(&system, epoch);
    until("the permit to be ended", || {
        system.view().permits.is_empty().then_some(())
    });
    system.approve(2, None);
    resume(&system);
    system.until_settled(&second, 2);
}

#[test]
fn of_before_an_agent_that_was_down_was_heard_it_is_heard_when_it_is_back() {
    let (mut system, mut nodes, backup) = behind(&["a", "b"]);
    let epoch = system.view().epoch;
    nodes[0].end_agent();
    backup.restore(&mut system);
    until_found(&system, epoch);
    let found = system.view().epoch;
    system.publish(&Boxes::version(2).bundle());
    nodes[0].start_agent();
    for node in &nodes {
        system.until_settled(node, 2);
    }
    assert_eq!(system.view().epoch, found, "it was found out once");
    assert_eq!(events(&system, "system.set_back").len(), 1);
    system.publish(&Boxes::version(3).bundle());
    resume(&system);
    for node in &nodes {
        system.until_settled(node, 3);
    }
}

#[test]
fn of_before_version_2_with_node_and_server_rebooted_the_software_starts_at_version_2() {
    let (mut system, mut nodes, backup) = behind(&["a"]);
    let (id, epoch) = (system.view().system_id, system.view().epoch);
    nodes[0].end_agent();
    nodes[0].stop_software();
    backup.restore(&mut system);
    nodes[0].start_agent();
    until_found(&system, epoch);
    until_ok("the software to serve", || {
        Caller::labelled(system.port(1), id, 2)?.get("a")
    });
    for version in [1, 2] {
        serves(&system, &nodes[0], 1, id, version);
    }
    // Once more, and without any server.
    nodes[0].end_agent();
    nodes[0].stop_software();
    system.server.kill();
    nodes[0].start_agent();
    until_ok("the software to serve", || {
        Caller::labelled(system.port(1), id, 2)?.get("a")
    });
    system.server.resume();
    system.publish(&Boxes::version(2).bundle());
    system.until_fact(&nodes[0], "agreed with", |fact| {
        fact.report.status.reason.is_none() && fact.report.status.version == Version(2)
    });
}

/// A number that was withdrawn stands between what is to be published again: its folder is published, too, and nobody goes there.
#[test]
fn an_empty_database_takes_a_withdrawn_version_again_as_one_that_is_withdrawn() {
    let mut system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    system.publish(&approved(2));
    system.until_staged(&node, 2);
    system.withdraw(Version(2));
    let third = Boxes::version(3).from(1).dialect(2).bundle();
    system.publish(&third);
    system.until_settled(&node, 3);
    let pid = node.running_child();
    system.server.changed(remove_database);
    node.until_said("This server knows no system");
    system.publish(&Boxes::version(1).bundle());
    until("the node to come", || {
        (system.view().nodes.len() == 1).then_some(())
    });
    let again = system.publish(&approved(2));
    assert!(again.withdrawn);
    assert!(system.view().upgrades[1].withdrawn);
    system.publish(&third);
    system.until_fact(&node, "agreed with", |fact| {
        fact.report.status.reason.is_none() && fact.report.status.version == Version(3)
    });
    assert_eq!(node.running_child(), pid);
    // Once more, it is refused as always.
    let refused = system
        .try_publish(&approved(2), false)
        .expect_err("withdrawn");
    assert!(refused.to_string().contains("was withdrawn"), "{refused}");
}

//! Nodes that enrol, report, fall silent, are forgotten or stand twice.

use super::*;

#[test]
fn a_node_joins_at_the_newest_version_at_which_one_of_its_class_has_settled() {
    let mut world = World::with(&[STORAGE, STORAGE_CHANGED]);
    let join = |world: &mut World, name: &str| -> Version {
        let enrolled: Enrolled = world
            .ask(Order::Enrol(enrol(name, "storage")))
            .expect("enrolled");
        enrolled.join_version
    };
    assert_eq!(
        join(&mut world, "a"),
        Version(1),
        "nobody has settled: the oldest"
    );
    let b = world.settled("b", 1);
    assert_eq!(join(&mut world, "c"), Version(1));
    world.report(b, report(2));
    assert_eq!(join(&mut world, "d"), Version(2));
    assert_eq!(
        join(&mut world, "a"),
        Version(2),
        "and again for one that never started"
    );
    assert_eq!(world.state.nodes.len(), 4);
}

#[test]
fn enrolment_is_idempotent_by_name_and_refuses_another_under_it() {
    let mut world = World::new();
    let refusal = world.refused(Order::Enrol(enrol("a", "storage")));
    assert_eq!(refusal.kind.name, "no-system");
    world.publish(1, 0, STORAGE).expect("published");
    let a = world.settled("a", 1);
    let again: Enrolled = world
        .ask(Order::Enrol(enrol("a", "storage")))
        .expect("again");
    assert_eq!(again.node, a);
    assert_eq!(
        world.refused(Order::Enrol(enrol("a", "other"))).kind.name,
        "unknown-class"
    );
    let mut elsewhere = enrol("a", "storage");
    elsewhere.data_directory = "/elsewhere".to_owned();
    let refusal = world.refused(Order::Enrol(elsewhere.clone()));
    assert_eq!(refusal.kind.name, "enrolment-conflict");
    world.context.now_ms += 15_000;
    let () = world.ask(Order::Sweep).expect("swept");
    let moved: Enrolled = world
        .ask(Order::Enrol(elsewhere))
        .expect("it is silent: it may move");
    assert_eq!(moved.node, a);
    for bad in ["", "12", "a b", "a/b"] {
        assert_eq!(
            world.refused(Order::Enrol(enrol(bad, "storage"))).kind.name,
            "invalid",
            "{bad}"
        );
    }
}

#[test]
fn a_nodes_first_event_names_it() {
    let world = World::with(&[STORAGE]);
    let first = Order::Enrol(enrol("a", "storage"));
    let (draft, _) = decide(&world.state, &world.context, &first).expect("enrolled");
    let mut changes = draft.changes.iter();
    let named = changes.find_map(|change| match change {
        Change::Event(event) => event.node.clone(),
        _ => None,
    });
    assert_eq!(named.as_deref(), Some("a"));
}

#[test]
fn a_forgotten_number_is_never_given_again() {
    let mut world = World::with(&[STORAGE]);
    let a = world.settled("a", 1);
    let () = world.ask(Order::Forget("a".to_owned())).expect("forgotten");
    assert_eq!(
        world.refused(Order::Forget("a".to_owned())).kind.name,
        "unknown-node"
    );
    assert!(world.settled("a", 1) > a);
}

#[test]
fn silence_makes_unreachable_and_the_next_sync_reachable() {
    let mut world = World::with(&[STORAGE]);
    let a = world.settled("a", 1);
    world.context.now_ms += 14_999;
    let () = world.ask(Order::Sweep).expect("swept");
    assert!(world.view().nodes[0].reachable);
    world.context.now_ms += 1;
    let () = world.ask(Order::Sweep).expect("swept");
    assert!(!world.view().nodes[0].reachable);
    world.report(a, report(1));
    assert!(world.view().nodes[0].reachable);
}

#[test]
fn a_number_that_is_anothers_here_is_refused() {
    let mut world = World::with(&[STORAGE]);
    let a = world.settled("a", 1);
    let (_, system_id) = world.state.system.clone().expect("a system");
    let mut come_as = |name: &str, system_id: u64| {
        let request = SyncRequest {
            seen_view: None,
            report: Some(report(1)),
            number: None,
            identity: Some(NodeIdentity {
                system_id,
                name: name.to_owned(),
            }),
            events: Vec::new(),
            ..SyncRequest::default()
        };
        world.ask::<()>(Order::Sync(a, Box::new(request)))
    };
    come_as("a", system_id).expect("itself");
    for (name, its_system) in [("b", system_id), ("a", system_id + 1)] {
        let refusal = come_as(name, its_system).expect_err(name);
        assert_eq!(refusal.kind.name, "enrolment-conflict");
    }
}

#[test]
fn a_node_of_another_system_is_not_enrolled() {
    let mut world = World::with(&[STORAGE]);
    let (_, system_id) = world.state.system.clone().expect("a system");
    let mut come_from = |its_system| {
        let request = EnrolRequest {
            system_id: Some(its_system),
            ..enrol("a", "storage")
        };
        world.ask::<Enrolled>(Order::Enrol(request))
    };
    let refusal = come_from(system_id + 1).expect_err("another system's");
    assert_eq!(refusal.kind.name, "enrolment-conflict");
    come_from(system_id).expect("enrolled");
}

#[test]
fn only_what_others_decide_by_wakes_them() {
    let mut world = World::with(&[STORAGE]);
    let a = world.settled("a", 1);
    let visible = |world: &World, report: NodeReport| {
        let request = SyncRequest {
            identity: None,
            number: None,
            seen_view: None,
            report: Some(report),
            events: Vec::new(),
            ..SyncRequest::default()
        };
        let command = Order::Sync(a, Box::new(request));
        let (draft, _) = decide(&world.state, &world.context, &command).expect("synced");
        let durable = draft.changes.iter().any(crate::udb::Change::is_durable);
        (
            draft.changes.iter().any(crate::udb::Change::is_visible),
            durable,
        )
    };
    let mut counted = report(1);
    counted.counters.insert("calls.past".to_owned(), 1);
    assert_eq!(visible(&world, counted), (false, false));
    let mut opened = report(1);
    opened.connections.insert(Version(1), 3);
    assert_eq!(visible(&world, opened), (false, true));
    let mut crashed = report(1);
    crashed.status.child = ChildState::Crashed;
    assert_eq!(visible(&world, crashed), (true, true));
}

#[test]
fn retry_is_for_blocked_nodes_and_counts() {
    let mut world = World::with(&[STORAGE]);
    let a = world.settled("a", 1);
    assert_eq!(
        world.refused(Order::Retry("a".to_owned())).kind.name,
        "not-blocked"
    );
    let mut blocked = report(1);
    blocked.status.phase = Phase::Blocked;
    world.report(a, blocked);
    let fact: NodeFact = world.ask(Order::Retry("a".to_owned())).expect("told");
    assert_eq!(fact.retry, 1);
}

#[test]
fn a_node_that_asks_rarely_is_given_three_of_its_own_intervals() {
    let mut world = World::with(&[STORAGE]);
    let a = world.settled("a", 1);
    let mut rare = report(1);
    // Nobody is waited for longer than for one that asks once in an hour.
    for poll_ms in [3_600_000, u64::MAX] {
        rare.poll_ms = poll_ms;
        world.report(a, rare.clone());
        world.context.now_ms += 3 * 3_600_000 - 1;
        let () = world.ask(Order::Sweep).expect("swept");
        assert!(world.view().nodes[0].reachable);
        world.context.now_ms += 1;
        let () = world.ask(Order::Sweep).expect("swept");
        assert!(!world.view().nodes[0].reachable);
    }
}

#[test]
fn a_node_that_was_forgotten_is_told_to_retry_by_a_number_that_it_has_not_acted_on() {
    let mut world = World::with(&[STORAGE, STORAGE_CHANGED]);
    let mut blocked = report(1);
    blocked.status.phase = Phase::Blocked;
    blocked.status.target = Some(Version(2));
    let mut last = 0;
    for acted_on in [0, 1, 7] {
        blocked.retry_acknowledged = acted_on;
        let a = world.settled("a", 1);
        world.report(a, blocked.clone());
        let told: NodeFact = world.ask(Order::Retry("a".to_owned())).expect("told");
        assert!(told.retry > acted_on, "{} was acted on", told.retry);
        last = told.retry;
        let () = world.ask(Order::Forget("a".to_owned())).expect("gone");
    }
    assert_eq!(last, 8);
}

#[test]
fn two_agents_that_report_as_one_node_are_told_once_and_a_late_message_is_none() {
    let mut world = World::with(&[STORAGE]);
    let a = world.settled("a", 1);
    let mut say = |life: u64, number: u64| {
        let number = SyncNumber { life, number };
        let request = SyncRequest {
            report: Some(report(1)),
            number: Some(number),
            ..SyncRequest::default()
        };
        if world.ask::<()>(Order::Sync(a, Box::new(request))).is_ok() {
            return 0;
        }
        let before = world.state.last_event;
        let () = world.ask(Order::Overtaken(a, number)).expect("noted");
        world.state.last_event - before
    };
    assert_eq!(say(7, 5), 0);
    assert_eq!(say(9, 1), 0, "the agent was started anew, or another one");
    assert_eq!(
        (say(7, 6), say(7, 7)),
        (0, 0),
        "these may have been under way"
    );
    assert_eq!(say(7, 8), 1, "it lives");
    assert_eq!(say(9, 2), 0, "and so does the other");
    assert_eq!((say(7, 9), say(7, 20)), (0, 0), "told once");
    assert_eq!(
        say(9, 1),
        0,
        "what comes late of the one that counts is nothing"
    );
}

#[test]
fn a_report_that_comes_late_or_twice_rewrites_nothing() {
    let mut world = World::with(&[STORAGE, STORAGE_CHANGED]);
    let a = world.settled("a", 1);
    let mut say = |life: u64, number: u64, version: u32| {
        let request = SyncRequest {
            seen_view: None,
            report: Some(report(version)),
            identity: None,
            number: Some(SyncNumber { life, number }),
            events: Vec::new(),
            ..SyncRequest::default()
        };
        let taken = world.ask::<()>(Order::Sync(a, Box::new(request)));
        let taken = taken.map_err(|refusal| refusal.kind.name);
        (taken, world.state.nodes[&a].report.status.version.0)
    };
    assert_eq!(say(7, 1, 1), (Ok(()), 1));
    assert_eq!(say(7, 3, 2), (Ok(()), 2));
    let late = Err("outdated-report");
    assert_eq!(say(7, 2, 1), (late, 2), "it was overtaken");
    assert_eq!(say(7, 3, 1), (late, 2), "it comes twice");
    assert_eq!(say(9, 1, 2), (Ok(()), 2), "the agent was started anew");
    assert_eq!(say(7, 4, 1), (late, 2), "the life before it");
    assert_eq!(say(9, 2, 2), (Ok(()), 2));
}

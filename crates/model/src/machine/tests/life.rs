//! A node's life when all goes well.

use super::world::{Verdict, World, failed, place};
use crate::api::{ChildState, Phase};
use crate::ids::{Revision, Version};
use crate::machine::{NodeMachine, Output, Planned, ProbeMode, Record, Work};

fn kinds(world: &World) -> Vec<&'static str> {
    world.journal.iter().map(Record::kind).collect()
}

#[test]
fn a_joining_node_prepares_starts_probes_and_settles() {
    let mut world = World::new(1);
    world.settle();
    assert_eq!(kinds(&world), ["joining", "settled", "released"]);
    let expected = [
        "prepare",
        "align",
        "start",
        "after_start",
        "probe",
        "release",
        "align",
    ];
    assert_eq!(world.actions, expected);
    let status = world.machine.status(None);
    assert_eq!((status.version, status.phase), (Version(1), Phase::Settled));
    assert_eq!(status.child, ChildState::Running);
    assert!(!world.traffic.hold_calls && !world.traffic.probing);
}

#[test]
fn a_node_joins_at_the_version_its_enrolment_says_and_stages_the_older_ones_after() {
    let mut world = World::new(3);
    world.plan.join_version = Some(Version(3));
    world.restart_agent();
    world.settle();
    assert_eq!(world.machine.status(None).version, Version(3));
    assert_eq!(world.state, Some(place(3, 1)));
    let held: Vec<u32> = world.machine.held().map(|step| step.version.0).collect();
    assert_eq!(held, [1, 2, 3]);
}

#[test]
fn an_upgrade_takes_every_record_in_order() {
    let mut world = World::new(1);
    world.settle();
    world.verdict = Verdict::Go;
    world.plan.upgrades.insert(
        Version(2),
        Planned {
            from: Version(1),
            revision: Revision(1),
        },
    );
    world.actions.clear();
    world.tell_plan();
    world.settle();
    assert_eq!(
        kinds(&world)[3..],
        [
            "staged",
            "stopping",
            "transforming",
            "committed",
            "probing",
            "settled",
            "released"
        ]
    );
    let expected = [
        "align",
        "ask",
        "confirm",
        "before_stop",
        "drain",
        "keep",
        "hold",
        "stop",
        "transform",
        "flip",
        "start",
        "after_start",
        "probe",
        "release",
        "align",
        "end_permit",
    ];
    assert_eq!(world.actions, expected);
    assert_eq!((world.state, world.permit_held), (Some(place(2, 1)), None));
}

#[test]
fn calls_are_held_from_just_before_the_stop_until_the_release() {
    let mut world = World::new(2);
    assert!(world.run_to("keep"));
    assert!(!world.traffic.hold_calls);
    assert!(world.run_to("hold"));
    assert!(world.traffic.hold_calls && !world.traffic.probing);
    assert_eq!(world.traffic.serving_version, Version(1));
    assert!(world.run_to("start"));
    assert!(world.traffic.hold_calls && world.traffic.probing && world.traffic.refuse_members);
    assert_eq!(world.traffic.serving_version, Version(2));
    assert!(world.run_to("release"));
    assert!(world.traffic.hold_calls && !world.traffic.probing && !world.traffic.refuse_members);
    world.settle();
    assert!(!world.traffic.hold_calls);
}

#[test]
fn a_joined_probe_comes_after_the_release() {
    let mut world = World::new(2);
    world
        .works
        .insert(Version(2), (Work::Restart, ProbeMode::Joined));
    assert!(world.run_to("flip"));
    world.actions.clear();
    world.settle();
    assert_eq!(
        world.actions,
        [
            "start",
            "release",
            "align",
            "end_permit",
            "after_start",
            "probe"
        ]
    );
}

#[test]
fn a_failed_joined_probe_only_restarts_the_child() {
    let mut world = World::new(2);
    world
        .works
        .insert(Version(2), (Work::Restart, ProbeMode::Joined));
    assert!(world.run_to("flip"));
    world.fail_next("probe", failed("no quorum"));
    world.actions.clear();
    world.settle();
    assert_eq!(
        world.actions,
        [
            "start",
            "release",
            "align",
            "end_permit",
            "after_start",
            "probe",
            "stop",
            "start",
            "probe"
        ]
    );
    assert!(world.notes.contains(&"node.probe_failed".to_owned()));
    assert_eq!(world.machine.status(None).version, Version(2));
}

#[test]
fn an_unmentioned_class_takes_the_number_without_a_restart() {
    let mut world = World::new(2);
    world
        .works
        .insert(Version(2), (Work::Number, ProbeMode::Alone));
    world.verdict = Verdict::Go;
    world.settle();
    assert_eq!(world.machine.status(None).version, Version(2));
    assert_eq!(world.state, Some(place(1, 1)));
    assert!(!world.actions.contains(&"stop".to_owned()));
    assert!(world.actions.contains(&"confirm".to_owned()));
    assert_eq!(world.permit_held, None, "it was ended");
    assert_eq!(world.generation, 1);
}

#[test]
fn versions_are_staged_ahead_and_taken_one_at_a_time() {
    let mut world = World::new(3);
    let reason = "not yet".to_owned();
    let until_ms = Some(77);
    world.verdict = Verdict::Wait { reason, until_ms };
    world.run(10_000, 5_000);
    let status = world.machine.status(None);
    assert_eq!((status.version, status.staged), (Version(1), Version(3)));
    assert_eq!(
        (status.phase, status.target),
        (Phase::Staged, Some(Version(2)))
    );
    assert_eq!(
        (status.reason.as_deref(), status.until_ms),
        (Some("not yet"), Some(77))
    );
    assert_eq!(
        world
            .notes
            .iter()
            .filter(|note| *note == "node.waits")
            .count(),
        1
    );
    world.verdict = Verdict::Go;
    world.tell_plan();
    world.settle();
    assert_eq!(world.machine.status(None).version, Version(3));
    assert_eq!(
        kinds(&world)
            .iter()
            .filter(|kind| **kind == "stopping")
            .count(),
        2
    );
}

#[test]
fn a_wait_is_told_once_however_often_who_is_waited_for_changes() {
    let mut world = World::new(2);
    let mut told = Vec::new();
    for (reason, expected) in [
        ("not yet: a", 1),
        ("not yet: b", 1),
        ("paused", 2),
        ("not yet: c", 3),
    ] {
        world.verdict = Verdict::Wait {
            reason: reason.to_owned(),
            until_ms: None,
        };
        world.run(world.now_ms + 5_000, 5_000);
        let shown = world.machine.status(None).reason;
        assert_eq!(shown.as_deref(), Some(reason), "people see what is so now");
        let waits = world.notes.iter().filter(|note| *note == "node.waits");
        told.push((waits.count(), expected));
    }
    assert!(told.iter().all(|(is, expected)| is == expected), "{told:?}");
}

#[test]
fn a_node_that_was_away_catches_up_in_one_transform() {
    let mut world = World::new(1);
    world.settle();
    let upgrades = World::new(4).plan.upgrades;
    world.plan.upgrades = upgrades;
    world
        .works
        .insert(Version(4), (Work::Number, ProbeMode::Alone));
    world.leap = 9;
    world.verdict = Verdict::Wait {
        reason: "staging".to_owned(),
        until_ms: None,
    };
    world.tell_plan();
    world.run(world.now_ms + 5_000, 5_000);
    world.verdict = Verdict::Go;
    world.settle();
    assert_eq!(world.machine.status(None).version, Version(4));
    assert_eq!(world.state, Some(place(4, 1)));
    assert_eq!(
        kinds(&world)
            .iter()
            .filter(|kind| **kind == "stopping")
            .count(),
        1
    );
    assert_eq!(world.generation, 2);
}

#[test]
fn a_node_whose_version_is_retired_catches_up_before_it_serves() {
    let mut world = World::new(1);
    world.settle();
    world.child = None;
    world.plan.upgrades = World::new(3).plan.upgrades;
    world.plan.retired_through = Version(2);
    world.verdict = Verdict::Wait {
        reason: "never asked".to_owned(),
        until_ms: None,
    };
    world.restart_agent();
    world.settle();
    assert_eq!(world.machine.status(None).version, Version(3));
    assert_eq!(world.generation, 2, "version 1 was never started again");
    let held: Vec<u32> = world.machine.held().map(|step| step.version.0).collect();
    assert_eq!(held, [3]);
}

#[test]
fn a_removed_class_ends_with_no_child() {
    let mut world = World::new(2);
    world
        .works
        .insert(Version(2), (Work::Remove, ProbeMode::Alone));
    world.settle();
    assert_eq!(
        (world.machine.status(None).version, world.child),
        (Version(2), None)
    );
    assert!(
        !world
            .machine
            .settled()
            .is_some_and(|settled| settled.software)
    );
    assert_eq!(kinds(&world).last(), Some(&"released"));
}

#[test]
fn a_compacted_journal_recovers_to_the_same_place() {
    let mut world = World::new(3);
    world.settle();
    let short = world.machine.snapshot().expect("at rest");
    assert!(short.len() < world.journal.len());
    let plan = Some(world.plan.clone());
    let (machine, outputs) = NodeMachine::recover(0, &short, plan, false).expect("fits");
    assert_eq!(machine.settled(), world.machine.settled());
    assert!(machine.held().eq(world.machine.held()));
    assert!(
        !outputs
            .iter()
            .any(|output| matches!(output, Output::Journal(_)))
    );
}

#[test]
fn without_plan_the_node_serves_at_its_version() {
    let mut world = World::new(1);
    world.settle();
    let (_, outputs) = NodeMachine::recover(0, &world.journal, None, false).expect("fits");
    assert!(
        matches!(outputs.last(), Some(Output::Do(crate::machine::Action::StartChild { to })) if to.bundle == place(1, 1))
    );
}

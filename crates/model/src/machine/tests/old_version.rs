//! After a flip back: whether the old version serves, and what had to be killed before.

use super::world::{World, failed};
use crate::api::{ChildState, Phase};
use crate::ids::Version;
use crate::machine::{Outcome, ProbeMode, Record, Work};

/// A node settled at 2, whose software is judged so, for which version 3 is about to appear, and fails its probe.
fn about_to_fail(old: ProbeMode) -> World {
    let mut world = World::new(2);
    world.works.insert(Version(2), (Work::Restart, old));
    world.settle();
    world.plan.upgrades = World::new(3).plan.upgrades;
    world.actions.clear();
    world.notes.clear();
    world.fail_next("probe", failed("no answer"));
    world.tell_plan();
    world
}

fn looks(world: &World) -> usize {
    let looks = world.actions.iter().filter(|action| *action == "look");
    looks.count()
}

fn told(world: &World, kind: &str) -> usize {
    world.notes.iter().filter(|note| *note == kind).count()
}

fn ends(world: &World, with: &str, child: ChildState) {
    let status = world.machine.status(None);
    assert_eq!((status.version, status.phase), (Version(2), Phase::Blocked));
    let reason = status.reason.expect("a reason");
    assert!(
        reason.starts_with("the health probe failed: no answer"),
        "{reason}"
    );
    assert!(reason.ends_with(with), "{reason}");
    assert_eq!(status.child, child);
}

#[test]
fn a_blocked_node_says_that_the_old_version_is_healthy() {
    let mut world = about_to_fail(ProbeMode::Alone);
    world.settle();
    ends(
        &world,
        "; version 2 runs and is healthy",
        ChildState::Running,
    );
    assert_eq!((looks(&world), told(&world, "child.healthy")), (0, 1));
}

#[test]
fn a_blocked_node_says_that_the_old_version_does_not_answer_until_it_does() {
    let mut world = about_to_fail(ProbeMode::Alone);
    world.fail_next("probe", failed("refused"));
    for _ in 0..3 {
        world.fail_next("look", failed("still refused"));
    }
    assert!(world.run_to("look"));
    assert!(!world.traffic.hold_calls, "released before it is healthy");
    ends(
        &world,
        "; version 2 runs but does not answer: refused",
        ChildState::Silent,
    );
    assert!(world.run_to("look"));
    ends(&world, "does not answer: still refused", ChildState::Silent);
    world.settle();
    ends(&world, "version 2 runs and is healthy", ChildState::Running);
    assert_eq!(looks(&world), 4);
    assert_eq!(told(&world, "child.silent"), 1);
    assert_eq!(told(&world, "child.healthy"), 1);
}

#[test]
fn an_old_version_that_is_judged_with_its_peers_is_looked_at_after_the_release() {
    let mut world = about_to_fail(ProbeMode::Joined);
    world.fail_next("look", failed("alone"));
    assert!(world.run_to("look"));
    ends(
        &world,
        "version 2 runs and has not answered yet",
        ChildState::Starting,
    );
    world.settle();
    ends(&world, "version 2 runs and is healthy", ChildState::Running);
    assert_eq!((looks(&world), told(&world, "child.silent")), (2, 0));
}

#[test]
fn an_old_version_that_ends_while_the_node_is_blocked_is_looked_at_again() {
    let mut world = about_to_fail(ProbeMode::Alone);
    world.settle();
    world.crash_child();
    assert!(world.run_to("start"));
    assert!(world.run_to("look"));
    world.settle();
    ends(&world, "version 2 runs and is healthy", ChildState::Running);
}

#[test]
fn a_new_agent_of_a_blocked_node_looks_for_itself() {
    let mut world = about_to_fail(ProbeMode::Alone);
    world.fail_next("probe", failed("refused"));
    world.fail_next("look", failed("refused"));
    assert!(world.run_to("look"));
    world.restart_agent();
    world.settle();
    ends(&world, "version 2 runs and is healthy", ChildState::Running);
    world.restart_agent();
    let before = looks(&world);
    world.settle();
    assert_eq!(looks(&world), before + 1);
    ends(&world, "version 2 runs and is healthy", ChildState::Running);
}

#[test]
fn killed_at_every_boundary_a_node_whose_old_version_is_silent_says_the_truth_in_the_end() {
    for limit in 0.. {
        let mut world = about_to_fail(ProbeMode::Alone);
        for _ in 0..30 {
            world.fail_next("probe", failed("no answer"));
        }
        for _ in 0..5 {
            world.fail_next("look", failed("no answer"));
        }
        world.crash_in(limit);
        world.settle();
        ends(&world, "version 2 runs and is healthy", ChildState::Running);
        assert!(!world.traffic.hold_calls && !world.traffic.probing);
        if world.crash_after.is_some() {
            assert!(limit > 30, "the run has many boundaries");
            break;
        }
    }
}

#[test]
fn that_the_old_version_had_to_be_killed_is_told_and_part_of_the_reason() {
    let killed = || Outcome::Killed {
        what: "had to be killed: process 7 (node)".to_owned(),
    };
    for restarts in [false, true] {
        let mut world = about_to_fail(ProbeMode::Alone);
        world.fail_next("stop", killed());
        if restarts {
            assert!(world.run_to("transform"));
            world.restart_agent();
        }
        world.settle();
        let reason = world.machine.status(None).reason.expect("a reason");
        let expected =
            "the health probe failed: no answer; version 2 had to be killed: process 7 (node); ";
        assert!(reason.starts_with(expected), "{reason}");
        assert_eq!(told(&world, "child.killed"), 1);
    }
    let mut world = World::new(2);
    world.fail_next("stop", killed());
    world.settle();
    assert_eq!(world.machine.status(None).version, Version(2));
    assert_eq!(told(&world, "child.killed"), 1);
}

#[test]
fn the_same_where_health_is_judged_with_the_peers() {
    let mut world = World::new(1);
    world.settle();
    world
        .works
        .insert(Version(2), (Work::Restart, ProbeMode::Joined));
    world.plan.upgrades = World::new(2).plan.upgrades;
    let what = "had to be killed: process 7 (node)".to_owned();
    world.fail_next("stop", Outcome::Killed { what });
    world.fail_next("probe", failed("no answer"));
    world.tell_plan();
    assert!(world.run_to("release"));
    world.restart_agent();
    assert!(world.run_to("probe"));
    assert!(world.run_to("stop"));
    let reason = world.machine.status(None).reason.expect("a reason");
    let expected =
        "the health probe failed: no answer; version 1 had to be killed: process 7 (node)";
    assert_eq!(reason, expected);
    world.settle();
    assert_eq!(world.machine.status(None).reason, None);
}

#[test]
fn a_record_of_an_older_agent_is_read() {
    let record: Record =
        serde_json::from_str(r#"{"record":"transforming","attempt":2}"#).expect("a record");
    let killed = None;
    assert_eq!(record, Record::Transforming { attempt: 2, killed });
}

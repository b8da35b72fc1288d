//! Revisions of what runs: tried like an upgrade where they change the software, in force at once where they do not.

use super::world::{Verdict, World, failed, place};
use crate::api::Phase;
use crate::ids::{Revision, Version};
use crate::machine::{Action, Input, Outcome, Output, ProbeMode, Record, Work};

/// A node settled at version 2, for which revision 2 of that is about to appear.
fn revised() -> World {
    let mut world = World::new(2);
    world.settle();
    world.actions.clear();
    publish(&mut world, 2, 2);
    world
}

fn publish(world: &mut World, version: u32, revision: u32) {
    let planned = world.plan.upgrades.get_mut(&Version(version));
    planned.expect("there").revision = Revision(revision);
    world.tell_plan();
}

fn waits() -> Verdict {
    Verdict::Wait {
        reason: "waits for approval".to_owned(),
        until_ms: None,
    }
}

fn permit() -> Verdict {
    Verdict::Go
}

/// What runs, which state it has, and what the status says of it.
fn runs(world: &World, bundle: (u32, u32), revision: u32) {
    let bundle = place(bundle.0, bundle.1);
    assert_eq!(world.child.map(|child| child.0), Some(bundle));
    let status = world.machine.status(None);
    assert_eq!(status.bundle, Some(bundle));
    assert_eq!(status.revision, Revision(revision));
    let settled = world.machine.settled().expect("settled");
    assert_eq!(world.state, Some(settled.state));
    assert!(!world.traffic.hold_calls && !world.traffic.probing);
}

#[test]
fn what_is_started_anew_is_the_revision_that_was_proven() {
    let mut world = World::new(2);
    world.settle();
    world.verdict = waits();
    publish(&mut world, 2, 2);
    world.run(world.now_ms + 5_000, 5_000);
    let status = world.machine.status(None);
    assert_eq!(status.phase, Phase::Staged);
    assert_eq!(
        (status.target, status.target_revision),
        (Some(Version(2)), Some(Revision(2)))
    );
    assert_eq!(status.reason.as_deref(), Some("waits for approval"));
    world.crash_child();
    world.run(world.now_ms + 5_000, 5_000);
    runs(&world, (2, 1), 1);
    world.child = None;
    world.restart_agent();
    world.run(world.now_ms + 5_000, 5_000);
    runs(&world, (2, 1), 1);
}

#[test]
fn a_revision_of_what_runs_is_tried_like_an_upgrade() {
    let mut world = revised();
    world.verdict = permit();
    world.settle();
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
    runs(&world, (2, 2), 2);
    assert_eq!((world.state, world.permit_held), (Some(place(2, 2)), None));
    assert_eq!(world.machine.status(None).phase, Phase::Settled);
}

#[test]
fn a_revision_of_what_runs_copies_the_state_and_transforms_nothing() {
    let mut world = revised();
    assert!(world.run_to("stop"));
    let outputs = world.machine.step(world.now_ms, Input::Done(Outcome::Done));
    let Some(Output::Do(Action::Transform { from, to, path, .. })) = outputs.last() else {
        panic!("{outputs:?}");
    };
    assert_eq!((*from, *to), (place(2, 1), place(2, 2)));
    assert!(path.is_empty(), "{path:?}");
}

#[test]
fn a_worse_revision_flips_back_to_the_one_before_and_is_not_tried_again() {
    for action in ["start", "after_start", "probe", "flip"] {
        let mut world = revised();
        for _ in 0..5 {
            world.fail_next(action, failed("broken"));
        }
        world.settle();
        world.script.clear();
        runs(&world, (2, 1), 1);
        let status = world.machine.status(None);
        assert_eq!(status.phase, Phase::Blocked);
        let target = (status.target, status.target_revision);
        assert_eq!(target, (Some(Version(2)), Some(Revision(2))));
        assert!(status.reason.is_some_and(|why| why.contains("broken")));
        world.crash_child();
        world.restart_agent();
        world.settle();
        runs(&world, (2, 1), 1);
        assert_eq!(world.machine.status(None).phase, Phase::Blocked);
        let short = world.machine.snapshot().expect("at rest");
        world.journal = short;
        world.restart_agent();
        world.settle();
        runs(&world, (2, 1), 1);
        assert_eq!(world.machine.status(None).phase, Phase::Blocked);
    }
}

#[test]
fn a_failed_revision_is_left_by_another_by_retry_and_by_the_next_version() {
    let blocked = || {
        let mut world = revised();
        world.fail_next("probe", failed("broken"));
        world.settle();
        assert_eq!(world.machine.status(None).phase, Phase::Blocked);
        world
    };
    let mut world = blocked();
    publish(&mut world, 2, 3);
    world.settle();
    runs(&world, (2, 3), 3);

    let mut world = blocked();
    world.plan.retry = 1;
    world.tell_plan();
    world.settle();
    runs(&world, (2, 2), 2);

    // The next version comes while the node is blocked.
    let mut world = blocked();
    world.plan.upgrades = World::new(3).plan.upgrades;
    publish(&mut world, 2, 2);
    world.settle();
    runs(&world, (3, 1), 1);
    assert_eq!(world.machine.status(None).phase, Phase::Settled);

    // What was taken back by a revision with the old software is in force at once.
    let mut world = blocked();
    world.as_running.insert(place(2, 3));
    let generation = world.generation;
    publish(&mut world, 2, 3);
    world.settle();
    let status = world.machine.status(None);
    assert_eq!(
        (status.phase, status.revision),
        (Phase::Settled, Revision(3))
    );
    assert_eq!(world.generation, generation);
}

#[test]
fn a_revision_with_the_same_software_is_in_force_when_it_is_staged() {
    let mut world = revised();
    world.as_running.insert(place(2, 2));
    world.verdict = waits();
    world.settle();
    let status = world.machine.status(None);
    assert_eq!(
        (status.phase, status.revision),
        (Phase::Settled, Revision(2))
    );
    assert_eq!((world.state, world.generation), (Some(place(2, 1)), 2));
    assert_eq!(world.actions, ["align"]);
    world.crash_child();
    world.restart_agent();
    world.settle();
    runs(&world, (2, 2), 2);
}

#[test]
fn a_revision_of_the_version_that_brought_the_software_is_tried_where_the_number_was_taken_since() {
    let mut world = World::new(3);
    (world.works).insert(Version(3), (Work::Number, ProbeMode::Alone));
    world.settle();
    assert_eq!(world.machine.status(None).version, Version(3));
    runs(&world, (2, 1), 1);
    publish(&mut world, 2, 2);
    assert!(world.run_to("probe"));
    assert_eq!(world.traffic.serving_version, Version(3));
    world.settle();
    runs(&world, (2, 2), 1);
    assert_eq!(world.machine.status(None).version, Version(3));
    publish(&mut world, 3, 2);
    world.settle();
    runs(&world, (2, 2), 2);
}

#[test]
fn a_node_that_may_go_on_leaves_a_revision_of_what_runs_out() {
    let mut world = World::new(2);
    world.settle();
    world.verdict = waits();
    world.plan.upgrades = World::new(3).plan.upgrades;
    publish(&mut world, 2, 2);
    world.run(world.now_ms + 5_000, 5_000);
    let starts = world.generation;
    world.verdict = Verdict::Go;
    world.settle();
    runs(&world, (3, 1), 1);
    assert_eq!(world.generation, starts + 1);
}

/// Publishes revision 2 of version 2 while this action of the upgrade to its revision 1 runs.
fn revised_at(action: &str) -> World {
    let mut world = World::new(1);
    world.settle();
    world.plan.upgrades = World::new(2).plan.upgrades;
    world.tell_plan();
    assert!(world.run_to(action), "{action}");
    let planned = world.plan.upgrades.get_mut(&Version(2)).expect("there");
    planned.revision = Revision(2);
    let plan = world.plan.clone();
    let answers = world.machine.step(world.now_ms, Input::Plan(plan));
    assert!(answers.is_empty(), "an action is running: {answers:?}");
    world
}

#[test]
fn a_newer_revision_ends_what_has_not_been_committed() {
    for action in ["before_stop", "drain", "keep", "hold", "stop", "transform"] {
        let mut world = revised_at(action);
        let returned = |record: &Record| {
            matches!(record, Record::Staged { returned: Some(why), .. }
                if why == "revision 2 of version 2 was published meanwhile")
        };
        world.settle();
        assert!(world.journal.iter().any(returned), "{action}");
        let committed = (world.journal.iter()).filter(|record| **record == Record::Committed);
        assert_eq!(committed.count(), 1, "{action}");
        runs(&world, (2, 2), 2);
    }
}

#[test]
fn what_is_committed_goes_on_with_its_own_revision() {
    for action in ["flip", "start", "after_start", "probe"] {
        let mut world = revised_at(action);
        world.verdict = waits();
        world.run(world.now_ms + 5_000, 5_000);
        runs(&world, (2, 1), 1);
        world.verdict = Verdict::Go;
        world.settle();
        runs(&world, (2, 2), 2);
    }
}

#[test]
fn a_newer_revision_ends_an_attempt_that_an_agent_finds() {
    let mut world = World::new(1);
    world.settle();
    world.plan.upgrades = World::new(2).plan.upgrades;
    world.tell_plan();
    assert!(world.run_to("transform"));
    let planned = world.plan.upgrades.get_mut(&Version(2)).expect("there");
    planned.revision = Revision(2);
    world.actions.clear();
    world.restart_agent();
    world.settle();
    let transforms = world.actions.iter().filter(|action| *action == "transform");
    assert_eq!(transforms.count(), 1);
    runs(&world, (2, 2), 2);
}

#[test]
fn killed_at_every_boundary_the_node_runs_one_revision_wholly() {
    for broken in [false, true] {
        for limit in 0.. {
            let mut world = World::new(2);
            world.settle();
            world.verdict = permit();
            for _ in 0..if broken { 50 } else { 0 } {
                world.fail_next("after_start", failed("broken"));
            }
            world.crash_in(limit);
            publish(&mut world, 2, 2);
            world.settle();
            if broken {
                runs(&world, (2, 1), 1)
            } else {
                runs(&world, (2, 2), 2)
            }
            assert_eq!(world.permit_held, None, "killed at {limit}");
            if world.crash_after.is_some() {
                assert!(limit > 20, "the run has many boundaries");
                break;
            }
        }
    }
}

#[test]
fn what_has_failed_is_not_tried_again_because_something_else_has() {
    let mut world = World::new(2);
    world.settle();
    for _ in 0..4 {
        world.fail_next("probe", failed("broken"));
        world.fail_next("probe", Outcome::Done);
    }
    world.plan.upgrades = World::new(3).plan.upgrades;
    world.tell_plan();
    world.settle();
    assert_eq!(world.machine.status(None).target, Some(Version(3)));
    publish(&mut world, 2, 2);
    world.settle();
    runs(&world, (2, 1), 1);
    let tries = (world.journal.iter()).filter(|record| record.kind() == "stopping");
    assert_eq!(tries.count(), 1 + 2, "3.1 and 2.2, each once");
    assert_eq!(world.machine.status(None).phase, Phase::Blocked);
}

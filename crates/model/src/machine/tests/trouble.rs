//! What goes wrong, one thing at a time.

use super::world::{Verdict, World, failed, place};
use crate::api::{ChildState, Phase};
use crate::ids::{Revision, Version};
use crate::machine::{Input, NodeMachine, Outcome, Record, TRANSFORM_ATTEMPTS_MAX};

/// A node settled at 1 for which version 2 is about to appear.
fn settled() -> World {
    let mut world = World::new(1);
    world.settle();
    world.plan.upgrades = World::new(2).plan.upgrades;
    world.actions.clear();
    world.tell_plan();
    world
}

fn blocked_by(action: &'static str, times: u32) -> World {
    let mut world = settled();
    for _ in 0..times {
        world.fail_next(action, failed("broken"));
    }
    world.settle();
    let status = world.machine.status(None);
    assert_eq!((status.version, status.phase), (Version(1), Phase::Blocked));
    assert_eq!(status.target, Some(Version(2)));
    assert!(
        status
            .reason
            .is_some_and(|reason| reason.contains("broken"))
    );
    assert_eq!(status.child, ChildState::Running);
    assert_eq!(
        (world.state, world.child.map(|child| child.0)),
        (Some(place(1, 1)), Some(place(1, 1)))
    );
    assert!(!world.traffic.hold_calls && !world.traffic.probing);
    world
}

#[test]
fn a_transform_that_fails_once_is_tried_again() {
    let mut world = settled();
    world.fail_next("transform", failed("exit 1"));
    world.settle();
    assert_eq!(world.machine.status(None).version, Version(2));
}

#[test]
fn a_transform_that_always_fails_flips_back_and_blocks() {
    let world = blocked_by("transform", TRANSFORM_ATTEMPTS_MAX);
    let attempts = world.actions.iter().filter(|action| *action == "transform");
    assert_eq!(attempts.count(), TRANSFORM_ATTEMPTS_MAX as usize);
}

#[test]
fn a_failed_probe_flips_back_and_blocks() {
    let world = blocked_by("probe", 1);
    let back = world
        .actions
        .iter()
        .rposition(|action| action == "stop")
        .expect("stopped");
    assert_eq!(
        world.actions[back..],
        [
            "stop",
            "flip",
            "start",
            "probe",
            "release",
            "align",
            "end_permit"
        ]
    );
}

#[test]
fn a_failed_after_start_flips_back_and_blocks() {
    blocked_by("after_start", 1);
}

#[test]
fn a_new_version_that_cannot_be_started_flips_back_and_blocks() {
    blocked_by("start", 1);
}

#[test]
fn a_flip_that_always_fails_flips_back_and_blocks() {
    blocked_by("flip", 5);
}

#[test]
fn a_child_that_crashes_while_probed_flips_back_and_blocks() {
    let mut world = settled();
    assert!(world.run_to("after_start"));
    world.crash_child();
    world.settle();
    let status = world.machine.status(None);
    assert_eq!((status.version, status.phase), (Version(1), Phase::Blocked));
    assert!(
        status
            .reason
            .is_some_and(|reason| reason.contains("signal 11"))
    );
}

#[test]
fn a_crash_is_told_of_the_version_whose_software_it_was() {
    let crashed = |world: &World| -> Vec<Option<Version>> {
        let told = world.told.iter();
        told.filter(|(kind, _)| *kind == "child.crashed")
            .map(|(_, version)| *version)
            .collect()
    };
    let mut world = settled();
    assert!(world.run_to("after_start"));
    world.crash_child();
    world.settle();
    assert_eq!(crashed(&world), [Some(Version(2))]);
    world.crash_child();
    world.settle();
    assert_eq!(crashed(&world), [Some(Version(2)), Some(Version(1))]);
    let mut joining = World::new(1);
    assert!(joining.run_to("probe"));
    joining.crash_child();
    joining.settle();
    assert_eq!(crashed(&joining), [Some(Version(1))]);
}

#[test]
fn a_release_that_fails_is_tried_again_soon_however_often() {
    let mut world = settled();
    assert!(world.run_to("probe"));
    for _ in 0..12 {
        world.fail_next("release", failed("busy"));
    }
    for _ in 0..12 {
        let before = world.now_ms;
        assert!(world.run_to("release"));
        assert!(world.now_ms - before <= 1_000, "{}", world.now_ms - before);
    }
    world.settle();
    assert!(!world.traffic.hold_calls);
}

#[test]
fn software_that_ends_before_its_start_is_told_says_how() {
    let mut world = settled();
    assert!(world.run_to("start"));
    world.crash_child_at_once();
    world.settle();
    let reason = world.machine.status(None).reason.expect("a reason");
    assert!(
        reason.contains("ended as soon as it was started: signal 11"),
        "{reason}"
    );
}

#[test]
fn a_blocked_node_tries_again_after_retry() {
    let mut world = blocked_by("probe", 1);
    world.tell_plan();
    world.settle();
    assert_eq!(world.machine.status(None).phase, Phase::Blocked);
    world.plan.retry = 1;
    world.tell_plan();
    world.settle();
    assert_eq!(world.machine.status(None).version, Version(2));
    assert_eq!(world.machine.retry_acknowledged(), 1);
}

#[test]
fn a_retry_is_acted_on_once_even_if_the_agent_restarts() {
    let mut world = blocked_by("probe", 1);
    world.plan.retry = 1;
    world.fail_next("probe", failed("broken again"));
    world.tell_plan();
    world.settle();
    world.restart_agent();
    world.settle();
    assert_eq!(world.machine.status(None).phase, Phase::Blocked);
}

#[test]
fn a_revision_frees_a_blocked_node() {
    let mut world = blocked_by("probe", 1);
    let planned = world.plan.upgrades.get_mut(&Version(2)).expect("there");
    planned.revision = Revision(2);
    world.tell_plan();
    world.settle();
    assert_eq!(world.state, Some(place(2, 2)));
    assert_eq!(world.machine.status(None).revision, Revision(2));
}

#[test]
fn a_withdrawal_frees_a_blocked_node_and_the_next_upgrade_starts_from_its_version() {
    let mut world = blocked_by("probe", 1);
    let mut bad = world.plan.upgrades.remove(&Version(2)).expect("there");
    world.tell_plan();
    world.settle();
    let status = world.machine.status(None);
    assert_eq!((status.phase, status.staged), (Phase::Settled, Version(1)));
    bad.from = Version(1);
    world.plan.upgrades.insert(Version(3), bad);
    world.tell_plan();
    world.settle();
    assert_eq!(world.machine.status(None).version, Version(3));
}

#[test]
fn a_withdrawal_during_the_upgrade_takes_the_node_back() {
    for action in ["drain", "stop", "transform", "probe"] {
        let mut world = settled();
        assert!(world.run_to(action), "{action}");
        world.plan.upgrades.remove(&Version(2));
        let plan = world.plan.clone();
        let answers = world.machine.step(world.now_ms, Input::Plan(plan));
        assert!(answers.is_empty(), "an action is running: {answers:?}");
        world.settle();
        let status = world.machine.status(None);
        assert_eq!(
            (status.version, status.phase),
            (Version(1), Phase::Settled),
            "{action}"
        );
        assert_eq!(world.child.map(|child| child.0), Some(place(1, 1)));
    }
}

#[test]
fn a_full_disk_is_no_attempt() {
    let mut world = settled();
    for _ in 0..9 {
        let reason = "12 GB are missing".to_owned();
        world.fail_next("transform", Outcome::NoSpace { reason });
    }
    assert!(world.run_to("release"));
    let status = world.machine.status(None);
    assert_eq!((status.version, status.phase), (Version(1), Phase::Staged));
    assert_eq!(status.reason.as_deref(), Some("12 GB are missing"));
    assert_eq!(world.child.map(|child| child.0), Some(place(1, 1)));
    world.settle();
    assert_eq!(world.machine.status(None).version, Version(2));
}

#[test]
fn a_permit_that_is_not_confirmed_costs_nothing_and_is_ended() {
    let mut world = settled();
    world.verdict = Verdict::Go;
    let reason = "broken by an operator".to_owned();
    world.fail_next("confirm", Outcome::Refused { reason });
    let reason = "one is out already".to_owned();
    world.fail_next("ask", Outcome::Refused { reason });
    assert!(world.run_to("end_permit"));
    assert!(!world.actions.contains(&"stop".to_owned()));
    let returned = |record: &Record| {
        matches!(
            record,
            Record::Staged {
                returned: Some(_),
                ..
            }
        )
    };
    assert!(world.journal.iter().any(returned));
    world.settle();
    assert_eq!(world.machine.status(None).version, Version(2));
    assert_eq!(world.permit_held, None);
}

#[test]
fn before_stop_that_fails_gives_up_and_tries_later() {
    let mut world = settled();
    world.fail_next("before_stop", failed("exit 3"));
    assert!(world.run_to("release"));
    assert_eq!(world.machine.status(None).reason.as_deref(), Some("exit 3"));
    world.settle();
    assert_eq!(world.machine.status(None).version, Version(2));
}

#[test]
fn a_pause_holds_only_what_has_not_begun() {
    let mut world = settled();
    assert!(world.run_to("ask"));
    world.plan.paused = true;
    let plan = world.plan.clone();
    world.machine.step(world.now_ms, Input::Plan(plan));
    world.run(world.now_ms + 5_000, 5_000);
    assert_eq!(world.machine.status(None).phase, Phase::Staged);
    world.plan.paused = false;
    world.tell_plan();
    assert!(world.run_to("drain"));
    world.plan.paused = true;
    let plan = world.plan.clone();
    world.machine.step(world.now_ms, Input::Plan(plan));
    world.settle();
    assert_eq!(world.machine.status(None).version, Version(2));
}

#[test]
fn a_crashed_child_is_restarted_with_growing_waits_and_blocks_nothing() {
    let mut world = World::new(1);
    world.settle();
    let mut waits = Vec::new();
    for _ in 0..4 {
        world.crash_child();
        let before = world.now_ms;
        assert!(world.run_to("start"));
        waits.push(world.now_ms - before);
        world.run(world.now_ms, 100);
    }
    assert_eq!(waits, [250, 500, 1000, 2000]);
    assert_eq!(world.machine.status(None).phase, Phase::Settled);
    assert_eq!(world.machine.status(None).child, ChildState::Running);
}

#[test]
fn staging_is_tried_again_after_a_while() {
    let mut world = settled();
    world.fail_next("stage", failed("404"));
    world.run(world.now_ms, 2);
    let status = world.machine.status(None);
    assert_eq!(
        (status.phase, status.reason.as_deref()),
        (Phase::Fetching, Some("404"))
    );
    world.settle();
    assert_eq!(world.machine.status(None).version, Version(2));
}

#[test]
fn a_child_that_cannot_be_intercepted_is_stopped_until_a_revision_or_retry() {
    let mut world = World::new(1);
    world.settle();
    for _ in 0..2 {
        world.push(Input::Unfit {
            reason: "a static program listens on port 80".to_owned(),
        });
        world.settle();
    }
    let status = world.machine.status(None);
    assert_eq!((status.phase, world.child), (Phase::Blocked, None));
    assert_eq!(
        world
            .notes
            .iter()
            .filter(|note| *note == "node.blocked")
            .count(),
        1
    );
    world.plan.retry = 1;
    world.tell_plan();
    world.settle();
    assert!(world.child.is_some());
    assert_eq!(world.machine.status(None).phase, Phase::Settled);
}

#[test]
fn a_new_version_that_cannot_be_intercepted_flips_back() {
    let mut world = settled();
    assert!(world.run_to("after_start"));
    world.push(Input::Unfit {
        reason: "static".to_owned(),
    });
    world.settle();
    assert_eq!(world.machine.status(None).phase, Phase::Blocked);
    assert_eq!(world.child.map(|child| child.0), Some(place(1, 1)));
}

#[test]
fn a_joining_node_whose_probe_fails_keeps_trying_and_takes_a_revision() {
    let mut world = World::new(1);
    for _ in 0..100 {
        world.fail_next("probe", failed("broken"));
    }
    world.run(20_000, 5_000);
    assert_eq!(world.machine.status(None).phase, Phase::Joining);
    // Also while it starts and is probed once more.
    assert!(world.run_to("probe"));
    let reason = world.machine.status(None).reason.unwrap_or_default();
    assert!(reason.contains("broken"), "{reason}");
    let planned = world.plan.upgrades.get_mut(&Version(1)).expect("there");
    planned.revision = Revision(2);
    world.script.clear();
    world.tell_plan();
    world.settle();
    assert_eq!(world.machine.status(None).revision, Revision(2));
    assert_eq!(world.child.map(|child| child.0), Some(place(1, 2)));
}

#[test]
fn a_journal_whose_records_do_not_follow_is_refused() {
    let error =
        NodeMachine::recover(0, &[Record::Committed], None, false).expect_err("must not fit");
    assert_eq!((error.index, error.kind), (0, "committed"));
}

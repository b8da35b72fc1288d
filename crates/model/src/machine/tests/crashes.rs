//! The agent killed at every boundary between outputs, with and without other trouble.

use super::world::{Verdict, World, failed, place};
use crate::api::Phase;
use crate::ids::Version;
use crate::machine::{Outcome, ProbeMode, Work};
use proptest::prelude::*;

fn acquire() -> Verdict {
    Verdict::Go
}

/// Runs to the end and checks that the node is at one version, wholly.
fn converges(world: &mut World) {
    world.settle();
    let status = world.machine.status(None);
    let settled = world.machine.settled().expect("joined").clone();
    assert_eq!(world.state, Some(settled.state));
    assert!(
        matches!(status.phase, Phase::Settled | Phase::Blocked),
        "{status:?}"
    );
    if status.phase == Phase::Blocked {
        assert!(status.reason.is_some_and(|reason| !reason.is_empty()));
    }
    assert!(world.child.is_some());
    assert!(!world.traffic.hold_calls && !world.traffic.probing);
    assert_eq!(world.permit_held, None, "the permit was ended");
}

#[test]
fn killed_at_every_boundary_the_node_ends_at_the_new_version() {
    for limit in 0.. {
        let mut world = World::new(3);
        world.verdict = acquire();
        world
            .works
            .insert(Version(3), (Work::Restart, ProbeMode::Joined));
        world.crash_in(limit);
        converges(&mut world);
        assert_eq!(
            world.machine.status(None).version,
            Version(3),
            "killed at {limit}"
        );
        if world.crash_after.is_some() {
            assert!(limit > 50, "the run has many boundaries");
            break;
        }
    }
}

#[test]
fn killed_at_every_boundary_of_a_failure_the_node_ends_at_the_old_version() {
    for limit in 0.. {
        let mut world = World::new(1);
        world.settle();
        world.verdict = acquire();
        world.plan.upgrades = World::new(2).plan.upgrades;
        // Whatever is asked of version 2 fails, however often.
        for _ in 0..50 {
            world.fail_next("after_start", failed("broken"));
        }
        world.crash_in(limit);
        world.tell_plan();
        converges(&mut world);
        let status = world.machine.status(None);
        assert_eq!((status.version, status.phase), (Version(1), Phase::Blocked));
        assert_eq!(world.child.map(|child| child.0), Some(place(1, 1)));
        if world.crash_after.is_some() {
            assert!(limit > 30, "the run has many boundaries");
            break;
        }
    }
}

#[test]
fn what_is_to_be_stopped_is_served_as_before_under_a_new_agent_while_it_runs() {
    let mut world = World::new(2);
    assert!(world.run_to("before_stop"));
    world.restart_agent();
    assert!(
        !world.traffic.hold_calls,
        "the command before_stop may need the calls"
    );
    world.crash_child();
    assert!(world.run_to("keep"));
    assert!(world.traffic.hold_calls, "the child has ended meanwhile");
    converges(&mut world);
    assert_eq!(world.machine.status(None).version, Version(2));
}

#[test]
fn a_new_agent_answers_others_before_it_goes_on_to_stop_what_runs() {
    for before in ["confirm", "before_stop", "drain", "keep"] {
        let mut world = World::new(2);
        world.verdict = acquire();
        assert!(world.run_to(before));
        world.restart_agent();
        let first = world.actions.last().map(String::as_str);
        assert_eq!(first, Some("align"), "{before}");
        converges(&mut world);
        assert_eq!(world.machine.status(None).version, Version(2));
    }
}

#[test]
fn a_new_agent_that_cannot_answer_others_gives_the_upgrade_up_and_tries_again() {
    let mut world = World::new(2);
    assert!(world.run_to("before_stop"));
    world.fail_next("align", failed("an adapter cannot be loaded"));
    world.restart_agent();
    assert!(world.run_to("release"));
    let status = world.machine.status(None);
    assert_eq!((status.version, status.phase), (Version(1), Phase::Staged));
    converges(&mut world);
    assert_eq!(world.machine.status(None).version, Version(2));
}

#[test]
fn what_was_stopped_by_an_earlier_agent_holds_calls_from_the_start() {
    let mut world = World::new(2);
    assert!(world.run_to("stop"));
    assert!(world.child.is_none());
    world.restart_agent();
    assert!(world.traffic.hold_calls);
    converges(&mut world);
    assert_eq!(world.machine.status(None).version, Version(2));
}

/// Something that goes wrong in a run.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    KillAgentAfter(u64),
    KillChildAfter(u32),
    Fail(&'static str),
    NoSpace,
    Refuse(&'static str),
    Revise(u32),
}

fn trouble() -> impl Strategy<Value = Trouble> {
    let failing = prop::sample::select(vec![
        "stage",
        "align",
        "prepare",
        "before_stop",
        "keep",
        "stop",
        "transform",
        "flip",
        "start",
        "after_start",
        "probe",
        "look",
        "release",
        "end_permit",
    ]);
    prop_oneof![
        (0u64..25).prop_map(Trouble::KillAgentAfter),
        (0u32..25).prop_map(Trouble::KillChildAfter),
        failing.prop_map(Trouble::Fail),
        Just(Trouble::NoSpace),
        (1u32..5).prop_map(Trouble::Revise),
        prop::sample::select(vec!["confirm", "ask"]).prop_map(Trouble::Refuse),
    ]
}

fn work() -> impl Strategy<Value = (Work, ProbeMode)> {
    let works = vec![Work::Restart, Work::Restart, Work::Number];
    let modes = vec![ProbeMode::Alone, ProbeMode::Joined];
    (prop::sample::select(works), prop::sample::select(modes))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn whatever_goes_wrong_the_node_ends_at_one_version(
        troubles in prop::collection::vec(trouble(), 0..14),
        works in prop::collection::vec(work(), 3),
        leap in 1usize..4,
        with_permit in any::<bool>(),
    ) {
        let mut world = World::new(4);
        world.leap = leap;
        for (index, work) in works.iter().enumerate() {
            world.works.insert(Version(index as u32 + 2), *work);
        }
        if with_permit {
            world.verdict = acquire();
        }
        for trouble in troubles {
            match trouble {
                Trouble::KillAgentAfter(steps) => {
                    world.run(world.now_ms + 60_000, steps as u32);
                    world.restart_agent();
                }
                Trouble::KillChildAfter(steps) => {
                    world.run(world.now_ms + 60_000, steps);
                    world.crash_child();
                }
                Trouble::Fail(action) => world.fail_next(action, failed("trouble")),
                Trouble::NoSpace => {
                    world.fail_next("transform", Outcome::NoSpace { reason: "full".to_owned() });
                }
                Trouble::Revise(version) => {
                    let planned = world.plan.upgrades.get_mut(&Version(version));
                    planned.expect("there").revision.0 += 1;
                    world.tell_plan();
                }
                Trouble::Refuse(action) => {
                    world.fail_next(action, Outcome::Refused { reason: "no".to_owned() });
                }
            }
        }
        converges(&mut world);
        if world.machine.status(None).phase == Phase::Blocked {
            world.script.clear();
            world.plan.retry += 1;
            world.tell_plan();
            converges(&mut world);
        }
        while world.machine.status(None).phase == Phase::Blocked {
            world.plan.retry += 1;
            world.tell_plan();
            converges(&mut world);
        }
        prop_assert_eq!(world.machine.status(None).version, Version(4));
    }
}

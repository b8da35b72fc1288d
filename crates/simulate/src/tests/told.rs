//! What a plan tells of waves, of nodes that never get there, and of what cannot be planned.

use super::{nodes, scenario};
use crate::{ClassPlan, PlanSettings, ScenarioError, TimeDistribution, plan};
use model::ids::Version;

fn told(schedule: &str, count: usize) -> crate::UpgradePlan {
    let mut scenario = scenario(&[("db", schedule)], nodes("db", count, count));
    scenario.otherwise_unavailable = TimeDistribution::Constant { ms: 1_000 };
    plan(&scenario, &PlanSettings::default()).expect("a plan")
}

/// Those that a wave has no room for go with the rest: they are none of the wave's when it is told how long that takes.
#[test]
fn a_wave_of_so_many_at_most_is_told_without_those_that_go_with_the_rest() {
    let plan = told("waves = [{ at_most = 4, soak_ms = 3600000 }]", 10);
    let row = |class: &ClassPlan| (class.wave, class.nodes, class.all_ms.map(|all| all.p90_ms));
    let [first, rest] = plan.classes.as_slice() else {
        panic!("{:?}", plan.classes);
    };
    let (wave, nodes, all_ms) = row(first);
    assert_eq!((wave, nodes), (Some(1), 4));
    assert!(all_ms.is_some_and(|all| all < 60_000), "{first:?}");
    let (wave, nodes, all_ms) = row(rest);
    assert_eq!((wave, nodes), (None, 6));
    assert!(all_ms.is_some_and(|all| all > 3_600_000), "{rest:?}");
    assert!(rest.first_ms.is_some_and(|first| first.p50_ms > 3_600_000));
    assert!(plan.empty_waves.is_empty());
}

#[test]
fn waves_that_take_nobody_are_told() {
    let empty = |schedule: &str| {
        let plan = told(schedule, 10);
        let empty = plan.empty_waves.into_iter();
        empty
            .map(|one| (one.wave, one.taken_by))
            .collect::<Vec<_>>()
    };
    let taken = "waves = [{ at_most = 1 }, { at_most = 10, soak_ms = 3600000 }]";
    assert_eq!(empty(taken), [(2, Some(1))]);
    let shares = "waves = [{ share = \"50%\" }, { share = \"10%\" }]";
    assert_eq!(empty(shares), [(2, Some(1))]);
    // In this fleet only.
    let named = "waves = [{ nodes = \"node.name == 'other'\" }]";
    assert_eq!(empty(named), [(1, None)]);
    assert_eq!(empty("waves = [{ share = \"50%\" }]"), []);
}

#[test]
fn what_passes_by_itself_is_not_why_a_node_never_gets_there() {
    let plan = told(
        "approval = true, windows = [{ start = \"20:00\", length = \"1h\", zone = \"UTC\" }]",
        3,
    );
    let stuck = plan.stuck.expect("somebody");
    assert_eq!(stuck.why, "waits for approval: `upstart approve 2`");
    let sound = told("", 3);
    assert!(sound.never.is_sign_positive() && sound.held_up.is_sign_positive());
}

#[test]
fn nobody_goes_back_and_nobody_goes_to_what_is_retired() {
    let mut beyond = scenario(&[("db", "")], nodes("db", 2, 2));
    beyond.nodes[1].version = Version(4);
    assert_eq!(
        beyond.check(),
        Err(ScenarioError::Beyond {
            node: "db-000001".to_owned(),
            version: Version(4),
            planned: Version(2),
        })
    );
    let mut retired = scenario(&[("db", "")], nodes("db", 2, 2));
    retired.retired_through = Version(5);
    assert!(matches!(
        retired.check(),
        Err(ScenarioError::Retired { .. })
    ));
    let mut late = scenario(&[("db", "")], nodes("db", 2, 2));
    late.start_ms = u64::MAX;
    assert_eq!(late.check(), Err(ScenarioError::TooLate));
}

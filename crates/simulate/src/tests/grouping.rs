//! Those who stand for others tell the same as all do.

use super::{history, nodes, scenario};
use crate::{PlanSettings, PlannedNode, Scenario, UpgradePlan, plan};
use proptest::prelude::*;

/// How far the prediction with fewer nodes may be from that with all, as a share of it.
const BOUND: f64 = 0.1;

/// What is added to that beside the longest time that a node is unavailable: a few questions, which come when they come.
const SLACK_MS: f64 = 2_000.0;

fn planned(scenario: &Scenario, nodes_max: usize) -> UpgradePlan {
    let settings = PlanSettings {
        seed: 11,
        courses: 5,
        nodes_max,
    };
    plan(scenario, &settings).expect("a plan")
}

/// A schedule, with the size of its groups.
fn kinds_of_schedules() -> impl Strategy<Value = (String, usize)> {
    let small = (2..7_usize, 1..3_usize, 0..3_usize).prop_map(|(each, limit, waves)| {
        let waves = [
            "",
            ", waves = [{ share = \"10%\", soak_ms = 60000 }]",
            ", waves = [{ share = \"3%\", at_most = 5 }, { share = \"30%\", soak_ms = 20000 }]",
        ][waves];
        (
            format!("max_unavailable = {limit}, group_by = \"group\"{waves}"),
            each,
        )
    });
    let large = (5..12_u32).prop_map(|share| (format!("max_unavailable = \"{share}%\""), 600));
    prop_oneof![3 => small, 1 => large]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5, ..ProptestConfig::default() })]

    #[test]
    fn a_part_tells_what_all_tell((schedule, each) in kinds_of_schedules(), away in 0..3_usize) {
        let mut fleet: Vec<PlannedNode> = nodes("db", 600, each);
        for node in fleet.iter_mut().step_by(199).take(away) {
            node.reachable = false;
        }
        let mut scenario = scenario(&[("db", &schedule)], fleet);
        scenario.otherwise_unavailable = "p50=2s,p90=4s".parse().expect("a spread");
        let slack_ms = SLACK_MS + scenario.otherwise_unavailable.quantile_ms(1.0) as f64;
        let (all, part) = (planned(&scenario, 600), planned(&scenario, 120));
        prop_assert!(part.simulated < all.simulated, "{} are simulated", part.simulated);
        let near = |all: u64, part: u64| {
            (all as f64 - part as f64).abs() <= BOUND * all as f64 + slack_ms
        };
        let (all_end, part_end) = (all.end_ms.expect("an end"), part.end_ms.expect("an end"));
        prop_assert!(near(all_end.p50_ms, part_end.p50_ms), "{all_end:?} {part_end:?}");
        prop_assert!(near(all_end.p90_ms, part_end.p90_ms), "{all_end:?} {part_end:?}");
        prop_assert_eq!(all.classes.len(), part.classes.len());
        for (one, other) in all.classes.iter().zip(&part.classes) {
            prop_assert_eq!((one.wave, one.nodes), (other.wave, other.nodes));
            if let (Some(half), Some(other)) = (one.half_ms, other.half_ms) {
                prop_assert!(near(half.p50_ms, other.p50_ms), "{one:?} {other:?}");
            }
        }
        prop_assert_eq!(all.never > 0.0, part.never > 0.0);
    }
}

#[test]
fn nobody_is_lost_among_those_who_stand_for_others() {
    let schedules = [
        ("db", "max_unavailable = 1, group_by = \"group\""),
        ("web", "max_unavailable = \"5%\""),
        ("edge", ""),
    ];
    let fleet = [
        nodes("db", 3_000, 3),
        nodes("web", 5_000, 5_000),
        nodes("edge", 800, 1),
    ]
    .concat();
    let mut scenario = scenario(&schedules, fleet);
    scenario.history = history(&schedules);
    let casting = crate::cast::Casting::of(&scenario, 500);
    let cast = casting.cast(5, 0);
    for class in ["db", "web", "edge"] {
        let of_class = |node: usize| scenario.nodes[node].class == class;
        let counted = scenario
            .nodes
            .iter()
            .filter(|node| node.class == class)
            .count();
        let actors = cast.actors.iter().filter(|actor| of_class(actor.node));
        let stood_for: f64 = actors.map(|actor| actor.weight).sum();
        assert!(
            (stood_for - counted as f64).abs() < 1e-6,
            "{class}: {stood_for}"
        );
    }
    assert!(cast.actors.len() < 1_000, "{}", cast.actors.len());
}

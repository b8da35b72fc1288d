//! Whole courses, and what holds in each of them.

mod grouping;
mod promises;
mod told;
mod weeks;

use crate::{
    Cast, Course, CourseStep, PlanSettings, PlannedNode, Scenario, TimeDistribution, plan,
};
use model::bundle::UpgradeFile;
use model::ids::Version;
use model::release::History;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A history of two versions: all classes begin without a schedule, and version 2 has these.
fn history(schedules: &[(&str, &str)]) -> Arc<History> {
    let mut texts = [
        "system = \"s\"\nversion = 1\n".to_owned(),
        "system = \"s\"\nversion = 2\nfrom = 1\n".to_owned(),
    ];
    for (class, schedule) in schedules {
        let software = format!("[class.{class}.software]\ncommand = [\"true\"]\n");
        texts[0] += &software;
        texts[1] += &format!("[class.{class}]\nschedule = {{ {schedule} }}\n{software}");
    }
    let upgrades = texts.map(|text| {
        let file = UpgradeFile::parse(&text).expect("it parses");
        Arc::new(file.prove(&BTreeMap::new()).expect("it proves"))
    });
    Arc::new(History::new(upgrades, &BTreeSet::new()).expect("a history"))
}

/// So many nodes of a class, in groups of so many by their attribute `group`.
fn nodes(class: &str, count: usize, each: usize) -> Vec<PlannedNode> {
    let node = |number: usize| {
        let mut node = PlannedNode::well(format!("{class}-{number:06}"), class, Version(1));
        let group = (number / each).to_string();
        node.attributes.insert("group".to_owned(), group);
        node
    };
    (0..count).map(node).collect()
}

fn scenario(schedules: &[(&str, &str)], nodes: Vec<PlannedNode>) -> Scenario {
    Scenario {
        history: history(schedules),
        listed: Vec::new(),
        approvals: Vec::new(),
        paused: None,
        retired_through: Version(0),
        nodes,
        unavailable: BTreeMap::new(),
        otherwise_unavailable: "p50=2s,p90=8s".parse().expect("a spread"),
        staging: TimeDistribution::Constant { ms: 0 },
        forecast: BTreeMap::new(),
        start_ms: 1_800_000_000_000,
    }
}

fn everybody(scenario: &Scenario, seed: u64) -> Cast {
    crate::cast::Casting::of(scenario, usize::MAX).cast(seed, 0)
}

/// How many of these steps are under way at most.
fn most_at_once<'a>(steps: impl Iterator<Item = &'a CourseStep>) -> usize {
    let mut changes = Vec::new();
    for step in steps {
        changes.push((step.began_ms, 1_i64));
        changes.push((step.settled_ms, -1));
    }
    // Whoever settles makes room at that moment.
    changes.sort_unstable();
    let (mut now, mut most) = (0, 0);
    for (_, change) in changes {
        now += change;
        most = most.max(now);
    }
    usize::try_from(most).expect("positive")
}

#[test]
fn the_same_seed_gives_the_same_plan_and_another_one_another() {
    let fleet = [nodes("db", 60, 3), nodes("web", 80, 80)].concat();
    let schedules = [
        ("db", "max_unavailable = 1, group_by = \"group\""),
        (
            "web",
            "max_unavailable = 4, after = [\"db\"], after_soak_ms = 60000",
        ),
    ];
    let scenario = scenario(&schedules, fleet);
    let with = |seed, nodes_max| {
        let settings = PlanSettings {
            seed,
            courses: 3,
            nodes_max,
        };
        plan(&scenario, &settings).expect("a plan")
    };
    for nodes_max in [1_000, 40] {
        assert_eq!(with(7, nodes_max), with(7, nodes_max));
        assert_ne!(with(7, nodes_max).end_ms, with(8, nodes_max).end_ms);
    }
}

#[test]
fn one_after_the_other_takes_as_long_as_all_together() {
    let mut scenario = scenario(&[("db", "max_unavailable = 1")], nodes("db", 10, 10));
    scenario.otherwise_unavailable = TimeDistribution::Constant { ms: 60_000 };
    let plan = plan(&scenario, &PlanSettings::default()).expect("a plan");
    let end = plan.end_ms.expect("it ends");
    // Ten minutes, and at most a fifth of a second more for each node, which asks that often, and a second before the first.
    assert!((600_000..603_100).contains(&end.p90_ms), "{end:?}");
    assert_eq!(
        (plan.classes[0].unavailable_max, plan.classes[0].nodes),
        (1, 10)
    );
    assert_eq!((plan.never, plan.stuck), (0.0, None));
    assert_eq!(plan.waits[0].reason, "limit");
}

#[test]
fn what_waits_for_a_person_is_told_with_what_to_do() {
    let schedules = [("db", "approval = true"), ("web", "after = [\"db\"]")];
    let fleet = [nodes("db", 3, 3), nodes("web", 3, 3)].concat();
    let mut scenario = scenario(&schedules, fleet);
    let stuck = plan(&scenario, &PlanSettings::default()).expect("a plan");
    assert_eq!((stuck.never, stuck.end_ms), (6.0, None));
    let first = stuck.stuck.expect("somebody");
    assert_eq!(first.node, "db-000000");
    assert_eq!(first.why, "waits for approval: `upstart approve 2`");
    scenario.approvals.push(model::api::Approval {
        version: Version(2),
        revision: model::ids::Revision(1),
        class: None,
        node: None,
        author: "ada".to_owned(),
        at_ms: 0,
    });
    let plan = plan(&scenario, &PlanSettings::default()).expect("a plan");
    assert_eq!((plan.never, plan.stuck), (0.0, None));
}

#[test]
fn a_node_that_is_away_holds_up_those_that_wait_for_it_and_is_named() {
    let schedules = [("db", "max_unavailable = 2"), ("web", "after = [\"db\"]")];
    let mut fleet = [nodes("db", 5, 5), nodes("web", 2, 2)].concat();
    fleet[3].reachable = false;
    let plan = plan(&scenario(&schedules, fleet), &PlanSettings::default()).expect("a plan");
    let first = plan.stuck.expect("somebody");
    assert_eq!(first.node, "db-000003");
    assert!(first.why.contains("`upstart forget`"), "{}", first.why);
    // The four others get there; of `web` nobody does.
    assert_eq!((plan.never, plan.held_up), (3.0, 2.0));
    assert!(plan.classes[0].half_ms.is_some() && plan.classes[0].all_ms.is_none());
    assert!(plan.classes[1].first_ms.is_none());
}

#[test]
fn a_class_that_is_not_mentioned_takes_the_number_at_once() {
    let first = "system = \"s\"\nversion = 1\n[class.a.software]\ncommand = [\"true\"]\n\
                 [class.b.software]\ncommand = [\"true\"]\n";
    let second =
        "system = \"s\"\nversion = 2\nfrom = 1\n[class.a.software]\ncommand = [\"false\"]\n";
    let upgrades = [first, second].map(|text| {
        let file = UpgradeFile::parse(text).expect("it parses");
        Arc::new(file.prove(&BTreeMap::new()).expect("it proves"))
    });
    let mut scenario = scenario(&[("a", ""), ("b", "")], nodes("b", 4, 4));
    scenario.history = Arc::new(History::new(upgrades, &BTreeSet::new()).expect("a history"));
    let course = Course::play(&scenario, &everybody(&scenario, 1));
    assert_eq!(course.steps.len(), 4);
    assert!(
        course
            .steps
            .iter()
            .all(|step| step.began_ms == step.settled_ms)
    );
}

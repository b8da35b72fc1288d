//! Counting, over facts that are made up.

use super::*;
use model::api::{LabelsFact, NodeReport, NodeStatus};
use model::ids::NodeId;

/// A node that is healthy at a version.
fn node(number: u32, version: u32) -> NodeFact {
    NodeFact {
        node: NodeId(number),
        name: format!("n{number:06}"),
        class: "storage".to_owned(),
        attributes: BTreeMap::new(),
        host: "host".to_owned(),
        data_directory: "/data".to_owned(),
        report: NodeReport {
            status: NodeStatus {
                version: Version(version),
                staged: Version(version),
                phase: Phase::Settled,
                child: ChildState::Running,
                ..NodeStatus::default()
            },
            ..NodeReport::default()
        },
        seen_at_ms: 0,
        reachable: true,
        settled_at_ms: 0,
        steady_since_ms: 0,
        taken: Vec::new(),
        retry: 0,
        listed: Vec::new(),
        members_seen: 0,
        labels: LabelsFact::default(),
    }
}

fn waiting(number: u32, reason: &str, until_ms: Option<u64>) -> NodeFact {
    let mut fact = node(number, 1);
    fact.report.status.phase = Phase::Staged;
    fact.report.status.target = Some(Version(2));
    fact.report.status.reason = Some(reason.to_owned());
    fact.report.status.until_ms = until_ms;
    fact
}

fn census(facts: &[NodeFact], now_ms: u64) -> FleetCensus {
    let nodes = facts.iter().map(|fact| (fact, fact.class.as_str()));
    FleetCensus::of(nodes, Version(0), now_ms)
}

#[test]
fn reasons_are_ranked_by_how_many_wait_for_them() {
    let limit = |of: u32| format!("at most 1 of group {of} may be unavailable at once: n1");
    let soaks = "waits for the soak time: storage settled at version 2 less than 5 ms ago";
    let facts = [
        waiting(1, soaks, Some(500)),
        waiting(2, &limit(7), None),
        waiting(3, &limit(8), None),
        waiting(4, &format!("{}; {soaks}", limit(9)), Some(400)),
        node(5, 1),
    ];
    let census = census(&facts, 100);
    assert_eq!(census.waiting, 4);
    let ranked: Vec<(&str, u64, Option<u64>)> = (census.waits.iter())
        .map(|wait| (wait.kind.name(), wait.nodes.count, wait.until_ms))
        .collect();
    assert_eq!(ranked, [("limit", 3, None), ("soaks", 2, Some(400))]);
    assert_eq!(census.waits[0].nodes.names[0], "n000002");
    // Of a node with two reasons each kind shows its own.
    assert_eq!(census.waits[0].example, limit(7));
    assert_eq!(census.waits[1].example, soaks);
    let phases = &census.classes["storage"].phases;
    assert_eq!((phases[&Phase::Staged], phases[&Phase::Settled]), (4, 1));
}

/// Nobody goes on without a yes, whenever a window opens besides.
#[test]
fn whoever_waits_for_a_person_or_for_others_has_no_moment() {
    let reason = "waits for approval: `upstart approve 2`; waits for the window that opens at noon";
    let census = census(&[waiting(1, reason, Some(500))], 100);
    let told = |name: &str| {
        let mut waits = census.waits.iter();
        waits
            .find(|wait| wait.kind.name() == name)
            .expect(name)
            .until_ms
    };
    assert_eq!(told("not_approved"), None);
    assert_eq!(told("no_window"), Some(500));
}

#[test]
fn names_stand_in_their_order_whoever_has_joined_first() {
    let census = census(&[7, 3, 9, 1, 5, 2, 8].map(|number| node(number, 1)), 0);
    let names = &census.versions[&Version(1)].names;
    assert_eq!(names.first().map(String::as_str), Some("n000001"));
    assert!(names.is_sorted() && names.len() == NAMES_MAX, "{names:?}");
}

/// A curve that ends with the last that has settled looks as if all went on well.
#[test]
fn a_curve_goes_on_until_now_as_long_as_somebody_is_missing() {
    let mut facts = [node(1, 2), node(2, 2), node(3, 1)];
    facts[0].settled_at_ms = 1_000;
    facts[1].settled_at_ms = 2_000;
    let course = |facts: &[NodeFact]| census(facts, 9_000).courses[&Version(2)].clone();
    let open = course(&facts);
    assert_eq!(open.curve_end_ms, 9_000);
    assert_eq!(open.curve[PARTS / 4], 2);
    assert_eq!(course(&facts[..2]).curve_end_ms, 2_000);
}

#[test]
fn a_small_fleet_has_a_pace_too() {
    let mut facts: Vec<NodeFact> = (0..4).map(|number| node(number, 1)).collect();
    for (number, fact) in facts.iter_mut().enumerate().take(2) {
        fact.report.status.version = Version(2);
        fact.settled_at_ms = 1_000_000 + 60_000 * number as u64;
    }
    let course = census(&facts, 1_120_000).courses[&Version(2)].clone();
    assert_eq!(course.rest_ms(), Some(120_000));
    // Nobody behind one that is blocked goes at any pace.
    let blocked = "version 2 has failed and is blocked at n000000";
    facts[3] = waiting(3, blocked, None);
    let course = census(&facts, 1_120_000).courses[&Version(2)].clone();
    assert_eq!((course.held_up, course.rest_ms()), (1, None));
    let why = course.why_no_rest(false);
    assert_eq!(why, "1 of them wait for somebody to do something");
    facts[3] = node(3, 1);
    facts[1].report.status.version = Version(1);
    let course = census(&facts, 1_120_000).courses[&Version(2)].clone();
    let why = course.why_no_rest(false);
    assert!(
        why.starts_with("fewer than 2 have settled at this version"),
        "{why}"
    );
}

#[test]
fn what_has_failed_alike_is_one_line() {
    let mut facts: Vec<NodeFact> = (0..7).map(|number| node(number, 1)).collect();
    for (number, fact) in facts.iter_mut().enumerate() {
        fact.report.status.phase = Phase::Blocked;
        fact.report.status.target = Some(Version(2));
        fact.report.status.reason = Some(format!("the probe failed {number} times"));
    }
    facts[6].report.status.phase = Phase::Settled;
    facts[6].report.status.child = ChildState::Crashed;
    facts[6].report.status.reason = Some("ended with code 3".to_owned());
    let census = census(&facts, 0);
    let failed: Vec<(&str, u64)> = (census.failures.iter())
        .map(|failure| (failure.what, failure.nodes.count))
        .collect();
    assert_eq!(failed, [("blocked", 6), ("crashed", 1)]);
    assert_eq!(census.failures[0].nodes.names.len(), NAMES_MAX);
    assert_eq!(census.courses[&Version(2)].blocked, 6);
}

#[test]
fn the_rest_is_told_by_the_pace_and_only_where_there_is_one() {
    let now_ms = 10_000_000;
    let mut facts: Vec<NodeFact> = (0..100).map(|number| node(number, 1)).collect();
    for (number, fact) in facts.iter_mut().enumerate().take(20) {
        fact.report.status.version = Version(2);
        // One each ten seconds, the last of them now.
        fact.settled_at_ms = now_ms - 10_000 * (19 - number as u64);
    }
    facts[50].reachable = false;
    let course = census(&facts, now_ms).courses[&Version(2)].clone();
    assert_eq!((course.there, course.moving, course.unheard), (20, 79, 1));
    assert_eq!((course.recent, course.pace_ms), (20, 190_000));
    assert_eq!(course.rest_ms(), Some(79 * 190_000 / 20));
    assert_eq!(course.curve.len(), PARTS);
    assert_eq!(course.curve.last(), Some(&20));
    assert!(course.curve.is_sorted());
    // Those that settle at once show no pace.
    for fact in facts.iter_mut().take(20) {
        fact.settled_at_ms = now_ms - 5_000;
    }
    let at_once = census(&facts, now_ms).courses[&Version(2)].clone();
    assert_eq!((at_once.recent, at_once.rest_ms()), (20, None));
    // Nobody has settled for long: there is no pace, and so no guess.
    let later = census(&facts, now_ms + 2 * PACE_MS).courses[&Version(2)].clone();
    assert_eq!((later.recent, later.rest_ms()), (0, None));
}

#[test]
fn counters_are_summed_over_all_nodes() {
    let mut facts = [node(1, 1), node(2, 1)];
    for fact in &mut facts {
        fact.report.counters = [
            ("calls.past.1", 3),
            ("calls.past.2", 4),
            ("calls.future.1", 5),
            ("refused", 2),
            ("refused.busy.rule", 2),
            ("reset.retired", 1),
            ("connect.labelled", 9),
        ]
        .map(|(name, number)| (name.to_owned(), number))
        .into();
        fact.report.connections = [(Version(1), 2)].into();
    }
    let census = census(&facts, 0);
    let calls = &census.calls;
    assert_eq!((calls.past, calls.future, calls.refused), (14, 10, 4));
    assert_eq!(calls.refusals, [("busy.rule".to_owned(), 4)]);
    assert_eq!(calls.resets, [("retired".to_owned(), 2)]);
    let (open, at) = &census.connections[&Version(1)];
    assert_eq!((*open, at.count), (4, 2));
}

/// A hundred thousand nodes in a thousand groups, each with a reason of its own words: what one walk costs is printed.
#[test]
fn a_large_fleet_is_a_small_census() {
    let reason = |number: u32| {
        let group = number / 100;
        format!("at most 1 of storage/group={group} may be unavailable at once: n{number}")
    };
    let facts: Vec<NodeFact> = (0..100_000)
        .map(|number| waiting(number, &reason(number), Some(u64::from(number))))
        .collect();
    let begun = std::time::Instant::now();
    let census = census(&facts, 1);
    println!("100,000 nodes are counted in {:?}", begun.elapsed());
    assert_eq!((census.nodes, census.waits.len()), (100_000, 1));
    assert_eq!(census.waits[0].nodes.count, 100_000);
    assert!(census.waits[0].nodes.names.len() <= NAMES_MAX);
}

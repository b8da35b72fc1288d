//! Each part by itself, and all together.

mod at_node;
mod gates;
mod times;
mod waves;

use super::*;
use crate::api::{ChildState, NodeFact, NodeReport};
use crate::expression::NodeScope;
use crate::fleet::ClassSeat;
use crate::ids::{NodeId, Place};
use std::collections::BTreeSet;
use std::sync::Arc;

fn schedule(text: &str) -> Schedule {
    toml::from_str(text).expect("a schedule")
}

fn node(id: u32, class: &str, version: u32) -> NodeFact {
    let mut report = NodeReport::default();
    report.status.version = Version(version);
    report.status.staged = Version(version.max(2));
    report.status.child = ChildState::Running;
    report.status.phase = crate::api::Phase::Settled;
    NodeFact {
        node: NodeId(id),
        name: format!("{class}-{id}"),
        class: class.to_owned(),
        report,
        reachable: true,
        settled_at_ms: 1_000,
        steady_since_ms: 1_000,
        ..NodeFact::default()
    }
}

/// A system with version 2 published, whatever its newest revision is.
struct System {
    nodes: Vec<NodeFact>,
    upgrade: UpgradeSummary,
    paused: Option<Pause>,
    approvals: Vec<Approval>,
    permits: Vec<NodeId>,
    before_it: usize,
    gauges: Option<ClassGauges>,
    passed: Vec<Schedule>,
}

fn system(nodes: Vec<NodeFact>) -> System {
    System {
        nodes,
        upgrade: UpgradeSummary {
            version: Version(2),
            from: Version(1),
            revision: Revision(1),
            manifest_sha256: String::new(),
            description: String::new(),
            withdrawn: false,
            published_at_ms: 0,
            author: String::new(),
        },
        paused: None,
        approvals: Vec::new(),
        permits: Vec::new(),
        before_it: 0,
        gauges: None,
        passed: Vec::new(),
    }
}

/// Every node in its class at versions 1 to 4, in a group by its attribute `half` where it has that.
fn fleet(system: &System, schedule: &Schedule) -> Fleet {
    let mut fleet = Fleet::default();
    for fact in &system.nodes {
        let class: Arc<str> = Arc::from(fact.class.as_str());
        let half = fact.attributes.get("half");
        let group = half.map_or_else(
            || Arc::clone(&class),
            |half| Arc::from(format!("{class}/half={half}")),
        );
        let seat = ClassSeat {
            class,
            group: Some(group),
            wave: schedule.wave_of(&NodeScope {
                name: fact.name.clone(),
                class: fact.class.clone(),
                attributes: fact.attributes.clone(),
            }),
        };
        let seats = (1..=4).map(|version| (Version(version), seat.clone()));
        let has_permit = system.permits.contains(&fact.node);
        let counted = CountedNode::of(fact, has_permit, Arc::new(seats.collect()));
        fleet.put(fact.node, counted);
    }
    fleet
}

/// What the schedule says to node 1.
fn judge(schedule: &Schedule, system: &System, now_ms: u64, revision: u32, mends: bool) -> Verdict {
    let fleet = fleet(system, schedule);
    let facts = Facts {
        upgrade: Some(&system.upgrade),
        paused: system.paused.as_ref(),
        approvals: &system.approvals,
        fleet: &fleet,
        asking: fleet.node(NodeId(1)).expect("it is counted"),
        version: Version(2),
        revision: Revision(revision),
        mends,
        require_staged: !mends,
        before_it: system.before_it,
        gauges: system.gauges.as_ref(),
        passed: &system.passed,
        unfinished: None,
        attributes: &system.nodes[0].attributes,
        now_ms,
    };
    evaluate(schedule, &facts)
}

fn ask(schedule: &Schedule, system: &System, now_ms: u64) -> Verdict {
    judge(schedule, system, now_ms, 1, false)
}

#[test]
fn what_is_blocked_at_one_of_the_class_is_not_begun_at_others_before_somebody_says_so() {
    let mut failed = node(2, "a", 1);
    failed.report.status.phase = crate::api::Phase::Blocked;
    failed.report.status.target = Some(Version(2));
    failed.report.status.target_revision = Some(Revision(1));
    let nodes = |failed: &NodeFact| vec![node(1, "a", 1), failed.clone(), node(3, "b", 1)];
    let none = Schedule::default();
    let (reason, until) = waits(ask(&none, &system(nodes(&failed)), 0));
    assert_eq!(
        reason,
        "version 2 has failed and is blocked at a-2; next: `upstart retry a-2`, or `upstart publish DIR --revise`"
    );
    assert_eq!(until, None);
    let free = |change: &dyn Fn(&mut NodeFact)| {
        let mut other = failed.clone();
        change(&mut other);
        ask(&none, &system(nodes(&other)), 0)
    };
    let retried = |it: &mut NodeFact| it.report.status.phase = crate::api::Phase::Staged;
    assert_eq!(free(&retried), Verdict::Go);
    let elsewhere = |it: &mut NodeFact| it.report.status.target = Some(Version(3));
    assert_eq!(free(&elsewhere), Verdict::Go);
    assert_eq!(free(&|it| it.class = "b".to_owned()), Verdict::Go);
    let mut revised = system(nodes(&failed));
    revised.upgrade.revision = Revision(2);
    assert_eq!(judge(&none, &revised, 0, 2, true), Verdict::Go);
}

/// The reason and the end of a wait.
fn waits(verdict: Verdict) -> (String, Option<u64>) {
    match verdict {
        Verdict::Wait { reasons, until_ms } => {
            let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
            (reasons.join("; "), until_ms)
        }
        other => panic!("{other:?} does not wait"),
    }
}

#[test]
fn an_empty_schedule_goes_at_once() {
    let all = system(vec![node(1, "a", 1), node(2, "a", 1)]);
    assert_eq!(ask(&schedule(""), &all, 0), Verdict::Go);
}

#[test]
fn the_staging_gate_names_who_is_missing() {
    let mut all = system((1..=9).map(|id| node(id, "a", 1)).collect());
    for fact in &mut all.nodes[1..] {
        fact.report.status.staged = Version(1);
    }
    let (reason, until_ms) = waits(ask(&schedule(""), &all, 0));
    assert_eq!(until_ms, None);
    assert!(
        reason.ends_with("yet: 8 of 9, e.g. a-2, a-3, a-4, a-5, a-6"),
        "{reason}"
    );
    for fact in &mut all.nodes[2..] {
        fact.reachable = false;
    }
    let (reason, _) = waits(ask(&schedule(""), &all, 0));
    assert!(reason.ends_with("yet: a-2"), "{reason}");
    all.nodes[1].report.status.version = Version(0);
    assert_eq!(ask(&schedule(""), &all, 0), Verdict::Go);
}

#[test]
fn pause_and_withdrawal_hold_everybody() {
    let mut all = system(vec![node(1, "a", 1)]);
    all.paused = Some(Pause {
        reason: "friday".to_owned(),
        author: "eve".to_owned(),
        since_ms: 0,
    });
    assert_eq!(
        waits(ask(&schedule(""), &all, 0)).0,
        "paused by eve: friday"
    );
    all.upgrade.withdrawn = true;
    let (reason, _) = waits(ask(&schedule(""), &all, 0));
    assert_eq!(reason, "version 2 was withdrawn; paused by eve: friday");
}

#[test]
fn rolling_counts_who_is_unavailable_within_its_group() {
    let mut all = system((1..=4).map(|id| node(id, "a", 1)).collect());
    for fact in &mut all.nodes {
        let half = (fact.node.0 % 2).to_string();
        fact.attributes.insert("half".to_owned(), half);
    }
    let schedule = schedule("max_unavailable = 1\ngroup_by = 'half'");
    assert_eq!(ask(&schedule, &all, 0), Verdict::Go);
    all.permits.push(NodeId(2));
    assert_eq!(ask(&schedule, &all, 0), Verdict::Go, "another group's");
    for (child, why) in [
        (ChildState::Crashed, "has crashed"),
        (ChildState::Silent, "does not answer"),
        (ChildState::Stopped, "is stopped"),
        (ChildState::Starting, "is starting"),
    ] {
        all.nodes[2].report.status.child = child;
        let (reason, _) = waits(ask(&schedule, &all, 0));
        let expected = format!("at most 1 of a/half=1 may be unavailable at once: a-3 ({why})");
        assert_eq!(reason, expected);
    }
    all.nodes[2].report.status.child = ChildState::Running;
    all.nodes[2].reachable = false;
    let (reason, _) = waits(ask(&schedule, &all, 0));
    assert!(reason.ends_with("a-3 (is unreachable)"), "{reason}");
    all.nodes[2].report.status.version = Version(0);
    assert_eq!(ask(&schedule, &all, 0), Verdict::Go, "it has never served");
}

#[test]
fn whoever_has_waited_longer_goes_first() {
    let mut all = system((1..=3).map(|id| node(id, "a", 1)).collect());
    let schedule = schedule("max_unavailable = 2");
    all.before_it = 1;
    assert_eq!(ask(&schedule, &all, 0), Verdict::Go);
    all.before_it = 2;
    let (reason, _) = waits(ask(&schedule, &all, 0));
    let expected = "at most 2 of a may be unavailable at once: others have waited longer";
    assert_eq!(reason, expected);
    all.before_it = 1;
    all.permits.push(NodeId(2));
    let (reason, _) = waits(ask(&schedule, &all, 0));
    assert!(reason.ends_with("a-2 (holds a permit)"), "{reason}");
}

#[test]
fn a_crash_begins_the_soak_anew_and_none_passes_while_the_software_is_down() {
    let mut all = system(vec![node(1, "a", 1), node(2, "a", 2)]);
    let schedule = schedule("soak_ms = 500");
    assert_eq!(waits(ask(&schedule, &all, 1_400)).1, Some(1_500));
    all.nodes[1].report.status.child = ChildState::Crashed;
    let (reason, until_ms) = waits(ask(&schedule, &all, 9_999));
    assert!(reason.contains("crashed"), "{reason}");
    assert_eq!(until_ms, None, "nobody knows when it is well");
    all.nodes[1].report.status.child = ChildState::Running;
    all.nodes[1].steady_since_ms = 1_450;
    assert_eq!(waits(ask(&schedule, &all, 1_949)).1, Some(1_950));
    assert_eq!(ask(&schedule, &all, 1_950), Verdict::Go);
}

#[test]
fn classes_come_in_order_and_soak() {
    let mut all = system(vec![
        node(1, "gateway", 1),
        node(2, "storage", 1),
        node(3, "storage", 2),
    ]);
    let schedule = schedule("after = ['storage']\nafter_soak_ms = 500");
    let (reason, _) = waits(ask(&schedule, &all, 0));
    assert_eq!(
        reason,
        "waits for storage to settle at version 2; not yet: storage-2"
    );
    all.nodes[1].report.status.version = Version(2);
    // It is judged with its peers, and has not found them yet.
    all.nodes[1].report.status.child = ChildState::Starting;
    let (reason, _) = waits(ask(&schedule, &all, 1_500));
    assert_eq!(
        reason,
        "waits for storage to be healthy at version 2; not yet: storage-2"
    );
    all.nodes[1].report.status.child = ChildState::Running;
    assert_eq!(waits(ask(&schedule, &all, 1_200)).1, Some(1_500));
    assert_eq!(ask(&schedule, &all, 1_500), Verdict::Go);
}

#[test]
fn a_soak_within_the_class_does_not_hold_the_first() {
    let mut all = system(vec![node(1, "a", 1), node(2, "a", 1), node(3, "b", 2)]);
    let schedule = schedule("soak_ms = 500");
    assert_eq!(ask(&schedule, &all, 1_001), Verdict::Go);
    all.nodes[1].report.status.version = Version(2);
    assert_eq!(waits(ask(&schedule, &all, 1_001)).1, Some(1_500));
    assert_eq!(ask(&schedule, &all, 1_500), Verdict::Go);
}

#[test]
fn approval_counts_for_its_version_class_and_node() {
    let mut all = system(vec![node(1, "a", 1)]);
    let schedule = schedule("approval = true");
    let (reason, _) = waits(ask(&schedule, &all, 0));
    assert!(reason.contains("upstart approve 2"), "{reason}");
    let approval = |version, class: Option<&str>, node: Option<&str>| Approval {
        version: Version(version),
        revision: Revision(1),
        class: class.map(str::to_owned),
        node: node.map(str::to_owned),
        author: String::new(),
        at_ms: 0,
    };
    for other in [
        approval(3, None, None),
        approval(2, Some("b"), None),
        approval(2, None, Some("a-2")),
    ] {
        all.approvals = vec![other];
        waits(ask(&schedule, &all, 0));
    }
    for ours in [
        approval(2, None, None),
        approval(2, Some("a"), None),
        approval(2, Some("a"), Some("a-1")),
    ] {
        all.approvals = vec![ours];
        assert_eq!(ask(&schedule, &all, 0), Verdict::Go);
    }
}

/// What the schedule says to a node that runs revision 1 of version 2, and would try revision 2.
fn ask_to_mend(schedule: &Schedule, all: &System) -> Verdict {
    judge(schedule, all, 1_200, 2, true)
}

#[test]
fn a_revision_of_what_runs_keeps_order_soak_and_limit_and_waits_for_an_approval_of_its_own() {
    let running = |revision| {
        let version = Version(2);
        let revision = Revision(revision);
        Some(Place { version, revision })
    };
    let mut all = system(vec![node(1, "a", 2), node(2, "a", 2), node(3, "b", 2)]);
    for fact in &mut all.nodes {
        fact.report.status.bundle = running(1);
    }
    all.upgrade.revision = Revision(2);
    let ordered = schedule("after = ['b']");
    let (reason, _) = waits(ask_to_mend(&ordered, &all));
    let expected = "waits for b to settle at revision 2 of version 2; not yet: b-3";
    assert_eq!(reason, expected);
    all.nodes[2].report.status.bundle = running(2);
    assert_eq!(ask_to_mend(&ordered, &all), Verdict::Go);

    let soaks = schedule("soak_ms = 500");
    assert_eq!(ask_to_mend(&soaks, &all), Verdict::Go);
    all.nodes[1].report.status.bundle = running(2);
    assert_eq!(waits(ask_to_mend(&soaks, &all)).1, Some(1_500));

    let approved = schedule("approval = true");
    all.approvals = vec![Approval {
        version: Version(2),
        revision: Revision(1),
        class: None,
        node: None,
        author: String::new(),
        at_ms: 0,
    }];
    let (reason, _) = waits(ask_to_mend(&approved, &all));
    let expected = "revision 2 of version 2 waits for approval: `upstart approve 2`";
    assert_eq!(reason, expected);
    let (reason, _) = waits(ask(&Schedule::default(), &all, 0));
    assert_eq!(reason, "revision 2 of version 2 is the newest, not 1");
    let others = judge(&approved, &all, 0, 2, false);
    assert_eq!(others, Verdict::Go, "for those before it");
    all.approvals[0].revision = Revision(2);
    assert_eq!(ask_to_mend(&approved, &all), Verdict::Go);

    let rolling = schedule("max_unavailable = 1");
    assert_eq!(ask_to_mend(&rolling, &all), Verdict::Go);
    all.nodes[1].report.status.child = ChildState::Crashed;
    waits(ask_to_mend(&rolling, &all));
}

#[test]
fn all_parts_must_agree_and_the_longest_wait_counts() {
    let mut all = system(vec![node(1, "a", 1), node(2, "a", 2), node(3, "b", 2)]);
    let both = schedule("soak_ms = 500\nafter = ['b']\nafter_soak_ms = 900\nmax_unavailable = 1");
    let (reason, until_ms) = waits(ask(&both, &all, 1_001));
    assert_eq!(
        (reason.matches("the soak time").count(), until_ms),
        (2, Some(1_900))
    );
    // When the limit has room is for others to decide: not before the soak times are over, all the same.
    all.nodes[1].reachable = false;
    let (reason, until_ms) = waits(ask(&both, &all, 1_001));
    assert!(reason.contains("at most 1"), "{reason}");
    assert_eq!(until_ms, Some(1_900));
    assert_eq!(waits(ask(&both, &all, 1_900)).1, None);
}

#[test]
fn only_a_node_left_behind_by_its_class_leaps() {
    let target = |versions: [u32; 2], reachable: bool| {
        let [second, third] = versions;
        let mut all = system(vec![
            node(1, "a", 1),
            node(2, "a", second),
            node(3, "a", third),
        ]);
        all.nodes[2].reachable = reachable;
        let fleet = fleet(&all, &Schedule::default());
        let asking = fleet.node(NodeId(1)).expect("it is counted");
        leap(&fleet, asking, &[Version(2), Version(3), Version(4)])
    };
    assert_eq!(target([1, 4], true), Some(Version(2)));
    assert_eq!(target([3, 4], true), Some(Version(3)));
    assert_eq!(target([4, 1], false), Some(Version(4)));
    assert_eq!(target([2, 4], true), Some(Version(2)));
}

#[test]
fn schedules_that_make_no_sense_are_refused() {
    for (text, part) in [
        ("max_unavailable = 0", "let no node upgrade"),
        ("group_by = 'x'", "add `max_unavailable`"),
        ("after_soak_ms = 1", "add `after`"),
        ("after = []", "names no class"),
        ("max_unavailible = 1", "unknown field"),
    ] {
        let error = toml::from_str::<Schedule>(text)
            .expect_err(text)
            .to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_schedule_is_written_as_it_is_read() {
    let read = schedule(
        "max_unavailable = 2\ngroup_by = 'rack'\nafter = ['x']\nsoak_ms = 3\napproval = true",
    );
    let text = toml::to_string(&read).expect("text");
    assert_eq!(schedule(&text), read);
}

//! Each part by itself, and all together.

use super::*;
use crate::api::{Approval, ChildState, NodeReport, Pause, PermitFact, UpgradeSummary};
use crate::ids::{PermitId, Revision};
use std::collections::BTreeMap;

fn schedule(text: &str) -> Schedule {
    toml::from_str(text).expect("a schedule")
}

fn node(id: u32, class: &str, version: u32) -> NodeFact {
    let mut report = NodeReport::default();
    report.status.version = Version(version);
    report.status.staged = Version(version.max(2));
    report.status.child = ChildState::Running;
    NodeFact {
        node: NodeId(id),
        name: format!("{class}-{id}"),
        class: class.to_owned(),
        attributes: BTreeMap::new(),
        host: String::new(),
        data_directory: String::new(),
        report,
        seen_at_ms: 0,
        reachable: true,
        settled_at_ms: 1_000,
        retry: 0,
        listed: Vec::new(),
        members_seen: 0,
    }
}

fn view(nodes: Vec<NodeFact>) -> SystemView {
    SystemView {
        nodes,
        upgrades: vec![UpgradeSummary {
            version: Version(2),
            from: Version(1),
            revision: Revision(1),
            manifest_sha256: String::new(),
            description: String::new(),
            withdrawn: false,
            published_at_ms: 0,
            author: String::new(),
        }],
        ..SystemView::default()
    }
}

fn ask(schedule: &Schedule, view: &SystemView, now_ms: u64) -> Verdict {
    let facts = Facts {
        view,
        node: NodeId(1),
        version: Version(2),
        revision: Revision(1),
        mends: false,
        require_staged: true,
        now_ms,
        class_of: &|fact, _| Some(fact.class.clone()),
    };
    evaluate(schedule, &facts)
}

#[test]
fn what_is_blocked_at_one_of_the_class_is_not_begun_at_others_before_somebody_says_so() {
    let mut failed = node(2, "a", 1);
    failed.report.status.phase = crate::api::Phase::Blocked;
    failed.report.status.target = Some(Version(2));
    failed.report.status.target_revision = Some(Revision(1));
    let nodes = |failed: &NodeFact| vec![node(1, "a", 1), failed.clone(), node(3, "b", 1)];
    let none = Schedule::default();
    let (reason, until) = waits(ask(&none, &view(nodes(&failed)), 0));
    assert_eq!(
        reason,
        "version 2 has failed and is blocked at a-2; next: `upstart retry` there, or `upstart publish DIR --revise`"
    );
    assert_eq!(until, None);
    let free = |change: &dyn Fn(&mut NodeFact)| {
        let mut other = failed.clone();
        change(&mut other);
        ask(&none, &view(nodes(&other)), 0)
    };
    let retried = |it: &mut NodeFact| it.report.status.phase = crate::api::Phase::Staged;
    assert_eq!(free(&retried), Verdict::Go);
    let elsewhere = |it: &mut NodeFact| it.report.status.target = Some(Version(3));
    assert_eq!(free(&elsewhere), Verdict::Go);
    assert_eq!(free(&|it| it.class = "b".to_owned()), Verdict::Go);
    let revised = Facts {
        view: &view(nodes(&failed)),
        node: NodeId(1),
        version: Version(2),
        revision: Revision(2),
        mends: true,
        require_staged: false,
        now_ms: 0,
        class_of: &|fact, _| Some(fact.class.clone()),
    };
    assert_eq!(evaluate(&none, &revised), Verdict::Go);
}

/// The reason and the end of a wait.
fn waits(verdict: Verdict) -> (String, Option<u64>) {
    match verdict {
        Verdict::Wait { reason, until_ms } => (reason, until_ms),
        other => panic!("{other:?} does not wait"),
    }
}

#[test]
fn an_empty_schedule_goes_at_once() {
    let view = view(vec![node(1, "a", 1), node(2, "a", 1)]);
    assert_eq!(ask(&schedule(""), &view, 0), Verdict::Go);
}

#[test]
fn the_staging_gate_names_who_is_missing() {
    let mut view = view((1..=9).map(|id| node(id, "a", 1)).collect());
    for fact in &mut view.nodes[1..] {
        fact.report.status.staged = Version(1);
    }
    let (reason, until_ms) = waits(ask(&schedule(""), &view, 0));
    assert_eq!(until_ms, None);
    assert!(
        reason.ends_with("a-2, a-3, a-4, a-5, a-6 and 3 more"),
        "{reason}"
    );
    for fact in &mut view.nodes[2..] {
        fact.reachable = false;
    }
    let (reason, _) = waits(ask(&schedule(""), &view, 0));
    assert!(reason.ends_with("yet: a-2"), "{reason}");
    view.nodes[1].report.status.version = Version(0);
    assert_eq!(ask(&schedule(""), &view, 0), Verdict::Go);
}

#[test]
fn pause_and_withdrawal_hold_everybody() {
    let mut view = view(vec![node(1, "a", 1)]);
    view.paused = Some(Pause {
        reason: "friday".to_owned(),
        author: "eve".to_owned(),
        since_ms: 0,
    });
    assert_eq!(
        waits(ask(&schedule(""), &view, 0)).0,
        "paused by eve: friday"
    );
    view.upgrades[0].withdrawn = true;
    let (reason, _) = waits(ask(&schedule(""), &view, 0));
    assert_eq!(reason, "version 2 was withdrawn; paused by eve: friday");
}

#[test]
fn rolling_asks_for_a_permit_within_its_group() {
    let mut view = view((1..=4).map(|id| node(id, "a", 1)).collect());
    for fact in &mut view.nodes {
        let half = (fact.node.0 % 2).to_string();
        fact.attributes.insert("half".to_owned(), half);
    }
    let schedule = schedule("max_unavailable = 1\ngroup_by = 'half'");
    let Verdict::Acquire(request) = ask(&schedule, &view, 0) else {
        panic!("no permit asked for");
    };
    assert_eq!(request.group, "a/half=1");
    assert_eq!(request.members, [NodeId(1), NodeId(3)]);
    assert_eq!(request.last_settled_at_ms, None, "nothing soaks");
    view.permits.push(PermitFact {
        revision: Revision(1),
        permit: PermitId(9),
        node: NodeId(2),
        version: Version(2),
        group: "a/half=0".to_owned(),
        confirmed: true,
        since_ms: 0,
    });
    assert!(matches!(ask(&schedule, &view, 0), Verdict::Acquire(_)));
    view.nodes[2].report.status.child = ChildState::Crashed;
    let (reason, _) = waits(ask(&schedule, &view, 0));
    assert_eq!(
        reason,
        "at most 1 of a/half=1 may be unavailable at once: a-3"
    );
}

#[test]
fn a_permit_where_something_soaks_is_asked_for_with_the_last_settling_that_is_known() {
    let mut view = view((1..=3).map(|id| node(id, "a", 1)).collect());
    for (fact, at_ms) in view.nodes.iter_mut().zip([7, 9, 8]) {
        fact.settled_at_ms = at_ms;
    }
    let schedule = schedule("max_unavailable = 1\nsoak_ms = 500");
    let Verdict::Acquire(request) = ask(&schedule, &view, 1_000) else {
        panic!("no permit asked for");
    };
    assert_eq!(request.last_settled_at_ms, Some(9));
}

#[test]
fn classes_come_in_order_and_soak() {
    let mut view = view(vec![
        node(1, "gateway", 1),
        node(2, "storage", 1),
        node(3, "storage", 2),
    ]);
    let schedule = schedule("after = ['storage']\nafter_soak_ms = 500");
    let (reason, _) = waits(ask(&schedule, &view, 0));
    assert_eq!(
        reason,
        "comes after storage; not yet at version 2: storage-2"
    );
    view.nodes[1].report.status.version = Version(2);
    // It is judged with its peers, and has not found them yet.
    view.nodes[1].report.status.child = ChildState::Starting;
    let (reason, _) = waits(ask(&schedule, &view, 1_500));
    assert_eq!(
        reason,
        "comes after storage; not yet healthy at version 2: storage-2"
    );
    view.nodes[1].report.status.child = ChildState::Running;
    assert_eq!(waits(ask(&schedule, &view, 1_200)).1, Some(1_500));
    assert_eq!(ask(&schedule, &view, 1_500), Verdict::Go);
}

#[test]
fn a_soak_within_the_class_does_not_hold_the_first() {
    let mut view = view(vec![node(1, "a", 1), node(2, "a", 1), node(3, "b", 2)]);
    let schedule = schedule("soak_ms = 500");
    assert_eq!(ask(&schedule, &view, 1_001), Verdict::Go);
    view.nodes[1].report.status.version = Version(2);
    assert_eq!(waits(ask(&schedule, &view, 1_001)).1, Some(1_500));
    assert_eq!(ask(&schedule, &view, 1_500), Verdict::Go);
}

#[test]
fn approval_counts_for_its_version_class_and_node() {
    let mut view = view(vec![node(1, "a", 1)]);
    let schedule = schedule("approval = true");
    let (reason, _) = waits(ask(&schedule, &view, 0));
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
        view.approvals = vec![other];
        waits(ask(&schedule, &view, 0));
    }
    for ours in [
        approval(2, None, None),
        approval(2, Some("a"), None),
        approval(2, Some("a"), Some("a-1")),
    ] {
        view.approvals = vec![ours];
        assert_eq!(ask(&schedule, &view, 0), Verdict::Go);
    }
}

/// What the schedule says to a node that runs revision 1 of version 2, and would try revision 2.
fn ask_to_mend(schedule: &Schedule, view: &SystemView) -> Verdict {
    let facts = Facts {
        view,
        node: NodeId(1),
        version: Version(2),
        revision: Revision(2),
        mends: true,
        require_staged: false,
        now_ms: 1_200,
        class_of: &|fact, _| Some(fact.class.clone()),
    };
    evaluate(schedule, &facts)
}

#[test]
fn a_revision_of_what_runs_keeps_order_soak_and_limit_and_waits_for_an_approval_of_its_own() {
    let running = |revision| {
        let version = Version(2);
        let revision = Revision(revision);
        Some(Place { version, revision })
    };
    let mut view = view(vec![node(1, "a", 2), node(2, "a", 2), node(3, "b", 2)]);
    for fact in &mut view.nodes {
        fact.report.status.bundle = running(1);
    }
    let ordered = schedule("after = ['b']");
    let (reason, _) = waits(ask_to_mend(&ordered, &view));
    let expected = "comes after b; not yet at revision 2 of version 2: b-3";
    assert_eq!(reason, expected);
    view.nodes[2].report.status.bundle = running(2);
    assert_eq!(ask_to_mend(&ordered, &view), Verdict::Go);

    let soaks = schedule("soak_ms = 500");
    assert_eq!(ask_to_mend(&soaks, &view), Verdict::Go);
    view.nodes[1].report.status.bundle = running(2);
    assert_eq!(waits(ask_to_mend(&soaks, &view)).1, Some(1_500));

    let approved = schedule("approval = true");
    view.approvals = vec![Approval {
        version: Version(2),
        revision: Revision(1),
        class: None,
        node: None,
        author: String::new(),
        at_ms: 0,
    }];
    let (reason, _) = waits(ask_to_mend(&approved, &view));
    let expected = "revision 2 of version 2 waits for approval: `upstart approve 2`";
    assert_eq!(reason, expected);
    assert_eq!(ask(&approved, &view, 0), Verdict::Go, "for those before it");
    view.approvals[0].revision = Revision(2);
    assert_eq!(ask_to_mend(&approved, &view), Verdict::Go);

    let rolling = schedule("max_unavailable = 1");
    match ask_to_mend(&rolling, &view) {
        Verdict::Acquire(request) => {
            assert_eq!(
                (request.version, request.revision),
                (Version(2), Revision(2))
            );
        }
        other => panic!("{other:?}"),
    }
    view.nodes[1].report.status.child = ChildState::Crashed;
    waits(ask_to_mend(&rolling, &view));
}

#[test]
fn all_parts_must_agree_and_the_longest_wait_counts() {
    let mut view = view(vec![node(1, "a", 1), node(2, "a", 2), node(3, "b", 2)]);
    let both = schedule("soak_ms = 500\nafter = ['b']\nafter_soak_ms = 900\nmax_unavailable = 1");
    let (reason, until_ms) = waits(ask(&both, &view, 1_001));
    assert_eq!(
        (reason.matches("soaks").count(), until_ms),
        (2, Some(1_900))
    );
    view.nodes[1].reachable = false;
    assert_eq!(waits(ask(&both, &view, 1_001)).1, None);
}

#[test]
fn only_a_node_left_behind_by_its_class_leaps() {
    let target = |versions: [u32; 2], reachable: bool| {
        let [second, third] = versions;
        let mut view = view(vec![
            node(1, "a", 1),
            node(2, "a", second),
            node(3, "a", third),
        ]);
        view.nodes[2].reachable = reachable;
        let facts = Facts {
            view: &view,
            node: NodeId(1),
            version: Version(0),
            revision: Revision(0),
            mends: false,
            require_staged: true,
            now_ms: 0,
            class_of: &|fact, _| Some(fact.class.clone()),
        };
        leap(&facts, &[Version(2), Version(3), Version(4)])
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

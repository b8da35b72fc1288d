//! Roles that go last, idleness, and the deadline that ends waiting for it.

use super::*;

const LEADERS_LAST: &str = r#"
    max_unavailable = 1
    group_by = "half"
    role = { command = ["${bundle}/role"], last = ["leader", "old leader"] }
"#;

/// Three nodes of one group; the first, which asks, has this role, and the others these.
fn verdict(schedule: &Schedule, nodes: &[NodeFact], roles: [Option<&str>; 3]) -> Verdict {
    let system = system(nodes.to_vec());
    let mut fleet = fleet(&system, schedule);
    for (fact, role) in nodes.iter().zip(roles) {
        let counted = fleet.node(fact.node).expect("counted").clone();
        fleet.put(fact.node, counted.with_role(role.map(Arc::from)));
    }
    let facts = Facts {
        upgrade: Some(&system.upgrade),
        paused: None,
        approvals: &[],
        fleet: &fleet,
        asking: fleet.node(NodeId(1)).expect("it is counted"),
        version: Version(2),
        revision: Revision(1),
        mends: false,
        require_staged: true,
        before_it: 0,
        gauges: None,
        passed: &[],
        unfinished: None,
        attributes: &system.nodes[0].attributes,
        now_ms: 0,
    };
    evaluate(schedule, &facts)
}

fn three() -> Vec<NodeFact> {
    let nodes = (1..=3).map(|id| {
        let mut fact = node(id, "a", 1);
        fact.attributes = [("half".to_owned(), "left".to_owned())].into();
        fact
    });
    nodes.collect()
}

#[test]
fn who_has_a_role_that_goes_last_waits_for_the_others_of_its_group() {
    let schedule = schedule(LEADERS_LAST);
    let mut nodes = three();
    let roles = [Some("leader"), Some("follower"), None];
    let (reason, until_ms) = waits(verdict(&schedule, &nodes, roles));
    assert_eq!(
        reason,
        "is leader and goes after the others of its group; not yet at version 2: a-2, a-3"
    );
    assert_eq!(until_ms, None);
    let follows = [Some("follower"), Some("leader"), Some("follower")];
    assert_eq!(verdict(&schedule, &nodes, follows), Verdict::Go);
    // Who goes last as well is not waited for: two would wait for each other.
    nodes[2].report.status.version = Version(2);
    let both = [Some("leader"), Some("old leader"), Some("follower")];
    assert_eq!(verdict(&schedule, &nodes, both), Verdict::Go);
    let (reason, _) = waits(verdict(&schedule, &nodes, [Some("leader"), Some(""), None]));
    assert!(reason.ends_with("version 2: a-2"), "{reason}");
    nodes[1].report.status.version = Version(2);
    assert_eq!(verdict(&schedule, &nodes, roles), Verdict::Go);
}

#[test]
fn who_does_not_say_its_role_waits() {
    let schedule = schedule(LEADERS_LAST);
    let (reason, _) = waits(verdict(&schedule, &three(), [None, None, None]));
    assert!(
        reason.starts_with("does not say which role it has"),
        "{reason}"
    );
}

#[test]
fn idleness_is_waited_for_until_the_deadline() {
    let idle = "idle = { command = [\"true\"] }";
    let none = BTreeMap::new();
    assert!(!Schedule::default().waits_for_idleness(&none, 0));
    assert!(schedule(idle).waits_for_idleness(&none, u64::MAX));
    let late = schedule(&format!(
        "{idle}\ndeadline = {{ at = \"2026-12-09T12:00\", zone = \"UTC\" }}"
    ));
    let noon_ms = 1_796_817_600_000;
    assert!(late.waits_for_idleness(&none, noon_ms - 1));
    assert!(!late.waits_for_idleness(&none, noon_ms));
}

#[test]
fn what_makes_no_sense_says_why_and_the_rest_reads_as_it_was_written() {
    for (text, why) in [
        ("idle = { command = [] }", "names no program"),
        (
            "idle = { command = ['x'], timeout_ms = 60000 }",
            "from 1 to 40000",
        ),
        (
            "idle = { command = ['${budle}/x'] }",
            "did you mean `bundle`?",
        ),
        (
            "role = { command = ['x'], last = ['leader'] }",
            "add `max_unavailable`",
        ),
        (
            "max_unavailable = 1\nrole = { command = ['x'], last = [] }",
            "names the roles that go last",
        ),
        (
            "deadline = { at = '2026-12-09', zone = 'UTC' }",
            "add one of them",
        ),
        (
            "idle = { command = ['x'] }\ndeadline = { at = 'soon', zone = 'UTC' }",
            "`soon` is no moment",
        ),
    ] {
        let refused = toml::from_str::<Schedule>(text)
            .expect_err(text)
            .to_string();
        assert!(refused.contains(why), "{refused}");
    }
    let all = schedule(
        r#"
        max_unavailable = 1
        idle = { command = ["${bundle}/idle", "${ports.data}"], timeout_ms = 1000, every_ms = 60000 }
        deadline = { at = "2026-12-09T12:00", zone = "site" }
        [role]
        command = ["${bundle}/role"]
        last = ["leader"]
        hand_over = { command = ["${bundle}/step-down"], timeout_ms = 30000 }
        "#,
    );
    let text = toml::to_string(&all).expect("written");
    assert_eq!(schedule(&text), all);
}

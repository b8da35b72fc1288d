//! Some nodes before others.

use super::*;

const WAVES: &str = r#"
    waves = [
        { nodes = "attributes.site == 'lab'", soak_ms = 500 },
        { nodes = "node.name != 'a-1'", at_most = 2 },
    ]
"#;

/// Node 1 is in no wave; nodes 2 and 3 are in the first, the others in the second.
fn six() -> System {
    let mut nodes: Vec<NodeFact> = (1..=6).map(|id| node(id, "a", 1)).collect();
    for lab in [1, 2] {
        nodes[lab].attributes = [("site".to_owned(), "lab".to_owned())].into();
    }
    system(nodes)
}

fn settle(all: &mut System, ids: &[u32], at_ms: u64) {
    for id in ids {
        let fact = &mut all.nodes[*id as usize - 1];
        fact.report.status.version = Version(2);
        fact.steady_since_ms = at_ms;
    }
}

/// What the schedule says to this node.
fn asked(text: &str, all: &System, id: u32, now_ms: u64) -> Verdict {
    let mut nodes = all.nodes.clone();
    let at = id as usize - 1;
    nodes[at].node = NodeId(1);
    if at > 0 {
        nodes[0].node = NodeId(id);
    }
    let renumbered = |held: &NodeId| match held.0 {
        1 => NodeId(id),
        held if held == id => NodeId(1),
        held => NodeId(held),
    };
    let system = System {
        nodes,
        upgrade: all.upgrade.clone(),
        paused: None,
        approvals: Vec::new(),
        permits: all.permits.iter().map(renumbered).collect(),
        before_it: 0,
        gauges: None,
        passed: Vec::new(),
    };
    ask(&schedule(text), &system, now_ms)
}

#[test]
fn a_wave_waits_for_those_before_it_to_settle_be_healthy_and_soak() {
    let mut all = six();
    assert_eq!(asked(WAVES, &all, 2, 0), Verdict::Go);
    for later in [1, 4] {
        let (reason, until) = waits(asked(WAVES, &all, later, 0));
        assert_eq!(
            reason,
            "waits for wave 1 to be settled and healthy at version 2; not yet: a-2, a-3"
        );
        assert_eq!(until, None);
    }
    settle(&mut all, &[2], 1_000);
    let (reason, _) = waits(asked(WAVES, &all, 4, 2_000));
    assert!(reason.ends_with("not yet: a-3"), "{reason}");
    settle(&mut all, &[3], 2_000);
    all.nodes[2].report.status.child = ChildState::Crashed;
    let (reason, _) = waits(asked(WAVES, &all, 4, 9_000));
    assert!(reason.ends_with("not yet: a-3"), "it has crashed: {reason}");
    all.nodes[2].report.status.child = ChildState::Running;
    let (reason, until) = waits(asked(WAVES, &all, 4, 2_499));
    assert!(reason.contains("soak time: wave 1 of a"), "{reason}");
    assert_eq!(until, Some(2_500));
    assert_eq!(asked(WAVES, &all, 4, 2_500), Verdict::Go);
    assert!(matches!(asked(WAVES, &all, 1, 2_500), Verdict::Wait { .. }));
}

#[test]
fn of_a_wave_as_many_go_as_it_says_and_the_others_with_the_rest() {
    let mut all = six();
    settle(&mut all, &[2, 3], 0);
    all.permits = vec![NodeId(4), NodeId(5)];
    let wave = |all: &System, id| waits(asked(WAVES, all, id, 1_000)).0;
    // Two are on their way: the third waits, as the rest does.
    for waiting in [6, 1] {
        let reason = wave(&all, waiting);
        assert!(reason.starts_with("waits for wave 2"), "{reason}");
    }
    assert_eq!(
        asked(WAVES, &all, 4, 1_000),
        Verdict::Go,
        "it has its place"
    );
    settle(&mut all, &[4], 0);
    assert!(wave(&all, 6).starts_with("waits for wave 2"));
    settle(&mut all, &[5], 0);
    for waiting in [6, 1] {
        assert_eq!(asked(WAVES, &all, waiting, 1_000), Verdict::Go);
    }
}

#[test]
fn a_share_is_the_same_nodes_each_time_and_a_larger_one_has_those_of_a_smaller() {
    let nodes = |share: &str| -> BTreeSet<String> {
        let waves = schedule(&format!("waves = [{{ share = \"{share}\" }}]"));
        let names = (0..10_000).map(|number| format!("storage-{number}"));
        let taken = names.filter(|name| {
            let node = NodeScope {
                name: name.clone(),
                ..NodeScope::default()
            };
            waves.wave_of(&node) == Some(0)
        });
        taken.collect()
    };
    let [small, large] = ["1%", "5%"].map(nodes);
    assert!((70..130).contains(&small.len()), "{}", small.len());
    assert!((430..570).contains(&large.len()), "{}", large.len());
    assert!(small.is_subset(&large));
    assert_eq!(nodes("100%").len(), 10_000);
}

#[test]
fn waves_that_make_no_sense_are_refused() {
    for (wave, words) in [
        ("{}", "add `nodes`, `share` or `at_most`"),
        ("{ at_most = 0 }", "leave the wave out"),
        (r#"{ nodes = "attributes.site =" }"#, "attributes.site ="),
        (r#"{ nodes = "vars.site == 'lab'" }"#, "vars"),
        (r#"{ share = "half" }"#, "12.5%"),
    ] {
        let read: Result<Schedule, _> = toml::from_str(&format!("waves = [{wave}]"));
        let told = read.expect_err(wave).to_string();
        assert!(told.contains(words), "{told}");
    }
}

//! Nodes that come late, were away, or have nothing to do.

use crate::harness::{Boxes, Bundle, Caller, NodeOptions, System, is_crash, until};
use model::ids::Version;

#[test]
fn a_late_node_joins_at_the_version_that_others_have_settled_at() {
    let system = System::with(&Boxes::version(1).bundle());
    let first = system.settled_box("a", 1, 1);
    system.publish(&Boxes::version(2).bundle());
    system.until_settled(&first, 2);
    system.publish(&Boxes::version(3).schedule("approval = true").bundle());
    system.until_staged(&first, 3);
    let late = system.node(NodeOptions::new("b", system.port(2)));
    let fact = system.until_staged(&late, 3);
    assert_eq!(fact.report.status.version, Version(2));
    let output = late.output();
    assert!(output.starts_with("speaks dialect 2"), "{output}");
    // It answers every version that is spoken, though it never ran the first.
    for version in [1, 2, 3] {
        let mut caller = system.member(system.port(2), version).expect("connected");
        caller.put("apples", i64::from(version)).expect("answered");
        assert_eq!(
            caller.get("apples").expect("answered"),
            Some(i64::from(version))
        );
    }
    system.approve(3, None);
    system.until_settled(&late, 3);
    for version in [1, 2, 3] {
        let mut caller = system.member(system.port(2), version).expect("connected");
        assert_eq!(
            caller.get("apples").expect("answered"),
            Some(3),
            "version {version}"
        );
        assert_eq!(
            caller.get("pears").expect("answered"),
            None,
            "version {version}"
        );
    }
}

#[test]
fn a_node_that_was_away_for_two_upgrades_goes_further_at_once() {
    let system = System::with(&Boxes::version(1).bundle());
    let first = system.settled_box("a", 1, 1);
    let mut away = system.settled_box("b", 2, 1);
    Caller::unlabelled(system.port(2), 1)
        .and_then(|mut caller| caller.put("apples", 7))
        .expect("answered");
    away.end_agent();
    away.stop_software();
    for version in [2, 3] {
        let upgrade = Boxes::version(version).setting("require_staged = false");
        system.publish(&upgrade.bundle());
        system.until_settled(&first, version);
    }
    away.start_agent();
    system.until_settled(&away, 3);
    assert_eq!(away.printed("speaks dialect 2"), 0, "{}", away.output());
    assert_eq!(away.printed("speaks dialect 3"), 1, "{}", away.output());
    for version in [1, 2, 3] {
        let mut caller = system.member(system.port(2), version).expect("connected");
        assert_eq!(
            caller.get("apples").expect("answered"),
            Some(7),
            "version {version}"
        );
    }
    let state = std::fs::canonicalize(away.data.join("current")).expect("a state");
    assert!(state.ends_with("versions/3.1/state"), "{}", state.display());
    assert!(state.join("things.json").exists());
}

/// A class that listens on a port and says nothing of what it does.
const IDLER: &str = r#"
[class.idler.software]
path = "software"
command = ["python3", "${software}/box.py", "--dialect", "1", "--port", "${ports.idle}", "--state", "${state}"]

[class.idler.service.idle]
port = "vars.port"
protocol = "http"

[class.idler.lifecycle]
probe = { http = "/ready", service = "idle", interval_ms = 50 }
"#;

#[test]
fn a_class_that_is_not_mentioned_takes_the_number_without_a_restart() {
    let system = System::with(&Boxes::version(1).and(IDLER).bundle());
    let changing = system.settled_box("a", 1, 1);
    let idler = system.node(NodeOptions::new("b", system.port(2)).class("idler"));
    system.until_settled(&idler, 1);
    let pid = idler.running_child();
    let mut kept = Caller::unlabelled(system.port(2), 1).expect("connected");
    kept.put("apples", 7).expect("answered");
    system.publish(&Boxes::version(2).bundle());
    system.until_settled(&changing, 2);
    system.until_settled(&idler, 2);
    assert_eq!(kept.get("apples").expect("the connection goes on"), Some(7));
    assert_eq!(idler.running_child(), pid);
    assert_eq!(idler.printed("speaks dialect"), 1);
    // Callers of both numbers are the software's own.
    for version in [1, 2] {
        let label = system.view().system_id;
        let mut caller = Caller::labelled_as(system.port(2), label, version, 1).expect("connected");
        assert_eq!(caller.get("apples").expect("answered"), Some(7));
        assert_eq!(
            caller.last.clone().expect("an answer").caller(),
            caller.address()
        );
    }
    let counters = system.fact("b").report.counters;
    assert_eq!(
        counters["calls.direct"], 0,
        "they went through the agent: {counters:?}"
    );
}

#[test]
fn an_upgrade_with_the_same_interface_needs_no_adapter() {
    let system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    Caller::unlabelled(system.port(1), 1)
        .and_then(|mut caller| caller.put("apples", 7))
        .expect("answered");
    let pid = node.running_child();
    system.publish(
        &Boxes::version(2)
            .same(1)
            .arguments(&["--start-delay-ms", "1"])
            .bundle(),
    );
    system.until_settled(&node, 2);
    assert_ne!(node.running_child(), pid);
    for version in [1, 2] {
        let label = system.view().system_id;
        let mut caller = Caller::labelled_as(system.port(1), label, version, 1).expect("connected");
        assert_eq!(
            caller.get("apples").expect("answered"),
            Some(7),
            "version {version}"
        );
    }
    let counters = system.fact("a").report.counters;
    let translated = counters
        .keys()
        .any(|name| name.starts_with("calls.past") || name.starts_with("calls.future"));
    assert!(!translated, "{counters:?}");
    assert_eq!(system.fact("a").report.status.version, Version(2));
}

#[test]
fn a_class_that_is_split_goes_on_and_one_that_is_removed_stops() {
    let system = System::with(&Boxes::version(1).and(IDLER).bundle());
    let node = |name: &str, number, tier: &str| {
        let options = NodeOptions::new(name, system.port(number)).attribute("tier", tier);
        let node = system.node(options);
        system.until_settled(&node, 1);
        node
    };
    let (hot, cold) = (node("a", 1, "hot"), node("b", 2, "cold"));
    let idler = system.node(NodeOptions::new("c", system.port(3)).class("idler"));
    system.until_settled(&idler, 1);
    let pids = [hot.running_child(), cold.running_child()];
    system.publish(&Bundle::new(
        r#"
system = "boxes"
version = 2
from = 1

[class.box]
filter = 'attributes.tier != "cold"'

[class.archive]
was = "box"
filter = 'attributes.tier == "cold"'

[removed]
classes = ["idler"]
"#,
    ));
    for node in [&hot, &cold, &idler] {
        system.until_settled(node, 2);
    }
    assert_eq!([hot.running_child(), cold.running_child()], pids);
    until("the removed class to stop", || {
        idler.child().is_none().then_some(())
    });
    // The port of its last version stays until that one is retired, but nobody answers there.
    let answer = Caller::unlabelled(system.port(3), 1).and_then(|mut caller| caller.get("apples"));
    assert!(is_crash(&answer.expect_err("nothing runs")));
    // From here on the two parts go separate ways.
    let third = Boxes::version(3).dialect(2).bundle();
    let third = Bundle {
        upgrade: third.upgrade.replace("class.box", "class.archive"),
        ..third
    };
    system.publish(&third);
    for node in [&hot, &cold] {
        system.until_settled(node, 3);
    }
    assert_eq!(hot.running_child(), pids[0]);
    assert_ne!(cold.running_child(), pids[1]);
    let system_id = system.view().system_id;
    for (number, version, dialect) in [(1, 3, 1), (2, 3, 2), (2, 1, 1), (1, 1, 1)] {
        let port = system.port(number);
        let mut caller = Caller::labelled_as(port, system_id, version, dialect).expect("connected");
        assert_eq!(caller.get("apples").expect("answered"), None);
    }
}

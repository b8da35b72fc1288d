//! Upgrades that fail: the old version serves again, the node says why, and can be freed.

use crate::harness::{Boxes, Caller, Node, System, is_crash, refused, until, until_ok};
use model::api::{NodeFact, Phase};
use model::ids::Version;
use std::time::{Duration, Instant};

/// A node that has gone back from version 2 and serves at 1 again, with what it said.
fn blocked(system: &System, node: &Node) -> NodeFact {
    let fact = system.until_phase(node, Phase::Blocked);
    assert_eq!(fact.report.status.version, Version(1));
    let mut old = Caller::unlabelled(system.port(1), 1).expect("connected");
    assert_eq!(old.get("apples").expect("the old version answers"), Some(7));
    let mut new = system.member(system.port(1), 2).expect("connected");
    assert_eq!(
        new.get("apples").expect("through the future adapter"),
        Some(7)
    );
    fact
}

fn with_apples(bundle: &Boxes) -> (System, Node) {
    let system = System::with(&bundle.bundle());
    let node = system.settled_box("a", 1, 1);
    let mut caller = Caller::unlabelled(system.port(1), 1).expect("connected");
    caller.put("apples", 7).expect("answered");
    (system, node)
}

/// A version 2 that never gets healthy, and gives up soon.
fn unhealthy() -> Boxes {
    let probe = "http = \"/health\", service = \"data\", interval_ms = 50, timeout_ms = 700";
    Boxes::version(2).arguments(&["--unhealthy"]).probe(probe)
}

#[test]
fn a_failed_probe_leads_back_and_a_revision_frees_the_node() {
    let (system, node) = with_apples(&Boxes::version(1));
    let mut kept = system.member(system.port(1), 2).expect("connected");
    system.publish(&unhealthy().bundle());
    let fact = blocked(&system, &node);
    let reason = fact.report.status.reason.expect("a reason");
    assert!(
        reason.contains("probe") && reason.contains("503"),
        "{reason}"
    );
    let told = system.events_of(&node, "node.blocked");
    assert_eq!(told.len(), 1, "{told:?}");
    let expected = format!("{}; version 1 runs and is healthy", told[0].message);
    assert_eq!(reason, expected);
    // A caller that came before all of it is answered too: it was held while its version was being staged.
    assert_eq!(kept.get("apples").expect("answered"), Some(7));

    system.revise(&Boxes::version(2).bundle());
    let fact = system.until_settled(&node, 2);
    assert_eq!(fact.report.status.revision.0, 2);
    assert_eq!(kept.get("apples").expect("answered"), Some(7));
}

#[test]
fn a_node_that_is_told_to_retry_fails_again_or_goes_on() {
    let (system, node) = with_apples(&Boxes::version(1));
    let broken = system.folder().join("broken");
    std::fs::write(&broken, "").expect("written");
    let check = format!(
        "command = [\"test\", \"!\", \"-e\", \"{}\"], interval_ms = 50, timeout_ms = 700",
        broken.display()
    );
    system.publish(&Boxes::version(2).probe(&check).bundle());
    blocked(&system, &node);
    system.ask(system.client.retry("a"));
    until("the second block", || {
        (system.events_of(&node, "node.blocked").len() == 2).then_some(())
    });
    blocked(&system, &node);
    std::fs::remove_file(&broken).expect("mended");
    system.ask(system.client.retry("a"));
    system.until_settled(&node, 2);
    let mut caller = system.member(system.port(1), 2).expect("connected");
    assert_eq!(caller.get("apples").expect("answered"), Some(7));
}

#[test]
fn a_node_that_was_forgotten_and_comes_back_is_told_to_retry_and_does() {
    let (system, mut node) = with_apples(&Boxes::version(1));
    system.publish(&unhealthy().bundle());
    blocked(&system, &node);
    let tries = |count: usize| {
        until("another try", || {
            (system.events_of(&node, "node.blocked").len() == count).then_some(())
        });
        blocked(&system, &node);
    };
    for count in [2, 3] {
        system.ask(system.client.retry("a"));
        tries(count);
    }
    system.ask(system.client.forget("a"));
    node.end_agent();
    node.start_agent();
    until("it to be enrolled and blocked again", || {
        let fact = system.try_ask(system.client.node("a")).ok()?;
        (fact.report.status.phase == Phase::Blocked).then_some(())
    });
    system.ask(system.client.retry("a"));
    until("another try", || {
        (system.events_of(&node, "node.blocked").len() == 4).then_some(())
    });
}

#[test]
fn a_withdrawal_frees_the_node_and_its_number_is_skipped() {
    let (system, node) = with_apples(&Boxes::version(1));
    system.publish(&unhealthy().bundle());
    blocked(&system, &node);
    system.withdraw(Version(2));
    let fact = system.until_settled(&node, 1);
    assert_eq!(fact.report.status.staged, Version(1));
    let answer = system
        .member(system.port(1), 2)
        .and_then(|mut caller| caller.get("apples"));
    let error = answer.expect_err("nobody speaks a withdrawn version");
    assert!(is_crash(&error), "{error}");

    system.publish(&Boxes::version(3).from(1).dialect(2).bundle());
    system.until_settled(&node, 3);
    let mut caller = system.member(system.port(1), 1).expect("connected");
    assert_eq!(caller.get("apples").expect("answered"), Some(7));
    assert!(node.data.join("versions/3.1/state/items.tsv").exists());
    assert!(
        !node.data.join("versions/2.1").exists(),
        "a withdrawn version's folder stays"
    );
}

#[test]
fn a_transform_that_fails_is_tried_again_then_leads_back() {
    let (system, node) = with_apples(&Boxes::version(1));
    let failing = Boxes::version(2).transform_argument("fail=no such form");
    system.publish(&failing.bundle());
    let fact = blocked(&system, &node);
    let reason = fact.report.status.reason.expect("a reason");
    assert!(reason.contains("no such form"), "{reason}");
    assert!(
        system.events_of(&node, "node.transform_failed").len() > 1,
        "one attempt was enough to give up"
    );
    assert_eq!(node.printed("speaks dialect 2"), 0);
    system.revise(&Boxes::version(2).bundle());
    system.until_settled(&node, 2);
}

#[test]
fn past_the_hold_bound_calls_fail_as_at_a_dead_process() {
    let first = Boxes::version(1).setting("hold_ms = 800");
    let (system, node) = with_apples(&first);
    let second = Boxes::version(2)
        .setting("hold_ms = 800")
        .schedule("approval = true")
        .arguments(&["--start-delay-ms", "5000"]);
    system.publish(&second.bundle());
    system.until_staged(&node, 2);
    let mut foreign = system.member(system.port(1), 2).expect("connected");
    assert_eq!(foreign.get("apples").expect("answered"), Some(7));
    system.approve(2, None);
    system.until_phase(&node, Phase::Probing);
    let begun = Instant::now();
    let error = foreign.get("apples").expect_err("held for too long");
    assert!(is_crash(&error), "{error}");
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    until("the port to refuse", || {
        refused(system.port(1)).then_some(())
    });
    assert_eq!(system.fact("a").report.status.phase, Phase::Probing);

    system.until_settled(&node, 2);
    let number = until_ok("a caller to be answered again", || {
        let mut caller = system.member(system.port(1), 2)?;
        caller.get("apples")
    });
    assert_eq!(number, Some(7));
    assert!(system.counter("a", "reset.held_too_long") >= 1);
}

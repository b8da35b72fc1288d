//! Revisions of what runs, with real processes: nobody runs what was not tried here, and what was published in the middle of an
//! upgrade does not mix with it.

use crate::harness::{Boxes, Node, NodeOptions, System, kill, pids_naming, until, until_ok};
use model::api::{NodeFact, Phase, PublicRequest, RetireRequest};
use model::ids::{Revision, Version};
use model::machine::Place;

/// One after the other, and only with an approval.
const CAREFUL: &str = "max_unavailable = 1, approval = true";

fn place(version: u32, revision: u32) -> Place {
    Place {
        version: Version(version),
        revision: Revision(revision),
    }
}

/// Three boxes at version 2, each with apples.
fn at_version_2() -> (System, [Node; 3]) {
    let system = System::with(&Boxes::version(1).bundle());
    let nodes = [("a", 1), ("b", 2), ("c", 3)]
        .map(|(name, number)| system.node(NodeOptions::new(name, system.port(number))));
    for node in &nodes {
        system.until_settled(node, 1);
    }
    system.publish(&Boxes::version(2).schedule(CAREFUL).bundle());
    system.approve(2, None);
    for (node, number) in nodes.iter().zip(1..) {
        system.until_settled(node, 2);
        let mut caller = system.member(system.port(number), 2).expect("connected");
        caller.put("apples", 7).expect("answered");
    }
    (system, nodes)
}

/// The node runs this bundle's software, and has its apples.
fn runs(system: &System, node: &Node, number: u16, bundle: Place) -> NodeFact {
    let fact = system.until_fact(node, &format!("running {bundle}"), |fact| {
        fact.report.status.bundle == Some(bundle)
    });
    assert_eq!(fact.report.status.revision, bundle.revision);
    let apples = until_ok("apples", || {
        system.member(system.port(number), 2)?.get("apples")
    });
    assert_eq!(apples, Some(7));
    fact
}

/// Waits until every box waits for the approval of this revision.
fn until_waiting(system: &System, nodes: &[Node], revision: u32) {
    let reason = format!("revision {revision} of version 2 waits for approval");
    for node in nodes {
        system.until_fact(node, "waiting for an approval", |fact| {
            let status = &fact.report.status;
            status
                .reason
                .as_ref()
                .is_some_and(|it| it.contains(&reason))
        });
    }
}

/// Waits until one box is blocked on revision 2, and the others wait for what becomes of it.
fn one_is_blocked_and_the_others_wait(system: &System, nodes: &[Node]) {
    let failed = until("one to be blocked", || {
        let nodes = system.view().nodes;
        let is_blocked = |fact: &NodeFact| fact.report.status.phase == Phase::Blocked;
        nodes.into_iter().find(is_blocked)
    });
    let status = &failed.report.status;
    assert_eq!(status.target_revision, Some(Revision(2)));
    let reason = status.reason.clone().unwrap_or_default();
    assert!(reason.contains("exit code 2"), "{reason}");
    let waits = format!(
        "revision 2 of version 2 has failed and is blocked at {}",
        failed.name
    );
    for (node, name) in nodes.iter().zip(["a", "b", "c"]) {
        if name != failed.name {
            system.until_fact(node, "held by the one that is blocked", |fact| {
                let reason = fact.report.status.reason.as_ref();
                reason.is_some_and(|reason| reason.contains(&waits))
            });
        }
    }
}

#[test]
fn a_worse_revision_is_tried_by_one_node_and_nobody_runs_it_by_chance() {
    let (system, mut nodes) = at_version_2();
    let worse = Boxes::version(2)
        .schedule(CAREFUL)
        .arguments(&["--no-such"]);
    system.revise(&worse.bundle());
    until_waiting(&system, &nodes, 2);
    // What ends is started anew as it was, whoever ends.
    let before = nodes[0].running_child();
    kill(before);
    until("another child", || {
        nodes[0].child().filter(|pid| *pid != before)
    });
    runs(&system, &nodes[0], 1, place(2, 1));
    let before = nodes[1].running_child();
    nodes[1].kill_agent();
    kill(before);
    nodes[1].start_agent();
    until("another child", || {
        nodes[1].child().filter(|pid| *pid != before)
    });
    runs(&system, &nodes[1], 2, place(2, 1));

    system.approve(2, None);
    one_is_blocked_and_the_others_wait(&system, &nodes);
    let mut confirmed = 0;
    for (node, number) in nodes.iter().zip(1..) {
        runs(&system, node, number, place(2, 1));
        confirmed += system.events_of(node, "permit.confirmed").len();
    }
    assert_eq!(confirmed, 3 + 1, "all for version 2, one for its revision");

    let better = Boxes::version(2)
        .schedule(CAREFUL)
        .arguments(&["--start-delay-ms", "1"]);
    system.revise(&better.bundle());
    until_waiting(&system, &nodes, 3);
    system.approve(2, None);
    let mut most = 0;
    until_ok("all to run revision 3", || {
        let view = system.view();
        most = most.max(view.permits.len());
        let there = |fact: &NodeFact| {
            let status = &fact.report.status;
            status.bundle == Some(place(2, 3)) && status.phase == Phase::Settled
        };
        if view.nodes.iter().all(there) {
            Ok(())
        } else {
            Err(format!("{:?}", view.nodes))
        }
    });
    assert_eq!(most, 1, "so many were away at once");
    for (node, number) in nodes.iter().zip(1..) {
        runs(&system, node, number, place(2, 3));
        until("older copies of the state to be deleted", || {
            let left = ["versions/2.1", "versions/2.2"].map(|place| node.data.join(place));
            (!left.iter().any(|folder| folder.exists())).then_some(())
        });
    }
}

#[test]
fn a_revision_of_adapters_or_schedule_is_in_force_without_a_restart() {
    let system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    let second = Boxes::version(2).bundle();
    system.publish(&second);
    system.until_settled(&node, 2);
    let pid = node.running_child();
    let mut mended = Boxes::version(2).schedule("approval = true").bundle();
    let lens = mended.files.get_mut("lens.toml").expect("a lens");
    lens.extend_from_slice(b"\n# mended\n");
    system.revise(&mended);
    system.until_fact(&node, "at revision 2", |fact| {
        let status = &fact.report.status;
        status.revision == Revision(2) && status.phase == Phase::Settled
    });
    assert_eq!(node.running_child(), pid);
    let mut caller = system.member(system.port(1), 1).expect("connected");
    caller.put("apples", 7).expect("through the mended adapter");
}

#[test]
fn a_revision_that_is_published_during_a_transform_ends_it_and_begins_anew() {
    let system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    let slow = Boxes::version(2).transform_argument("sleep_ms=19000");
    system.publish(&slow.bundle());
    let program = node.data.join("versions/2.1/bundle/transform.py");
    let transform = until("the transform", || {
        Some(pids_naming(&program)).filter(|pids| !pids.is_empty())
    });
    let good = Boxes::version(2).arguments(&["--start-delay-ms", "1"]);
    system.revise(&good.bundle());
    let fact = system.until_settled(&node, 2);
    assert_eq!(fact.report.status.bundle, Some(place(2, 2)));
    assert_eq!(fact.report.status.revision, Revision(2));
    assert!(pids_naming(&program).is_empty(), "{transform:?} goes on");
    let returned = system.events_of(&node, "node.returned");
    assert!(
        returned[0].message.contains("published meanwhile"),
        "{returned:?}"
    );
    let settled: Vec<String> = (system.events_of(&node, "node.settled").into_iter())
        .map(|event| event.message)
        .collect();
    assert_eq!(
        settled,
        ["settled at version 1.1", "settled at version 2.2"]
    );
    assert!(node.data.join("versions/2.2/state/items.tsv").exists());
}

#[test]
fn a_versions_state_stays_until_its_retirement_whatever_is_revised() {
    let system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    for version in [2, 3] {
        system.publish(&Boxes::version(version).bundle());
        system.until_settled(&node, version);
    }
    let (bundle, state) = (
        node.data.join("versions/2.1/bundle"),
        node.data.join("versions/2.1/state"),
    );
    let mended = Boxes::version(2).arguments(&["--start-delay-ms", "1"]);
    system.revise(&mended.bundle());
    until("the superseded bundle to be deleted", || {
        (!bundle.exists()).then_some(())
    });
    assert!(state.join("items.tsv").exists(), "the state went with it");
    system.ask(system.client.set_public(&PublicRequest {
        service: None,
        version: Version(3),
    }));
    system.ask(system.client.retire(&RetireRequest {
        version: Version(2),
        close: true,
    }));
    until("the retired version's state to be deleted", || {
        (!state.exists()).then_some(())
    });
}

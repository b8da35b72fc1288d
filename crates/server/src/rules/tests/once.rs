//! What is done once for the whole system: when everybody is there, at one node, again until it is done, and before anybody goes on.

use super::super::Order;
use super::{STORAGE, STORAGE_CHANGED, World, report, staged};
use model::api::{OnceEnded, OnceFact, OnceOrder, OnceState, VerdictAnswer};
use model::ids::{NodeId, Version};

const FINISHES: &str =
    "[once.finish]\nclass = \"storage\"\ncommand = [\"true\"]\ntimeout_ms = 10000\n";

/// Two nodes at version 1; version 2 has something to be done once.
fn two() -> (World, [NodeId; 2]) {
    let second = format!("{STORAGE_CHANGED}{FINISHES}");
    let mut world = World::with(&[STORAGE, &second]);
    let nodes = [world.settled("a", 1), world.settled("b", 1)];
    for node in nodes {
        world.report(node, staged(1));
    }
    (world, nodes)
}

impl World {
    fn sweep_at(&mut self, later_ms: u64) {
        self.context.now_ms += later_ms;
        let () = self.ask(Order::Sweep).expect("swept");
    }

    fn once(&self) -> Option<OnceFact> {
        self.state.once.first().cloned()
    }

    fn ends(&mut self, node: NodeId, order: &OnceOrder, failed: Option<&str>) {
        let ended = OnceEnded {
            version: order.version,
            name: order.name.clone(),
            attempt: order.attempt,
            failed: failed.map(str::to_owned),
        };
        let () = self.ask(Order::OnceEnded(node, ended)).expect("noted");
    }
}

#[test]
fn it_begins_when_every_node_is_there_and_the_next_version_waits_until_it_is_done() {
    let (mut world, [a, b]) = two();
    world.report(a, report(2));
    world.sweep_at(1);
    assert_eq!(world.once(), None, "b is not there");
    world.report(b, report(2));
    world.sweep_at(1);
    let order = world.state.once_of(a).expect("given");
    assert_eq!((&*order.name, order.attempt), ("finish", 1));
    assert_eq!(world.state.once_of(b), None);
    // Nobody goes on meanwhile.
    let third = "[class.storage]\nRUN\nservice.data = { port = 3, protocol = \"http\", interface = \"changed\", adapter = \"lens.toml\" }\n";
    world.publish(3, 2, third).expect("published");
    for node in [a, b] {
        let mut ready = report(2);
        ready.status.staged = Version(3);
        world.report(node, ready);
    }
    let VerdictAnswer::Wait { reasons, .. } = world.judge(b, 3, 1) else {
        panic!("it waits");
    };
    assert_eq!(reasons[0].code, "once");
    assert!(
        reasons[0].text.contains("`once.finish` of version 2"),
        "{}",
        reasons[0].text
    );
    world.ends(a, &order, None);
    assert_eq!(world.once().map(|fact| fact.state), Some(OnceState::Done));
    assert!(matches!(world.judge(b, 3, 1), VerdictAnswer::Go { .. }));
    world.sweep_at(1_000_000);
    assert_eq!(world.once().map(|fact| fact.attempts), Some(1), "once");
    assert_eq!(world.state.once_of(a), None);
}

#[test]
fn what_fails_or_is_lost_is_tried_again_by_another_node_with_longer_and_longer_pauses() {
    let (mut world, nodes) = two();
    for node in nodes {
        world.report(node, report(2));
    }
    world.sweep_at(1);
    let [a, b] = nodes;
    let first = world.state.once_of(a).expect("given");
    world.ends(a, &first, Some("no quorum"));
    let fact = world.once().expect("tried");
    assert_eq!((fact.state, &*fact.why), (OnceState::Failed, "no quorum"));
    world.sweep_at(4_999);
    assert_eq!(world.state.once_of(b), None);
    for node in nodes {
        world.report(node, report(2));
    }
    world.sweep_at(1);
    let second = world.state.once_of(b).expect("the other one");
    assert_eq!(second.attempt, 2);
    // Whoever says it late, or had another attempt, changes nothing.
    let refused = world.refused(Order::OnceEnded(
        a,
        OnceEnded {
            version: Version(2),
            name: "finish".to_owned(),
            attempt: 2,
            failed: None,
        },
    ));
    assert_eq!(refused.kind.name, "once-refused");
    // It is not heard any more: the other one does it.
    world.sweep_at(16_000);
    world.report(a, report(2));
    world.sweep_at(1);
    let third = world.state.once_of(a).expect("given again");
    assert_eq!(third.attempt, 3);
    // Nor does it say how it ended, though it is heard.
    for _ in 0..7 {
        world.report(a, report(2));
        world.sweep_at(10_000);
    }
    assert_eq!(world.once().map(|fact| fact.attempts), Some(4));
    let fourth = world.state.once_of(a).expect("nobody else is there");
    world.ends(a, &fourth, None);
    world.ends(a, &fourth, None);
    assert_eq!(world.once().map(|fact| fact.state), Some(OnceState::Done));
}

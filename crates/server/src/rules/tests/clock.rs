//! A clock that was wrong for a while, and the times of versions that are passed.

use super::super::Order;
use super::permits::three;
use super::{STORAGE, World, report, scheduled, staged};
use model::ids::{NodeId, Place, Revision, Version};

const HOUR_MS: u64 = 3_600_000;

/// 2026-11-30 at noon, a Monday.
const MONDAY_NOON_MS: u64 = 1_796_040_000_000;

fn sweep(world: &mut World) {
    let () = world.ask(Order::Sweep).expect("swept");
}

#[test]
fn a_clock_that_was_ahead_makes_no_soak_longer_and_nobody_reachable_for_longer() {
    let (mut world, [a, b, c]) = three("max_unavailable = 3, soak_ms = 30000");
    let now_ms = world.context.now_ms;
    world.context.now_ms += HOUR_MS;
    world.go(b);
    for node in [a, c] {
        world.report(node, staged(1));
    }
    world.report(b, report(2));
    world.context.now_ms = now_ms + 1_000;
    sweep(&mut world);
    for node in [a, b, c] {
        let fact = &world.state.nodes[&node];
        let latest = fact.seen_at_ms.max(fact.steady_since_ms);
        assert_eq!(latest, now_ms + 1_000, "{}", fact.name);
    }
    assert_eq!(world.waits(a).0, ["soaks"]);
    // The permit that was given an hour ahead is gone with it.
    assert!(world.state.permits.is_empty());
    world.context.now_ms = now_ms + 1_000 + 30_000;
    for node in [a, b] {
        let version = if node == b { report(2) } else { staged(1) };
        world.report(node, version);
    }
    sweep(&mut world);
    assert!(!world.state.nodes[&c].reachable, "it was not heard since");
    world.go(a);
}

#[test]
fn a_clock_that_is_a_little_behind_anothers_changes_nothing() {
    let (mut world, [a, _, _]) = three("max_unavailable = 1");
    let heard_ms = world.state.nodes[&a].seen_at_ms;
    world.context.now_ms = heard_ms - 2_000;
    sweep(&mut world);
    assert_eq!(world.state.nodes[&a].seen_at_ms, heard_ms);
}

/// A node at version 1 that has staged version 3, as all others have; those are at 3.
fn straggler(second: &str) -> (World, NodeId) {
    let third = "[class.storage]\nRUN\nservice.data = { port = 3, protocol = \"http\", interface = \"changed\", adapter = \"lens.toml\" }\n";
    let mut world = World::with(&[STORAGE, &scheduled(second), third]);
    world.context.now_ms = MONDAY_NOON_MS;
    let node = world.settled("late", 1);
    world.settled("other", 3);
    let mut ready = staged(1);
    ready.status.staged = Version(3);
    world.report(node, ready);
    (world, node)
}

fn question(node: NodeId) -> Order {
    let Order::Judge(node, mut request) = super::question(node, 2, 1) else {
        unreachable!("it is a question")
    };
    request.ahead.push(Place {
        version: Version(3),
        revision: Revision(1),
    });
    Order::Judge(node, request)
}

#[test]
fn who_passes_a_version_leaves_within_its_windows() {
    use model::api::VerdictAnswer;
    let window = r#"windows = [{ start = "14:00", length = "1h", zone = "UTC" }]"#;
    let (mut world, node) = straggler(window);
    let answer: VerdictAnswer = world.ask(question(node)).expect("judged");
    let VerdictAnswer::Wait {
        to,
        reasons,
        until_ms,
        ..
    } = answer
    else {
        panic!("{answer:?}");
    };
    let codes: Vec<&str> = reasons.iter().map(|reason| &*reason.code).collect();
    assert_eq!((to, codes), (Version(3), vec!["no_window"]));
    assert_eq!(until_ms, Some(MONDAY_NOON_MS + 2 * HOUR_MS));
    world.context.now_ms = MONDAY_NOON_MS + 3 * HOUR_MS - 1;
    let answer: VerdictAnswer = world.ask(question(node)).expect("judged");
    let VerdictAnswer::Go { permit, .. } = answer else {
        panic!("{answer:?}");
    };
    // The window closes between the permit and its confirmation.
    world.context.now_ms += 1;
    let refusal = world.refused(Order::ConfirmPermit(permit, None));
    assert!(refusal.detail.contains("window"), "{}", refusal.detail);
}

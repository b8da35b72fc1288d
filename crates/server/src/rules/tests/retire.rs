//! Retirement: refused with reasons while anything holds it, and over only when all have acknowledged.

use super::super::Order;
use super::{STORAGE, STORAGE_CHANGED, World, report};
use model::api::{PublicRequest, RetireRequest, Retirement};
use model::ids::Version;

fn retire(version: u32, close: bool) -> Order {
    Order::Retire(RetireRequest {
        version: Version(version),
        close,
    })
}

impl World {
    fn holds(&mut self, command: Order) -> String {
        let refusal = self.refused(command);
        assert_eq!(refusal.kind.name, "retire-refused");
        refusal.detail
    }

    fn move_public(&mut self, version: u32) {
        let request = PublicRequest {
            service: None,
            version: Version(version),
        };
        let _: serde_json::Value = self.ask(Order::SetPublic(request)).expect("moved");
    }
}

#[test]
fn everything_that_holds_a_version_is_told_at_once() {
    let mut world = World::with(&[STORAGE, STORAGE_CHANGED]);
    let a = world.settled("a", 1);
    let b = world.settled("b", 2);
    let mut busy = report(2);
    busy.connections.insert(Version(1), 2);
    world.report(b, busy.clone());
    let told = world.holds(retire(1, false));
    for holder in [
        "a (at version 1)",
        "b (2 connections)",
        "storage/data (version 1)",
    ] {
        assert!(told.contains(holder), "{told}");
    }
    assert!(world.holds(retire(2, false)).contains("newest"));
    world.report(a, report(2));
    world.move_public(2);
    assert!(!world.holds(retire(1, false)).contains("nodes:"));
    let begun: Retirement = world.ask(retire(1, true)).expect("closes what is open");
    assert_eq!(
        (begun.retiring_through, begun.retired_through),
        (Version(1), Version(0))
    );
    assert_eq!(begun.waiting_for, ["a", "b"]);
}

#[test]
fn it_ends_when_every_node_that_is_not_forgotten_has_acknowledged() {
    let mut world = World::with(&[STORAGE, STORAGE_CHANGED]);
    let [a, _b] = ["a", "b"].map(|name| world.settled(name, 2));
    let told = world.holds(retire(1, false));
    assert!(told.contains("public"), "{told}");
    world.move_public(2);
    let _: Retirement = world.ask(retire(1, false)).expect("begun");
    let mut acknowledged = report(2);
    acknowledged.retired_acknowledged = Version(1);
    world.report(a, acknowledged);
    assert_eq!(world.view().retired_through, Version(0));
    let again: Retirement = world.ask(retire(1, false)).expect("no error");
    assert_eq!(again.waiting_for, ["b"]);
    let () = world.ask(Order::Forget("b".to_owned())).expect("forgotten");
    assert_eq!(world.view().retired_through, Version(1));
    let done: Retirement = world.ask(retire(1, false)).expect("no error");
    assert!(done.waiting_for.is_empty());
}

#[test]
fn a_retired_version_is_joined_and_made_public_by_nobody() {
    let mut world = World::with(&[STORAGE, STORAGE_CHANGED]);
    world.move_public(2);
    let done: Retirement = world.ask(retire(1, false)).expect("no node holds it");
    assert_eq!(done.retired_through, Version(1));
    let enrolled: model::api::Enrolled = world
        .ask(Order::Enrol(super::enrol("a", "storage")))
        .expect("enrolled");
    assert_eq!(enrolled.join_version, Version(2));
    let back = PublicRequest {
        service: None,
        version: Version(1),
    };
    assert_eq!(
        world.refused(Order::SetPublic(back)).kind.name,
        "public-refused"
    );
}

#[test]
fn a_node_that_has_not_started_holds_because_it_may_still_start_there() {
    let mut world = World::with(&[STORAGE, STORAGE_CHANGED]);
    let _: model::api::Enrolled = world
        .ask(Order::Enrol(super::enrol("late", "storage")))
        .expect("enrolled");
    world.move_public(2);
    assert!(
        world
            .holds(retire(1, false))
            .contains("late (not started yet)")
    );
}

#[test]
fn services_that_end_hold_nothing() {
    let ended = "[removed]\nclasses = [\"storage\"]\n[class.other]\nadded = true\nRUN\n";
    let mut world = World::with(&[STORAGE, ended]);
    assert_eq!(world.view().public["storage/data"], Version(1));
    let _: Retirement = world.ask(retire(1, false)).expect("nothing holds it");
    assert!(world.view().public.is_empty());
}

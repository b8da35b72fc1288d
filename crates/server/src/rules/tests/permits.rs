//! Permits: never more than the limit, expiring, fenced, broken.

use super::super::Order;
use super::{STORAGE, STORAGE_CHANGED, World, publication, report};
use model::api::{
    Approval, ApproveRequest, ChildState, PauseRequest, Permit, PermitFact, PermitRequest, Phase,
    UpgradeSummary,
};
use model::ids::{NodeId, PermitId, Revision, Version};
use model::machine::Place;

fn request(node: NodeId, members: &[NodeId], max_unavailable: u32) -> PermitRequest {
    PermitRequest {
        node,
        version: Version(2),
        revision: Revision(1),
        group: "storage".to_owned(),
        members: members.to_vec(),
        max_unavailable,
        last_settled_at_ms: None,
    }
}

fn three() -> (World, [NodeId; 3]) {
    let mut world = World::with(&[STORAGE, STORAGE_CHANGED]);
    let nodes = ["a", "b", "c"].map(|name| world.settled(name, 1));
    (world, nodes)
}

impl World {
    fn acquire(
        &mut self,
        node: NodeId,
        members: &[NodeId],
        max: u32,
    ) -> Result<PermitId, &'static str> {
        let asked = self.ask::<Permit>(Order::AcquirePermit(request(node, members, max)));
        asked
            .map(|permit| permit.permit)
            .map_err(|refusal| refusal.kind.name)
    }

    fn confirm(&mut self, permit: PermitId) -> Result<PermitFact, &'static str> {
        self.ask(Order::ConfirmPermit(permit))
            .map_err(|refusal| refusal.kind.name)
    }
}

const FULL: Result<PermitId, &str> = Err("permit-unavailable");

#[test]
fn a_group_has_room_for_as_many_as_it_says() {
    let (mut world, nodes) = three();
    let [a, b, c] = nodes;
    let first = world.acquire(a, &nodes, 2).expect("room");
    assert_eq!(world.acquire(a, &nodes, 2), Ok(first), "the same again");
    let second = world.acquire(b, &nodes, 2).expect("room");
    assert!(second > first);
    assert_eq!(world.acquire(c, &nodes, 2), FULL);
    assert_eq!(world.acquire(c, &nodes, 0), FULL);
    let () = world.ask(Order::EndPermit(first)).expect("ended");
    let () = world.ask(Order::EndPermit(first)).expect("and again");
    assert!(world.acquire(c, &nodes, 2).expect("room again") > second);
    assert_eq!(world.acquire(a, &nodes, 2), FULL);
}

#[test]
fn a_soak_time_that_began_anew_is_not_cut_short_by_an_old_view() {
    let (mut world, nodes) = three();
    let [a, b, _] = nodes;
    let first = world.acquire(a, &nodes, 1).expect("room");
    let known = world.state.nodes[&b].settled_at_ms;
    world.context.now_ms += 5;
    world.report(a, report(2));
    let () = world.ask(Order::EndPermit(first)).expect("ended");
    let mut asked = request(b, &nodes, 1);
    asked.last_settled_at_ms = Some(known);
    let refusal = world
        .ask::<Permit>(Order::AcquirePermit(asked.clone()))
        .expect_err("a has settled since");
    assert_eq!(refusal.kind.name, "permit-unavailable");
    assert!(refusal.detail.contains("a settled"), "{}", refusal.detail);
    asked.last_settled_at_ms = Some(world.state.nodes[&a].settled_at_ms);
    world
        .ask::<Permit>(Order::AcquirePermit(asked))
        .expect("judged by what is");
}

#[test]
fn whoever_does_not_serve_takes_room() {
    let (mut world, nodes) = three();
    let [a, b, c] = nodes;
    for child in [
        ChildState::Crashed,
        ChildState::Stopped,
        ChildState::Starting,
        ChildState::Silent,
    ] {
        let mut down = report(1);
        down.status.child = child;
        world.report(b, down);
        assert_eq!(world.acquire(a, &nodes, 1), FULL, "{child:?}");
    }
    world.report(b, report(1));
    world.context.now_ms += 15_000;
    world.report(a, report(1));
    world.report(c, report(1));
    assert_eq!(
        world.acquire(a, &nodes, 1),
        FULL,
        "b is unreachable, before any sweep"
    );
    world
        .acquire(b, &nodes, 1)
        .expect("one that is away itself takes its own place");
    let () = world.ask(Order::Forget("b".to_owned())).expect("forgotten");
    world
        .acquire(a, &nodes, 1)
        .expect("a forgotten node is missed by nobody");
}

#[test]
fn a_joining_node_is_missed_by_nobody() {
    let (mut world, nodes) = three();
    let joining: model::api::Enrolled = world
        .ask(Order::Enrol(super::enrol("d", "storage")))
        .expect("enrolled");
    let members = [nodes.as_slice(), &[joining.node]].concat();
    world.acquire(nodes[0], &members, 1).expect("room");
}

#[test]
fn an_unconfirmed_permit_expires_by_the_servers_clock_and_a_confirmed_one_does_not() {
    let (mut world, nodes) = three();
    let [a, b, c] = nodes;
    let expiring = world.acquire(a, &nodes, 1).expect("room");
    world.context.now_ms += 60_000;
    for node in nodes {
        world.report(node, report(1));
    }
    assert_eq!(
        world.confirm(expiring).err(),
        Some("permit-lost"),
        "before any sweep"
    );
    let kept = world.acquire(b, &nodes, 1).expect("it counts no longer");
    assert!(world.confirm(kept).expect("confirmed").confirmed);
    world.context.now_ms += 1_000_000;
    for node in nodes {
        world.report(node, report(1));
    }
    let () = world.ask(Order::Sweep).expect("swept");
    assert_eq!(world.view().permits.len(), 1);
    assert_eq!(world.acquire(c, &nodes, 1), FULL);
    world.confirm(kept).expect("confirming again is the same");
}

#[test]
fn a_broken_permit_is_refused_for_ever() {
    let (mut world, nodes) = three();
    let [a, b, _] = nodes;
    let old = world.acquire(a, &nodes, 1).expect("room");
    world.confirm(old).expect("confirmed");
    let broken: PermitFact = world.ask(Order::BreakPermit(old)).expect("broken");
    assert_eq!(broken.node, a);
    let new = world.acquire(b, &nodes, 1).expect("room");
    assert_eq!(world.confirm(old).err(), Some("permit-lost"));
    let () = world.ask(Order::EndPermit(old)).expect("no error");
    assert_eq!(
        world.view().permits[0].permit,
        new,
        "the old number ends nobody's new one"
    );
    assert_eq!(
        world.refused(Order::BreakPermit(old)).kind.name,
        "permit-lost"
    );
}

#[test]
fn a_pause_or_a_withdrawal_gives_no_leave() {
    let (mut world, nodes) = three();
    let pause = PauseRequest {
        reason: "lunch".to_owned(),
    };
    let _: model::api::Pause = world.ask(Order::Pause(pause)).expect("paused");
    assert_eq!(world.acquire(nodes[0], &nodes, 3), Err("permit-refused"));
    let () = world.ask(Order::Resume).expect("resumed");
    let held = world.acquire(nodes[0], &nodes, 3).expect("room");
    let _: UpgradeSummary = world.ask(Order::Withdraw(Version(2))).expect("withdrawn");
    assert_eq!(world.confirm(held).err(), Some("permit-lost"));
    assert_eq!(world.acquire(nodes[0], &nodes, 3), Err("permit-refused"));
}

#[test]
fn what_is_blocked_at_one_of_the_class_gets_no_permit() {
    let (mut world, nodes) = three();
    let mut blocked = report(1);
    blocked.status.phase = Phase::Blocked;
    blocked.status.target = Some(Version(2));
    blocked.status.target_revision = Some(Revision(1));
    world.report(nodes[1], blocked);
    assert_eq!(world.acquire(nodes[0], &nodes, 3), FULL);
    let own = world.acquire(nodes[1], &nodes, 3);
    assert!(own.is_ok(), "it may try again itself: {own:?}");
    world.report(nodes[1], report(1));
    assert!(world.acquire(nodes[0], &nodes, 3).is_ok());
}

#[test]
fn a_revision_is_left_for_by_those_that_run_an_older_one_and_by_nobody_else() {
    let (mut world, nodes) = three();
    let [a, b, c] = nodes;
    let running = |version, revision| {
        let mut report = report(version);
        let (version, revision) = (Version(version), Revision(revision));
        report.status.revision = revision;
        report.status.bundle = Some(Place { version, revision });
        report
    };
    for node in nodes {
        world.report(node, running(2, 1));
    }
    let leave = |node: NodeId, revision: u32| {
        let mut leave = request(node, &nodes, 1);
        leave.revision = Revision(revision);
        Order::AcquirePermit(leave)
    };
    let refused = |world: &mut World, node, revision| world.refused(leave(node, revision));
    let detail = refused(&mut world, a, 1).detail;
    assert!(detail.contains("runs no older revision"), "{detail}");
    let mended = format!("description = \"mended\"\n{STORAGE_CHANGED}");
    let _: UpgradeSummary = world
        .ask(Order::Publish(Box::new(publication(2, 1, &mended, true))))
        .expect("revised");
    let detail = refused(&mut world, a, 1).detail;
    assert!(
        detail.contains("Revision 2 of version 2 is the newest"),
        "{detail}"
    );
    let held: Permit = world.ask(leave(a, 2)).expect("room");
    assert_eq!(refused(&mut world, b, 2).kind.name, "permit-unavailable");
    world.confirm(held.permit).expect("confirmed");
    world.context.now_ms += 77;
    world.report(a, running(2, 2));
    assert_eq!(world.state.nodes[&a].settled_at_ms, world.context.now_ms);
    let () = world.ask(Order::EndPermit(held.permit)).expect("ended");
    let detail = refused(&mut world, a, 2).detail;
    assert!(detail.contains("runs no older revision"), "{detail}");
    // One that took a later number, and still runs the software of this version.
    let mut later = running(2, 1);
    later.status.version = Version(3);
    world.report(c, later);
    let _: Permit = world.ask(leave(c, 2)).expect("room");
}

#[test]
fn an_approval_is_of_the_newest_revision() {
    let (mut world, _) = three();
    let approve = |world: &mut World| -> Approval {
        let request = ApproveRequest {
            version: Version(2),
            class: None,
            node: None,
        };
        world.ask(Order::Approve(request)).expect("approved")
    };
    assert_eq!(approve(&mut world).revision, Revision(1));
    let mended = format!("description = \"mended\"\n{STORAGE_CHANGED}");
    let _: UpgradeSummary = world
        .ask(Order::Publish(Box::new(publication(2, 1, &mended, true))))
        .expect("revised");
    assert_eq!(approve(&mut world).revision, Revision(2));
    approve(&mut world);
    assert_eq!(world.view().approvals.len(), 2);
}

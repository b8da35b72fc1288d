//! Permits: never more than the limit, expiring, fenced, broken, and confirmed only while the node may still leave.

use super::super::Order;
use super::{STORAGE, World, publication, report, scheduled, staged};
use model::api::{
    Approval, ApproveRequest, ChildState, Pause, PauseRequest, PermitFact, Phase, UpgradeSummary,
    VerdictAnswer, VerdictRequest,
};
use model::ids::{NodeId, PermitId, Place, Revision, Version};

/// Three nodes that have staged version 2, whose schedule is this.
pub(super) fn three(schedule: &str) -> (World, [NodeId; 3]) {
    let mut world = World::with(&[STORAGE, &scheduled(schedule)]);
    let nodes = ["a", "b", "c"].map(|name| world.settled(name, 1));
    for node in nodes {
        world.report(node, staged(1));
    }
    (world, nodes)
}

impl World {
    fn confirm(&mut self, permit: PermitId) -> Result<PermitFact, &'static str> {
        self.ask(Order::ConfirmPermit(permit, None))
            .map_err(|refusal| refusal.kind.name)
    }

    /// Checks that a node waits for room, and for nothing else; answers who takes it.
    fn full(&mut self, node: NodeId) -> String {
        let (codes, text) = self.waits(node);
        assert_eq!(codes, ["limit"], "{text}");
        text
    }

    fn pause(&mut self) {
        let reason = "lunch".to_owned();
        let _: Pause = self
            .ask(Order::Pause(PauseRequest { reason }))
            .expect("paused");
    }

    fn mend(&mut self) {
        let mended = format!(
            "description = \"mended\"\n{}",
            scheduled("max_unavailable = 1")
        );
        let _: UpgradeSummary = self
            .ask(Order::Publish(Box::new(publication(2, 1, &mended, true))))
            .expect("revised");
    }
}

#[test]
fn a_group_has_room_for_as_many_as_it_says() {
    let (mut world, [a, b, c]) = three("max_unavailable = 2");
    let first = world.go(a);
    assert_eq!(world.go(a), first, "the same again");
    let second = world.go(b);
    assert!(second > first);
    assert!(
        world
            .full(c)
            .contains("a (holds a permit), b (holds a permit)")
    );
    let () = world.ask(Order::EndPermit(first, None)).expect("ended");
    let () = world.ask(Order::EndPermit(first, None)).expect("and again");
    assert!(world.go(c) > second);
    world.full(a);
}

#[test]
fn a_share_is_one_of_all_nodes_of_the_group() {
    let (mut world, [a, b, c]) = three(r#"max_unavailable = "67%""#);
    world.go(a);
    world.go(b);
    assert!(world.full(c).contains("at most 2 of storage"));
    // A node that is away counts among all, and is one that is unavailable.
    let (mut world, [a, b, c]) = three(r#"max_unavailable = "67%""#);
    world.context.now_ms += 15_000;
    for node in [a, b] {
        world.report(node, staged(1));
    }
    let () = world.ask(Order::Sweep).expect("swept");
    world.go(a);
    assert!(world.full(b).contains("is unreachable"));
    world.go(c);
}

#[test]
fn whoever_does_not_serve_takes_room() {
    let (mut world, [a, b, c]) = three("max_unavailable = 1");
    for child in [
        ChildState::Crashed,
        ChildState::Stopped,
        ChildState::Starting,
        ChildState::Silent,
    ] {
        let mut down = staged(1);
        down.status.child = child;
        world.report(b, down);
        world.full(a);
    }
    world.report(b, staged(1));
    world.context.now_ms += 15_000;
    world.report(a, staged(1));
    world.report(c, staged(1));
    let () = world.ask(Order::Sweep).expect("swept");
    assert!(world.full(a).contains("b (is unreachable)"));
    let own = world.go(b);
    let () = world.ask(Order::EndPermit(own, None)).expect("ended");
    let () = world.ask(Order::Forget("b".to_owned())).expect("forgotten");
    world.go(a);
}

/// 2026-11-30 at noon, a Monday.
const MONDAY_NOON_MS: u64 = 1_796_040_000_000;

#[test]
fn nobody_begins_after_the_window_has_closed() {
    let (mut world, [a, b, _]) =
        three(r#"windows = [{ start = "11:00", length = "1h", zone = "UTC" }]"#);
    world.context.now_ms = MONDAY_NOON_MS - 1;
    let (kept, late) = (world.go(a), world.go(b));
    world.confirm(kept).expect("in time");
    world.context.now_ms += 1;
    let refusal = world.refused(Order::ConfirmPermit(late, None));
    assert_eq!(refusal.kind.name, "permit-refused");
    assert!(
        refusal.detail.contains("opens Tue 2026-12-01 11:00 (UTC)"),
        "{}",
        refusal.detail
    );
    world.confirm(kept).expect("what has begun finishes");
    assert_eq!(world.waits(b).0, ["no_window"]);
}

#[test]
fn whose_window_has_closed_is_passed_by_those_of_its_group_whose_window_is_open() {
    let schedule =
        r#"max_unavailable = 1, windows = [{ start = "11:00", length = "1h", zone = "site" }]"#;
    let mut world = World::with(&[STORAGE, &scheduled(schedule)]);
    world.context.now_ms = MONDAY_NOON_MS - 1_000;
    let [a, b, c] = [("a", "UTC"), ("b", "UTC"), ("c", "Etc/GMT+1")].map(|(name, zone)| {
        let request = model::api::EnrolRequest {
            attributes: [("zone".to_owned(), zone.to_owned())].into(),
            ..super::enrol(name, "storage")
        };
        let enrolled: model::api::Enrolled = world.ask(Order::Enrol(request)).expect("enrolled");
        world.report(enrolled.node, staged(1));
        enrolled.node
    });
    let first = world.go(a);
    world.confirm(first).expect("in time");
    world.full(b);
    world.context.now_ms = MONDAY_NOON_MS;
    world.full(c);
    let () = world.ask(Order::EndPermit(first, None)).expect("ended");
    world.report(a, report(2));
    assert_eq!(world.waits(b).0, ["no_window"]);
    world.go(c);
}

#[test]
fn a_joining_node_is_missed_by_nobody() {
    let (mut world, [a, ..]) = three("max_unavailable = 1");
    let _: model::api::Enrolled = world
        .ask(Order::Enrol(super::enrol("d", "storage")))
        .expect("enrolled");
    world.go(a);
}

#[test]
fn an_unconfirmed_permit_expires_by_the_servers_clock_and_a_confirmed_one_does_not() {
    let (mut world, nodes) = three("max_unavailable = 1");
    let [a, b, c] = nodes;
    let expiring = world.go(a);
    world.context.now_ms += 60_000;
    for node in nodes {
        world.report(node, staged(1));
    }
    let early = world.confirm(expiring).err();
    assert_eq!(early, Some("permit-lost"), "before any sweep");
    let () = world.ask(Order::Sweep).expect("swept");
    let kept = world.go(b);
    assert!(world.confirm(kept).expect("confirmed").confirmed);
    world.context.now_ms += 1_000_000;
    for node in nodes {
        world.report(node, staged(1));
    }
    let () = world.ask(Order::Sweep).expect("swept");
    assert_eq!(world.view().permits.len(), 1);
    world.full(c);
    world.confirm(kept).expect("confirming again is the same");
}

#[test]
fn a_broken_permit_is_refused_for_ever() {
    let (mut world, [a, b, _]) = three("max_unavailable = 1");
    let old = world.go(a);
    world.confirm(old).expect("confirmed");
    let broken: PermitFact = world.ask(Order::BreakPermit(old)).expect("broken");
    assert_eq!(broken.node, a);
    let new = world.go(b);
    assert_eq!(world.confirm(old).err(), Some("permit-lost"));
    let () = world.ask(Order::EndPermit(old, None)).expect("no error");
    let held = world.view().permits[0].permit;
    assert_eq!(held, new, "the old number ends nobody's new one");
    let refusal = world.refused(Order::BreakPermit(old));
    assert_eq!(refusal.kind.name, "permit-lost");
}

#[test]
fn nobody_leaves_after_a_pause_a_withdrawal_or_a_revision_that_has_succeeded() {
    // Limits or not: a node that was told to go has to come back before it leaves.
    for schedule in ["", "max_unavailable = 3"] {
        let (mut world, [a, b, c]) = three(schedule);
        let held = world.go(a);
        world.pause();
        assert_eq!(world.confirm(held).err(), Some("permit-refused"));
        assert_eq!(world.waits(b).0, ["paused"]);
        let () = world.ask(Order::Resume).expect("resumed");
        world.confirm(held).expect("it goes on");
        world.pause();
        world
            .confirm(held)
            .expect("what has begun is held up by nothing");
        let () = world.ask(Order::Resume).expect("resumed");

        let outdated = world.go(c);
        world.mend();
        assert_eq!(world.confirm(outdated).err(), Some("permit-refused"));
        let () = world
            .ask(Order::EndPermit(outdated, None))
            .expect("given back");

        let refusal = world.refused(Order::Withdraw(Version(2)));
        assert!(refusal.detail.contains("Under way to version 2: a"));
        let () = world.ask(Order::EndPermit(held, None)).expect("it stays");
        let VerdictAnswer::Go { permit, .. } = world.judge(b, 2, 2) else {
            panic!("b may not go");
        };
        let _: UpgradeSummary = world.ask(Order::Withdraw(Version(2))).expect("withdrawn");
        assert_eq!(world.confirm(permit).err(), Some("permit-lost"));
        assert!(world.waits(b).0.contains(&"withdrawn".to_owned()));
    }
}

#[test]
fn what_is_blocked_at_one_of_the_class_gets_no_permit() {
    let (mut world, [a, b, _]) = three("");
    let mut blocked = staged(1);
    blocked.status.phase = Phase::Blocked;
    blocked.status.target = Some(Version(2));
    blocked.status.target_revision = Some(Revision(1));
    world.report(b, blocked);
    let (codes, text) = world.waits(a);
    assert_eq!(codes, ["blocked"]);
    assert!(text.contains("blocked at b"), "{text}");
    let own = world.go(b);
    let () = world
        .ask(Order::EndPermit(own, None))
        .expect("it may try again itself");
    world.report(b, staged(1));
    world.go(a);
}

#[test]
fn a_revision_is_left_for_by_those_that_run_an_older_one_and_by_nobody_else() {
    let (mut world, nodes) = three("max_unavailable = 1");
    let [a, b, c] = nodes;
    let place = |version, revision| Place {
        version: Version(version),
        revision: Revision(revision),
    };
    let running = |version, revision| {
        let mut report = report(version);
        report.status.revision = Revision(revision);
        report.status.bundle = Some(place(version, revision));
        report
    };
    for node in nodes {
        world.report(node, running(2, 1));
    }
    let mend = |node: NodeId, revision: u32| {
        let request = VerdictRequest {
            ahead: vec![place(2, revision)],
            coming: None,
            mends: true,
            role: None,
            moment: None,
        };
        Order::Judge(node, request)
    };
    let detail = world.refused(mend(a, 1)).detail;
    assert!(detail.contains("runs no older revision"), "{detail}");
    world.mend();
    let held: VerdictAnswer = world.ask(mend(a, 2)).expect("judged");
    let VerdictAnswer::Go { permit, .. } = held else {
        panic!("{held:?}");
    };
    let waits: VerdictAnswer = world.ask(mend(b, 2)).expect("judged");
    assert!(matches!(waits, VerdictAnswer::Wait { .. }), "{waits:?}");
    world.confirm(permit).expect("confirmed");
    world.context.now_ms += 77;
    world.report(a, running(2, 2));
    assert_eq!(world.state.nodes[&a].settled_at_ms, world.context.now_ms);
    let () = world.ask(Order::EndPermit(permit, None)).expect("ended");
    let detail = world.refused(mend(a, 2)).detail;
    assert!(detail.contains("runs no older revision"), "{detail}");
    let () = world
        .ask(Order::Forget("b".to_owned()))
        .expect("its turn is over");
    // One that took a later number, and still runs the software of this version.
    let mut later = running(2, 1);
    later.status.version = Version(3);
    world.report(c, later);
    let goes: VerdictAnswer = world.ask(mend(c, 2)).expect("judged");
    assert!(matches!(goes, VerdictAnswer::Go { .. }), "{goes:?}");
}

#[test]
fn an_approval_is_of_the_newest_revision() {
    let (mut world, _) = three("");
    let approve = |world: &mut World| -> Approval {
        let request = ApproveRequest {
            version: Version(2),
            class: None,
            node: None,
        };
        world.ask(Order::Approve(request)).expect("approved")
    };
    assert_eq!(approve(&mut world).revision, Revision(1));
    world.mend();
    assert_eq!(approve(&mut world).revision, Revision(2));
    approve(&mut world);
    assert_eq!(world.view().approvals.len(), 2);
}

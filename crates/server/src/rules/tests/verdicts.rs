//! Verdicts: in the order in which nodes came, by what is counted, and true after a crash.

use super::super::{Order, decide};
use super::permits::three;
use super::{World, report, staged};
use crate::udb::Change;
use model::api::{
    ChildState, EventKind, NewEvent, NodeReport, PermitFact, SyncRequest, VerdictAnswer,
};
use model::ids::{NodeId, PermitId, Version};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

impl World {
    /// A report with what has happened since the last.
    fn tells(&mut self, node: NodeId, report: Option<NodeReport>, kinds: &[EventKind]) {
        let events = kinds.iter().map(|kind| NewEvent {
            kind: kind.name().to_owned(),
            version: None,
            message: String::new(),
            node_at_ms: 0,
        });
        let request = SyncRequest {
            identity: None,
            number: None,
            seen_view: None,
            report,
            events: events.collect(),
            ..SyncRequest::default()
        };
        let () = self
            .ask(Order::Sync(node, Box::new(request)))
            .expect("synced");
    }

    /// How soon a node that waits is to ask again.
    fn asks_again_in_ms(&mut self, node: NodeId) -> u64 {
        match self.judge(node, 2, 1) {
            VerdictAnswer::Wait { ask_again_ms, .. } => ask_again_ms,
            goes => panic!("{goes:?}"),
        }
    }
}

#[test]
fn who_came_first_goes_first_and_who_does_not_ask_again_loses_its_place() {
    let (mut world, [a, b, c]) = three("max_unavailable = 1");
    let held = world.go(a);
    world.waits(c);
    world.waits(b);
    assert!(world.asks_again_in_ms(c) < world.asks_again_in_ms(b));
    let () = world.ask(Order::EndPermit(held, None)).expect("ended");
    let (codes, text) = world.waits(b);
    assert_eq!(codes, ["limit"]);
    assert!(text.ends_with("others have waited longer"), "{text}");
    let held = world.go(c);
    let () = world.ask(Order::EndPermit(held, None)).expect("ended");
    world.go(b);
    // One that has gone elsewhere holds nobody up for long.
    world.waits(a);
    let held = world.go(b);
    let () = world.ask(Order::EndPermit(held, None)).expect("ended");
    world.waits(c);
    world.context.now_ms += 10_000;
    world.go(c);
}

/// How soon nodes of a system with so many groups of three ask again that wait behind the one that has gone: the next, and the one after.
fn pauses(groups: u32) -> (u64, u64) {
    let schedule = super::scheduled("max_unavailable = 1, group_by = \"group\"");
    let mut world = World::with(&[super::STORAGE, &schedule]);
    let mut nodes = Vec::new();
    for at in 0..groups * 3 {
        let mut request = super::enrol(&format!("n{at}"), "storage");
        let group = (at / 3).to_string();
        request.attributes.insert("group".to_owned(), group);
        let enrolled: model::api::Enrolled = world.ask(Order::Enrol(request)).expect("enrolled");
        let mut report = staged(1);
        report.poll_ms = 30_000;
        world.report(enrolled.node, report);
        nodes.push(enrolled.node);
    }
    for group in nodes.chunks(3) {
        world.go(group[0]);
        world.waits(group[1]);
        world.waits(group[2]);
    }
    (
        world.asks_again_in_ms(nodes[1]),
        world.asks_again_in_ms(nodes[2]),
    )
}

#[test]
fn whose_turn_comes_soon_asks_soon_and_in_a_large_system_all_together_as_often_as_in_a_small_one() {
    assert_eq!(pauses(1), (200, 400));
    assert_eq!(pauses(40), (200, 400));
    assert_eq!(pauses(80), (400, 800));
}

#[test]
fn a_crash_after_settling_keeps_the_others_away_until_the_software_was_well_for_the_soak_time() {
    let (mut world, [a, b, _]) = three("max_unavailable = 1, soak_ms = 4000");
    let held = world.go(a);
    world.report(a, report(2));
    let () = world.ask(Order::EndPermit(held, None)).expect("ended");
    let mut down = report(2);
    down.status.child = ChildState::Crashed;
    // Healthy for a second and a half each time, and the soak time of the first settling is long over.
    for _ in 0..6 {
        world.context.now_ms += 1_500;
        world.tells(a, Some(down.clone()), &[EventKind::ChildCrashed]);
        assert!(!world.waits(b).0.is_empty());
        world.tells(a, Some(report(2)), &[]);
        assert_eq!(world.waits(b).0, ["soaks"]);
    }
    // One that was over before it could be reported as a state counts too, also where the report is as before.
    world.context.now_ms += 3_999;
    world.tells(a, None, &[EventKind::ChildCrashed]);
    world.context.now_ms += 3_999;
    world.report(b, staged(1));
    assert_eq!(world.waits(b).0, ["soaks"]);
    world.context.now_ms += 1;
    world.go(b);
}

#[test]
fn a_nodes_view_changes_with_what_concerns_it_and_with_nothing_else() {
    let (mut world, [a, b, _]) = three("");
    let number = |world: &World| world.state.told.number(a);
    let before = number(&world);
    world.state.view += 1;
    let mut crashed = staged(1);
    crashed.status.child = ChildState::Crashed;
    world.report(b, crashed);
    world.report(a, report(1));
    world.go(a);
    assert_eq!(
        number(&world),
        before,
        "others' reports, its own, its permit"
    );
    let () = world.ask(Order::Resume).expect("nothing to do");
    assert_eq!(number(&world), before);
    let mut blocked = staged(1);
    blocked.status.phase = model::api::Phase::Blocked;
    world.report(a, blocked.clone());
    world.report(b, blocked);
    let _: model::api::NodeFact = world.ask(Order::Retry("b".to_owned())).expect("told");
    assert_eq!(number(&world), before, "that is b's");
    world.state.view += 1;
    let _: model::api::NodeFact = world.ask(Order::Retry("a".to_owned())).expect("told");
    let after = number(&world);
    assert!(after > before);
    assert_eq!(world.state.node_view(a).retry, 1);
    world.state.view += 1;
    let pause = model::api::PauseRequest {
        reason: String::new(),
    };
    let _: model::api::Pause = world.ask(Order::Pause(pause)).expect("paused");
    assert!(number(&world) > after);
}

#[test]
fn a_nodes_view_is_as_long_in_a_large_system_as_in_a_small_one() {
    let length = |nodes: u32| {
        let (mut world, [a, ..]) = three("");
        for at in 3..nodes {
            let node = world.settled(&format!("n{at}"), 1);
            world.report(node, staged(1));
        }
        let whole = serde_json::to_vec(&world.view()).expect("JSON").len();
        let own = serde_json::to_vec(&world.state.node_view(a))
            .expect("JSON")
            .len();
        println!("{nodes} nodes: a node's view has {own} bytes, the system's {whole}");
        own
    };
    let (ten, many) = (length(10), length(100));
    length(1_000);
    assert!(many.abs_diff(ten) < 8, "{ten} and {many} bytes");
}

/// What is written, and by whom what was told.
struct Writing {
    world: World,
    rows: usize,
    events: usize,
    /// What kind of reason each node waited for last, and in which words.
    told: BTreeMap<NodeId, (String, String)>,
    /// How often the words were others, and the kind the same: each was a row and an event once.
    reworded: usize,
}

impl Writing {
    /// Decides an order, and counts what it writes.
    fn order<T: DeserializeOwned>(&mut self, order: &Order) -> T {
        let world = &mut self.world;
        let (draft, reply) = decide(&world.state, &world.context, order).expect("taken");
        let changes = draft.changes;
        for change in &changes {
            match change {
                Change::Event(_) => self.events += 1,
                other => self.rows += usize::from(other.is_durable()),
            }
        }
        world.state.apply(&changes);
        serde_json::from_value(reply).expect("the reply reads")
    }

    fn report(&mut self, node: NodeId, report: NodeReport, news: Option<EventKind>) {
        let event = |kind: EventKind| NewEvent {
            kind: kind.name().to_owned(),
            version: None,
            message: String::new(),
            node_at_ms: 0,
        };
        let request = SyncRequest {
            identity: None,
            number: None,
            seen_view: None,
            report: Some(report),
            events: news.map(event).into_iter().collect(),
            ..SyncRequest::default()
        };
        let () = self.order(&Order::Sync(node, Box::new(request)));
    }

    /// A node asks, and tells why it waits, as agents do.
    fn asks(&mut self, node: NodeId) -> Option<PermitId> {
        match self.order(&super::question(node, 2, 1)) {
            VerdictAnswer::Go { permit, .. } => Some(permit),
            VerdictAnswer::Wait { reasons, .. } => {
                let mut waits = staged(1);
                waits.status.reason = Some(reasons[0].text.clone());
                let (kind, text) = (reasons[0].code.clone(), reasons[0].text.clone());
                let before = self.told.insert(node, (kind.clone(), text.clone()));
                let is_news = before.as_ref().is_none_or(|before| before.0 != kind);
                self.reworded +=
                    usize::from(before.is_some_and(|before| before.1 != text) && !is_news);
                self.report(node, waits, is_news.then_some(EventKind::NodeWaits));
                None
            }
        }
    }
}

/// Rows and events that a rolling upgrade of so many nodes writes, while all others ask and tell what they are told.
fn written(count: u32) -> (usize, usize) {
    let mut world = World::with(&[super::STORAGE, &super::scheduled("max_unavailable = 1")]);
    let mut left: Vec<NodeId> = (0..count)
        .map(|at| world.settled(&format!("n{at}"), 1))
        .collect();
    for node in &left {
        world.report(*node, staged(1));
    }
    let mut writing = Writing {
        world,
        rows: 0,
        events: 0,
        told: BTreeMap::new(),
        reworded: 0,
    };
    while !left.is_empty() {
        let asked = left.iter().map(|node| (*node, writing.asks(*node)));
        let going: Vec<_> = asked
            .filter_map(|(node, permit)| Some((node, permit?)))
            .collect();
        assert_eq!(going.len(), 1, "one at a time");
        for (node, permit) in going {
            let _: PermitFact = writing.order(&Order::ConfirmPermit(permit, None));
            writing.report(node, report(2), Some(EventKind::NodeSettled));
            let () = writing.order(&Order::EndPermit(permit, None));
            left.retain(|other| *other != node);
        }
    }
    let (rows, events) = (writing.rows, writing.events);
    let reworded = writing.reworded;
    println!(
        "{count} nodes: {rows} rows and {events} events are written, and were {} and {} once",
        rows + reworded,
        events + reworded
    );
    (rows, events)
}

#[test]
fn a_rolling_upgrade_writes_as_much_for_each_node_in_a_large_system_as_in_a_small_one() {
    let (small, large) = (written(10), written(100));
    assert!(large.0 <= small.0 * 10 + 10, "{small:?} and {large:?} rows");
    assert!(
        large.1 <= small.1 * 10 + 10,
        "{small:?} and {large:?} events"
    );
}

/// Something that happens to one of three nodes.
#[derive(Clone, Debug)]
enum Happening {
    Reports(usize, u32, ChildState),
    Asks(usize),
    Ends(usize),
    Forgotten(usize),
    Passes(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    let children = vec![
        ChildState::Running,
        ChildState::Starting,
        ChildState::Crashed,
    ];
    prop_oneof![
        (0..3_usize, 1..3_u32, prop::sample::select(children))
            .prop_map(|(node, version, child)| Happening::Reports(node, version, child)),
        (0..3_usize).prop_map(Happening::Asks),
        (0..3_usize).prop_map(Happening::Ends),
        (0..3_usize).prop_map(Happening::Forgotten),
        (1..20_000_u64).prop_map(Happening::Passes),
    ]
}

proptest! {
    #[test]
    fn what_is_counted_change_by_change_is_what_the_state_holds(
        happenings in proptest::collection::vec(happening(), 0..30)
    ) {
        let (mut world, nodes) = three("max_unavailable = 1, soak_ms = 500");
        for happening in happenings {
            match happening {
                Happening::Reports(node, version, child) => {
                    let mut report = staged(version);
                    report.status.child = child;
                    let request = SyncRequest {
                        identity: None,
                        number: None,
                        seen_view: None,
                        report: Some(report),
                        events: Vec::new(),
                        ..SyncRequest::default()
                    };
                    let _ = world.ask::<()>(Order::Sync(nodes[node], Box::new(request)));
                }
                Happening::Asks(node) => {
                    let _ = world.ask::<VerdictAnswer>(super::question(nodes[node], 2, 1));
                }
                Happening::Ends(node) => {
                    if let Some(permit) = world.state.holders.get(&nodes[node]).copied() {
                        let () = world.ask(Order::EndPermit(permit, None)).expect("ended");
                    }
                }
                Happening::Forgotten(node) => {
                    let _ = world.ask::<()>(Order::Forget(["a", "b", "c"][node].to_owned()));
                }
                Happening::Passes(ms) => {
                    world.context.now_ms += ms;
                    let () = world.ask(Order::Sweep).expect("swept");
                }
            }
            let counted = world.state.fleet.clone();
            let permits = world.view().permits;
            prop_assert!(permits.len() <= 1, "{:?}", permits);
            world.state.apply(&[Change::Retired(Version(0))]);
            prop_assert_eq!(&counted, &world.state.fleet, "counted anew");
        }
    }
}

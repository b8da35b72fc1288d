//! Signed labels: no step before every node has acknowledged the one that it builds on.

use super::super::Order;
use super::World;
use model::api::{LabelMode, LabelSecret, LabelsAction, LabelsHeld, LabelsView, MembersRequest};
use model::ids::NodeId;

impl World {
    fn labels(&mut self, action: LabelsAction) -> LabelsView {
        let order = labels(action, &self.state.view.to_string());
        self.state.view += 1;
        self.ask(order).expect("done")
    }

    /// What the node is told of labels.
    fn ordered(&self, node: NodeId) -> model::api::LabelOrder {
        let told = self.state.members_for(node, &MembersRequest::default());
        told.labels.expect("this build knows of labels")
    }

    /// A node says what it does; its clock is this far from the server's.
    fn does(&mut self, node: NodeId, in_force: &str, clock_off_s: i64) {
        let clock_ms = self
            .context
            .now_ms
            .saturating_add_signed(clock_off_s * 1000);
        let held = LabelsHeld {
            seen: in_force.to_owned(),
            in_force: in_force.to_owned(),
            clock_ms,
        };
        let request = MembersRequest {
            labels: Some(held),
            ..MembersRequest::default()
        };
        let () = self.ask(Order::Members(node, request)).expect("heard");
    }

    fn follows(&mut self, node: NodeId) {
        let order = self.ordered(node);
        self.does(node, &order.id, 0);
    }

    fn sweeps(&mut self) {
        let () = self.ask(Order::Sweep).expect("swept");
    }

    fn label_events(&self) -> Option<model::api::LabelOrder> {
        self.state
            .labels
            .as_ref()
            .map(|labels| labels.order.clone())
    }
}

fn labels(action: LabelsAction, random: &str) -> Order {
    let fresh = LabelSecret {
        generation: 0,
        key: format!("{random:0>64}"),
    };
    Order::Labels(action, fresh)
}

fn generations(order: &model::api::LabelOrder) -> Vec<u32> {
    order.keys.iter().map(|key| key.generation).collect()
}

#[test]
fn labels_are_demanded_signed_only_when_every_node_signs_by_a_right_clock() {
    let mut world = World::with(&[super::STORAGE]);
    let (a, b) = (world.settled("a", 1), world.settled("b", 1));
    let refused = world.refused(labels(LabelsAction::Demand, "1"));
    assert!(
        refused.detail.contains("`upstart labels sign` first"),
        "{refused:?}"
    );
    let view = world.labels(LabelsAction::Sign);
    assert_eq!((view.mode, view.signing), (LabelMode::Sign, Some(1)));
    assert_eq!(view.awaited, ["a", "b"]);
    assert!(!world.ordered(a).demanded);
    world.follows(a);
    let refused = world.refused(labels(LabelsAction::Demand, "1"));
    assert!(
        refused.detail.starts_with("b has not signed"),
        "{refused:?}"
    );
    // A clock that is wrong would have its labels refused.
    let order = world.ordered(b).id;
    world.does(b, &order, -400);
    let refused = world.refused(labels(LabelsAction::Demand, "1"));
    assert!(refused.detail.contains("clock of b"), "{refused:?}");
    world.does(b, &order, 10);
    let view = world.labels(LabelsAction::Demand);
    assert_eq!(view.mode, LabelMode::Demand);
    assert!(world.ordered(a).demanded);
    assert_eq!(view.awaited, ["a", "b"]);
}

#[test]
fn an_agent_of_an_earlier_build_is_never_taken_for_one_that_signs() {
    let mut world = World::with(&[super::STORAGE]);
    let a = world.settled("a", 1);
    world.labels(LabelsAction::Sign);
    world.follows(a);
    // Its successor is older, and says nothing of labels.
    let () = world
        .ask(Order::Members(a, MembersRequest::default()))
        .expect("heard");
    let refused = world.refused(labels(LabelsAction::Demand, "1"));
    assert!(
        refused.detail.starts_with("a has not signed"),
        "{refused:?}"
    );
    // Nor does it keep the signing from ending.
    world.labels(LabelsAction::Off);
    world.sweeps();
    assert_eq!(world.state.labels, None);
}

#[test]
fn a_key_ends_when_every_node_signs_with_the_next() {
    let mut world = World::with(&[super::STORAGE]);
    let (a, b) = (world.settled("a", 1), world.settled("b", 1));
    world.labels(LabelsAction::Sign);
    for node in [a, b] {
        world.follows(node);
    }
    world.labels(LabelsAction::Demand);
    for node in [a, b] {
        world.follows(node);
    }
    let first = world.ordered(a).keys[0].clone();
    world.labels(LabelsAction::Rotate);
    let refused = world.refused(labels(LabelsAction::Rotate, "9"));
    assert!(refused.detail.contains("waits for a, b"), "{refused:?}");
    let steps = [
        (Some(1), vec![1, 2]),
        (Some(2), vec![1, 2]),
        (Some(2), vec![2]),
    ];
    for (at, expected) in steps.iter().enumerate() {
        world.sweeps();
        let order = world.ordered(a);
        assert_eq!(&(order.signing, generations(&order)), expected, "step {at}");
        assert!(order.demanded, "all the time");
        world.follows(a);
        world.sweeps();
        assert_eq!(world.ordered(a), order, "not before b has it, too");
        world.follows(b);
    }
    assert_ne!(world.ordered(a).keys[0].key, first.key);
}

#[test]
fn nobody_stops_signing_before_nobody_demands() {
    let mut world = World::with(&[super::STORAGE]);
    let (a, b) = (world.settled("a", 1), world.settled("b", 1));
    world.labels(LabelsAction::Sign);
    world.follows(a);
    world.follows(b);
    let signs = world.ordered(b);
    world.labels(LabelsAction::Demand);
    world.follows(a);
    world.follows(b);
    world.labels(LabelsAction::Off);
    let ending = world.ordered(a);
    assert_eq!((ending.demanded, ending.signing), (false, Some(1)));
    assert_ne!(
        ending.id, signs.id,
        "who has only acknowledged that may demand since"
    );
    world.follows(a);
    world.does(b, &signs.id, 0);
    world.sweeps();
    assert_eq!(world.label_events(), Some(ending), "b may still demand");
    // A node that never comes back is forgotten, and holds nothing up.
    let () = world.ask(Order::Forget("b".to_owned())).expect("forgotten");
    world.sweeps();
    assert_eq!(world.label_events(), None);
    assert!(world.ordered(a).keys.is_empty());
}

#[test]
fn agents_that_know_of_labels_are_told_at_once_and_the_same_again_is_no_news() {
    let mut world = World::with(&[super::STORAGE]);
    let a = world.settled("a", 1);
    world.state.view += 1;
    let knows = |world: &World| {
        let told = world.state.members_for(a, &MembersRequest::default());
        let order = told.labels.expect("told");
        MembersRequest {
            seen: told.at,
            labels: Some(LabelsHeld {
                seen: order.id,
                ..LabelsHeld::default()
            }),
            ..MembersRequest::default()
        }
    };
    let off = knows(&world);
    assert!(!world.state.has_members_news(&off));
    world.labels(LabelsAction::Sign);
    assert!(world.state.has_members_news(&off));
    let earlier_build = MembersRequest {
        labels: None,
        ..off
    };
    assert!(!world.state.has_members_news(&earlier_build));
    let sign = knows(&world);
    let event = world.state.last_event;
    world.labels(LabelsAction::Sign);
    assert!(!world.state.has_members_news(&sign));
    assert_eq!(world.state.last_event, event, "nothing has changed");
}

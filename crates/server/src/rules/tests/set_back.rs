//! A database that lacks what agents have seen: found out by whoever comes first, once; and nothing of the lost history's numbers is
//! taken for one of this one's.

use super::super::Order;
use super::permits::three;
use super::{STORAGE, STORAGE_CHANGED, World, enrol, publication, question, report};
use crate::problem::RequestRefusal;
use crate::udb::{Change, ServerLife};
use model::api::{
    EnrolRequest, Enrolled, HeldUpgrade, MembersRequest, Moment, NodeIdentity, NodeReport,
    RememberedSystem, SyncRequest, VerdictAnswer, VerdictRequest,
};
use model::ids::{NodeId, Place, Revision, Version};

/// A world in the second life of its server.
fn restarted(mut world: World) -> World {
    for number in [1, 2] {
        world.state.apply(&[Change::Life(ServerLife {
            number,
            epoch: 7,
            life: 70 + number,
            began_at: number * 10,
            lost: None,
        })]);
    }
    world.state.generation = 30;
    world
}

/// What an agent has seen of a life that this database does not have.
fn lost() -> Moment {
    Moment {
        epoch: 7,
        start: 3,
        life: 99,
        commit: 45,
        event: 500,
        memory: 0,
        proof: 0,
    }
}

fn said(report: NodeReport, moment: Moment) -> SyncRequest {
    SyncRequest {
        report: Some(report),
        moment: Some(moment),
        ..SyncRequest::default()
    }
}

impl World {
    fn says(&mut self, node: NodeId, request: SyncRequest) -> Result<(), RequestRefusal> {
        self.ask(Order::Sync(node, Box::new(request)))
    }

    /// The same, with everything that is remembered.
    fn tells_everything(&mut self, node: NodeId, report: NodeReport, remembered: RememberedSystem) {
        let request = SyncRequest {
            remembered: Some(Box::new(remembered)),
            ..said(report, lost())
        };
        self.says(node, request).expect("taken");
    }

    fn epoch(&self) -> u64 {
        self.view().epoch
    }
}

#[test]
fn what_was_acknowledged_about_labels_before_a_backup_is_not_known_after_it() {
    let mut world = restarted(World::with(&[STORAGE]));
    let nodes = [world.settled("a", 1), world.settled("b", 1)];
    let fresh = model::api::LabelSecret {
        generation: 0,
        key: "ab".repeat(32),
    };
    let sign = Order::Labels(model::api::LabelsAction::Sign, fresh.clone());
    let _: model::api::LabelsView = world.ask(sign).expect("done");
    let acknowledges = |world: &mut World, node| {
        let order = world.state.label_order().id;
        let held = model::api::LabelsHeld {
            seen: order.clone(),
            in_force: order,
            clock_ms: world.context.now_ms,
        };
        let request = MembersRequest {
            labels: Some(held),
            ..MembersRequest::default()
        };
        let () = world.ask(Order::Members(node, request)).expect("heard");
    };
    for node in nodes {
        acknowledges(&mut world, node);
    }
    assert_eq!(world.state.labels_view().awaited, [""; 0]);
    // One comes that has seen more than the backup has; the other one's agent is away.
    world.tells_everything(nodes[0], report(1), RememberedSystem::default());
    acknowledges(&mut world, nodes[0]);
    assert_eq!(world.state.labels_view().awaited, ["b"]);
    let demand = Order::Labels(model::api::LabelsAction::Demand, fresh);
    let refused = world.refused(demand);
    assert!(
        refused.detail.starts_with("b has not signed"),
        "{refused:?}"
    );
    acknowledges(&mut world, nodes[1]);
    assert_eq!(world.state.labels_view().awaited, [""; 0]);
}

fn holding(version: u32, digest: &str) -> NodeReport {
    NodeReport {
        holds: vec![held(version, digest)],
        ..report(1)
    }
}

fn held(version: u32, digest: &str) -> HeldUpgrade {
    HeldUpgrade {
        version: Version(version),
        revision: Revision(1),
        manifest_sha256: digest.to_owned(),
        in_use: true,
    }
}

#[test]
fn who_has_seen_another_life_tells_everything_and_one_that_is_missing_begins_an_epoch_once() {
    let mut world = World::with(&[STORAGE]);
    let (a, b) = (world.settled("a", 1), world.settled("b", 1));
    let mut world = restarted(world);
    let asked = said(report(1), lost());
    let refusal = world.says(a, asked).expect_err("not everything");
    assert_eq!(refusal.kind.name, "tell-everything");
    assert_eq!(world.epoch(), 7, "a refusal changes nothing");
    world.tells_everything(a, report(1), RememberedSystem::default());
    let begun = world.epoch();
    assert_ne!(begun, 7);
    assert!(
        world.state.last_event > 1_500,
        "numbers that nobody was given"
    );
    assert!(
        world
            .view()
            .paused
            .is_some_and(|pause| pause.author == "server")
    );
    let _: serde_json::Value = world.ask(Order::Resume).expect("resumed");
    world.tells_everything(b, report(1), RememberedSystem::default());
    assert_eq!((world.epoch(), world.view().paused), (begun, None), "once");
}

#[test]
fn who_has_seen_an_earlier_life_tells_everything_and_nothing_is_wrong() {
    let mut world = World::with(&[STORAGE]);
    let a = world.settled("a", 1);
    let mut world = restarted(world);
    let before = Moment {
        start: 1,
        life: 71,
        commit: 20,
        ..lost()
    };
    let asked = said(report(1), before);
    let refusal = world.says(a, asked.clone()).expect_err("not everything");
    assert_eq!(refusal.kind.name, "tell-everything");
    let everything = SyncRequest {
        remembered: Some(Box::default()),
        ..asked
    };
    world.says(a, everything).expect("taken");
    assert_eq!((world.epoch(), world.view().paused), (7, None));
}

#[test]
fn nobody_goes_by_an_answer_of_a_server_that_may_have_lost_something() {
    let (world, [a, ..]) = three("max_unavailable = 1");
    let mut world = restarted(world);
    let place = Place {
        version: Version(2),
        revision: Revision(1),
    };
    let mut request = VerdictRequest {
        ahead: vec![place],
        coming: None,
        mends: false,
        role: None,
        moment: Some(lost()),
    };
    let refusal = world.refused(Order::Judge(a, request.clone()));
    assert_eq!(refusal.kind.name, "tell-everything");
    request.moment = world.state.moment();
    let answer: VerdictAnswer = world.ask(Order::Judge(a, request)).expect("judged");
    assert!(matches!(answer, VerdictAnswer::Go { .. }), "{answer:?}");
}

#[test]
fn a_permits_number_that_was_given_again_is_no_other_nodes_permit() {
    let (mut world, [a, _, _]) = three("max_unavailable = 1");
    let permit = world.go(a);
    let another = Some("b".to_owned());
    let refusal = world.refused(Order::ConfirmPermit(permit, another.clone()));
    assert_eq!(refusal.kind.name, "permit-lost");
    let () = world
        .ask(Order::EndPermit(permit, another))
        .expect("no error");
    assert_eq!(world.view().permits.len(), 1, "it stays its holder's");
    let own = Some("a".to_owned());
    let () = world.ask(Order::EndPermit(permit, own)).expect("ended");
    assert_eq!(world.view().permits, []);
}

#[test]
fn only_what_was_noted_as_forgotten_is_told_so() {
    let mut world = World::with(&[STORAGE]);
    let (a, b) = (world.settled("a", 1), world.settled("b", 1));
    let () = world.ask(Order::Forget("b".to_owned())).expect("forgotten");
    let (_, system_id) = world.state.system.clone().expect("a system");
    let mut told = |node: NodeId, name: &str| {
        let request = SyncRequest {
            identity: Some(NodeIdentity {
                system_id,
                name: name.to_owned(),
            }),
            ..SyncRequest::default()
        };
        world
            .says(node, request)
            .map_err(|refusal| refusal.kind.name)
    };
    assert_eq!(told(a, "a"), Ok(()));
    assert_eq!(told(b, "b"), Err("node-forgotten"));
    assert_eq!(
        told(b, "c"),
        Err("unknown-node"),
        "a number of two histories"
    );
    assert_eq!(told(NodeId(9), "d"), Err("unknown-node"));
    let asks = Order::Sync(a, Box::default());
    assert_eq!(World::new().refused(asks).kind.name, "no-system");
}

#[test]
fn other_contents_get_no_number_that_a_node_runs() {
    let mut world = World::with(&[STORAGE]);
    let a = world.settled("a", 1);
    let run = publication(2, 1, STORAGE_CHANGED, false);
    world.report(a, holding(2, &run.manifest_sha256));
    assert!(!world.view().disagreeing[0].disagreement.differs());
    let other = format!("description = \"other\"\n{STORAGE_CHANGED}");
    let refusal = world.publish(2, 1, &other).expect_err("another");
    assert!(
        refusal.detail.contains("has another upgrade 2.1"),
        "{refusal:?}"
    );
    world.publish(2, 1, STORAGE_CHANGED).expect("what it runs");
    assert_eq!(world.view().disagreeing, []);
}

#[test]
fn beside_a_node_that_differs_nobody_goes_on_and_an_unknown_one_is_not_enrolled() {
    let (mut world, [a, b, _]) = three("max_unavailable = 2");
    world.report(a, holding(2, "other"));
    assert!(world.view().disagreeing[0].disagreement.differs());
    let refusal = world.refused(question(b, 2, 1));
    assert!(
        refusal.detail.contains("a has another upgrade 2.1"),
        "{refusal:?}"
    );
    let unknown = EnrolRequest {
        holds: vec![held(2, "other")],
        ..enrol("d", "storage")
    };
    let refusal = world.refused(Order::Enrol(unknown));
    assert_eq!(refusal.kind.name, "enrolment-conflict");
    let () = world.ask(Order::Forget("a".to_owned())).expect("forgotten");
    world.go(b);
}

#[test]
fn of_two_nodes_with_different_contents_only_the_servers_is_a_member() {
    let mut world = World::with(&[STORAGE, STORAGE_CHANGED]);
    let (a, b) = (world.settled("a", 2), world.settled("b", 2));
    let addressed = |digest: &str| NodeReport {
        addresses: vec![std::net::Ipv4Addr::LOCALHOST.into()],
        holds: vec![held(2, digest)],
        ..report(2)
    };
    // While nobody else has it, it stays one.
    world.report(a, addressed("other"));
    assert_eq!(world.state.nodes[&a].listed.len(), 1);
    let published = world.view().upgrades[1].manifest_sha256.clone();
    world.report(b, addressed(&published));
    world.report(a, addressed("other"));
    assert!(world.state.nodes[&a].listed.is_empty());
    assert_eq!(world.state.nodes[&b].listed.len(), 1);
}

#[test]
fn a_list_of_a_lost_history_is_none_of_these() {
    let mut world = World::with(&[STORAGE]);
    let a = world.settled("a", 1);
    world.state.view = 60;
    let mut world = restarted(world);
    let request = MembersRequest {
        seen: 50,
        in_force: 50,
        moment: Some(lost()),
        ..MembersRequest::default()
    };
    let () = world
        .ask(Order::Members(a, request.clone()))
        .expect("heard");
    assert_eq!(world.state.nodes[&a].members_seen, 1, "some list");
    assert!(world.state.members_for(a, &request).whole);
    let known = MembersRequest {
        moment: world.state.moment(),
        ..request
    };
    let () = world.ask(Order::Members(a, known)).expect("heard");
    assert_eq!(world.state.nodes[&a].members_seen, 50);
}

#[test]
fn an_empty_database_takes_the_number_of_the_system_that_its_first_node_brings() {
    let mut world = restarted(World::with(&[STORAGE]));
    let comes = |name: &str, number: u32, system: &str| EnrolRequest {
        system_id: Some(77),
        node: Some(NodeId(number)),
        moment: Some(Moment { epoch: 1, ..lost() }),
        remembered: Some(Box::new(RememberedSystem {
            system: system.to_owned(),
            ..RememberedSystem::default()
        })),
        ..enrol(name, "storage")
    };
    let another = world.refused(Order::Enrol(comes("x", 1, "another")));
    assert_eq!(another.kind.name, "enrolment-conflict");
    let b: Enrolled = world
        .ask(Order::Enrol(comes("b", 2, "store")))
        .expect("taken");
    assert_eq!((b.system_id, b.node), (77, NodeId(2)));
    assert!(world.view().paused.is_some());
    let a: Enrolled = world
        .ask(Order::Enrol(comes("a", 1, "store")))
        .expect("taken");
    assert_eq!((a.system_id, a.node), (77, NodeId(1)));
    let c: Enrolled = world.ask(Order::Enrol(enrol("c", "storage"))).expect("new");
    assert_eq!(c.node, NodeId(3));
}

/// What was public is so again at once, though its version has to be published here again: callers from outside are served on.
#[test]
fn a_public_version_that_has_to_be_published_again_stays_public() {
    let mut world = World::with(&[STORAGE]);
    let a = world.settled("a", 1);
    let mut world = restarted(world);
    let remembered = RememberedSystem {
        public: [("storage/data".to_owned(), Version(2))].into(),
        ..RememberedSystem::default()
    };
    world.tells_everything(a, report(1), remembered);
    assert_eq!(world.view().public["storage/data"], Version(2));
    world.publish(2, 1, STORAGE_CHANGED).expect("published");
    assert_eq!(world.view().public["storage/data"], Version(2));
}

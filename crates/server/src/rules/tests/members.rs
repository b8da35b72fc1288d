//! The members' list: numbers, parts, and who is behind.

use super::super::Order;
use super::{World, report};
use model::api::{Endpoint, MembersRequest, MembersResponse, NodeReport};
use model::ids::{NodeId, Version};
use std::net::IpAddr;

fn at(ports: &[u16]) -> NodeReport {
    let address = IpAddr::from([127, 0, 0, 1]);
    NodeReport {
        endpoints: ports
            .iter()
            .map(|port| Endpoint {
                version: Version(1),
                service: "data".to_owned(),
                address,
                port: *port,
            })
            .collect(),
        addresses: vec![address],
        ..report(1)
    }
}

impl World {
    /// A node that is settled at version 1 at these ports; each in a view of its own, as the state writer counts them.
    fn member(&mut self, name: &str, ports: &[u16]) -> NodeId {
        let node = self.settled(name, 1);
        self.moves(node, ports);
        node
    }

    fn moves(&mut self, node: NodeId, ports: &[u16]) {
        self.report(node, at(ports));
        self.state.view += 1;
    }

    fn acknowledges(&mut self, node: NodeId, in_force: u64) {
        let request = MembersRequest {
            in_force,
            ..MembersRequest::default()
        };
        let () = self
            .ask(Order::Members(node, request))
            .expect("acknowledged");
    }

    fn told(&self, node: NodeId, seen: u64) -> MembersResponse {
        let request = MembersRequest {
            seen,
            ..MembersRequest::default()
        };
        self.state.members_for(node, &request)
    }

    fn behind(&self, node: NodeId) -> Vec<String> {
        let behind = self.told(node, 0).behind.into_iter();
        behind.map(|behind| behind.name).collect()
    }
}

#[test]
fn whoever_has_not_acknowledged_a_nodes_newest_address_is_behind() {
    let mut world = World::with(&[super::STORAGE]);
    let a = world.member("a", &[1]);
    let b = world.member("b", &[2]);
    assert_eq!(world.behind(b), ["a"]);
    let newest = world.told(a, 0).at;
    world.acknowledges(a, newest);
    assert_eq!(world.behind(b), Vec::<String>::new());
    // What is listed already stays known, whatever else changes.
    world.moves(b, &[2, 3]);
    assert_eq!(world.behind(b), ["a"]);
    assert_eq!(
        world.behind(a),
        ["b"],
        "b has not acknowledged anything yet"
    );
    let listed = &world.state.nodes[&b].listed;
    let since: Vec<(Option<u16>, u64)> = listed.iter().map(|at| (at.port, at.since)).collect();
    assert_eq!(since, [(None, 2), (Some(2), 2), (Some(3), 3)]);
    world.acknowledges(a, 2);
    world.acknowledges(a, 1);
    assert_eq!(world.state.nodes[&a].members_seen, 2, "never back");
}

#[test]
fn a_node_that_has_not_reported_an_address_is_waited_for_by_nobody() {
    let mut world = World::with(&[super::STORAGE]);
    let a = world.member("a", &[1]);
    world.settled("silent", 1);
    assert_eq!(world.behind(a), Vec::<String>::new());
}

#[test]
fn parts_of_the_list_are_told_and_after_a_removal_the_whole() {
    let mut world = World::with(&[super::STORAGE]);
    let a = world.member("a", &[1]);
    let first = world.told(a, 0);
    let b = world.member("b", &[2]);
    let second = world.told(a, first.at);
    let told: Vec<NodeId> = second.members.iter().map(|member| member.node).collect();
    assert!(!second.whole);
    assert_eq!(told, [b]);
    let again = world.told(a, second.at);
    assert_eq!((again.at, again.members.len()), (second.at, 0));

    let () = world.ask(Order::Forget("b".to_owned())).expect("forgotten");
    world.state.view += 1;
    let third = world.told(a, second.at);
    let told: Vec<NodeId> = third.members.iter().map(|member| member.node).collect();
    assert!(third.whole && third.at > second.at);
    assert_eq!(told, [a]);
}

#[test]
fn a_list_from_the_future_is_not_believed() {
    let mut world = World::with(&[super::STORAGE]);
    let a = world.member("a", &[1]);
    world.acknowledges(a, 99);
    assert_eq!(world.state.nodes[&a].members_seen, 0);
    assert!(world.told(a, 99).whole);
}

#[test]
fn members_that_are_not_heard_are_told_and_a_server_that_starts_tells_the_same_ones() {
    let mut world = World::with(&[super::STORAGE]);
    let a = world.member("a", &[1]);
    let b = world.member("b", &[2]);
    world.settled("nowhere", 1);
    assert_eq!(world.told(a, 0).silence, 0);
    world.context.now_ms += 600_000;
    world.moves(a, &[1]);
    let () = world.ask(Order::Sweep).expect("swept");
    let told = world.told(a, 0);
    assert_eq!(told.silent, [b]);
    assert_ne!(told.silence, 0);
    let knows = |silence| MembersRequest {
        seen: told.at,
        silence: Some(silence),
        ..MembersRequest::default()
    };
    assert!(world.state.has_members_news(&knows(0)));
    assert!(!world.state.has_members_news(&knows(told.silence)));
    let does_not_care = MembersRequest {
        silence: None,
        ..knows(0)
    };
    assert!(!world.state.has_members_news(&does_not_care));
    assert_eq!(world.state.silence_after_a_restart(), told.silence);
    // It is heard again, or gone for good.
    world.moves(b, &[2]);
    assert_eq!(world.told(a, 0).silence, 0);
    world.context.now_ms += 600_000;
    world.moves(a, &[1]);
    let () = world.ask(Order::Sweep).expect("swept");
    assert_eq!(world.told(a, 0).silence, told.silence);
    let () = world.ask(Order::Forget("b".to_owned())).expect("forgotten");
    assert_eq!(world.told(a, 0).silence, 0);
}

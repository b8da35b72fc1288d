//! Connections on their way back to the software, when it does not take them at once: its process is stopped in the middle.

use crate::harness::{Boxes, Caller, Frozen, Node, System, is_crash, until};
use model::api::{PublicRequest, RetireRequest};
use model::ids::Version;
use std::io;

/// A caller at this version whose request is read by the agent of the node `a` while the software does not accept: the connection is
/// on its way back.
fn on_its_way_back(system: &System, node: &Node, version: u32) -> (Caller, Frozen) {
    let port = system.port(1);
    let late = Caller::late(port, system.view().system_id, version).expect("connected");
    until("the connection to be handed over", || {
        (system.counter("a", "hand_over.undecided") > 0).then_some(())
    });
    let frozen = node.freeze_software();
    let mut caller = late.arrive().expect("sent");
    caller.send("GET", "/boxes/apples", None).expect("sent");
    until("the agent to knock", || (knocking(port) > 0).then_some(()));
    (caller, frozen)
}

/// How many connections wait in the queue of the listener at this port.
fn knocking(port: u16) -> u64 {
    let text = std::fs::read_to_string("/proc/net/tcp").expect("the sockets");
    let local = format!(":{port:04X}");
    let mut listeners = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| words[1].ends_with(&local) && words[3] == "0A");
    let queues = listeners.next().expect("a listener")[4];
    let (_, received) = queues.split_once(':').expect("two queues");
    u64::from_str_radix(received, 16).expect("a number")
}

fn answer(caller: &mut Caller) -> io::Result<u16> {
    loop {
        match caller.receive() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            answered => return answered.map(|answer| answer.status),
        }
    }
}

#[test]
fn a_connection_that_the_software_does_not_take_back_is_reset() {
    let system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    let (mut caller, frozen) = on_its_way_back(&system, &node, 1);
    let error = answer(&mut caller).expect_err("nobody there");
    assert!(is_crash(&error), "{error}");
    drop(frozen);
    until("it to be counted", || {
        (system.counter("a", "reset.not_taken") == 1).then_some(())
    });
    // What knocked for it is refused, and the software serves as before.
    let mut next = system.member(system.port(1), 1).expect("connected");
    next.put("apples", 1).expect("answered");
    until("the token to be refused", || {
        (system.counter("a", "accept.token_unknown") == 1).then_some(())
    });
}

#[test]
fn a_connection_on_its_way_back_arrives_though_its_version_is_retired() {
    let system = System::with(&Boxes::version(1).bundle());
    system.publish(&Boxes::version(2).same(1).bundle());
    let node = system.settled_box("a", 1, 2);
    let public = PublicRequest {
        service: None,
        version: Version(2),
    };
    system.ask(system.client.set_public(&public));
    let (mut caller, frozen) = on_its_way_back(&system, &node, 1);
    let version = Version(1);
    until("version 1 to be retired", || {
        let close = true;
        let request = RetireRequest { version, close };
        let _ = system.try_ask(system.client.retire(&request));
        (system.view().retired_through == version).then_some(())
    });
    drop(frozen);
    // It was the software's before, which is all that a connection of the same interface can be.
    assert_eq!(answer(&mut caller).expect("answered"), 404);
    until("it to be counted", || {
        (system.counter("a", "given_back") == 1).then_some(())
    });
}

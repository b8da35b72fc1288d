//! Connections on their way back to the software, when it does not take them at once: its process is stopped in the middle.

use crate::harness::{Boxes, Bundle, Caller, Frozen, Node, NodeOptions, System, is_crash, until};
use model::api::{Phase, PublicRequest, RetireRequest};
use model::ids::Version;
use rustix::process::{Pid, Signal, kill_process};
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
    let listeners = listeners(port);
    let (waiting, _) = listeners.first().expect("a listener");
    *waiting
}

/// The listeners at this port: how many connections wait, and the socket's inode.
fn listeners(port: u16) -> Vec<(u64, String)> {
    let text = std::fs::read_to_string("/proc/net/tcp").expect("the sockets");
    let local = format!(":{port:04X}");
    let listeners = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| words[1].ends_with(&local) && words[3] == "0A");
    let told = listeners.map(|words| {
        let (_, received) = words[4].split_once(':').expect("two queues");
        let waiting = u64::from_str_radix(received, 16).expect("a number");
        (waiting, words[9].to_owned())
    });
    told.collect()
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
    // Until then callers may reach what was kept over the restart, and need no hand-over.
    until("version 2 to be released", || {
        let mut events = system.events_of(&node, "node.released").into_iter();
        events.find(|event| event.version == Some(Version(2)))
    });
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

/// Software that changes its listener when it is told, as `mover.py` says.
fn mover(version: u32, probe: &str) -> Bundle {
    let (from, interface) = match version {
        1 => ("", ""),
        _ => ("from = 1", "interface = \"same\""),
    };
    let upgrade = format!(
        r#"
system = "mover"
version = {version}
{from}
[class.box.software]
path = "software"
command = ["/usr/bin/python3", "-u", "${{software}}/mover.py", "${{ports.data}}", "{version}", "${{state}}"]
[class.box.service.data]
port = "vars.port"
protocol = "http"
{interface}
[class.box.lifecycle]
probe = {{ {probe}, interval_ms = 50, timeout_ms = 5000 }}
"#
    );
    Bundle::new(upgrade).file("software/mover.py", include_str!("software/mover.py"))
}

const ASKED: &str = r#"tcp = "data""#;

/// A caller at version 1 that is on its way back to a listener from which the software, a [`mover`], accepts nobody.
fn on_its_way_to_nobody(system: &System, node: &Node) -> Caller {
    let port = system.port(1);
    let late = Caller::late(port, system.view().system_id, 1).expect("connected");
    until("the connection to be handed over", || {
        (system.counter("a", "hand_over.undecided") > 0).then_some(())
    });
    let accepting = listener(port);
    tell(node, Signal::USR1);
    until("the software to listen with another socket only", || {
        listener(port).filter(|other| Some(other) != accepting.as_ref())
    });
    let mut caller = late.arrive().expect("sent");
    caller.send("GET", "/", None).expect("sent");
    until("the agent to knock", || (knocking(port) > 0).then_some(()));
    caller
}

fn tell(node: &Node, signal: Signal) {
    let software = Pid::from_raw(node.running_child()).expect("a process");
    kill_process(software, signal).expect("told");
}

/// The inode of the only listener at this port.
fn listener(port: u16) -> Option<String> {
    let [(_, inode)] = <[_; 1]>::try_from(listeners(port)).ok()?;
    Some(inode)
}

#[test]
fn a_connection_whose_listener_is_closed_on_its_way_back_is_offered_again() {
    let system = System::with(&mover(1, ASKED));
    let node = system.node(NodeOptions::new("a", system.port(1)));
    system.until_settled(&node, 1);
    let mut caller = on_its_way_to_nobody(&system, &node);
    tell(&node, Signal::USR2);
    assert_eq!(answer(&mut caller).expect("answered"), 200);
    until("it to be counted", || {
        (system.counter("a", "given_back") == 1).then_some(())
    });
    assert_eq!(system.counter("a", "reset.not_taken"), 0);
}

#[test]
fn a_connection_on_its_way_back_waits_with_the_others_where_calls_are_held() {
    let system = System::with(&mover(1, ASKED));
    let node = system.node(NodeOptions::new("a", system.port(1)));
    system.until_settled(&node, 1);
    let mut caller = on_its_way_to_nobody(&system, &node);
    // Version 2 listens and never is healthy: whoever waits with the others is answered by version 1 after the way back.
    system.publish(&mover(2, r#"command = ["false"]"#));
    assert_eq!(answer(&mut caller).expect("answered"), 200);
    let answered = caller.last.expect("an answer");
    assert_eq!(answered.body, 1, "version 2 was not healthy");
    system.until_phase(&node, Phase::Blocked);
    assert_eq!(system.counter("a", "reset.not_taken"), 0);
}

#[test]
fn commands_reach_the_software_while_calls_are_held() {
    let system = System::with(&mover(1, ASKED));
    let node = system.node(NodeOptions::new("a", system.port(1)));
    system.until_settled(&node, 1);
    let call = "import sys, urllib.request as r; sys.exit(r.urlopen('http://127.0.0.1:' + sys.argv[1]).read() != b'2')";
    let probe = format!(r#"command = ["/usr/bin/python3", "-c", "{call}", "${{ports.data}}"]"#);
    system.publish(&mover(2, &probe));
    system.until_settled(&node, 2);
}

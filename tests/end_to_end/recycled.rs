//! An address changes hands: whoever has it now is sent no label.

use crate::harness::{Boxes, Caller, Node, NodeOptions, System, kill, until};
use crate::joining::FRONT;
use label::{Label, Parsed, SIGNATURE};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A front, which calls the boxes at ports 1 and 2 when it is told to.
fn front_and_boxes() -> (System, Node, [Node; 2]) {
    let front = FRONT.replace("DIALECT", "1").replace("PATH", "/ready");
    let front = front.replace("INTERFACE", "");
    let system = System::with(&Boxes::version(1).and(&front).bundle());
    let boxes = [("stays", 1), ("goes", 2)].map(|(name, port)| system.settled_box(name, port, 1));
    let options = NodeOptions::new("front", system.port(3)).class("front");
    let front = system.node(options);
    system.until_settled(&front, 1);
    (system, front, boxes)
}

/// What the front gets when it stores at a box.
fn relayed(system: &System, box_number: u16) -> Value {
    let mut caller = Caller::unlabelled(system.port(3), 1).expect("connected");
    let path = format!("/relay/{}/apples", system.port(box_number));
    let answer = caller.call("PUT", &path, Some(&json!({ "count": 7 })));
    answer.expect("the front answers").body
}

fn stored() -> Value {
    json!({ "stored": 200, "status": 200, "count": 7 })
}

/// A program of another kind, which got a member's address: it takes down what it is sent, and says something that is no answer.
struct Stranger {
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Stranger {
    fn at(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
        let sent = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let kept = Arc::clone(&sent);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || take_down(stream, &kept));
            }
        });
        Self { sent }
    }

    fn sent(&self) -> Vec<Vec<u8>> {
        self.sent.lock().expect("no panic").clone()
    }

    /// What it was sent that is no question whether a member listens.
    fn calls(&self) -> Vec<Vec<u8>> {
        let is_question = |bytes: &Vec<u8>| {
            let parsed = label::parse(bytes);
            matches!(parsed, Parsed::Label { label: Label { question: Some(_), .. }, length } if length == bytes.len())
        };
        let mut sent = self.sent();
        sent.retain(|bytes| !is_question(bytes));
        sent
    }
}

fn take_down(mut stream: TcpStream, kept: &Mutex<Vec<Vec<u8>>>) {
    let mut bytes = vec![0; 4096];
    if let Ok(count @ 1..) = stream.read(&mut bytes) {
        bytes.truncate(count);
        kept.lock().expect("no panic").push(bytes);
        let _ = stream.write_all(b"-ERR unknown command\r\n");
    }
}

/// Waits until the front's hooks go by a newer members' list than this.
fn until_told(system: &System, seen: u64) {
    until("the front's hooks to know", || {
        (system.fact("front").members_seen > seen).then_some(())
    });
}

/// The front calls whoever has a box's port now: without a label.
fn is_called_without_a_label(system: &System, box_number: u16) {
    let stranger = Stranger::at(system.port(box_number));
    let answer = relayed(system, box_number);
    assert!(answer["error"].is_string(), "{answer}");
    let sent = stranger.sent();
    assert!(!sent.is_empty(), "no call came");
    for bytes in sent {
        assert!(!bytes.starts_with(&SIGNATURE), "{bytes:?}");
    }
}

#[test]
fn an_address_that_a_member_has_left_is_called_without_a_label() {
    let (system, _front, [_stays, mut goes]) = front_and_boxes();
    assert_eq!(relayed(&system, 2), stored());
    // It moves.
    let seen = system.fact("front").members_seen;
    goes.end_agent();
    goes.stop_software();
    goes.options.variables = vec![("port".to_owned(), system.port(4).to_string())];
    goes.start_agent();
    until("it to serve there", || {
        (relayed(&system, 4) == stored()).then_some(())
    });
    until_told(&system, seen);
    is_called_without_a_label(&system, 2);
    // It is forgotten.
    let seen = system.fact("front").members_seen;
    goes.end_agent();
    goes.stop_software();
    system.ask(system.client.forget("goes"));
    until_told(&system, seen);
    is_called_without_a_label(&system, 4);
    assert_eq!(relayed(&system, 1), stored());
}

#[test]
fn software_that_starts_without_the_server_is_connected_only_to_members_that_show_themselves() {
    let (mut system, mut front, [_stays, mut goes]) = front_and_boxes();
    for node in [&mut front, &mut goes] {
        node.end_agent();
        node.stop_software();
    }
    system.server.kill();
    let stranger = Stranger::at(system.port(2));
    // As after a reboot: what the agent finds on its disk is all that it knows.
    front.start_agent();
    until("the front to serve", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, system.port(3))).ok()
    });
    assert_eq!(relayed(&system, 1), stored());
    let answer = relayed(&system, 2);
    let error = answer["error"].as_str().expect("no answer");
    assert!(error.contains("ConnectionRefused"), "{error}");
    assert!(!stranger.sent().is_empty(), "nobody was asked");
    assert_eq!(stranger.calls(), Vec::<Vec<u8>>::new());
    system.server.resume();
    system.until_fact(&front, "telling", |fact| {
        let refused = fact.report.counters.get("connect.in_doubt");
        refused.is_some_and(|refused| *refused > 0)
    });
    until("people to be told", || {
        let told = system.events_of(&front, "member.supplanted");
        told.first().map(|event| {
            assert!(event.message.contains("upstart forget"), "{event:?}");
        })
    });
}

#[test]
fn at_a_silent_members_address_only_a_member_is_called() {
    let (system, front, [mut stays, mut goes]) = front_and_boxes();
    // Of the one only the agent is gone: its software lives, and answers for itself. The other is gone, and its port is another's.
    stays.kill_agent();
    goes.kill_agent();
    kill(goes.running_child());
    kill(goes.holder().expect("a holder"));
    let stranger = until("its port to be free", || {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, system.port(2))).is_ok();
        free.then(|| Stranger::at(system.port(2)))
    });
    until("people to be told", || {
        system.events_of(&front, "member.supplanted").pop()
    });
    let before = stranger.calls().len();
    let answer = relayed(&system, 2);
    let error = answer["error"].as_str().expect("no answer");
    assert!(error.contains("ConnectionRefused"), "{error}");
    assert_eq!(stranger.calls().len(), before);
    assert_eq!(relayed(&system, 1), stored());
    // Nothing is in doubt of who is heard again.
    stays.start_agent();
    system.until_fact(&stays, "answering questions", |fact| {
        let asked = fact.report.counters.get("accept.asked");
        asked.is_some_and(|asked| *asked > 0)
    });
    assert_eq!(relayed(&system, 1), stored());
}

/// Its software is busy, and its agent away: it accepts what waits when it can, a question among it, and nothing speaks against it meanwhile.
#[test]
fn a_member_that_accepts_late_is_not_taken_for_a_stranger() {
    let (system, front, [mut stays, _goes]) = front_and_boxes();
    assert_eq!(relayed(&system, 1), stored());
    let busy = stays.freeze_software();
    stays.kill_agent();
    front.until_said("found=Silent");
    drop(busy);
    assert_eq!(relayed(&system, 1), stored());
    assert_eq!(system.counter("front", "connect.in_doubt"), 0);
    assert!(system.events_of(&front, "member.supplanted").is_empty());
}

//! Whoever can connect to a node can send it any label: what is no member's is refused, counted, and told.

use crate::harness::{Boxes, Caller, Node, System, dial_from, until};
use label::{LABEL_BYTES_MAX, Label, Parsed};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// An address of this host that is no member's.
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);
/// A member's.
const MEMBER: Ipv4Addr = Ipv4Addr::LOCALHOST;

const ANSWER_LIMIT: Duration = Duration::from_secs(20);

const REQUEST: &[u8] = b"GET /items?id=apples HTTP/1.1\r\nHost: box\r\nConnection: close\r\n\r\n";

fn encoded(label: &Label) -> Vec<u8> {
    let mut bytes = [0; LABEL_BYTES_MAX];
    let length = label.encode(&mut bytes);
    bytes[..length].to_vec()
}

/// A header of these TLVs with a right checksum, put together by hand.
fn header(family: u8, tlvs: &[(u8, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (kind, value) in tlvs {
        body.push(*kind);
        body.extend(u16::try_from(value.len()).expect("short").to_be_bytes());
        body.extend(*value);
    }
    body.extend([3, 0, 4, 0, 0, 0, 0]);
    let mut bytes = label::SIGNATURE.to_vec();
    bytes.extend([0x20, family]);
    bytes.extend(u16::try_from(body.len()).expect("short").to_be_bytes());
    bytes.extend(body);
    let sum = label::crc32c(&bytes).to_be_bytes();
    let at = bytes.len() - 4;
    bytes[at..].copy_from_slice(&sum);
    bytes
}

/// What our TLV has in it, of a label of this system at version 2; these flags, and nothing that they promise.
fn value(system: u64, flags: u8) -> Vec<u8> {
    let mut value = vec![1, flags];
    value.extend(system.to_be_bytes());
    value.extend(2u32.to_be_bytes());
    value.extend(7u32.to_be_bytes());
    value
}

/// Sends a label with the handshake, and a request; what comes back.
fn answer(from: Ipv4Addr, port: u16, label: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = match dial_from(from, port, label) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(Vec::new()),
        dialled => dialled?,
    };
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    let _ = stream.write_all(REQUEST);
    read_all(&mut stream)
}

fn read_all(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(answer),
        ended => ended.map(|_| answer),
    }
}

/// A node at version 1 that answers callers at version 2 through an adapter, and somebody who calls it as usual.
fn attacked(first: &Boxes) -> (System, Node, u64, Caller) {
    let system = System::with(&first.bundle());
    let node = system.settled_box("a", 1, 1);
    system.publish(&Boxes::version(2).schedule("approval = true").bundle());
    system.until_staged(&node, 2);
    let mut usual = system.member(system.port(1), 2).expect("connected");
    usual.put("apples", 7).expect("answered");
    let id = system.view().system_id;
    (system, node, id, usual)
}

/// An attack: its name, from where it comes, the bytes, and the counter that goes up by one.
type Attack = (&'static str, Ipv4Addr, Vec<u8>, &'static str);

fn attacks(id: u64) -> Vec<Attack> {
    let good = encoded(&Label::plain(id, 2, 7));
    let damaged = "reset.damaged_label";
    let replaced = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let other = Label::plain(id ^ 1, 2, 7);
    let question = |label: Label| {
        encoded(&Label {
            question: Some([5; 16]),
            ..label
        })
    };
    let last = good.len() - 1;
    let long = |length: u16| {
        // The length that our TLV says it has: it begins behind the frame of 16 bytes.
        let mut bytes = replaced(17, length.to_be_bytes()[0]);
        bytes[18] = length.to_be_bytes()[1];
        bytes
    };
    let short_frame = replaced(15, good[15] - 7);
    vec![
        (
            "another system",
            MEMBER,
            encoded(&other),
            "reset.other_system",
        ),
        (
            "a question of another system",
            MEMBER,
            question(other),
            "reset.other_system",
        ),
        (
            "a wrong checksum",
            MEMBER,
            replaced(last, good[last] ^ 1),
            damaged,
        ),
        (
            "an older version written over",
            MEMBER,
            replaced(32, 1),
            damaged,
        ),
        (
            "no checksum",
            MEMBER,
            short_frame[..good.len() - 7].to_vec(),
            damaged,
        ),
        ("our part longer than the frame", MEMBER, long(200), damaged),
        (
            "our part shorter than it is",
            MEMBER,
            header(0, &[(0xE5, &value(id, 0)[..17])]),
            damaged,
        ),
        (
            "a token that is not there",
            MEMBER,
            header(0, &[(0xE5, &value(id, 1))]),
            damaged,
        ),
        (
            "a key that is not there",
            MEMBER,
            header(0, &[(0xE5, &value(id, 2))]),
            damaged,
        ),
        (
            "a question that is not there",
            MEMBER,
            header(0, &[(0xE5, &value(id, 4))]),
            damaged,
        ),
        (
            "a member's label from elsewhere",
            STRANGER,
            good.clone(),
            "reset.label_not_honoured",
        ),
        (
            "a stranger's question",
            STRANGER,
            question(Label::plain(id, 2, 7)),
            "reset.label_not_honoured",
        ),
        (
            "a token of nobody's",
            MEMBER,
            encoded(&Label {
                token: Some([5; 16]),
                ..Label::plain(id, 1, 7)
            }),
            "accept.token_unknown",
        ),
    ]
}

#[test]
fn labels_that_are_no_members_are_refused_counted_and_told() {
    let (system, node, id, mut usual) = attacked(&Boxes::version(1));
    let mut counted = std::collections::BTreeMap::<&str, u64>::new();
    for (name, from, bytes, counter) in attacks(id) {
        let answer = answer(from, system.port(1), &bytes);
        let answer = answer.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(String::from_utf8_lossy(&answer), "", "{name}");
        *counted.entry(counter).or_default() += 1;
        assert_eq!(usual.get("apples").expect("answered"), Some(7), "{name}");
    }
    for (counter, times) in counted {
        until(counter, || {
            let now = system.counter("a", counter);
            assert!(now <= times, "{counter}: {now} of {times}");
            (now == times).then_some(())
        });
    }
    // One event for each reason, not for each connection.
    let told = until("people to be told", || {
        let told = system.events_of(&node, "label.refused");
        (told.len() >= 3).then_some(told)
    });
    for reason in ["damaged_label", "other_system", "label_not_honoured"] {
        let of = |event: &&model::api::Event| event.message.contains(reason);
        assert_eq!(told.iter().filter(of).count(), 1, "{reason}: {told:?}");
    }
    // Nothing of a label was ever taken for a request.
    assert!(!node.output().contains("QUIT"), "{}", node.output());
}

#[test]
fn who_calls_is_not_believed_without_the_agents_key() {
    let (system, _node, id, _usual) = attacked(&Boxes::version(1));
    let port = system.port(1);
    let elsewhere = SocketAddr::from(([10, 9, 9, 9], 1234));
    let seen = |label: &Label| {
        let stream = dial_from(MEMBER, port, &encoded(label)).expect("connected");
        let own = stream.local_addr().expect("its address");
        let mut caller = Caller::over(stream, 1).expect("a caller");
        caller.get("apples").expect("answered");
        (own, caller.last.take().expect("an answer").caller())
    };
    let forged = Label {
        caller: Some((elsewhere, SocketAddr::from((MEMBER, port)))),
        ..Label::plain(id, 1, 7)
    };
    // What every user of this machine can read of the node opens nothing either.
    for agent_key in [None, Some([0; 16]), Some([5; 16])] {
        let (own, shown) = seen(&Label {
            agent_key,
            ..forged
        });
        assert_eq!(shown, own, "{agent_key:?}");
    }
}

#[test]
fn a_question_is_answered_and_nothing_else_passes() {
    answers_questions(&Boxes::version(1));
}

/// The library is not in it: the net answers.
#[test]
fn a_question_to_software_that_the_library_does_not_reach_is_answered_too() {
    let first = Boxes::version(1).behind(&["/usr/bin/env", "-i"]);
    answers_questions(&first);
}

fn answers_questions(first: &Boxes) {
    let (system, node, id, mut usual) = attacked(first);
    let calls = node.printed("dialect 1: ");
    // The software's own version, another one, and one that nobody has heard of.
    for version in [1u32, 2, 99] {
        let number = [version.to_be_bytes()[3]; 16];
        let question = Label {
            question: Some(number),
            ..Label::plain(id, version, 7)
        };
        let answer = answer(MEMBER, system.port(1), &encoded(&question)).expect("an end");
        let expected = Label {
            question: Some(number),
            ..Label::plain(id, 1, system.fact("a").node.0)
        };
        let length = answer.len();
        let parsed = label::parse(&answer);
        let expected = Parsed::Label {
            label: expected,
            length,
        };
        assert_eq!(parsed, expected, "{version}");
    }
    assert_eq!(node.printed("dialect 1: "), calls);
    assert_eq!(usual.get("apples").expect("answered"), Some(7));
}

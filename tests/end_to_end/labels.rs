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

/// Labels that are not whole, or not as they were.
fn damaged(id: u64) -> Vec<(&'static str, Vec<u8>)> {
    let good = encoded(&Label::plain(id, 2, 7));
    let last = good.len() - 1;
    let written_over = |at: usize, bytes: &[u8]| {
        let mut label = good.clone();
        label[at..at + bytes.len()].copy_from_slice(bytes);
        label
    };
    let ours = |value: &[u8]| header(0, &[(0xE5, value)]);
    // The frame of 16 bytes ends with the length of what follows; behind the kind of our part comes its length.
    let (frame_length_at, our_length_at, version_at) = (15, 17, 32);
    let mut no_checksum = written_over(frame_length_at, &[good[frame_length_at] - 7]);
    no_checksum.truncate(good.len() - 7);
    let past_the_frame = written_over(our_length_at, &200u16.to_be_bytes());
    vec![
        ("a wrong checksum", written_over(last, &[good[last] ^ 1])),
        ("an older version", written_over(version_at, &[1])),
        ("no checksum", no_checksum),
        ("our part past the frame", past_the_frame),
        ("our part too short", ours(&value(id, 0)[..17])),
        ("a token that is not there", ours(&value(id, 1))),
        ("a key that is not there", ours(&value(id, 2))),
        ("a question that is not there", ours(&value(id, 4))),
        ("all of them, and none there", ours(&value(id, 7))),
    ]
}

fn attacks(id: u64) -> Vec<Attack> {
    let ours = Label::plain(id, 2, 7);
    let other = Label::plain(id ^ 1, 2, 7);
    let asked = |label: Label| {
        let question = Some([5; 16]);
        encoded(&Label { question, ..label })
    };
    let token = Some([5; 16]);
    let of_nobody = encoded(&Label { token, ..ours });
    let not_honoured = "reset.label_not_honoured";
    let other_system = "reset.other_system";
    let mut attacks: Vec<Attack> = vec![
        ("another system", MEMBER, encoded(&other), other_system),
        ("its question", MEMBER, asked(other), other_system),
        ("a member's label", STRANGER, encoded(&ours), not_honoured),
        ("a member's question", STRANGER, asked(ours), not_honoured),
        (
            "a token of nobody's",
            MEMBER,
            of_nobody,
            "accept.token_unknown",
        ),
    ];
    let damaged = damaged(id).into_iter();
    attacks.extend(damaged.map(|(name, bytes)| (name, MEMBER, bytes, "reset.damaged_label")));
    attacks
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

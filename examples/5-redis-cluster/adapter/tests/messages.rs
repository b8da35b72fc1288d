//! Real messages of both versions, recorded between real servers: each as the other version writes it, and back.

use redis_bus_adapter::bus::{
    BusError, NEW_HEADER, OLD_HEADER, Translated, Version, body_stays, translate, version,
};
use std::path::Path;

/// Types of messages that were recorded, and their names in `cluster.h`. There is one more, "update" (7): it is sent only where a node has
/// missed a failover.
const TYPES: [(u16, &str); 8] = [
    (0, "ping"),
    (1, "pong"),
    (2, "meet"),
    (3, "fail"),
    (4, "publish"),
    (5, "failover auth request"),
    (6, "failover auth ack"),
    (8, "mfstart"),
];
const GOSSIP: usize = 104;

/// The recorded messages of a version, with their types.
fn recorded(version: Version) -> Vec<(u16, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages");
    let read = |(kind, _): &(u16, &str)| {
        let file = folder.join(format!("version-{}-type-{kind}.bin", version as u16));
        Some((*kind, std::fs::read(file).ok()?))
    };
    TYPES.iter().filter_map(read).collect()
}

fn other(message: &[u8]) -> Vec<u8> {
    match translate(message) {
        Ok(Translated::Message(message)) => message,
        other => panic!("{other:?}"),
    }
}

fn number(message: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([message[at], message[at + 1]])
}

fn length(message: &[u8]) -> usize {
    u32::from_be_bytes([message[4], message[5], message[6], message[7]]) as usize
}

#[test]
fn every_type_was_recorded() {
    let all: Vec<Vec<u16>> = [Version::Old, Version::New]
        .map(|version| {
            recorded(version)
                .into_iter()
                .map(|(kind, _)| kind)
                .collect()
        })
        .into();
    for (kind, name) in TYPES {
        assert!(all.iter().any(|kinds| kinds.contains(&kind)), "no {name}");
    }
    // Both versions say these all the time.
    for kinds in all {
        assert!(kinds.starts_with(&[0, 1]), "{kinds:?}");
    }
}

#[test]
fn a_message_of_3_2_is_one_of_7_0() {
    for (kind, old) in recorded(Version::Old) {
        let new = other(&old);
        assert_eq!(
            (version(&old), version(&new)),
            (Ok(Version::Old), Ok(Version::New))
        );
        assert_eq!(length(&new), new.len());
        assert_eq!(new.len(), old.len() + NEW_HEADER - OLD_HEADER);
        // Offsets as the assertions at the end of 7.0's cluster.h have them.
        assert_eq!(number(&new, 12), kind);
        assert_eq!(
            new[16..2168],
            old[16..2168],
            "epochs, offset, sender, slots, master"
        );
        let port = number(&old, 2200);
        assert_eq!(
            (number(&new, 10), number(&new, 2248)),
            (port, port + 10_000)
        );
        assert_eq!(number(&new, 2250), number(&old, 2202), "flags");
        assert_eq!(
            new[2252..2256],
            old[2204..2208],
            "state and the message's flags"
        );
        if kind <= 2 {
            let count = usize::from(number(&old, 14));
            assert_eq!(new.len(), NEW_HEADER + count * GOSSIP);
            let entries = new[NEW_HEADER..]
                .chunks(GOSSIP)
                .zip(old[OLD_HEADER..].chunks(GOSSIP));
            for (new, old) in entries {
                assert_eq!(new[..96], old[..96], "name, times, address, port");
                assert_eq!(number(new, 96), number(old, 94) + 10_000);
                assert_eq!(number(new, 98), number(old, 96), "flags");
            }
        } else {
            assert_eq!(new[NEW_HEADER..], old[OLD_HEADER..]);
        }
    }
}

#[test]
fn there_and_back_is_the_same_message() {
    for version in [Version::Old, Version::New] {
        for (kind, message) in recorded(version) {
            assert_eq!(
                other(&other(&message)),
                message,
                "type {kind} of {version:?}"
            );
        }
    }
}

#[test]
fn an_update_keeps_its_body() {
    let (_, mut old) = recorded(Version::Old).swap_remove(3);
    // Epoch, name and slots of another node: 8, 40 and 2048 bytes.
    old.resize(OLD_HEADER, 0);
    old.extend((0..8 + 40 + 2048).map(|index: u32| index.to_le_bytes()[0]));
    old[13] = 7;
    let total = u32::try_from(old.len()).expect("it fits");
    old[4..8].copy_from_slice(&total.to_be_bytes());
    let new = other(&old);
    assert_eq!(new[NEW_HEADER..], old[OLD_HEADER..]);
    assert_eq!(length(&new), new.len());
    assert_eq!(other(&new), old);
}

#[test]
fn the_head_of_a_long_message_is_enough() {
    let (_, mut old) = recorded(Version::Old)
        .into_iter()
        .find(|(kind, _)| *kind == 4)
        .expect("a published message");
    // A message of a megabyte, of which only the head is looked at.
    let body = 1 << 20;
    old.resize(OLD_HEADER + body, b'x');
    let total = u32::try_from(old.len()).expect("it fits");
    old[4..8].copy_from_slice(&total.to_be_bytes());
    let head = &old[..NEW_HEADER];
    assert!(body_stays(head));
    let mut new = other(head);
    new.extend(&old[NEW_HEADER..]);
    assert_eq!(new, other(&old));
    assert_eq!(length(&new), NEW_HEADER + body);
}

#[test]
fn what_3_2_does_not_know_is_left_out() {
    let (_, ping) = recorded(Version::New).swap_remove(0);
    // An extension with the host's name, as `cluster-announce-hostname` makes 7.0 add.
    let mut with_name = ping.clone();
    with_name.extend([0, 0, 0, 16, 0, 0, 0, 0]);
    with_name.extend(*b"redis-4\0");
    let total = u32::try_from(with_name.len()).expect("it fits");
    with_name[4..8].copy_from_slice(&total.to_be_bytes());
    with_name[2215] = 1;
    with_name[2253] |= 4;
    assert_eq!(other(&with_name), other(&ping));
    // "No failover" is a flag of 7.0.
    let mut flagged = ping.clone();
    flagged[2250] |= 2;
    assert_eq!(other(&flagged), other(&ping));
    for kind in [9, 10] {
        let mut unknown = ping.clone();
        unknown[13] = kind;
        assert_eq!(translate(&unknown), Ok(Translated::Nothing));
    }
}

#[test]
fn a_bus_where_3_2_does_not_look_for_it_is_told_of() {
    let (_, mut ping) = recorded(Version::New).swap_remove(0);
    ping[2248..2250].copy_from_slice(&30_000_u16.to_be_bytes());
    let port = number(&ping, 10);
    let expected = BusError::BusPort {
        port,
        bus_port: 30_000,
    };
    assert_eq!(translate(&ping), Err(expected.clone()));
    assert!(expected.to_string().contains("cluster-port"));
}

#[test]
fn what_is_no_message_never_panics() {
    for version in [Version::Old, Version::New] {
        for (_, message) in recorded(version) {
            for end in (0..message.len()).step_by(7) {
                // Whatever comes of it.
                let _ = translate(&message[..end]);
            }
            let mut many = message.clone();
            many[14..16].fill(0xff);
            if message[13] <= 2 {
                assert!(translate(&many).is_err(), "65,535 entries");
            }
        }
    }
}

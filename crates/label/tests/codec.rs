//! What the codec promises: it inverts itself, notices damage, waits for what is missing and never panics.

use label::{LABEL_BYTES_MAX, Label, Parsed, Proof, SIGNATURE, crc32c, parse};
use proptest::prelude::*;
use std::net::{IpAddr, SocketAddr};

fn any_address() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(SocketAddr::from)
}

fn any_proof() -> impl Strategy<Value = Proof> {
    let rest = (any::<u32>(), any::<u64>(), any::<[u8; 16]>());
    (any_address(), rest).prop_map(|(address, (generation, at_s, mac))| Proof {
        generation,
        at_s,
        destination: SocketAddr::new(address.ip().to_canonical(), address.port()),
        mac,
    })
}

fn any_label() -> impl Strategy<Value = Label> {
    let caller = proptest::option::of((any_address(), any_address()));
    (
        any::<u64>(),
        any::<u32>(),
        any::<u32>(),
        caller,
        any::<[Option<[u8; 16]>; 3]>(),
        proptest::option::of(any_proof()),
    )
        .prop_map(
            |(system, version, node, caller, [token, agent_key, question], proof)| Label {
                system,
                version,
                node,
                caller,
                token,
                agent_key,
                question,
                proof,
            },
        )
}

fn encoded(label: &Label) -> Vec<u8> {
    let mut buffer = [0; LABEL_BYTES_MAX];
    let length = label.encode(&mut buffer);
    buffer[..length].to_vec()
}

/// Addresses of two families are carried as two mapped ones.
fn as_carried(label: Label) -> Label {
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(v4) => SocketAddr::new(v4.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    let caller = label.caller.map(|(from, to)| {
        if from.is_ipv4() == to.is_ipv4() {
            (from, to)
        } else {
            (mapped(from), mapped(to))
        }
    });
    Label { caller, ..label }
}

/// Puts a header together by hand: frame, these TLVs and, if wanted, a right checksum.
fn header(command: u8, tlvs: &[(u8, &[u8])], checksum: bool) -> Vec<u8> {
    let mut body = Vec::new();
    for (kind, value) in tlvs {
        body.push(*kind);
        body.extend((value.len() as u16).to_be_bytes());
        body.extend(*value);
    }
    if checksum {
        body.extend([0x03, 0, 4, 0, 0, 0, 0]);
    }
    let mut header = SIGNATURE.to_vec();
    header.extend([command, 0]);
    header.extend((body.len() as u16).to_be_bytes());
    header.extend(body);
    if checksum {
        let sum = crc32c(&header);
        let at = header.len() - 4;
        header[at..].copy_from_slice(&sum.to_be_bytes());
    }
    header
}

fn identity(format: u8, flags: u8, rest: &[u8]) -> Vec<u8> {
    let mut value = vec![format, flags];
    value.extend(7u64.to_be_bytes());
    value.extend(2u32.to_be_bytes());
    value.extend(3u32.to_be_bytes());
    value.extend(rest);
    value
}

proptest! {
    #[test]
    fn a_label_survives_the_wire(label in any_label(), after in any::<Vec<u8>>()) {
        let mut bytes = encoded(&label);
        let length = bytes.len();
        bytes.extend(after);
        prop_assert_eq!(parse(&bytes), Parsed::Label { label: as_carried(label), length });
    }

    #[test]
    fn every_beginning_of_a_label_waits_for_more(label in any_label()) {
        let bytes = encoded(&label);
        for end in 0..bytes.len() {
            prop_assert_eq!(parse(&bytes[..end]), Parsed::Partial);
        }
    }

    #[test]
    fn a_flipped_bit_is_never_believed(label in any_label(), position in any::<prop::sample::Index>(), bit in 0..8u8) {
        let mut bytes = encoded(&label);
        let at = position.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let believed = matches!(parse(&bytes), Parsed::Label { .. });
        prop_assert!(!believed);
    }

    #[test]
    fn anything_at_all_has_an_answer(bytes in any::<Vec<u8>>()) {
        parse(&bytes);
    }

    #[test]
    fn anything_after_the_signature_has_an_answer(bytes in any::<Vec<u8>>()) {
        let mut whole = SIGNATURE.to_vec();
        whole.extend([0x21, 0x11, 0, bytes.len().min(200) as u8]);
        whole.extend(bytes);
        parse(&whole);
    }
}

#[test]
fn the_bytes_are_fixed() {
    let bytes = encoded(&Label::plain(0x0102_0304_0506_0708, 2, 9));
    let expected: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x1c\xe5\x00\x12\x01\x00\
        \x01\x02\x03\x04\x05\x06\x07\x08\x00\x00\x00\x02\x00\x00\x00\x09\x03\x00\x04";
    assert_eq!(&bytes[..bytes.len() - 4], expected);
    assert_eq!(bytes.len(), 44);
}

#[test]
fn callers_own_bytes_and_foreign_headers_are_not_labels() {
    assert_eq!(parse(b""), Parsed::Partial);
    assert_eq!(parse(b"GET / HTTP/1.1\r\n"), Parsed::NotALabel);
    assert_eq!(parse(b"\r\n\r\nGET"), Parsed::NotALabel);
    assert_eq!(parse(&header(0x20, &[], false)), Parsed::NotALabel);
    assert_eq!(
        parse(&header(0x21, &[(0xEA, b"other")], true)),
        Parsed::NotALabel
    );
    assert_eq!(
        parse(&header(0x20, &[(0xE5, &identity(2, 0, b""))], true)),
        Parsed::NotALabel
    );
    assert_eq!(
        parse(&header(0x31, &[(0xE5, &identity(1, 0, b""))], true)),
        Parsed::NotALabel
    );
}

#[test]
fn unknown_tlvs_and_flags_are_skipped() {
    let value = identity(1, 0x80, b"later");
    let bytes = header(
        0x20,
        &[(0xEE, b"before"), (0xE5, &value), (0xE6, b"a MAC")],
        true,
    );
    assert_eq!(
        parse(&bytes),
        Parsed::Label {
            label: Label::plain(7, 2, 3),
            length: bytes.len()
        }
    );
}

#[test]
fn lengths_and_checksums_that_are_wrong_are_damage() {
    assert_eq!(
        parse(&header(0x20, &[(0xE5, &identity(1, 0, b""))], false)),
        Parsed::Damaged
    );
    assert_eq!(
        parse(&header(0x20, &[(0xE5, &identity(1, 0x01, b"short"))], true)),
        Parsed::Damaged
    );
    assert_eq!(
        parse(&header(0x20, &[(0xE5, b"\x01")], true)),
        Parsed::Damaged
    );
}

#[test]
fn a_signed_label_is_short_enough_for_any_first_packet_and_older_readers_skip_its_proof() {
    let proof = Proof {
        generation: 3,
        at_s: 1_796_000_000,
        destination: "10.0.0.9:7000".parse().expect("an address"),
        mac: [0xAB; 16],
    };
    let plain = Label::plain(7, 2, 3);
    let signed = Label {
        proof: Some(proof),
        ..plain
    };
    let bytes = encoded(&signed);
    // The least that a first packet holds beside its options: 536 bytes, of which they take 40.
    assert_eq!((encoded(&plain).len(), bytes.len()), (44, 94));
    // A reader that does not know the proof's format, as one from before it, has the label all the same.
    let value = |format: u8| [&[format][..], &[0; 46]].concat();
    let ours = identity(1, 0, &[]);
    let later = header(0x20, &[(0xE5, &ours), (0xE6, &value(2))], true);
    let Parsed::Label { label, .. } = parse(&later) else {
        panic!("{:?}", parse(&later));
    };
    assert_eq!(label.proof, None);
    // Half a proof is a damaged label, not one without.
    let half = header(0x20, &[(0xE5, &ours), (0xE6, &value(1)[..20])], true);
    assert_eq!(parse(&half), Parsed::Damaged);
}

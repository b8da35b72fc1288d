//! What a proof is worth, for every way in which it can be of no use.

use super::proof::{AGE_S_MAX, AHEAD_S_MAX};
use super::*;
use label::{Label, Proof};

const NOW_S: u64 = 1_796_000_000;

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn key(generation: u32) -> LabelKey {
    LabelKey {
        generation,
        key: [generation as u8; 32],
    }
}

fn keyring(signing: Option<u32>, generations: &[u32]) -> Keyring {
    Keyring {
        demanded: true,
        signing,
        keys: generations.iter().copied().map(key).collect(),
        endpoints: vec![OwnEndpoint {
            at: at("192.0.2.1:80"),
            port: 7000,
        }],
    }
}

fn held(keyring: &Keyring) -> HeldKeyring<Box<[std::sync::atomic::AtomicU64]>> {
    let held = HeldKeyring::private();
    held.publish(keyring);
    held
}

fn signed(to: &str) -> Label {
    held(&keyring(Some(1), &[1]))
        .view()
        .sign(Label::plain(7, 2, 3), at(to), NOW_S)
}

fn verdict(label: Label, local: &str, now_s: u64) -> ProofVerdict {
    held(&keyring(Some(1), &[1]))
        .view()
        .verdict(&label, at(local), now_s)
}

#[test]
fn a_signed_label_is_proved_where_it_was_sent_to_and_nowhere_else() {
    let label = signed("10.0.0.9:7000");
    assert_eq!(verdict(label, "10.0.0.9:7000", NOW_S), ProofVerdict::Proved);
    assert_eq!(
        verdict(label, "[::ffff:10.0.0.9]:7000", NOW_S),
        ProofVerdict::Proved
    );
    for elsewhere in ["10.0.0.8:7000", "10.0.0.9:7001"] {
        assert_eq!(verdict(label, elsewhere, NOW_S), ProofVerdict::Elsewhere);
    }
}

#[test]
fn what_was_sent_to_a_balancer_is_proved_at_the_port_that_it_leads_to() {
    let label = signed("192.0.2.1:80");
    assert_eq!(verdict(label, "10.0.0.9:7000", NOW_S), ProofVerdict::Proved);
    assert_eq!(
        verdict(label, "10.0.0.9:7001", NOW_S),
        ProofVerdict::Elsewhere
    );
}

#[test]
fn whatever_is_changed_in_a_signed_label_makes_it_a_forgery() {
    let label = signed("10.0.0.9:7000");
    let proof = label.proof.expect("signed");
    let forged = |label| {
        assert_eq!(
            verdict(label, "10.0.0.9:7000", NOW_S),
            ProofVerdict::Forged,
            "{label:?}"
        );
    };
    forged(Label { node: 4, ..label });
    forged(Label {
        version: 1,
        ..label
    });
    forged(Label { system: 8, ..label });
    forged(Label {
        question: Some([0; 16]),
        ..label
    });
    let with = |proof| Label {
        proof: Some(proof),
        ..label
    };
    let destination = at("192.0.2.1:80");
    forged(with(Proof {
        destination,
        ..proof
    }));
    let at_s = proof.at_s + 1;
    forged(with(Proof { at_s, ..proof }));
    for byte in 0..16 {
        let mut mac = proof.mac;
        mac[byte] ^= 1;
        forged(with(Proof { mac, ..proof }));
    }
}

#[test]
fn a_label_counts_in_its_time_only() {
    let label = signed("10.0.0.9:7000");
    let when = |now_s| verdict(label, "10.0.0.9:7000", now_s);
    assert_eq!(when(NOW_S + AGE_S_MAX), ProofVerdict::Proved);
    assert_eq!(when(NOW_S + AGE_S_MAX + 1), ProofVerdict::Untimely);
    assert_eq!(when(NOW_S - AHEAD_S_MAX), ProofVerdict::Proved);
    assert_eq!(when(NOW_S - AHEAD_S_MAX - 1), ProofVerdict::Untimely);
    assert_eq!(when(0), ProofVerdict::Untimely);
}

#[test]
fn a_key_that_has_ended_proves_nothing_and_is_not_left_behind() {
    let label = signed("10.0.0.9:7000");
    let held = held(&keyring(Some(1), &[1, 2]));
    let verdict = |held: &HeldKeyring<_>| held.view().verdict(&label, at("10.0.0.9:7000"), NOW_S);
    assert_eq!(verdict(&held), ProofVerdict::Proved);
    let words: Box<[std::sync::atomic::AtomicU64]> = (0..WORDS).map(|_| 0.into()).collect();
    let words: &'static [_] = Box::leak(words);
    let shared = HeldKeyring::new(words).expect("room");
    shared.publish(&keyring(Some(1), &[1, 2]));
    shared.publish(&keyring(Some(2), &[2]));
    assert_eq!(
        KeyringView::new(words)
            .expect("a keyring")
            .verdict(&label, at("10.0.0.9:7000"), NOW_S),
        ProofVerdict::UnknownKey
    );
    let ended = u64::from_le_bytes([1; 8]);
    let left = words
        .iter()
        .filter(|word| word.load(std::sync::atomic::Ordering::Relaxed) == ended);
    assert_eq!(left.count(), 0, "the ended key");
    // Another system's key of the same generation.
    held.publish(&Keyring {
        keys: vec![LabelKey {
            generation: 1,
            key: [9; 32],
        }],
        ..keyring(Some(1), &[])
    });
    assert_eq!(verdict(&held), ProofVerdict::Forged);
}

#[test]
fn without_a_key_nothing_is_signed_and_nothing_is_believed() {
    let plain = Label::plain(7, 2, 3);
    let never_published = HeldKeyring::private();
    assert!(never_published.view().demanded());
    for held in [
        never_published,
        held(&keyring(None, &[1])),
        held(&keyring(Some(1), &[])),
    ] {
        assert_eq!(held.view().sign(plain, at("10.0.0.9:7000"), NOW_S), plain);
    }
    assert_eq!(
        verdict(plain, "10.0.0.9:7000", NOW_S),
        ProofVerdict::Unsigned
    );
}

#[test]
fn a_key_is_never_shown() {
    let shown = format!("{:?}", keyring(Some(7), &[7]));
    assert!(shown.contains("LabelKey(7)"), "{shown}");
    assert!(!shown.contains("7, 7"), "{shown}");
}

#[test]
fn what_is_signed_is_what_the_specification_says() {
    let mac = |question: Option<[u8; 16]>| {
        let label = Label {
            question,
            ..Label::plain(7, 2, 3)
        };
        let held = held(&keyring(Some(1), &[1]));
        let signed = held.view().sign(label, at("10.0.0.9:7000"), NOW_S);
        let mac = signed.proof.expect("signed").mac;
        mac.map(|byte| format!("{byte:02x}")).concat()
    };
    // Computed by another program, from the table in the specification.
    assert_eq!(mac(None), "3e0105e946242667f6c0ada533ee75d9");
    assert_eq!(mac(Some([9; 16])), "83e3277c23771bb8e63fbd014058ac3e");
}

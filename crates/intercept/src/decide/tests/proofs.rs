//! Labels of systems that sign them.

use super::*;
use crate::keyring::{HeldKeyring, Keyring, LabelKey};

const NOW_S: u64 = 1_796_000_000;

fn keyring(demanded: bool) -> Keyring {
    let key = LabelKey {
        generation: 4,
        key: [4; 32],
    };
    Keyring {
        demanded,
        signing: Some(4),
        keys: vec![key],
        endpoints: Vec::new(),
    }
}

/// What becomes of a connection of a member with this label, signed for this address.
fn accepted(demanded: bool, signed_for: Option<&str>, label: Label) -> Accept {
    let table = Table {
        signs: true,
        ..table()
    };
    let held = HeldKeyring::private();
    held.publish(&keyring(demanded));
    let label = match signed_for {
        Some(at) => held.view().sign(label, address(at), NOW_S),
        None => label,
    };
    let proofs = Proofs {
        keyring: Some(held.view()),
        now_s: NOW_S + 3,
    };
    accept_with(&table, label, &proofs)
}

fn accept_with(table: &Table, label: Label, proofs: &Proofs<'_>) -> Accept {
    let mut bytes = [0; LABEL_BYTES_MAX];
    let length = label.encode(&mut bytes);
    look(table, |snapshot| {
        let (local, peer) = (address("10.0.0.9:7000"), address("10.0.0.1:5555"));
        on_accept(
            &snapshot,
            local,
            peer,
            First::Bytes(&bytes[..length]),
            proofs,
        )
    })
}

fn delivered(label: Label, counter: Counter) -> Accept {
    let mut bytes = [0; LABEL_BYTES_MAX];
    Accept::Deliver {
        consume: label.encode(&mut bytes),
        caller: None,
        counter,
    }
}

#[test]
fn where_proofs_are_demanded_only_a_label_that_was_signed_for_here_is_delivered() {
    let label = Label::plain(7, 2, 1);
    let signed = accepted(true, Some("10.0.0.9:7000"), label);
    let Accept::Deliver {
        consume, counter, ..
    } = signed
    else {
        panic!("{signed:?}");
    };
    assert_eq!((consume, counter), (94, Counter::AcceptLabelled));
    let undecided = handed(HandOverReason::Undecided);
    assert_eq!(accepted(true, None, label), undecided);
    assert_eq!(accepted(true, Some("10.0.0.8:7000"), label), undecided);
}

#[test]
fn before_proofs_are_demanded_what_lacks_one_is_delivered_and_counted() {
    let label = Label::plain(7, 2, 1);
    assert_eq!(
        accepted(false, None, label),
        delivered(label, Counter::AcceptUnproved)
    );
}

#[test]
fn a_question_is_answered_only_to_who_proves_itself_a_member() {
    let question = Label {
        question: Some([9; 16]),
        ..Label::plain(7, 1, 1)
    };
    let answered = accepted(true, Some("10.0.0.9:7000"), question);
    assert!(matches!(answered, Accept::Answer { .. }), "{answered:?}");
    assert_eq!(
        accepted(true, None, question),
        handed(HandOverReason::Undecided)
    );
}

#[test]
fn while_the_keys_cannot_be_had_the_agent_judges() {
    let table = Table {
        signs: true,
        ..table()
    };
    let accepted = accept_with(&table, Label::plain(7, 2, 1), &Proofs::NONE);
    assert_eq!(accepted, handed(HandOverReason::Undecided));
}

#[test]
fn where_labels_are_not_signed_a_proof_is_not_looked_at() {
    let held = HeldKeyring::private();
    held.publish(&keyring(true));
    let signed = held
        .view()
        .sign(Label::plain(7, 2, 1), address("10.0.0.8:7000"), NOW_S);
    assert_eq!(
        accept_with(&table(), signed, &Proofs::NONE),
        delivered(signed, Counter::AcceptLabelled)
    );
}

#[test]
fn the_agents_own_connections_need_no_proof() {
    let own = Label {
        agent_key: Some(KEY),
        ..Label::plain(7, 2, 3)
    };
    assert!(matches!(
        accepted(true, None, own),
        Accept::Deliver {
            counter: Counter::AcceptAgent,
            ..
        }
    ));
}

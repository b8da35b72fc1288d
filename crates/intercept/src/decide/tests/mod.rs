//! Each row of the decision table, and the table file underneath.

mod proofs;
mod questions;
mod table_file;

use super::*;
use crate::table::{FILE_BYTES, Table, TableError, TableFile, TableService, TableView};
use label::LABEL_BYTES_MAX;
use std::sync::atomic::{AtomicU64, Ordering};

const KEY: [u8; 16] = *b"the agent's key.";

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn table() -> Table {
    Table {
        system: 7,
        node: 3,
        version: 2,
        agent_lock: lock_of(&KEY),
        services: vec![
            TableService {
                port: 7000,
                kept: true,
                unsure: false,
                public_direct: true,
                callers_begin: false,
                versions: vec![1, 2],
            },
            TableService {
                port: 7001,
                kept: false,
                unsure: false,
                public_direct: false,
                callers_begin: false,
                versions: vec![2],
            },
        ],
        endpoints: [
            "10.0.0.1:7000",
            "10.0.0.2:7000",
            "[2001:db8::1]:7001",
            "127.0.0.1:7002",
        ]
        .map(address)
        .into(),
        sources: ["10.0.0.1", "10.0.0.2", "127.0.0.1"]
            .map(|ip| ip.parse().expect("an address"))
            .into(),
        networks: vec![
            ("192.168.4.0".parse().expect("an address"), 22),
            ("2001:db8::".parse().expect("an address"), 32),
        ],
        ..Table::default()
    }
}

/// Publishes into a file and reads it back as hooks would see it.
fn look<T>(table: &Table, look: impl Fn(Snapshot<'_>) -> T) -> T {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("table");
    TableFile::open(&path)
        .expect("a table file")
        .publish(table)
        .expect("published");
    let words = words(&path);
    let view = TableView::new(&words).expect("a table");
    view.read(look).expect("published")
}

fn words(path: &std::path::Path) -> Vec<AtomicU64> {
    let bytes = std::fs::read(path).expect("the file");
    assert_eq!(bytes.len(), FILE_BYTES);
    bytes
        .as_chunks::<8>()
        .0
        .iter()
        .map(|word| AtomicU64::new(u64::from_ne_bytes(*word)))
        .collect()
}

fn accept(table: &Table, peer: &str, first: First<'_>) -> Accept {
    look(table, |snapshot| {
        let local = address("10.0.0.9:7000");
        on_accept(&snapshot, local, address(peer), first, &Proofs::NONE)
    })
}

fn accept_label(table: &Table, peer: &str, label: Label) -> Accept {
    let mut bytes = [0; LABEL_BYTES_MAX];
    let length = label.encode(&mut bytes);
    accept(table, peer, First::Bytes(&bytes[..length]))
}

fn handed(reason: HandOverReason) -> Accept {
    Accept::HandOver(reason)
}

#[test]
fn members_get_labels_and_others_are_left_alone() {
    look(&table(), |snapshot| {
        let label = Connect::Label(Label::plain(7, 2, 3));
        for member in [
            "10.0.0.2:7000",
            "[::ffff:10.0.0.2]:7000",
            "[2001:db8::1]:7001",
            "0.0.0.0:7002",
        ] {
            assert_eq!(on_connect(&snapshot, address(member)), label, "{member}");
        }
        for other in [
            "10.0.0.2:7001",
            "10.0.0.3:7000",
            "[2001:db8::1]:7000",
            "[::]:7002",
        ] {
            let found = on_connect(&snapshot, address(other));
            let has_a_services_port = snapshot.service(address(other).port()).is_some();
            let expected = if has_a_services_port {
                Bypass::LikeAMember
            } else {
                Bypass::NotAMember
            };
            assert_eq!(found, Connect::Bypass(expected), "{other}");
        }
    });
}

#[test]
fn only_software_that_is_being_stopped_leaves_its_services_queues() {
    look(&table(), |snapshot| {
        assert!(!leaves_queued(&snapshot, 7000, 5));
    });
    let stopping = Table {
        stopping_until_ms: 1_000,
        ..table()
    };
    look(&stopping, |snapshot| {
        assert!(leaves_queued(&snapshot, 7000, 999));
        assert!(!leaves_queued(&snapshot, 7999, 999), "no declared service");
        // Whoever said so may have died before it stopped anything.
        assert!(!leaves_queued(&snapshot, 7000, 1_000));
    });
}

#[test]
fn software_that_is_probed_reaches_itself_and_nobody_else() {
    let alone = Table {
        refuse_members: true,
        probing: true,
        ..table()
    };
    let own = Connect::Label(Label::plain(alone.system, alone.version, alone.node));
    look(&alone, |snapshot| {
        for to in ["10.0.0.2:7000", "10.0.0.3:7000", "127.0.0.1:7000"] {
            assert_eq!(on_connect_to_itself(&snapshot, address(to)), own, "{to}");
        }
    });
    look(&table(), |snapshot| {
        let elsewhere = on_connect_to_itself(&snapshot, address("127.0.0.1:7000"));
        assert_eq!(elsewhere, Connect::Bypass(Bypass::NotAMember));
    });
}

#[test]
fn members_look_down_while_probing_alone() {
    let table = Table {
        refuse_members: true,
        ..table()
    };
    look(&table, |snapshot| {
        assert_eq!(
            on_connect(&snapshot, address("10.0.0.2:7000")),
            Connect::Refuse(Counter::ConnectRefused)
        );
        assert_eq!(
            on_connect(&snapshot, address("10.0.0.3:7000")),
            Connect::Bypass(Bypass::LikeAMember)
        );
    });
}

#[test]
fn only_kept_ports_ask_the_holder() {
    look(&table(), |snapshot| {
        assert!(on_bind(&snapshot, 7000));
        assert!(!on_bind(&snapshot, 7001));
        assert!(!on_bind(&snapshot, 9));
    });
}

#[test]
fn the_same_interface_is_delivered_raw_and_another_is_handed_over() {
    for version in [1, 2] {
        let accepted = accept_label(&table(), "10.0.0.1:5555", Label::plain(7, version, 1));
        assert_eq!(
            accepted,
            Accept::Deliver {
                consume: 44,
                caller: None,
                counter: Counter::AcceptLabelled
            }
        );
    }
    let foreign = accept_label(&table(), "10.0.0.1:5555", Label::plain(7, 3, 1));
    assert_eq!(foreign, handed(HandOverReason::Foreign));
}

#[test]
fn labels_are_honoured_from_members_and_declared_networks_only() {
    let label = Label::plain(7, 2, 1);
    for peer in [
        "10.0.0.1:1",
        "[::ffff:10.0.0.1]:1",
        "192.168.7.255:1",
        "[2001:db8:ffff::1]:1",
    ] {
        assert!(
            matches!(accept_label(&table(), peer, label), Accept::Deliver { .. }),
            "{peer}"
        );
    }
    for peer in ["10.0.0.3:1", "192.168.8.0:1", "[2001:db9::1]:1"] {
        assert_eq!(
            accept_label(&table(), peer, label),
            handed(HandOverReason::Undecided),
            "{peer}"
        );
    }
    let other_system = Label::plain(8, 2, 1);
    assert_eq!(
        accept_label(&table(), "10.0.0.1:1", other_system),
        handed(HandOverReason::Undecided)
    );
}

#[test]
fn the_agents_own_connections_show_the_true_caller_even_while_probing() {
    let table = Table {
        probing: true,
        ..table()
    };
    let caller = address("10.9.9.9:1234");
    let label = Label {
        caller: Some((caller, address("10.0.0.9:7000"))),
        agent_key: Some(KEY),
        ..Label::plain(7, 2, 3)
    };
    let accepted = accept_label(&table, "127.0.0.1:1", label);
    assert_eq!(
        accepted,
        Accept::Deliver {
            consume: 72,
            caller: Some(caller),
            counter: Counter::AcceptAgent
        }
    );

    // Everybody can read the table: what stands in it opens nothing.
    for key in [[0; 16], lock_of(&KEY)] {
        let forged = Label {
            agent_key: Some(key),
            ..label
        };
        assert_eq!(
            accept_label(&table, "10.0.0.1:1", forged),
            handed(HandOverReason::Probing)
        );
    }
    assert_eq!(
        accept(&table, "10.0.0.77:1", First::Nothing),
        handed(HandOverReason::Probing)
    );
}

#[test]
fn a_token_is_exchanged() {
    let label = Label {
        token: Some([5; 16]),
        ..Label::plain(7, 2, 3)
    };
    assert_eq!(
        accept_label(&table(), "127.0.0.1:1", label),
        Accept::Take {
            token: [5; 16],
            caller: None
        }
    );
}

#[test]
fn callers_without_a_label_follow_the_public_version() {
    let direct = deliver(Counter::AcceptUnlabelled);
    assert_eq!(accept(&table(), "10.0.0.77:1", First::Nothing), direct);
    assert_eq!(
        accept(&table(), "10.0.0.77:1", First::Bytes(b"GET /")),
        direct
    );
    let mut closed = table();
    closed.services[0].public_direct = false;
    for first in [First::Nothing, First::Bytes(b"GET /"), First::End] {
        assert_eq!(
            accept(&closed, "10.0.0.77:1", first),
            handed(HandOverReason::Public)
        );
    }
}

#[test]
fn from_a_member_a_label_may_come_late_unless_other_bytes_came_first() {
    let undecided = handed(HandOverReason::Undecided);
    assert_eq!(accept(&table(), "10.0.0.1:1", First::Nothing), undecided);
    assert_eq!(
        accept(&table(), "10.0.0.1:1", First::Bytes(b"\r\n\r\n")),
        undecided
    );
    assert_eq!(
        accept(&table(), "10.0.0.1:1", First::Bytes(b"GET /")),
        deliver(Counter::AcceptUnlabelled)
    );
    assert_eq!(
        accept(&table(), "10.0.0.1:1", First::End),
        deliver(Counter::AcceptUnlabelled)
    );
}

#[test]
fn within_one_host_no_label_is_late() {
    let prompt = Table {
        local_labels_prompt: true,
        ..table()
    };
    let direct = deliver(Counter::AcceptUnlabelled);
    assert_eq!(accept(&prompt, "127.0.0.1:1", First::Nothing), direct);
    assert_eq!(
        accept(&table(), "127.0.0.1:1", First::Nothing),
        handed(HandOverReason::Undecided)
    );
    assert_eq!(
        accept(&prompt, "10.0.0.1:1", First::Nothing),
        handed(HandOverReason::Undecided)
    );
    // But a balancer on this host opens its connection before it has what it passes on.
    let balanced = Table {
        networks: vec![("127.0.0.1".parse().expect("an address"), 32)],
        ..prompt
    };
    assert_eq!(
        accept(&balanced, "127.0.0.1:1", First::Nothing),
        handed(HandOverReason::Undecided)
    );
}

#[test]
fn a_label_that_asks_for_a_cookie_is_late_anywhere_but_on_loopback() {
    let asking = Table {
        local_labels_prompt: true,
        cookies: true,
        sources: ["10.0.0.9", "127.0.0.1"]
            .map(|ip| ip.parse().expect("an address"))
            .into(),
        ..table()
    };
    let unasked = Table {
        cookies: false,
        ..asking.clone()
    };
    let own = |table| accept(table, "10.0.0.9:1", First::Nothing);
    let direct = deliver(Counter::AcceptUnlabelled);
    for (table, to, late) in [
        (&asking, "10.0.0.9:1", true),
        (&asking, "127.0.0.9:1", false),
        (&asking, "[::1]:1", false),
        (&asking, "[::ffff:127.0.0.1]:1", false),
        (&asking, "0.0.0.0:1", false),
        (&asking, "[::]:1", false),
        (&unasked, "10.0.0.9:1", false),
    ] {
        let to = address(to);
        assert_eq!(
            look(table, |table| may_ask_for_cookie(&table, to)),
            late,
            "{to}"
        );
    }
    assert_eq!(own(&asking), handed(HandOverReason::Undecided));
    assert_eq!(own(&unasked), direct);
    assert_eq!(accept(&asking, "127.0.0.1:1", First::Nothing), direct);
}

#[test]
fn a_damaged_label_is_never_delivered() {
    let mut bytes = [0; LABEL_BYTES_MAX];
    let length = Label::plain(7, 2, 1).encode(&mut bytes);
    bytes[30] ^= 1;
    assert_eq!(
        accept(&table(), "10.0.0.1:1", First::Bytes(&bytes[..length])),
        handed(HandOverReason::Undecided)
    );
}

#[test]
fn other_ports_are_left_alone() {
    let accepted = look(&table(), |snapshot| {
        let arrival = |local, peer| on_arrival(&snapshot, address(local), address(peer));
        assert_eq!(arrival("10.0.0.9:22", "10.0.0.1:1"), Arrival::NotAService);
        assert_eq!(
            arrival("10.0.0.9:7000", "[::ffff:10.0.0.1]:1"),
            Arrival::Member
        );
        assert_eq!(arrival("10.0.0.9:7000", "10.0.0.77:1"), Arrival::Outsider);
        on_accept(
            &snapshot,
            address("10.0.0.9:22"),
            address("10.0.0.1:1"),
            First::Nothing,
            &Proofs::NONE,
        )
    });
    assert_eq!(accepted, deliver(Counter::AcceptNotAService));
}

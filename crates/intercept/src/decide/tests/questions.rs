//! Whether a member still listens at an address: who answers, and what becomes of calls to where nobody does.

use super::*;

const QUESTION: Option<[u8; 16]> = Some([9; 16]);

fn question(system: u64) -> Label {
    Label {
        question: QUESTION,
        ..Label::plain(system, 1, 1)
    }
}

#[test]
fn a_members_question_is_answered_whatever_its_version_and_nobody_elses_is() {
    let answer = Label {
        question: QUESTION,
        ..Label::plain(7, 2, 3)
    };
    for version in [1, 99] {
        let asked = Label {
            version,
            ..question(7)
        };
        let accepted = accept_label(&table(), "10.0.0.1:5555", asked);
        let consume = 60;
        assert_eq!(accepted, Accept::Answer { consume, answer });
    }
    // A stranger is told nothing, nor is another system.
    let undecided = handed(HandOverReason::Undecided);
    assert_eq!(
        accept_label(&table(), "10.0.0.77:1", question(7)),
        undecided
    );
    assert_eq!(accept_label(&table(), "10.0.0.1:1", question(8)), undecided);
    // Of a forgotten node, and while it is probed, the agent knows whether to answer.
    let probing = Table {
        probing: true,
        ..table()
    };
    assert_eq!(
        accept_label(&probing, "10.0.0.1:1", question(7)),
        handed(HandOverReason::Probing)
    );
}

#[test]
fn where_nobody_shows_that_a_member_listens_the_software_is_not_connected() {
    let table = Table {
        doubtful: ["[2001:db8::1]:7001", "10.0.0.2:7000"].map(address).into(),
        ..table()
    };
    look(&table, |snapshot| {
        for doubtful in [
            "10.0.0.2:7000",
            "[::ffff:10.0.0.2]:7000",
            "[2001:db8::1]:7001",
        ] {
            assert_eq!(
                on_connect(&snapshot, address(doubtful)),
                Connect::Refuse(Counter::ConnectInDoubt),
                "{doubtful}"
            );
        }
        for other in ["10.0.0.1:7000", "127.0.0.1:7002"] {
            let connect = on_connect(&snapshot, address(other));
            assert!(matches!(connect, Connect::Label(_)), "{other}");
        }
        assert!(!snapshot.is_doubtful(address("10.0.0.2:7001")));
        // The software's way to itself is never in doubt.
        let itself = on_connect_to_itself(&snapshot, address("10.0.0.2:7000"));
        assert!(matches!(itself, Connect::Label(_)));
    });
}

#[test]
fn doubts_take_the_room_that_endpoints_leave() {
    let endpoints = |count: usize| -> Vec<SocketAddr> {
        let ports = 1..=u16::try_from(count).expect("a port");
        let at = |port| SocketAddr::new(IpAddr::from([10, 0, 0, 1]), port);
        ports.map(at).collect()
    };
    let all = endpoints(crate::table::ENDPOINTS_MAX - 2);
    let table = Table {
        endpoints: all.clone(),
        doubtful: all,
        ..table()
    };
    look(&table, |snapshot| {
        for (port, doubtful) in [(1, true), (2, true), (3, false)] {
            let at = SocketAddr::new(IpAddr::from([10, 0, 0, 1]), port);
            assert!(snapshot.is_endpoint(at));
            assert_eq!(snapshot.is_doubtful(at), doubtful, "{port}");
        }
    });
}

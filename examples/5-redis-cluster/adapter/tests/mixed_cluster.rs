//! The real servers: a node of 7.0 in a cluster of 3.2.6, with the adapter's code on the bus between them, and without it.
//!
//! The messages in `tests/messages` were recorded by the first test, run with `UPSTART_RECORD_MESSAGES=FOLDER`.

mod support;

use network::Namespace;
use nix::sys::signal::Signal;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use support::server::{PORT, Server, new_program, old_program};
use support::{relay, wait};

/// The masters of 3.2.6, and after them the node of 7.0.
const NODES: [Ipv4Addr; 4] = [
    Ipv4Addr::new(127, 77, 0, 1),
    Ipv4Addr::new(127, 77, 0, 2),
    Ipv4Addr::new(127, 77, 0, 3),
    Ipv4Addr::new(127, 77, 0, 4),
];
const SLOTS: [(u16, u16); 3] = [(0, 5460), (5461, 10922), (10923, 16383)];
/// A key of the first master: its slot is 3300.
const KEY: &str = "b";

/// A namespace and both programs, or why the test cannot run here.
fn prerequisites(test: &str) -> Option<(Namespace, PathBuf, PathBuf)> {
    let skip = |why: &str| println!("SKIPPED: {test}: {why}");
    if let Some(why) = network::unavailable() {
        skip(&why);
        return None;
    }
    let Some(old) = old_program() else {
        skip("redis-server 3.2.6 was not built");
        return None;
    };
    let Some(new) = new_program() else {
        skip("redis-server 7.0 is not installed");
        return None;
    };
    Some((Namespace::new().expect("it was possible"), old, new))
}

/// Three masters of 3.2.6 that know each other and serve all slots.
fn old_cluster(
    namespace: &Namespace,
    program: &std::path::Path,
    place: &std::path::Path,
) -> Vec<Server> {
    let masters: Vec<Server> = NODES[..3]
        .iter()
        .map(|address| {
            Server::start(
                namespace,
                program,
                *address,
                &place.join(address.to_string()),
                &[],
            )
        })
        .collect();
    for (master, (first, last)) in masters.iter().zip(SLOTS) {
        let slots: Vec<String> = (first..=last).map(|slot| slot.to_string()).collect();
        // In parts: a command in one line has a limit.
        for part in slots.chunks(2000) {
            assert_eq!(
                master.ask(&format!("CLUSTER ADDSLOTS {}", part.join(" "))),
                "OK"
            );
        }
    }
    for (epoch, master) in (1..).zip(&masters) {
        assert_eq!(
            master.ask(&format!("CLUSTER SET-CONFIG-EPOCH {epoch}")),
            "OK"
        );
    }
    for master in &masters[1..] {
        meet(master, &masters[0]);
    }
    wait("the old cluster is whole", || {
        masters.iter().all(|node| {
            node.says("CLUSTER INFO", "cluster_state:ok") && node.number("cluster_known_nodes") == 3
        })
    });
    masters
}

fn meet(from: &Server, to: &Server) {
    let answer = from.ask(&format!("CLUSTER MEET {} {PORT}", to.address));
    assert_eq!(answer, "OK");
}

fn new_node(namespace: &Namespace, program: &std::path::Path, place: &std::path::Path) -> Server {
    let address = NODES[3];
    let source = address.to_string();
    let more = ["--bind-source-addr", source.as_str()];
    Server::start(namespace, program, address, &place.join("new"), &more)
}

#[test]
fn a_node_of_7_0_joins_a_cluster_of_3_2_replicates_and_takes_over() {
    let Some((namespace, old, new)) = prerequisites("a_node_of_7_0_joins_a_cluster_of_3_2") else {
        return;
    };
    let place = tempfile::tempdir().expect("a folder");
    let seen = relay::stand_between(&namespace, &NODES[3..]);
    let mut masters = old_cluster(&namespace, &old, place.path());
    assert_eq!(masters[0].ask(&format!("SET {KEY} before")), "OK");

    let node = new_node(&namespace, &new, place.path());
    let id = node.id();
    joins(&node, &id, &masters);
    replicates(&node, &id, &masters);
    // A subscriber's message crosses the bus.
    assert_eq!(masters[1].ask("PUBLISH channel hello"), "0");
    takes_over(&node, &id, &masters);

    // The old node takes its slots back without asking anybody, as after a partition.
    node.signal(Signal::SIGSTOP);
    assert_eq!(masters[0].ask("CLUSTER FAILOVER TAKEOVER"), "OK");
    node.signal(Signal::SIGCONT);
    wait("the new node knows that it is no master any more", || {
        node.says("INFO replication", "role:slave")
    });

    // The old ones tell it of one that failed.
    let third = masters[2].id();
    masters[2].kill();
    wait("both versions agree that a node has failed", || {
        [&node, &masters[1]].iter().all(|server| {
            let seen = server.sees(&third);
            seen.is_some_and(|(flags, _)| flags.contains("fail") && !flags.contains('?'))
        })
    });
    record(&seen);
}

fn joins(node: &Server, id: &str, masters: &[Server]) {
    meet(node, &masters[1]);
    wait("everybody knows everybody", || {
        let connected = |server: &Server| server.sees(id).is_some_and(|(_, connected)| connected);
        masters.iter().all(connected)
            && node.number("cluster_known_nodes") == 4
            && node.says("CLUSTER INFO", "cluster_state:ok")
            && node.number("cluster_slots_ok") == 16384
    });
}

/// The node replicates the first master.
fn replicates(node: &Server, id: &str, masters: &[Server]) {
    let command = format!("CLUSTER REPLICATE {}", masters[0].id());
    wait("the new node replicates", || {
        node.ask_or_error(&command) == "OK"
    });
    wait("it has the old master's data", || {
        node.says("INFO replication", "master_link_status:up")
    });
    assert_eq!(masters[0].ask(&format!("SET {KEY} after")), "OK");
    wait("everybody knows the replica", || {
        let is_replica =
            |server: &Server| server.sees(id).is_some_and(|(flags, _)| flags == "slave");
        masters.iter().all(is_replica)
    });
}

fn takes_over(node: &Server, id: &str, masters: &[Server]) {
    wait("the failover may begin", || {
        node.ask_or_error("CLUSTER FAILOVER") == "OK"
    });
    wait("everybody sees the new master, and all is served", || {
        let served = |server: &Server| {
            server
                .sees(id)
                .is_some_and(|(flags, connected)| flags == "master" && connected)
                && server.says("CLUSTER INFO", "cluster_state:ok")
        };
        masters.iter().all(served) && node.says("INFO replication", "role:master")
    });
    assert_eq!(node.ask(&format!("GET {KEY}")), "after");
    assert_eq!(node.ask(&format!("SET {KEY} again")), "OK");
}

#[test]
fn without_the_adapter_the_versions_never_hear_each_other() {
    let Some((namespace, old, new)) = prerequisites("without_the_adapter") else {
        return;
    };
    let place = tempfile::tempdir().expect("a folder");
    let masters = old_cluster(&namespace, &old, place.path());
    let node = new_node(&namespace, &new, place.path());
    let id = node.id();
    let before = node.number("cluster_stats_messages_received");
    // It says OK, and that is all that ever comes of it.
    meet(&node, &masters[0]);
    meet(&masters[1], &node);
    wait("the new node has got the old one's messages", || {
        node.number("cluster_stats_messages_received") > before
    });
    wait("they have given each other up", || {
        node.number("cluster_known_nodes") == 1
            && masters
                .iter()
                .all(|server| server.number("cluster_known_nodes") == 3)
    });
    assert!(masters.iter().all(|server| server.sees(&id).is_none()));
    assert!(node.says("CLUSTER INFO", "cluster_state:fail"));
}

/// Keeps what was seen on the bus, for the tests that need no server.
fn record(seen: &relay::Seen) {
    let Some(folder) = std::env::var_os("UPSTART_RECORD_MESSAGES").map(PathBuf::from) else {
        return;
    };
    for ((version, kind), message) in seen.lock().expect("nobody panics with it").iter() {
        let name = format!("version-{version}-type-{kind}.bin");
        std::fs::write(folder.join(name), message).expect("the folder is there");
    }
}

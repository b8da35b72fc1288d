//! After accept and connect nothing of ours is in the data path: the system calls are those of a bare run, one by one.

use crate::harness::{Node, free_port, table};
use intercept::stats::Counter;
use kit::programs::{compile, find, printed};
use std::path::Path;
use std::process::Command;

/// The system calls of one run of a scenario of `probe.c`, in order, as `name(first argument`.
fn traced(
    node: &Node,
    probe: &Path,
    scenario: &str,
    ports: [u16; 2],
    preloaded: bool,
) -> Vec<String> {
    let output = node.folder.path().join(format!("trace-{preloaded}"));
    let mut command = Command::new("strace");
    command.args(["-f", "-o"]).arg(&output);
    if preloaded {
        for (name, value) in node.environment() {
            command.arg("-E").arg(format!("{name}={value}"));
        }
    }
    command
        .arg(probe)
        .arg(scenario)
        .args(ports.map(|port| port.to_string()));
    printed(&mut command);
    let text = std::fs::read_to_string(output).expect("a trace");
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(_, call)| call.trim_start().to_owned())
        .collect()
}

/// What follows the last call that begins the connection, up to its close: only calls on sockets and files.
fn after(calls: &[String], begins: impl Fn(&str) -> bool) -> Vec<String> {
    let begun = calls
        .iter()
        .rposition(|call| begins(call))
        .expect("the call that begins it");
    let moves = [
        "read(",
        "write(",
        "recvfrom(",
        "sendto(",
        "getsockopt(",
        "ioctl(",
        "getsockname(",
        "close(",
        "shutdown(",
    ];
    let rest = calls[begun + 1..]
        .iter()
        .filter(|call| moves.iter().any(|name| call.starts_with(name)));
    rest.map(|call| call.split([',', ')']).next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn the_data_path_is_the_softwares_own() {
    let programs = ["strace", "gcc"].map(|program| find("the data path", program));
    if programs.iter().any(Option::is_none) {
        return;
    }
    let ports = [free_port(), free_port()];
    let node = Node::new(&table(&ports));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/library/traced/session.c");
    let session = compile(&source, node.folder.path());
    let bare = traced(&node, &session, "session", ports, false);
    let ours = traced(&node, &session, "session", ports, true);
    assert_eq!(
        (
            node.count(Counter::ConnectLabelled),
            node.count(Counter::AcceptLabelled)
        ),
        (1, 1),
        "{}",
        node.counters()
    );

    // The accept hook ends with the read that consumes the label: 44 bytes, the only one of that size.
    let accepted = |call: &str| {
        call.starts_with("accept(")
            || call.starts_with("recvfrom(") && call.contains(", 44, MSG_DONTWAIT")
    };
    let bare = after(&bare, accepted);
    assert!(bare.len() > 200, "{bare:?}");
    assert_eq!(bare, after(&ours, accepted));
}

//! The net: programs that call the kernel without libc's functions cannot tell, and their connections are labelled all the same.
//!
//! Each part of a static C program runs bare and under a holder's net, and must print the same. It calls itself at an address that
//! the table names a member's, so that each of its calls is labelled and each of its accepts takes the label off.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

use agent::holder_client::HolderClient;
use intercept::holder::{ChildSpec, Interception};
use intercept::stats::{Counter, StatsFile, StatsSnapshot};
use intercept::table::{Service, Table, TableFile};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use support::{Node, exit};

/// Compiles the program, with these options.
fn compile(folder: &Path, compiler: &str, options: &[&str]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/net/naive.c");
    let program = folder.join("naive");
    let output = Command::new(compiler)
        .args(["-O1", "-Wno-unused-result", "-pthread", "-o"])
        .arg(&program)
        .arg(source)
        .args(options)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    program
}

/// A port at which nothing listens now, outside the ephemeral range.
fn free_port() -> u16 {
    static STEP: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = STEP.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + ((std::process::id().wrapping_mul(41) + step) % 20_000) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

fn publish(node: &Node, port: u16, change: impl FnOnce(&mut Table)) {
    let service = Service {
        port,
        kept: false,
        unsure: false,
        public_direct: true,
        versions: vec![1, 2],
    };
    let mut table = Table {
        system: 7,
        node: 1,
        version: 2,
        local_labels_prompt: true,
        services: vec![service],
        endpoints: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))],
        sources: vec![Ipv4Addr::LOCALHOST.into()],
        ..Table::default()
    };
    change(&mut table);
    let mut file = TableFile::open(&node.data().join("table")).unwrap();
    file.publish(&table).unwrap();
    StatsFile::open(&node.data().join("stats")).unwrap();
}

fn stats(node: &Node) -> StatsSnapshot {
    StatsFile::open(&node.data().join("stats"))
        .unwrap()
        .read()
        .unwrap()
}

/// A start under the net, without the library.
fn spec(node: &Node, generation: u64, command: &[&str]) -> ChildSpec {
    let mut spec = node.spec(generation, command);
    let path = |name: &str| node.data().join(name).display().to_string();
    spec.environment.extend([
        ("UPSTART_TABLE".to_owned(), path("table")),
        ("UPSTART_STATS".to_owned(), path("stats")),
        ("UPSTART_HOLDER".to_owned(), node.hook_name()),
    ]);
    spec
}

/// Runs a command to its end; how it was intercepted and what it printed.
async fn run(node: &Node, spec: ChildSpec) -> (Interception, String) {
    std::fs::remove_file(node.output()).ok();
    let (client, mut notices) = HolderClient::attach(node.data()).await.unwrap();
    let (_, interception) = client.start(spec).await.unwrap();
    exit(&mut notices).await;
    (
        interception,
        std::fs::read_to_string(node.output()).unwrap(),
    )
}

/// What it prints bare, and at which port. Other tests take ports too: one that is taken meanwhile is given up.
fn bare_at_a_free_port(program: &str, part: &str) -> (u16, String) {
    loop {
        let port = free_port();
        let mut command = Command::new(program);
        let output = command.args([part, &port.to_string()]).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        if !printed.contains("Address already in use") {
            assert!(printed.ends_with("end\n"), "{part} bare: {printed}");
            return (port, printed);
        }
    }
}

async fn looks_the_same(program: &Path, parts: &[&str], labelled: bool) {
    let (node, client, mut notices) = Node::start().await;
    let program = program.to_str().unwrap();
    for (generation, part) in (1..).zip(parts) {
        let (port, expected) = bare_at_a_free_port(program, part);
        publish(&node, port, |_| ());
        let port = port.to_string();
        let (how, found) = run(&node, spec(&node, generation, &[program, part, &port])).await;
        assert!(how.net, "{how:?}");
        let seen: Vec<_> = stats(&node).named().collect();
        assert_eq!(found, expected, "{part}, {seen:?}");
    }
    let stats = stats(&node);
    assert!(stats.get(Counter::NetCall) > 0);
    assert_eq!(stats.get(Counter::NetBlind), 0);
    assert_eq!(stats.get(Counter::ConnectLabelled) > 0, labelled);
    assert_eq!(stats.get(Counter::AcceptLabelled) > 0, labelled);
    drop(client);
    let (client, _) = HolderClient::attach(node.data()).await.unwrap();
    node.end(&client, &mut notices).await;
}

#[tokio::test]
async fn a_static_program_calls_and_is_called_as_bare() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "gcc", &["-static"]);
    looks_the_same(&program, &["call", "nonblocking"], true).await;
}

#[tokio::test]
async fn errors_are_the_kernels() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "gcc", &["-static"]);
    looks_the_same(&program, &["errors", "limits", "local"], true).await;
}

#[tokio::test]
async fn signals_end_and_restart_what_waits() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "gcc", &["-static"]);
    looks_the_same(&program, &["interrupted", "storm", "killed"], true).await;
}

#[tokio::test]
async fn threads_and_processes_share_a_listener() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "gcc", &["-static"]);
    looks_the_same(&program, &["threads", "forked"], true).await;
}

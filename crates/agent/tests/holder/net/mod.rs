//! The net: programs that call the kernel without libc's functions cannot tell, and their connections are labelled all the same.
//!
//! Each part of a static C program runs bare and under a holder's net, and must print the same. It calls itself at an address that
//! the table names a member's, so that each of its calls is labelled and each of its accepts takes the label off.

use crate::support::{Node, exit, free_port};
use agent::holder_client::HolderClient;
use intercept::holder::{ChildSpec, Interception};
use intercept::stats::{Counter, StatsFile, StatsSnapshot};
use intercept::table::{Table, TableFile, TableService};
use std::fs::Permissions;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles the program, with these options.
fn compile(folder: &Path, compiler: &str, options: &[&str]) -> PathBuf {
    compile_source(folder, "tests/holder/net/naive.c", compiler, options)
}

fn compile_source(folder: &Path, source: &str, compiler: &str, options: &[&str]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    let program = folder.join("program");
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

/// Makes these ports services, and members' too.
fn publish(node: &Node, ports: &[u16]) {
    let services = ports.iter().map(|port| TableService {
        port: *port,
        kept: false,
        unsure: false,
        public_direct: true,
        callers_begin: false,
        versions: vec![1, 2],
    });
    let hosts: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let endpoints = ports
        .iter()
        .flat_map(|port| hosts.map(|host| SocketAddr::new(host, *port)));
    let table = Table {
        system: 7,
        node: 1,
        version: 2,
        local_labels_prompt: true,
        services: services.collect(),
        endpoints: endpoints.collect(),
        sources: hosts.into(),
        ..Table::default()
    };
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
    let (_, interception) = client.start_told(spec).await.unwrap();
    exit(&mut notices).await;
    (
        interception,
        std::fs::read_to_string(node.output()).unwrap(),
    )
}

/// A command at this port, which stands in it as `PORT`, and the one after it as `NEXT`.
fn at_port(command: &[&str], port: u16) -> Vec<String> {
    let word = |word: &&str| match *word {
        "PORT" => port.to_string(),
        "NEXT" => (port + 1).to_string(),
        other => other.to_owned(),
    };
    command.iter().map(word).collect()
}

/// What it prints bare, and at which port. Other tests take ports too: one that is taken meanwhile is given up.
fn bare_at_a_free_port(command: &[&str]) -> (u16, String) {
    loop {
        let port = free_port();
        let words = at_port(command, port);
        let output = Command::new(&words[0]).args(&words[1..]).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        if !printed.to_lowercase().contains("address already in use") {
            assert!(output.status.success(), "{words:?} bare: {printed}");
            return (port, printed);
        }
    }
}

/// Runs each command bare and under the net; says what was counted.
async fn looks_the_same(commands: &[&[&str]]) -> StatsSnapshot {
    let (node, client, mut notices) = Node::start().await;
    for (generation, command) in (1..).zip(commands) {
        let (port, expected) = bare_at_a_free_port(command);
        publish(&node, &[port, port + 1]);
        let words = at_port(command, port);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        println!("{words:?}");
        let (how, found) = run(&node, spec(&node, generation, &words)).await;
        assert!(how.net, "{how:?}");
        let seen: Vec<_> = stats(&node).named().collect();
        assert_eq!(found, expected, "{words:?}, {seen:?}");
    }
    let stats = stats(&node);
    assert!(stats.get(Counter::NetCall) > 0);
    assert_eq!(stats.get(Counter::NetBlind), 0);
    drop(client);
    let (client, _) = HolderClient::attach(node.data()).await.unwrap();
    node.end(&client, &mut notices).await;
    stats
}

/// Runs these parts of a program, whose calls to itself must be labelled.
async fn parts_look_the_same(program: &Path, parts: &[&str]) {
    let program = program.to_str().unwrap();
    let commands: Vec<[&str; 3]> = parts.iter().map(|part| [program, part, "PORT"]).collect();
    let commands: Vec<&[&str]> = commands.iter().map(|command| &command[..]).collect();
    let stats = looks_the_same(&commands).await;
    assert!(stats.get(Counter::ConnectLabelled) > 0);
    assert!(stats.get(Counter::AcceptLabelled) > 0);
}

/// Says that a test is skipped where a program is missing.
fn is_missing(test: &str, program: &str) -> bool {
    let there = Command::new("which").arg(program).output().unwrap();
    if !there.status.success() {
        println!("SKIPPED: {test}: {program} is not installed");
    }
    !there.status.success()
}

#[tokio::test]
async fn a_static_program_calls_and_is_called_as_bare() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "gcc", &["-static"]);
    parts_look_the_same(&program, &["call", "nonblocking"]).await;
}

#[tokio::test]
async fn errors_are_the_kernels() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "gcc", &["-static"]);
    parts_look_the_same(&program, &["errors", "limits", "local"]).await;
}

#[tokio::test]
async fn signals_end_and_restart_what_waits() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "gcc", &["-static"]);
    parts_look_the_same(&program, &["interrupted", "storm", "killed"]).await;
}

#[tokio::test]
async fn threads_and_processes_share_a_listener() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "gcc", &["-static"]);
    parts_look_the_same(&program, &["threads", "forked"]).await;
}

#[tokio::test]
async fn another_c_library_makes_no_difference() {
    if is_missing("another_c_library_makes_no_difference", "musl-gcc") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for options in [&["-static"][..], &[]] {
        let program = compile(folder.path(), "musl-gcc", options);
        parts_look_the_same(&program, &["call", "nonblocking", "interrupted"]).await;
    }
}

#[tokio::test]
async fn go_programs_call_and_are_called_with_and_without_c() {
    if is_missing("go_programs_call_and_are_called_with_and_without_c", "go") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/holder/net/naive.go");
    let program = folder.path().join("naive");
    for with_c in ["0", "1"] {
        let mut compiler = Command::new("go");
        compiler.env("CGO_ENABLED", with_c).args(["build", "-o"]);
        let output = compiler.arg(&program).arg(&source).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        parts_look_the_same(&program, &["call"]).await;
    }
}

/// Rights that are given up before the program begins, a cleared environment, a process namespace of its own.
#[tokio::test]
async fn who_runs_it_and_with_what_environment_makes_no_difference() {
    if !rustix::process::geteuid().is_root() {
        println!(
            "SKIPPED: who_runs_it_and_with_what_environment_makes_no_difference: only root may switch users"
        );
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let program = compile(folder.path(), "gcc", &["-static"]);
    let program = program.to_str().unwrap();
    let nobody = [
        "setpriv",
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
        "--inh-caps=-all",
    ];
    let call = [program, "call", "PORT"];
    let stats = looks_the_same(&[
        &[&nobody[..], &call[..]].concat(),
        &[&["env", "-i"][..], &call[..]].concat(),
        &[&["unshare", "--pid", "--fork"][..], &call[..]].concat(),
    ])
    .await;
    assert_eq!(stats.get(Counter::ConnectLabelled), 9);
}

/// Privileged, the net takes no rights from the software's programs.
#[tokio::test]
async fn programs_gain_the_rights_that_they_gain_bare() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: programs_gain_the_rights_that_they_gain_bare: needs root's net");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let helper = folder.path().join("helper");
    std::fs::copy("/usr/bin/id", &helper).unwrap();
    std::fs::set_permissions(&helper, Permissions::from_mode(0o4755)).unwrap();
    let program = compile(folder.path(), "gcc", &["-static"]);
    let script = format!(
        "setpriv --reuid 65534 --clear-groups {} -u; {} local PORT > /dev/null; echo end",
        helper.display(),
        program.display()
    );
    let script = script.replace("PORT", &free_port().to_string());
    looks_the_same(&[&["sh", "-c", &script]]).await;
    if !is_missing("programs_gain_the_rights_that_they_gain_bare", "sudo") {
        let script = format!("sudo -n -u nobody id -un; {script}");
        looks_the_same(&[&["sh", "-c", &script]]).await;
    }
}

/// Their structures are not read: such programs find no sockets, and live.
#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn programs_of_another_architecture_find_no_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "gcc", &["-static"]);
    let program = program.to_str().unwrap();
    let bare = Command::new(program).args(["foreign", "1"]).output();
    if !String::from_utf8_lossy(&bare.unwrap().stdout).contains("own number 1") {
        println!(
            "SKIPPED: programs_of_another_architecture_find_no_sockets: this kernel runs none"
        );
        return;
    }
    let (node, client, mut notices) = Node::start().await;
    publish(&node, &[free_port()]);
    drop(client);
    let (how, found) = run(&node, spec(&node, 1, &[program, "foreign", "1"])).await;
    assert!(how.net, "{how:?}");
    assert_eq!(found, "own number 1, connect -38, sockets -38\nend\n");
    let (client, _) = HolderClient::attach(node.data()).await.unwrap();
    node.end(&client, &mut notices).await;
}

/// What the preloaded library is measured by, built without anything that it could reach; but for `processes`, which are served in any
/// order, and `reset_by_outsider`, which calls past the library: nothing passes the net.
const SCENARIOS: [&str; 24] = [
    "blocking",
    "nonblocking",
    "select_loop",
    "server_first",
    "accept_forms",
    "families_v4",
    "families_dual",
    "mixed_mptcp",
    "families_mptcp",
    "mptcp_nonblocking",
    "threads",
    "reuse_port",
    "fast_open_nonblocking",
    "refused",
    "refused_nonblocking",
    "epoll_edges",
    "odd_calls",
    "signals_restart",
    "signals_interrupt",
    "accept_interrupted",
    "time_outs",
    "cancelled",
    "half_close",
    "fast_open",
];

#[tokio::test]
async fn the_librarys_scenarios_look_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let source = "../preload/tests/library/syscalls/probe.c";
    let program = compile_source(folder.path(), source, "gcc", &["-static"]);
    let program = program.to_str().unwrap();
    let commands = SCENARIOS.map(|scenario| [program, scenario, "PORT", "NEXT"]);
    let commands = commands.each_ref().map(|command| &command[..]);
    looks_the_same(&commands).await;
}

//! Stopping software that is more than one process, and the truth about what runs afterwards.

use crate::harness::{Boxes, Bundle, Caller, Node, NodeOptions, System, alive, until, upstart};
use model::api::{ChildState, Event, Phase};
use model::ids::Version;
use std::fmt::Write as _;
use std::net::TcpListener;
use std::time::{Duration, Instant};

/// Acknowledges writes and flushes them on SIGTERM, 300 ms later.
const LEDGER: &str = include_str!("software/ledger.py");

const LEDGER_COMMAND: &str = "python3 ${software}/ledger.py --port ${ports.data} --state ${state}";

/// How much longer than its 300 ms a stop may take on a busy machine; the usual grace is 10 s.
const AWAY_MS_MAX: u64 = 5_000;

/// Version `number` of the ledger, started by this shell command.
fn ledger(number: u32, shell: &str, lifecycle: &str) -> Bundle {
    let bundle = Boxes::version(number).same(1).and(lifecycle).bundle();
    let command = bundle
        .upgrade
        .lines()
        .find(|line| line.starts_with("command"))
        .expect("a command")
        .to_owned();
    let mut words = String::new();
    for word in ["sh", "-c", shell] {
        write!(words, "{word:?}, ").expect("written");
    }
    bundle
        .replaced(&command, &format!("command = [{words}]"))
        .file("software/ledger.py", LEDGER)
}

fn settled(first: &Bundle) -> (System, Node) {
    let system = System::with(first);
    let node = system.settled_box("a", 1, 1);
    (system, node)
}

/// Writes some numbers, all of them acknowledged.
fn write_all(system: &System) {
    let mut caller = Caller::unlabelled(system.port(1), 1).expect("connected");
    for number in 0..20 {
        let name = format!("box-{number}");
        caller.put(&name, number).expect("acknowledged");
    }
}

fn all_are_there(system: &System) {
    let mut caller = Caller::unlabelled(system.port(1), 1).expect("connected");
    for number in 0..20 {
        let name = format!("box-{number}");
        assert_eq!(caller.get(&name).expect("answered"), Some(number));
    }
}

/// An upgrade from 1 to 2 loses nothing, and nothing waits for a kill.
fn upgrades_without_a_kill(shell: &str, lifecycle: &str) {
    let (system, mut node) = settled(&ledger(1, shell, lifecycle));
    write_all(&system);
    system.publish(&ledger(2, shell, lifecycle));
    system.until_settled(&node, 2);
    all_are_there(&system);
    let killed = system.events_of(&node, "child.killed");
    assert!(killed.is_empty(), "{killed:?}");
    let away = until("the node to say how long it was away", || {
        Some(system.counter("a", "unavailable_ms.2")).filter(|away| *away > 0)
    });
    assert!(away < AWAY_MS_MAX, "away for {away} ms");
    // `upstart stop` goes the same way.
    assert_eq!(node.printed("has finished"), 1);
    node.end_agent();
    let begun = Instant::now();
    node.stop_software();
    assert!(begun.elapsed() < Duration::from_millis(AWAY_MS_MAX));
    assert_eq!(node.printed("has finished"), 2);
}

#[test]
fn software_behind_a_wrapper_flushes_what_it_has_acknowledged() {
    upgrades_without_a_kill(&format!("{LEDGER_COMMAND}; true"), "");
}

#[test]
fn software_behind_a_wrapper_that_swallows_the_signal_flushes_too() {
    let shell = format!("trap '' TERM; {LEDGER_COMMAND}; true");
    upgrades_without_a_kill(&shell, "stop_signal_to = \"all\"");
}

#[test]
fn a_daemon_that_forks_twice_passes_a_tcp_probe_and_upgrades() {
    let daemon = |number| {
        let bundle = ledger(number, &format!("{LEDGER_COMMAND} --daemon"), "");
        let http = "http = \"/ready\", service = \"data\"";
        bundle.replaced(http, "tcp = \"data\"")
    };
    let (system, node) = settled(&daemon(1));
    write_all(&system);
    system.publish(&daemon(2));
    let fact = system.until_settled(&node, 2);
    assert_eq!(fact.report.status.child, ChildState::Running);
    all_are_there(&system);
    let crashed = system.events_of(&node, "child.crashed");
    assert!(crashed.is_empty(), "{crashed:?}");
}

fn messages(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.message.as_str()).collect()
}

#[test]
fn software_that_had_to_be_killed_is_told_and_part_of_the_reason() {
    let deaf = format!("exec {LEDGER_COMMAND} --deaf-to-term");
    let (system, node) = settled(&ledger(1, &deaf, "stop_grace_ms = 400"));
    let pid = node.running_child();
    let failing = ledger(2, &format!("exec {LEDGER_COMMAND} --unhealthy"), "");
    system.publish(&failing.replaced("timeout_ms = 15000", "timeout_ms = 700"));
    let fact = system.until_fact(&node, "blocked and healthy", |fact| {
        let status = &fact.report.status;
        status.phase == Phase::Blocked && status.child == ChildState::Running
    });
    let killed = system.events_of(&node, "child.killed");
    let [told] = killed.as_slice() else {
        panic!("{killed:?}");
    };
    assert_eq!(told.version, Some(Version(1)));
    let process = format!("process {pid} (python3)");
    assert!(told.message.contains("SIGTERM"), "{}", told.message);
    assert!(told.message.ends_with(&process), "{}", told.message);
    let reason = fact.report.status.reason.expect("a reason");
    assert!(reason.contains("GET /ready answered 503"), "{reason}");
    assert!(reason.contains("version 1 had to be killed"), "{reason}");
    assert!(
        reason.ends_with("version 1 runs and is healthy"),
        "{reason}"
    );
    let healthy = system.events_of(&node, "child.healthy");
    assert_eq!(messages(&healthy), ["version 1 runs and is healthy"]);
}

#[test]
fn a_kill_while_no_agent_ran_is_told_by_the_next_one() {
    let deaf = format!("exec {LEDGER_COMMAND} --deaf-to-term");
    let (system, mut node) = settled(&ledger(1, &deaf, "stop_grace_ms = 1500"));
    let old = node.running_child();
    let failing = ledger(2, &format!("exec {LEDGER_COMMAND} --unhealthy"), "");
    system.publish(&failing.replaced("timeout_ms = 15000", "timeout_ms = 700"));
    node.until_printed("is told to end");
    node.kill_agent();
    until("the holder to kill it", || (!alive(old)).then_some(()));
    node.start_agent();
    let fact = system.until_phase(&node, Phase::Blocked);
    let reason = fact.report.status.reason.expect("a reason");
    assert!(reason.contains("version 1 had to be killed"), "{reason}");
    let killed = system.events_of(&node, "child.killed");
    assert_eq!(killed.len(), 1, "{killed:?}");
}

#[test]
fn an_old_version_that_does_not_serve_after_a_flip_back_is_told_until_it_does() {
    let system = System::start();
    let mark = system.folder().join("unhealthy");
    let shell = format!("exec {LEDGER_COMMAND} --unhealthy-while {}", mark.display());
    let soon = |bundle: Bundle| bundle.replaced("timeout_ms = 15000", "timeout_ms = 1000");
    system.publish(&soon(ledger(1, &shell, "")));
    let node = system.settled_box("a", 1, 1);
    std::fs::write(&mark, "").expect("written");
    let failing = ledger(2, &format!("exec {LEDGER_COMMAND} --unhealthy"), "");
    system.publish(&soon(failing));
    let fact = system.until_fact(&node, "blocked and silent", |fact| {
        let status = &fact.report.status;
        status.phase == Phase::Blocked && status.child == ChildState::Silent
    });
    let reason = fact.report.status.reason.expect("a reason");
    let silent = "version 1 runs but does not answer: ";
    assert!(reason.contains(silent), "{reason}");
    assert!(reason.ends_with("GET /ready answered 503"), "{reason}");
    // The release has come all the same.
    let mut caller = Caller::unlabelled(system.port(1), 1).expect("connected");
    caller.put("apples", 7).expect("answered");
    std::fs::remove_file(&mark).expect("removed");
    let fact = system.until_fact(&node, "blocked and healthy", |fact| {
        let status = &fact.report.status;
        status.phase == Phase::Blocked && status.child == ChildState::Running
    });
    let reason = fact.report.status.reason.expect("a reason");
    assert!(
        reason.ends_with("version 1 runs and is healthy"),
        "{reason}"
    );
    assert_eq!(system.events_of(&node, "child.silent").len(), 1);
    assert_eq!(system.events_of(&node, "child.healthy").len(), 1);
}

#[test]
fn a_port_that_somebody_else_has_ends_the_probe_at_once() {
    let system = System::start();
    let _taken = TcpListener::bind(("127.0.0.1", system.port(1))).expect("bound");
    let shell = format!("exec {LEDGER_COMMAND} --patient");
    let patient = ledger(1, &shell, "").replaced("timeout_ms = 15000", "timeout_ms = 600000");
    system.publish(&patient);
    let begun = Instant::now();
    let node = system.node(NodeOptions::new("a", system.port(1)));
    let me = format!("process {} (", std::process::id());
    system.until_fact(&node, "told that its port is taken", |fact| {
        let reason = fact.report.status.reason.as_deref().unwrap_or("");
        reason.contains("the port of `data` is taken") && reason.contains(&me)
    });
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_stop_names_the_agent_that_is_in_its_way_and_says_whether_that_is_stopped() {
    let system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    let said = || {
        let stop = upstart().args(["stop", "--data"]).arg(&node.data).output();
        let output = stop.expect("runs");
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let process = node.agent();
    let told = said();
    assert!(
        told.contains(&format!("process {process}, runs the node")),
        "{told}"
    );
    assert!(told.contains(&format!("`kill {process}`")), "{told}");
    let frozen = node.freeze_agent();
    let told = said();
    assert!(told.contains("is stopped (SIGSTOP)"), "{told}");
    assert!(told.contains(&format!("kill -CONT {process}")), "{told}");
    drop(frozen);
}

//! Software that the preloaded library cannot reach: the net under it catches its calls. Where there is none it is stopped, never
//! half intercepted.

use crate::harness::{
    Boxes, Bundle, Caller, NodeOptions, System, alive, pids_naming, refused, until,
};
use model::api::{ChildState, Phase};
use model::ids::Version;
use std::process::Command;

/// Listens on its first argument's port and answers every request with an empty object; what is no request it says so of.
const STATIC_SERVER: &str = r#"
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int count, char **words) {
    int yes = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(words[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (count < 2 || bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 16)) return 1;
    for (;;) {
        char request[4096];
        int connection = accept(listener, 0, 0);
        if (connection < 0) return 2;
        if (read(connection, request, sizeof request) > 0) {
            const char *answer = memcmp(request, "GET ", 4) ? "HTTP/1.1 400 No" : "HTTP/1.1 200 OK";
            write(connection, answer, 15);
            write(connection, "\r\nContent-Length: 2\r\n\r\n{}", 25);
        }
        close(connection);
    }
}
"#;

fn static_server(system: &System) -> Vec<u8> {
    let (source, program) = (system.folder().join("s.c"), system.folder().join("s"));
    std::fs::write(&source, STATIC_SERVER).expect("written");
    let mut compiler = Command::new("gcc");
    compiler
        .args(["-static", "-O1", "-o"])
        .arg(&program)
        .arg(&source);
    let output = compiler.output().expect("gcc is installed");
    assert!(output.status.success(), "{output:?}");
    std::fs::read(&program).expect("a program")
}

/// The message that people get must say what is wrong and what to do.
fn is_clear(reason: &str) -> bool {
    ["static", "cannot be intercepted", "upstart retry"]
        .iter()
        .all(|words| reason.contains(words))
}

fn first(command: &str) -> Bundle {
    Bundle::new(format!(
        r#"
system = "boxes"
version = 1

[class.box.software]
path = "software"
command = {command}

[class.box.service.data]
port = "vars.port"
protocol = "http"

[class.box.lifecycle]
probe = {{ http = "/ready", service = "data", interval_ms = 50, timeout_ms = 10000 }}
"#
    ))
}

/// How often a counter of this node was counted.
fn count(system: &System, name: &str) -> u64 {
    let counters = system.fact("a").report.counters;
    counters.get(name).copied().unwrap_or(0)
}

const STATIC: &str = r#"["sh", "-c", "exec ${software}/s ${ports.data}"]"#;

#[test]
fn a_static_program_is_intercepted() {
    let system = System::start();
    let bundle = first(STATIC).file("software/s", static_server(&system));
    system.publish(&bundle);
    let _node = system.settled_box("a", 1, 1);
    let mut member = system.member(system.port(1), 1).expect("connected");
    assert_eq!(member.call("GET", "/", None).expect("answered").status, 200);
    until("the label to be counted", || {
        (count(&system, "accept.labelled") > 0).then_some(())
    });
    assert_eq!(count(&system, "net.in_force"), 1);
    assert_eq!(count(&system, "net.no_new_privileges"), 0);
    assert_eq!(count(&system, "net.blind"), 0);
}

#[test]
fn an_unprivileged_agents_software_is_intercepted() {
    let system = System::start();
    let bundle = first(STATIC).file("software/s", static_server(&system));
    system.publish(&bundle);
    let node = system.node(NodeOptions::new("a", system.port(1)).unprivileged());
    system.until_settled(&node, 1);
    let mut member = system.member(system.port(1), 1).expect("connected");
    assert_eq!(member.call("GET", "/", None).expect("answered").status, 200);
    until("the label to be counted", || {
        (count(&system, "accept.labelled") > 0).then_some(())
    });
    assert_eq!(count(&system, "net.no_new_privileges"), 1);
}

#[test]
fn a_static_program_that_fails_gives_way_to_the_old_version() {
    let system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    let mut caller = Caller::unlabelled(system.port(1), 1).expect("connected");
    caller.put("apples", 7).expect("answered");
    let mut second = Boxes::version(2).bundle();
    let old = second
        .upgrade
        .lines()
        .find(|line| line.starts_with("command"))
        .expect("a command")
        .to_owned();
    // It listens at another port than its service's, so that nothing ever answers the probe.
    second = second
        .replaced(&old, r#"command = ["${software}/s", "1"]"#)
        .file("software/s", static_server(&system));
    system.publish(&second);
    system.until_phase(&node, Phase::Blocked);
    let mut caller = Caller::unlabelled(system.port(1), 1).expect("connected");
    assert_eq!(caller.get("apples").expect("answered"), Some(7));
}

#[test]
fn without_a_net_a_static_program_is_stopped() {
    let system = System::start();
    let bundle = first(STATIC)
        .replaced(
            "path = \"software\"",
            "path = \"software\"\nno_new_privileges = false",
        )
        .file("software/s", static_server(&system));
    system.publish(&bundle);
    let node = system.node(NodeOptions::new("a", system.port(1)).unprivileged());
    let fact = system.until_fact(&node, "stopped with a reason", |fact| {
        let status = &fact.report.status;
        status.child != ChildState::Running && status.reason.as_deref().is_some_and(is_clear)
    });
    assert_eq!(
        fact.report.status.version,
        Version(0),
        "it must not count as settled"
    );
    until("the port to be closed", || {
        refused(system.port(1)).then_some(())
    });
    // It stays stopped: no restart brings it back.
    assert!(system.events_of(&node, "node.settled").is_empty());
}

/// Connects to a member without a word and keeps the connection.
const SILENT_CALLER: &str = "import socket, sys, time; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); time.sleep(600)";

#[test]
fn without_a_net_a_connection_that_no_hook_saw_is_noticed() {
    let class = format!(
        r#"
[class.silent.software]
no_new_privileges = false
command = ["/usr/bin/env", "-i", "/usr/bin/python3", "-c", "{SILENT_CALLER}", "${{vars.box}}", "${{state}}"]
"#
    );
    let system = System::with(&Boxes::version(1).and(&class).bundle());
    let _box = system.settled_box("a", 1, 1);
    let options = NodeOptions::new("b", 0)
        .class("silent")
        .unprivileged()
        .variable("box", system.port(1));
    let node = system.node(options);
    let fact = system.until_fact(&node, "stopped with a reason", |fact| {
        let status = &fact.report.status;
        status.child != ChildState::Running && status.reason.as_deref().is_some_and(is_clear)
    });
    let reason = fact.report.status.reason.expect("a reason");
    assert!(reason.contains("connected to the member"), "{reason}");
    until("its processes to end", || {
        let left = pids_naming(&node.data.join("current"));
        (!left.into_iter().any(alive)).then_some(())
    });
}

//! Software that the preloaded library cannot reach is stopped, never half intercepted.

use crate::harness::{
    Boxes, Bundle, Caller, NodeOptions, System, alive, pids_naming, refused, until,
};
use model::api::{ChildState, Phase};
use model::ids::Version;
use std::process::Command;

/// Listens on its first argument's port and answers every request with an empty 200.
const STATIC_SERVER: &str = r#"
#include <arpa/inet.h>
#include <stdlib.h>
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
        if (connection < 0) continue;
        if (read(connection, request, sizeof request) > 0)
            write(connection, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 38);
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

#[test]
fn a_static_program_is_stopped_at_its_first_start() {
    let system = System::start();
    let bundle = first(r#"["sh", "-c", "exec ${software}/s ${ports.data}"]"#)
        .file("software/s", static_server(&system));
    system.publish(&bundle);
    let node = system.node(NodeOptions::new("a", system.port(1)));
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

#[test]
fn a_static_program_is_stopped_and_the_old_version_comes_back() {
    let system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    let mut caller = Caller::unlabelled(system.port(1), 1).expect("connected");
    caller.put("apples", 7).expect("answered");
    let command = r#"command = ["${software}/s", "${ports.data}"]"#;
    let mut second = Boxes::version(2).bundle();
    let old = second
        .upgrade
        .lines()
        .find(|line| line.starts_with("command"))
        .expect("a command")
        .to_owned();
    second = second
        .replaced(&old, command)
        .file("software/s", static_server(&system));
    system.publish(&second);
    let fact = system.until_phase(&node, Phase::Blocked);
    let reason = fact.report.status.reason.expect("a reason");
    assert!(is_clear(&reason), "{reason}");
    let mut caller = Caller::unlabelled(system.port(1), 1).expect("connected");
    assert_eq!(caller.get("apples").expect("answered"), Some(7));
}

#[test]
fn an_emptied_environment_is_noticed() {
    let program = Boxes::version(1).bundle().files["software/box.py"].clone();
    let command = r#"["/usr/bin/env", "-i", "/usr/bin/python3", "${software}/box.py", "--dialect", "1", "--port", "${ports.data}", "--state", "${state}"]"#;
    let system = System::with(&first(command).file("software/box.py", program));
    let node = system.node(NodeOptions::new("a", system.port(1)));
    system.until_fact(&node, "stopped with a reason", |fact| {
        let status = &fact.report.status;
        status.child != ChildState::Running && status.reason.as_deref().is_some_and(is_clear)
    });
    until("the port to be closed", || {
        refused(system.port(1)).then_some(())
    });
}

/// Connects to a member without a word and keeps the connection.
const SILENT_CALLER: &str = "import socket, sys, time; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); time.sleep(600)";

#[test]
fn a_connection_to_a_member_that_no_hook_saw_is_noticed() {
    let class = format!(
        r#"
[class.silent.software]
command = ["/usr/bin/env", "-i", "/usr/bin/python3", "-c", "{SILENT_CALLER}", "${{vars.box}}", "${{state}}"]
"#
    );
    let system = System::with(&Boxes::version(1).and(&class).bundle());
    let _box = system.settled_box("a", 1, 1);
    let options = NodeOptions::new("b", 0)
        .class("silent")
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

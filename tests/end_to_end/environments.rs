//! What the processes of a node find in their environments: what was made for them, and nothing that the agent was started with.

use crate::harness::{Boxes, Node, NodeOptions, System, pids_naming, until};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::Command;

/// What the software gets without anybody declaring it, where the agent has it.
const COMMON: [&str; 7] = ["HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TZ", "USER"];

/// How Upstart reaches into it.
const INTERCEPTION: [&str; 4] = [
    "LD_PRELOAD",
    "UPSTART_HOLDER",
    "UPSTART_STATS",
    "UPSTART_TABLE",
];

/// A node whose agent has secrets in its environment, and a variable that is no text.
fn careless(system: &System) -> NodeOptions {
    NodeOptions::new("a", system.port(1))
        .environment("UPSTART_TOKEN", token(system))
        .environment("AWS_SECRET_ACCESS_KEY", "secret")
        .environment("NOTIFY_SOCKET", "@secret")
        .environment("LANG", "C.UTF-8")
        .environment("ODD", OsString::from_vec(vec![0xff, 0xfe]))
        .environment("WANTED", "1")
        .passed("WANTED")
}

/// The server's own.
fn token(system: &System) -> String {
    let file = system.folder().join("server/token");
    let line = std::fs::read_to_string(file).expect("the server made one");
    line.trim_end().to_owned()
}

fn environment(pid: i32) -> BTreeMap<String, String> {
    let bytes = std::fs::read(format!("/proc/{pid}/environ")).expect("readable by the test");
    let variables = bytes.split(|byte| *byte == 0);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    variables
        .filter_map(|variable| {
            let middle = variable.iter().position(|byte| *byte == b'=')?;
            Some((text(&variable[..middle]), text(&variable[middle + 1..])))
        })
        .collect()
}

fn holder(node: &Node) -> i32 {
    let is_holder = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).nth(1) == Some(b"holder")
    };
    until("the holder to run", || {
        pids_naming(&node.data).into_iter().find(is_holder)
    })
}

#[test]
fn environments_are_made_and_nothing_of_the_agents_is_inherited() {
    let system = System::with(
        &Boxes::version(1)
            .and("[class.box.software.environment]\nDECLARED = \"${version}\"")
            .bundle(),
    );
    let node = system.node(careless(&system));
    system.until_settled(&node, 1);
    let software = environment(node.running_child());
    let mut expected: Vec<&str> = [&COMMON[..], &INTERCEPTION, &["DECLARED", "WANTED"]].concat();
    if std::env::var_os("TZ").is_none() {
        expected.retain(|name| *name != "TZ");
    }
    expected.sort_unstable();
    let mut found: Vec<&str> = software.keys().map(String::as_str).collect();
    found.retain(|name| !name.starts_with("LC_"));
    assert_eq!(found, expected, "{software:?}");
    assert_eq!(software["DECLARED"], "1");
    for (name, value) in environment(holder(&node)) {
        assert!(
            !value.contains("secret") && !value.contains(&token(&system)),
            "the holder has {name}={value}"
        );
    }
    system.publish(
        &Boxes::version(2)
            .transform_argument("environment=")
            .bundle(),
    );
    system.until_settled(&node, 2);
    let names = std::fs::read_to_string(node.data.join("current/environment"));
    let names = names.expect("the transform wrote what it found");
    let found: Vec<&str> = names.lines().collect();
    for name in [
        "UPSTART_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "NOTIFY_SOCKET",
        "ODD",
    ] {
        assert!(!found.contains(&name), "the transform has {name}");
    }
    assert!(found.contains(&"WANTED"), "{found:?}");
}

#[test]
fn whoever_has_no_privileges_cannot_read_the_agents_environment() {
    let system = System::with(&Boxes::version(1).bundle());
    let node = system.node(careless(&system));
    system.until_settled(&node, 1);
    for pid in [
        i32::try_from(node.agent()).expect("a process"),
        holder(&node),
    ] {
        let read = Command::new("setpriv")
            .args(["--inh-caps", "-all", "--bounding-set", "-all", "cat"])
            .arg(format!("/proc/{pid}/environ"))
            .output()
            .expect("setpriv is installed");
        let said = String::from_utf8_lossy(&read.stderr);
        if said.starts_with("setpriv:") {
            println!(
                "SKIPPED: whoever_has_no_privileges_cannot_read_the_agents_environment: needs root"
            );
            return;
        }
        assert!(!read.status.success(), "{pid}: {:?}", read.stdout);
        assert!(said.contains("Permission denied"), "{said}");
    }
}

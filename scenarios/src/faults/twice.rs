//! Two where there may be one: agents of one directory, servers of one database, nodes of one name.

use super::scene::{BROKEN, Scene};
use super::{Ended, Fault, Recovery};
use harness::{NodeOptions, upstart};
use std::process::Command;

/// Of each kind.
pub(super) fn faults() -> Vec<Fault> {
    vec![
        Fault::new("a second agent for one directory", agents).quick(),
        Fault::new("a second node of one name", nodes),
        Fault::new("a second server for one database", servers).quick(),
    ]
}

/// Runs a command that must be refused within the limit of a second program's patience; what it said.
fn refused(command: &mut Command, words: &str) {
    let output = command.output().expect("runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(words) && said.contains("next: "), "{said}");
}

fn agents() -> Ended {
    let scene = Scene::staged();
    let mut second = upstart();
    second.args(["agent", "--name", BROKEN, "--class", "box", "--server"]);
    second
        .arg(scene.system.server.url())
        .arg("--data")
        .arg(&scene.node.data);
    refused(&mut second, "another agent");
    scene.approve();
    (Recovery::ByItself, scene.end_at(2))
}

fn nodes() -> Ended {
    let scene = Scene::staged();
    // Another directory, the same name: another node, which the server does not take.
    let mut options = NodeOptions::new(BROKEN, scene.system.port(5));
    options.poll_ms = 100;
    let mut second = upstart();
    second.args(["agent", "--name", BROKEN, "--class", "box", "--server"]);
    second.arg(scene.system.server.url()).arg("--data");
    second.arg(scene.system.folder().join("second"));
    refused(&mut second, BROKEN);
    scene.approve();
    (Recovery::ByItself, scene.end_at(2))
}

fn servers() -> Ended {
    let scene = Scene::staged();
    let mut second = upstart();
    second.args(["server", "--listen", "127.0.0.1:0", "--data"]);
    second.arg(scene.system.server.data());
    refused(&mut second, "another server");
    scene.approve();
    (Recovery::ByItself, scene.end_at(2))
}

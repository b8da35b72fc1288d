//! Copies of a data directory, and one that was set back.

use super::*;

#[test]
fn a_copy_in_the_place_of_a_directory_whose_software_runs_has_a_way_out() {
    let (system, mut node) = serving();
    let pid = node.running_child();
    node.end_agent();
    let moved = system.folder().join("moved");
    copy_all(&node.data, &system.folder().join("backup"));
    std::fs::rename(&node.data, &moved).expect("moved");
    std::fs::rename(system.folder().join("backup"), &node.data).expect("in its place");
    let stopped = node.try_stop();
    let mut claim = upstart();
    let claimed = claim.args(["claim", "--data"]).arg(&node.data).output();
    for output in [stopped, claimed.expect("runs")] {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("move that one back"), "{said}");
        assert!(alive(pid), "{said}");
    }
    // What is advised.
    std::fs::rename(&node.data, system.folder().join("backup")).expect("moved");
    std::fs::rename(&moved, &node.data).expect("moved back");
    node.stop_software();
    assert!(!alive(pid));
    node.start_agent();
    assert_eq!(reads(&system, 1), 7);
}

#[test]
fn a_copy_of_a_data_directory_is_known_and_runs_on_its_own_state_once_claimed() {
    let (system, mut node) = serving();
    node.end_agent();
    node.stop_software();
    let original = node.data.clone();
    let moved = system.folder().join("moved");
    copy_all(&original, &moved);
    node.data.clone_from(&moved);
    node.start_agent();
    let said = node.until_agent_gives_up();
    assert!(
        said.contains("is a copy") && said.contains("upstart claim"),
        "{said}"
    );
    assert!(node.child().is_none(), "the copy runs");
    claim(&moved);
    // To the server it is a node that has moved, which it believes when the other is not heard of any more.
    system.until_fact(&node, "unreachable", |fact| !fact.reachable);
    node.start_agent();
    system.until_fact(&node, "moved", |fact| {
        fact.data_directory
            == std::fs::canonicalize(&moved)
                .expect("there")
                .display()
                .to_string()
    });
    put(&system, 1, 8);
    let state = |data: &Path| {
        let state = std::fs::canonicalize(data.join("current")).expect("there");
        std::fs::read_to_string(state.join("boxes.json")).expect("read")
    };
    assert!(state(&moved).contains('8') && state(&original).contains('7'));
}

#[test]
fn a_copy_is_not_claimed_while_its_original_runs_and_touches_nothing_of_it() {
    let (system, mut node) = serving();
    let software = node.running_child();
    let copied = system.folder().join("copied");
    copy_all(&node.data, &copied);
    let refused = || {
        let claim = upstart().args(["claim", "--data"]).arg(&copied).output();
        let output = claim.expect("runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{said}");
        assert!(
            said.contains("still runs on this machine") && said.contains("upstart stop"),
            "{said}"
        );
        said
    };
    let said = refused();
    let original = node.data.display().to_string();
    assert!(said.contains(&format!("--data {original}")), "{said}");
    // Its agent's end changes nothing, nor does its holder's.
    node.end_agent();
    refused();
    // A holder of the copy, started by hand, leaves the original's alone.
    let mut holder = upstart()
        .args(["holder", "--data"])
        .arg(&copied)
        .spawn()
        .expect("started");
    until("the copy's holder", || {
        let name = |data: &Path| std::fs::read(data.join("holder.name")).unwrap_or_default();
        (!name(&copied).is_empty() && name(&copied) != name(&node.data)).then_some(())
    });
    holder.kill().expect("killed");
    holder.wait().expect("reaped");
    node.start_agent();
    assert_eq!(node.running_child(), software, "the original was touched");
    assert_eq!(reads(&system, 1), 7);
    // Under the name of a node that is heard elsewhere nothing is started, though it was claimed.
    copy_all(&node.data, &system.folder().join("backup"));
    node.end_agent();
    node.stop_software();
    claim(&system.folder().join("backup"));
    node.start_agent();
    node.running_child();
    let backup = system.folder().join("backup");
    let log = system.folder().join("second.log");
    let mut second = upstart()
        .env("UPSTART_SERVER", system.server.url())
        .args(["agent", "--name", "a", "--class", "box"])
        .args(["--var", "port=1", "--data"])
        .arg(&backup)
        .stderr(std::fs::File::create(&log).expect("made"))
        .spawn()
        .expect("runs");
    until("the second agent to wait", || {
        let said = std::fs::read_to_string(&log).expect("read");
        said.contains("choose another name").then_some(())
    });
    assert!(harness::pids_naming(&backup.join("current")).is_empty());
    assert_eq!(reads(&system, 1), 7);
    let process = rustix::process::Pid::from_child(&second);
    rustix::process::kill_process(process, rustix::process::Signal::TERM).expect("told");
    assert!(second.wait().expect("ends").success());
}

#[test]
fn a_directory_that_was_set_back_is_known() {
    let (system, mut node) = serving();
    node.end_agent();
    node.stop_software();
    let backup = system.folder().join("backup");
    copy_all(&node.data, &backup);
    node.start_agent();
    system.until_settled(&node, 1);
    put(&system, 1, 8);
    system.publish(&Boxes::version(2).bundle());
    system.until_settled(&node, 2);
    node.end_agent();
    node.stop_software();
    copy_all(&backup, &node.data);
    node.start_agent();
    let said = node.until_agent_gives_up();
    assert!(
        said.contains("is older than the node") && said.contains("upstart claim"),
        "{said}"
    );
    assert!(node.child().is_none(), "an old state is served");
    let claimed = upstart()
        .env("UPSTART_SERVER", system.server.url())
        .args(["claim", "--data"])
        .arg(&node.data)
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&claimed.stdout);
    assert!(said.contains("may be lost"), "{said}");
    node.start_agent();
    system.until_fact(&node, "told that it was set back", |fact| {
        let mut remarks = fact.report.remarks.iter();
        remarks.any(|remark| remark.contains("goes on from an older state"))
    });
    system.until_settled(&node, 2);
    assert_eq!(reads(&system, 2), 7);
}

//! Things broken on purpose: processes killed, files damaged, ports taken, bytes altered. The software that runs is not
//! touched, somebody is told, and when the cause is gone it goes on.

use crate::harness::{Boxes, Caller, Node, System, kill, pids_naming, until, until_ok};
use model::api::Phase;
use model::ids::Version;
use std::net::TcpListener;

/// A system with one node that serves version 1 and holds a number.
fn serving() -> (System, Node, i32) {
    let system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    let mut caller = Caller::unlabelled(system.port(1), 1).expect("connected");
    caller.put("apples", 7).expect("answered");
    let pid = caller.last.expect("an answer").pid();
    (system, node, pid)
}

fn reads(system: &System, version: u32) -> i64 {
    until_ok("the node to answer", || {
        let mut caller = system.member(system.port(1), version)?;
        caller.get("apples").map(|number| number.expect("a number"))
    })
}

/// Waits until the agent that was just started has been heard.
fn until_heard(system: &System, node: &Node) {
    let before = system.fact(&node.options.name).seen_at_ms;
    system.until_fact(node, "heard again", |fact| fact.seen_at_ms > before);
}

/// The reason that the node gives in this phase.
fn reason(system: &System, node: &Node, phase: Phase, part: &str) -> String {
    let fact = system.until_fact(node, &format!("{phase:?} because of `{part}`"), |fact| {
        let status = &fact.report.status;
        let told = status
            .reason
            .as_ref()
            .is_some_and(|reason| reason.contains(part));
        status.phase == phase && told
    });
    fact.report.status.reason.unwrap_or_default()
}

#[test]
fn a_killed_holder_costs_no_more_than_a_restart() {
    let (system, node, pid) = serving();
    let agent = node.agent();
    kill(node.holder().expect("a holder runs"));
    // Nobody starts the agent again: it takes over by itself, and never runs the software twice.
    until("the software to run again", || {
        node.child().filter(|again| *again != pid)
    });
    assert_eq!(reads(&system, 1), 7);
    assert_eq!(node.agent(), agent);
    system.publish(&Boxes::version(2).bundle());
    system.until_settled(&node, 2);
    assert_eq!(reads(&system, 2), 7);
    let state = node.data.join("current");
    let running = pids_naming(&state).len();
    assert_eq!(running, 1, "{running} processes work on the state");
}

#[test]
fn what_was_heard_from_the_server_may_be_damaged_or_gone() {
    let (system, mut node, pid) = serving();
    let second = Boxes::version(2).schedule("approval = true");
    system.publish(&second.bundle());
    system.until_staged(&node, 2);
    for damage in [
        |path: &std::path::Path| std::fs::write(path, b"\0\xff{"),
        |path: &std::path::Path| std::fs::write(path, b""),
        |path: &std::path::Path| std::fs::remove_file(path),
    ] {
        node.end_agent();
        for folder in ["from-server", "from-server/repository"] {
            for entry in std::fs::read_dir(node.data.join(folder)).expect("there") {
                let path = entry.expect("an entry").path();
                if path.is_file() {
                    damage(&path).expect("damaged");
                }
            }
        }
        node.start_agent();
        until_heard(&system, &node);
        assert_eq!(reads(&system, 2), 7);
        assert_eq!(node.running_child(), pid);
    }
    system.approve(2, None);
    system.until_settled(&node, 2);
    assert_eq!(reads(&system, 1), 7);
}

#[test]
fn a_torn_journal_goes_on_and_a_damaged_one_touches_nothing() {
    let (system, mut node, pid) = serving();
    node.end_agent();
    let journal = node.data.join("journal");
    let good = std::fs::read(&journal).expect("read");
    let end = good.iter().rposition(|byte| *byte != 0).expect("records") + 1;
    // A record that a power cut has left half-written.
    let mut torn = good.clone();
    torn[end..end + 40].copy_from_slice(&[0x55; 40]);
    std::fs::write(&journal, &torn).expect("written");
    node.start_agent();
    until_heard(&system, &node);
    assert_eq!(reads(&system, 1), 7);
    node.end_agent();
    // It may have noted something that the one before it had no time for.
    let good = std::fs::read(&journal).expect("read");
    // A record in the middle that is not what was written.
    let mut damaged = good.clone();
    damaged[40] ^= 1;
    std::fs::write(&journal, &damaged).expect("written");
    node.start_agent();
    let said = node.until_agent_gives_up();
    assert!(
        said.contains("journal") && said.contains("next: ") && said.contains("at byte"),
        "{said}"
    );
    let mut caller = Caller::unlabelled(system.port(1), 1).expect("connected");
    assert_eq!(caller.get("apples").expect("answered"), Some(7));
    assert_eq!(caller.last.expect("an answer").pid(), pid);
    std::fs::write(&journal, &good).expect("written");
    node.start_agent();
    system.publish(&Boxes::version(2).bundle());
    system.until_settled(&node, 2);
}

#[test]
fn a_port_that_another_program_has_is_told_and_waited_for() {
    let (system, node, _) = serving();
    let taken = TcpListener::bind(("127.0.0.1", system.port(2))).expect("free");
    system.publish(&Boxes::version(2).port("vars.port + 1").bundle());
    let told = until_ok("the port to be told", || {
        let status = system.fact("a").report.status;
        let reason = status.reason.clone().unwrap_or_default();
        if reason.contains(&system.port(2).to_string()) {
            Ok(reason)
        } else {
            Err(format!("{status:?}"))
        }
    });
    assert!(told.contains("in use"), "{told}");
    assert_eq!(reads(&system, 1), 7);
    drop(taken);
    system.until_settled(&node, 2);
    let mut caller = system.member(system.port(2), 2).expect("connected");
    assert_eq!(caller.get("apples").expect("answered"), Some(7));
}

#[test]
fn a_transform_that_prints_no_text_still_has_its_reason_told() {
    let (system, node, _) = serving();
    let noisy = Boxes::version(2)
        .transform_argument("print=1")
        .transform_argument("fail=");
    system.publish(&noisy.bundle());
    let reason = reason(&system, &node, Phase::Blocked, "transform");
    assert!(!reason.contains('\u{1}'), "{reason:?}");
    assert_eq!(reads(&system, 1), 7);
    system.revise(&Boxes::version(2).bundle());
    system.until_settled(&node, 2);
}

#[test]
fn an_artifact_that_was_altered_is_never_used() {
    let (system, mut node, pid) = serving();
    node.end_agent();
    let file = "what was published";
    system.publish(&Boxes::version(2).bundle().file("software/more", file));
    let folder = system.folder().join("server/repository/artifacts");
    let mut paths = std::fs::read_dir(folder)
        .expect("there")
        .map(|entry| entry.expect("an entry").path());
    let stored = paths.find(|path| std::fs::read(path).is_ok_and(|found| found == file.as_bytes()));
    let stored = stored.expect("uploaded");
    std::fs::write(&stored, "what was smuggled!").expect("altered");
    node.start_agent();
    let reason = reason(&system, &node, Phase::Fetching, "something else");
    let digest = stored.file_name().expect("a name").to_string_lossy();
    assert!(reason.contains(&*digest), "{reason}");
    assert_eq!(reads(&system, 1), 7);
    assert_eq!(node.running_child(), pid);
    std::fs::write(&stored, file).expect("mended");
    system.until_settled(&node, 2);
}

#[test]
fn an_archive_that_leads_out_is_not_unpacked() {
    let (system, node, _) = serving();
    let outside = system.folder().join("a/versions/evil");
    let evil = archive("../../../evil");
    let good = archive("box-is-elsewhere.txt");
    let bundle = |content: Vec<u8>| {
        let upgrade = Boxes::version(2).bundle();
        let program = upgrade.files["software/box.py"].clone();
        let mut bundle = upgrade
            .replaced("path = \"software\"", "path = \"software.tar\"")
            .replaced("${software}/box.py", "${bundle}/box.py")
            .file("software.tar", content)
            .file("box.py", program);
        bundle.files.remove("software/box.py");
        bundle
    };
    system.publish(&bundle(evil));
    let reason = reason(&system, &node, Phase::Fetching, "leads out");
    assert!(reason.contains("software.tar"), "{reason}");
    assert!(!outside.exists() && reads(&system, 1) == 7);
    system.revise(&bundle(good));
    system.until_settled(&node, 2);
}

/// A tar archive with one file of this name.
fn archive(name: &str) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_size(4);
    header.set_mode(0o644);
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
    let mut builder = tar::Builder::new(Vec::new());
    builder.append(&header, &b"text"[..]).expect("packed");
    builder.into_inner().expect("packed")
}

#[test]
fn agent_and_server_killed_at_odd_moments_end_where_they_should() {
    let (mut system, mut node, _) = serving();
    let slow = Boxes::version(2).transform_argument("sleep_ms=100");
    system.publish(&slow.bundle());
    let mut kills = 0;
    until("the upgrade to end", || {
        let fact = system.try_ask(system.client.node("a")).ok()?;
        if fact.report.status.phase == Phase::Settled && fact.report.status.version == Version(2) {
            return Some(());
        }
        // Wherever it is just now; less often than a transform is tried, so that it is not given up.
        if kills < 4 {
            kills += 1;
            node.kill_agent();
            if kills % 2 == 0 {
                system.server.restart();
            }
            node.start_agent();
            std::thread::sleep(std::time::Duration::from_millis(150 * kills));
        }
        None
    });
    assert_eq!(reads(&system, 2), 7);
    assert_eq!(reads(&system, 1), 7);
    assert_eq!(pids_naming(&node.data.join("current")).len(), 1);
}

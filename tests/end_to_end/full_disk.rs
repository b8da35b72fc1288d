//! Full disks: the old version serves on, says why it waits, nothing counts as a failure, and with room it goes on by
//! itself.

use crate::harness::{
    Boxes, Caller, Disk, Node, NodeOptions, System, alive, kill, refused, until, until_ok, upstart,
};
use agent::journal::{Journal, JournalFileError};
use model::api::Phase;
use model::ids::Version;
use model::machine::Record;
use std::fs::OpenOptions;
use std::io::Write;

const MIB: u64 = 1 << 20;

/// Waits until the node says that it lacks room, to the server and to people.
fn until_full(system: &System, node: &Node, phase: Phase) -> String {
    let fact = system.until_fact(node, "out of room", |fact| {
        let status = &fact.report.status;
        let full = |reason: &String| reason.contains("no space left");
        status.phase == phase && status.reason.as_ref().is_some_and(full)
    });
    let reason = fact.report.status.reason.unwrap_or_default();
    for command in ["status", "nodes"] {
        let mut command_line = upstart();
        command_line.args([command, "--server", &system.server.url()]);
        let output = command_line.output().expect("runs");
        let text = String::from_utf8_lossy(&output.stdout).replace(['\n', '│', ' '], "");
        assert!(text.contains("nospaceleft"), "{command}: {text}");
    }
    reason
}

/// The old version answers, by the process that did before, and nothing has been counted against the upgrade.
fn serves_on(system: &System, node: &Node, port: u16, number: i64, pid: i32) {
    serves_as(port, number, pid);
    assert_eq!(
        system.fact(&node.options.name).report.status.version,
        Version(1)
    );
    nothing_counted(system, node);
}

/// That process answers with the number.
fn serves_as(port: u16, number: i64, pid: i32) {
    let mut caller = Caller::unlabelled(port, 1).expect("connected");
    assert_eq!(caller.get("apples").expect("answered"), Some(number));
    assert_eq!(caller.last.expect("an answer").pid(), pid);
}

fn nothing_counted(system: &System, node: &Node) {
    for kind in ["node.transform_failed", "node.blocked", "child.crashed"] {
        let events = system.events_of(node, kind);
        assert!(events.is_empty(), "{events:?}");
    }
}

fn put(port: u16, number: i64) -> i32 {
    let mut caller = Caller::unlabelled(port, 1).expect("connected");
    caller.put("apples", number).expect("answered");
    caller.last.expect("an answer").pid()
}

/// The node ends at version 2 with its number.
fn ends_upgraded(system: &System, node: &Node, port: u16, number: i64) {
    system.until_settled(node, 2);
    let mut caller = system.member(port, 2).expect("connected");
    assert_eq!(caller.get("apples").expect("answered"), Some(number));
    nothing_counted(system, node);
}

#[test]
fn a_full_disk_while_fetching_is_waited_out() {
    let system = System::with(&Boxes::version(1).bundle());
    let place = system.folder().join("a");
    let Some(disk) = Disk::mount("full_disk::fetching", "ext4", 128, &place) else {
        return;
    };
    let node = system.settled_box("a", 1, 1);
    let port = system.port(1);
    let pid = put(port, 7);
    disk.write("ballast", 80 * MIB);
    let large = vec![b'x'; 12 << 20];
    system.publish(&Boxes::version(2).bundle().file("software/large", large));
    let reason = until_full(&system, &node, Phase::Fetching);
    assert!(reason.contains("are free"), "{reason}");
    disk.fill("the-rest");
    serves_on(&system, &node, port, 7, pid);
    disk.remove("the-rest");
    disk.remove("ballast");
    ends_upgraded(&system, &node, port, 7);
}

#[test]
fn no_room_for_a_snapshot_is_seen_before_anything_is_stopped() {
    let adopting = "[class.box.state]\nadopt = \"${vars.state}\"";
    let system = System::with(&Boxes::version(1).and(adopting).bundle());
    let mount = |name: &str| {
        let place = system.folder().join(name);
        Disk::mount("full_disk::snapshot", "ext4", 128, &place)
    };
    // One state on its node's own disk, one on a disk apart.
    let (Some(a), Some(b), Some(apart)) = (mount("a"), mount("b"), mount("apart")) else {
        return;
    };
    let mut all = Vec::new();
    for (number, disk, state) in [
        (1, &a, a.place.join("mine")),
        (2, &b, apart.place.join("mine")),
    ] {
        std::fs::create_dir(&state).expect("a folder");
        let port = system.port(number);
        let name = disk.place.file_name().expect("a name").to_string_lossy();
        let options = NodeOptions::new(&name, port).variable("state", state.display());
        let node = system.node(options);
        system.until_settled(&node, 1);
        let pid = put(port, i64::from(number));
        std::fs::write(state.join("large"), vec![b'x'; 45 << 20]).expect("written");
        disk.write("ballast", 75 * MIB - if number == 1 { 45 * MIB } else { 0 });
        all.push((node, disk, port, i64::from(number), pid));
    }
    system.publish(&Boxes::version(2).bundle());
    for (node, _, port, number, pid) in &all {
        let reason = until_full(&system, node, Phase::Staged);
        assert!(reason.contains("a copy of the state needs"), "{reason}");
        serves_on(&system, node, *port, *number, *pid);
        assert!(system.events_of(node, "node.stopping").is_empty());
    }
    for (_, disk, ..) in &all {
        disk.remove("ballast");
    }
    for (node, _, port, number, _) in &all {
        ends_upgraded(&system, node, *port, *number);
    }
    assert!(
        apart.place.join("mine/boxes.json").exists(),
        "the adopted state was touched"
    );
}

#[test]
fn no_files_left_for_a_snapshot_is_seen_before_anything_is_stopped() {
    let system = System::with(&Boxes::version(1).bundle());
    let place = system.folder().join("a");
    let Some(disk) = Disk::with_files("full_disk::files", 400, &place) else {
        return;
    };
    let node = system.settled_box("a", 1, 1);
    let port = system.port(1);
    let pid = put(port, 7);
    system.publish(&Boxes::version(2).schedule("approval = true").bundle());
    system.until_staged(&node, 2);
    disk.use_up_files("ballast");
    system.approve(2, None);
    let reason = until_full(&system, &node, Phase::Staged);
    assert!(reason.contains("files (inodes), 0 are free"), "{reason}");
    serves_on(&system, &node, port, 7, pid);
    assert!(system.events_of(&node, "node.stopping").is_empty());
    std::fs::remove_dir_all(place.join("ballast")).expect("removed");
    ends_upgraded(&system, &node, port, 7);
}

#[test]
fn a_transform_that_fills_the_disk_is_no_attempt_and_waits_for_more_room() {
    let system = System::with(&Boxes::version(1).bundle());
    let place = system.folder().join("a");
    let Some(disk) = Disk::mount("full_disk::transform", "ext4", 128, &place) else {
        return;
    };
    let node = system.settled_box("a", 1, 1);
    let port = system.port(1);
    put(port, 7);
    disk.write("ballast", 60 * MIB);
    system.publish(&Boxes::version(2).transform_argument("fill=70").bundle());
    let reason = until_full(&system, &node, Phase::Staged);
    assert!(
        !node.data.join("transform").exists(),
        "what it had made is left"
    );
    let pid = node.running_child();
    serves_on(&system, &node, port, 7, pid);
    // Not again and again: each try costs the callers something.
    system.until_fact(&node, "asked again", |fact| {
        fact.report.status.reason.as_ref() == Some(&reason)
    });
    disk.remove("ballast");
    ends_upgraded(&system, &node, port, 7);
    assert_eq!(system.events_of(&node, "node.returned").len(), 1);
}

/// As if many upgrades had used up what the journal has allocated, on a disk that is full.
fn use_up_journal(node: &Node) {
    let path = node.data.join("journal");
    let (mut journal, records) = Journal::open(&path).expect("opens");
    let staged = records.into_iter().rev().find_map(|record| match record {
        Record::Staged { step, retry, .. } => Some((step, retry)),
        _ => None,
    });
    let (step, retry) = staged.expect("a version is staged");
    // That it was staged once more, in so many words, changes nothing; nor does that one is let go of which is not there.
    let again = [8 << 10, 256, 1].map(|length| Record::Staged {
        step: step.clone(),
        returned: Some("x".repeat(length)),
        retry,
    });
    let nothing = Record::Unstaged {
        version: Version(9),
    };
    for record in again.into_iter().chain([nothing]) {
        let full = loop {
            if let Err(error) = journal.append(&record) {
                break error;
            }
        };
        assert!(matches!(full, JournalFileError::NoSpace { .. }), "{full}");
    }
}

/// A node that has staged version 2, whose journal has no room for what comes next, and the process of its software.
fn without_journal_room(test: &str) -> Option<(System, Disk, Node, i32)> {
    let system = System::with(&Boxes::version(1).bundle());
    let disk = Disk::mount(test, "ext4", 96, &system.folder().join("a"))?;
    let mut node = system.settled_box("a", 1, 1);
    let pid = put(system.port(1), 7);
    system.publish(&Boxes::version(2).schedule("approval = true").bundle());
    system.until_staged(&node, 2);
    node.end_agent();
    disk.fill("ballast");
    use_up_journal(&node);
    node.start_agent();
    Some((system, disk, node, pid))
}

#[test]
fn a_journal_without_room_begins_nothing() {
    let Some((system, disk, node, pid)) = without_journal_room("full_disk::journal") else {
        return;
    };
    let port = system.port(1);
    system.approve(2, None);
    let reason = until_full(&system, &node, Phase::Staged);
    assert!(reason.contains("journal"), "{reason}");
    serves_on(&system, &node, port, 7, pid);
    disk.remove("ballast");
    ends_upgraded(&system, &node, port, 7);
}

#[test]
fn a_record_that_finds_no_room_waits_for_it() {
    let Some((system, disk, node, pid)) = without_journal_room("full_disk::record") else {
        return;
    };
    let port = system.port(1);
    // Letting go of a withdrawn version is a record too.
    system.withdraw(Version(2));
    until_full(&system, &node, Phase::Settled);
    serves_on(&system, &node, port, 7, pid);
    disk.remove("ballast");
    let third = Boxes::version(3).from(1).dialect(2);
    system.publish(&third.bundle());
    system.until_settled(&node, 3);
}

#[test]
fn a_server_without_room_refuses_and_goes_on_with_it() {
    let mut mounted = None;
    let system = System::start_after(|folder| {
        mounted = Disk::mount("full_disk::server", "ext4", 48, &folder.join("server"));
        // What it says goes to the same disk.
        log_below(&folder.join("server.log"), &folder.join("server"));
    });
    let Some(disk) = mounted else {
        return;
    };
    system.publish(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    let port = system.port(1);
    let pid = put(port, 7);
    disk.fill("ballast");
    let large = Boxes::version(2)
        .bundle()
        .file("software/large", vec![b'y'; 1 << 20]);
    let refused = system.try_publish(&large, false).expect_err("no room");
    let said = format!("{refused:?}");
    assert_eq!(status_of(refused), Some(507), "{said}");
    // Until the room that the database has of its own is used up.
    let why = "x".repeat(1_000);
    let pause = || {
        let request = model::api::PauseRequest {
            reason: why.clone(),
        };
        system.try_ask(system.client.pause(&request))
    };
    let refused = (0..5_000)
        .find_map(|_| pause().err())
        .expect("the database is full at last");
    let said = format!("{refused:?}");
    assert_eq!(status_of(refused), Some(507), "{said}");
    let said = status(&system);
    assert!(said.contains("cannot store what changes"), "{said}");
    serves_on(&system, &node, port, 7, pid);
    disk.remove("ballast");
    system.ask(system.client.resume());
    until_ok("the status to tell of no trouble", || {
        let said = status(&system);
        if said.contains("cannot store") {
            Err(said)
        } else {
            Ok(())
        }
    });
    system.try_publish(&large, false).expect("there is room");
    ends_upgraded(&system, &node, port, 7);
}

/// Has a process's log lie in a folder: its usual path leads there.
fn log_below(log: &std::path::Path, folder: &std::path::Path) {
    let name = log.file_name().expect("a name");
    std::os::unix::fs::symlink(folder.join(name), log).expect("a link");
}

#[test]
fn a_full_disk_under_the_logs_ends_nobody_and_is_told_with_room() {
    let system = System::with(&Boxes::version(1).bundle());
    let place = system.folder().join("a");
    let Some(disk) = Disk::mount("full_disk::logs", "ext4", 128, &place) else {
        return;
    };
    let log = system.folder().join("a.log");
    log_below(&log, &place);
    let mut node = system.settled_box("a", 1, 1);
    let port = system.port(1);
    let pid = put(port, 7);
    // It grows beyond what may stay while there is no room for a copy of it.
    let printed = OpenOptions::new()
        .append(true)
        .open(place.join("output.log"));
    let mut printed = printed.expect("there");
    let line = b"said long ago\n";
    let mut print = |bytes: u64| {
        let lines = line.repeat((bytes / 14) as usize);
        printed.write_all(&lines).expect("there is room");
        printed.write_all(b"said last\n").expect("there is room");
    };
    print(15 * MIB);
    disk.write("slot", 3 * MIB);
    disk.fill("ballast");
    disk.remove("slot");
    print(2 * MIB);
    node.until_printed("no room for a copy");
    assert!(node.output().len() < 2 << 20 && node.output().contains("said last"));
    disk.fill("the-rest");

    // Agent, holder and software go on, and come back.
    serves_on(&system, &node, port, 7, pid);
    node.kill_agent();
    node.start_agent();
    until_heard(&system, &node);
    serves_on(&system, &node, port, 7, pid);
    kill(pid);
    let again = until("the software to run again", || {
        node.child().filter(|again| *again != pid)
    });
    until_ok("it to serve", || {
        Caller::unlabelled(port, 1)?.get("apples").map(drop)
    });
    serves_as(port, 7, again);
    disk.remove("the-rest");
    disk.remove("ballast");
    system.publish(&Boxes::version(2).bundle());
    system.until_settled(&node, 2);
    let said = std::fs::read_to_string(&log).expect("read");
    assert!(said.contains("could not be written"), "{said}");
}

/// The agent that was started last has been heard.
fn until_heard(system: &System, node: &Node) {
    let before = system.fact(&node.options.name).seen_at_ms;
    system.until_fact(node, "heard again", |fact| fact.seen_at_ms > before);
}

/// What people are shown.
fn status(system: &System) -> String {
    let mut command = upstart();
    command.args(["status", "--server", &system.server.url()]);
    let output = command.output().expect("runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn status_of(error: impl Into<client::PublishError>) -> Option<u16> {
    match error.into() {
        client::PublishError::Server(error) => error.status(),
        client::PublishError::Sign(_) => None,
    }
}

/// A disk that fails for good: what was not made durable must not be gone by.
#[test]
fn a_disk_that_fails_ends_the_agent_and_not_the_software() {
    let system = System::with(&Boxes::version(1).bundle());
    let place = system.folder().join("a");
    let Some(disk) = Disk::mount("full_disk::failing", "ext4", 64, &place) else {
        return;
    };
    let mut node = system.settled_box("a", 1, 1);
    let port = system.port(1);
    let pid = put(port, 7);
    system.publish(&Boxes::version(2).schedule("approval = true").bundle());
    system.until_staged(&node, 2);
    disk.shut_down();
    system.approve(2, None);
    // What cannot be read is not copied, and nothing is begun.
    system.until_fact(&node, "told", |fact| {
        let reason = fact.report.status.reason.as_deref();
        reason.is_some_and(|reason| reason.contains("the state cannot be copied"))
    });
    assert_eq!(node.running_child(), pid);
    system.withdraw(Version(2));
    let said = node.until_agent_gives_up();
    assert!(said.contains("journal"), "{said}");
    // Nothing was flipped or stopped: what the software makes of a disk without answers is its own matter.
    assert!(alive(pid), "the software was stopped");
    assert!(!refused(port), "the software does not listen any more");
}

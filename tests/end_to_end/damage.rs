//! Data directories that are not what they were: journals lost or cut, copies, backups. Nothing is begun over what is there, and nobody
//! runs on a state that is not his.

use crate::harness::{
    Boxes, Caller, Node, NodeOptions, System, alive, refused, until, until_ok, upstart,
};
use kit::copy_all;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// A system with one node that serves version 1 and holds a number.
fn serving() -> (System, Node) {
    let system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    put(&system, 1, 7);
    (system, node)
}

fn put(system: &System, version: u32, number: i64) {
    until_ok("the node to take a number", || {
        system
            .member(system.port(1), version)?
            .put("apples", number)
    });
}

fn reads(system: &System, version: u32) -> i64 {
    until_ok("the node to answer", || {
        let mut caller = system.member(system.port(1), version)?;
        caller.get("apples").map(|number| number.expect("a number"))
    })
}

fn claim(data: &Path) {
    let claimed = upstart().args(["claim", "--data"]).arg(data).output();
    let output = claimed.expect("runs");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_lost_or_cut_journal_begins_nothing_over_what_is_there() {
    let (system, mut node) = serving();
    let mut caller = Caller::unlabelled(system.port(1), 1).expect("connected");
    caller.get("apples").expect("answered");
    let pid = caller.last.as_ref().expect("an answer").pid();
    node.end_agent();
    // A node that joins now would join at this one, with nothing.
    system.publish(&Boxes::version(2).bundle());
    let (journal, witness) = (node.data.join("journal"), node.data.join("journal.witness"));
    let good = std::fs::read(&journal).expect("read");
    let end = good.iter().rposition(|byte| *byte != 0).expect("records");
    let (aside, other) = (system.folder().join("aside"), system.folder().join("other"));
    for damage in ["missing", "missing with its witness", "cut"] {
        match damage {
            "missing" => std::fs::rename(&journal, &aside).expect("moved"),
            "cut" => {
                let mut cut = good.clone();
                cut[end - 40..].fill(0);
                std::fs::write(&journal, cut).expect("cut");
            }
            _ => {
                std::fs::rename(&journal, &aside).expect("moved");
                std::fs::rename(&witness, &other).expect("moved");
            }
        }
        node.start_agent();
        let said = node.until_agent_gives_up();
        let told = if damage == "cut" {
            "has lost records"
        } else {
            "is missing"
        };
        assert!(said.contains(told) && said.contains("next: "), "{said}");
        assert_eq!(caller.get("apples").expect("answered"), Some(7));
        assert_eq!(caller.last.as_ref().expect("an answer").pid(), pid);
        assert!(!node.data.join("versions/2.1").exists());
        match damage {
            "cut" => std::fs::write(&journal, &good).expect("written"),
            _ => std::fs::rename(&aside, &journal).expect("moved"),
        }
        if other.exists() {
            std::fs::rename(&other, &witness).expect("moved");
        }
    }
    node.start_agent();
    system.until_settled(&node, 2);
    assert_eq!(reads(&system, 2), 7);
}

#[test]
fn software_beside_a_damaged_journal_is_ended_by_stop() {
    let (system, mut node) = serving();
    let mut caller = Caller::unlabelled(system.port(1), 1).expect("connected");
    caller.get("apples").expect("answered");
    let pid = caller.last.as_ref().expect("an answer").pid();
    node.end_agent();
    let journal = node.data.join("journal");
    let good = std::fs::read(&journal).expect("read");
    std::fs::write(&journal, "no journal").expect("damaged");
    let output = node.try_stop();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && !alive(pid), "{output:?}");
    assert!(said.contains("no agent starts them, since"), "{said}");
    std::fs::write(&journal, &good).expect("restored");
    let output = node.try_stop();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("an agent starts both"), "{said}");
    node.start_agent();
    assert_eq!(reads(&system, 1), 7);
}

/// What root makes there would be root's, and what its user puts in the way would be followed with root's rights.
#[test]
fn root_stops_and_claims_in_another_users_directory_as_that_user() {
    const NOBODY: u32 = 65_534;
    let test = "root_stops_and_claims_in_another_users_directory_as_that_user";
    let mut other = upstart();
    let can = other.uid(NOBODY).gid(NOBODY).arg("--version").output();
    if !rustix::process::geteuid().is_root() || can.is_err() {
        println!("SKIPPED: {test}: needs root, and a program that everybody may run");
        return;
    }
    let (system, mut node) = serving();
    node.end_agent();
    node.stop_software();
    std::fs::set_permissions(system.folder(), Permissions::from_mode(0o755)).expect("opened");
    let theirs = system.folder().join("theirs");
    copy_all(&node.data, &theirs);
    let mut given = Command::new("chown");
    let given = given
        .args(["-R", &NOBODY.to_string()])
        .arg(&theirs)
        .status();
    assert!(given.expect("runs").success());
    for command in ["claim", "stop"] {
        let _ = std::fs::remove_file(theirs.join("journal.lock"));
        let output = upstart().args([command, "--data"]).arg(&theirs).output();
        let output = output.expect("runs");
        assert!(output.status.success(), "{command}: {output:?}");
        for entry in std::fs::read_dir(&theirs).expect("listed") {
            let path = entry.expect("an entry").path();
            let owner = path.symlink_metadata().expect("there").uid();
            assert_eq!(owner, NOBODY, "{command}: {}", path.display());
        }
        assert!(theirs.join("journal.lock").exists(), "{command}");
    }
}

/// Its software finds nothing at its paths any more, or another node's files.
#[test]
fn software_whose_directory_was_moved_is_started_anew_at_the_new_path() {
    let (system, mut node) = serving();
    let pid = node.running_child();
    node.end_agent();
    let (before, moved) = (node.data.clone(), system.folder().join("moved"));
    std::fs::rename(&before, &moved).expect("moved");
    node.data.clone_from(&moved);
    node.start_agent();
    until("the software to be ended", || (!alive(pid)).then_some(()));
    put(&system, 1, 8);
    assert!(moved.join("current/boxes.json").exists());
    assert_eq!(reads(&system, 1), 8);
    // Nobody made anything at the old path.
    assert!(!before.exists());
    node.end_agent();
    node.stop_software();
    node.start_agent();
    assert_eq!(reads(&system, 1), 8);
}

/// As after a move, or a mount: an agent there must not meet the holder of what was there before.
#[test]
fn a_holder_makes_nothing_in_a_directory_that_took_its_own_ones_place() {
    let (system, mut node) = serving();
    let pid = node.running_child();
    node.end_agent();
    let (before, moved) = (node.data.clone(), system.folder().join("moved"));
    std::fs::rename(&before, &moved).expect("moved");
    std::fs::create_dir(&before).expect("made");
    // It looks after its socket every two seconds.
    std::thread::sleep(std::time::Duration::from_millis(2_500));
    let made: Vec<_> = std::fs::read_dir(&before).expect("listed").collect();
    assert!(made.is_empty(), "{made:?}");
    // A new node there runs beside the old one's software, and its end is told apart.
    let mut options = NodeOptions::new("b", system.port(2));
    options.data = Some(before);
    node.data.clone_from(&moved);
    let mut other = system.node(options);
    system.until_settled(&other, 1);
    assert!(alive(pid), "the software of what was there before");
    other.end_agent();
    let stopped = other.try_stop();
    let said = String::from_utf8_lossy(&stopped.stderr).into_owned();
    assert_eq!(stopped.status.code(), Some(2), "{said}");
    assert!(
        said.contains("another directory was in this place"),
        "{said}"
    );
    assert!(alive(pid) && refused(system.port(2)));
    node.stop_software();
    assert!(!alive(pid));
}

#[test]
fn a_pipe_in_the_place_of_the_journal_holds_nobody_up() {
    let (_system, mut node) = serving();
    node.end_agent();
    node.stop_software();
    for name in [
        "journal",
        "journal.lock",
        "journal.witness",
        "start.json",
        "holder.child",
    ] {
        let (path, aside) = (node.data.join(name), node.data.join("aside"));
        std::fs::rename(&path, &aside).expect("moved");
        let made = Command::new("mkfifo").arg(&path).status().expect("runs");
        assert!(made.success());
        let mut stop = Command::new("timeout");
        stop.arg("20")
            .arg(harness::program())
            .args(["stop", "--data"]);
        let output = stop.arg(&node.data).output().expect("runs");
        assert_ne!(output.status.code(), Some(124), "{name}: {output:?}");
        std::fs::remove_file(&path).expect("removed");
        std::fs::rename(&aside, &path).expect("put back");
    }
}

/// A link that somebody else can change leads to a directory of his choice.
#[test]
fn root_stops_and_claims_nothing_by_way_of_another_users_link() {
    const NOBODY: u32 = 65_534;
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: root_stops_and_claims_nothing_by_way_of_another_users_link: needs root");
        return;
    }
    let (system, mut node) = serving();
    let pid = node.running_child();
    node.end_agent();
    let theirs = system.folder().join("theirs");
    std::fs::create_dir(&theirs).expect("made");
    let link = theirs.join("a");
    std::os::unix::fs::symlink(&node.data, &link).expect("linked");
    std::os::unix::fs::chown(&theirs, Some(NOBODY), Some(NOBODY)).expect("given away");
    for command in ["stop", "claim"] {
        let output = upstart().args([command, "--data"]).arg(&link).output();
        let output = output.expect("runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{command}: {said}");
        assert!(
            said.contains("may lead to another directory"),
            "{command}: {said}"
        );
    }
    assert!(alive(pid));
}

#[test]
fn what_needs_no_claim_and_what_is_no_nodes_is_not_claimed() {
    let (system, node) = serving();
    let refused = |data: &Path, words: &str| {
        let claimed = upstart().args(["claim", "--data"]).arg(data).output();
        let output = claimed.expect("runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(words), "{said}");
    };
    refused(&node.data, "already, and its holder runs");
    let empty = system.folder().join("empty");
    std::fs::create_dir(&empty).expect("made");
    refused(&empty, "is not a node's data directory");
    assert!(std::fs::read_dir(&empty).expect("listed").next().is_none());
}

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
fn a_state_that_is_missing_is_seen_before_the_software_is_stopped() {
    let (system, node) = serving();
    let pid = node.running_child();
    let state = node.data.join("versions/1.1/state");
    let aside = system.folder().join("aside");
    std::fs::rename(&state, &aside).expect("moved");
    system.publish(&Boxes::version(2).bundle());
    system.until_fact(&node, "told", |fact| {
        let reason = fact.report.status.reason.as_deref();
        reason.is_some_and(|reason| reason.contains("cannot find the state"))
    });
    assert!(alive(pid), "the software was stopped");
    assert!(system.events_of(&node, "node.stopping").is_empty());
    std::fs::rename(&aside, &state).expect("put back");
    system.until_settled(&node, 2);
    assert_eq!(reads(&system, 2), 7);
}

#[test]
fn a_state_that_is_not_there_is_told_with_what_to_do() {
    let (system, mut node) = serving();
    let (current, state) = (
        node.data.join("current"),
        node.data.join("versions/1.1/state"),
    );
    node.end_agent();
    node.stop_software();
    let told = |node: &Node, words: &str| {
        system.until_fact(node, "told", |fact| {
            let reason = fact.report.status.reason.as_deref();
            reason.is_some_and(|reason| reason.contains(words))
        });
    };
    std::fs::remove_file(&current).expect("removed");
    std::fs::create_dir(&current).expect("made");
    node.start_agent();
    told(
        &node,
        "something else than the agent's link is in its place; move that away",
    );
    std::fs::remove_dir(&current).expect("removed");
    assert_eq!(reads(&system, 1), 7);
    node.end_agent();
    node.stop_software();
    let aside = system.folder().join("aside");
    std::fs::rename(&state, &aside).expect("moved");
    node.start_agent();
    told(
        &node,
        "the state is missing, and no empty one is made in its place; put it back",
    );
    std::fs::rename(&aside, &state).expect("put back");
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

#[test]
fn files_that_were_edited_or_deleted_are_mended_before_they_are_used() {
    let (system, mut node) = serving();
    system.publish(&Boxes::version(2).schedule("approval = true").bundle());
    system.until_staged(&node, 2);
    node.end_agent();
    node.stop_software();
    let program = node.data.join("versions/1.1/bundle/software/box.py");
    let lens = node.data.join("versions/2.1/bundle/lens.toml");
    let right = std::fs::read(&program).expect("read");
    std::fs::write(&program, "import sys; sys.exit('edited')").expect("edited");
    std::fs::remove_file(&lens).expect("deleted");
    node.start_agent();
    assert_eq!(reads(&system, 1), 7);
    // The lens serves those who call at the next version.
    assert_eq!(reads(&system, 2), 7);
    assert_eq!(std::fs::read(&program).expect("read"), right);
    let mended = until("both to be told", || {
        let told = system.events_of(&node, "node.mended");
        (told.len() >= 2).then_some(told)
    });
    let told: Vec<String> = mended.into_iter().map(|event| event.message).collect();
    let told = told.join("\n");
    assert!(
        told.contains("software/box.py") && told.contains("lens.toml"),
        "{told}"
    );
    // Nor is an artifact believed that is not what its name says: it is fetched again.
    node.end_agent();
    node.stop_software();
    let artifacts = std::fs::read_dir(node.data.join("artifacts")).expect("there");
    for artifact in artifacts.flatten() {
        let length = artifact.metadata().expect("there").len();
        let wrong = vec![b'x'; usize::try_from(length).expect("small")];
        std::fs::write(artifact.path(), wrong).expect("edited");
    }
    std::fs::remove_file(&program).expect("deleted");
    node.start_agent();
    assert_eq!(reads(&system, 1), 7);
    assert_eq!(std::fs::read(&program).expect("read"), right);
}

#[test]
fn what_was_unpacked_is_compared_with_its_archive() {
    let program = Boxes::version(1).bundle().files["software/box.py"].clone();
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in [("box.py", program.as_slice()), ("part.txt", b"a part")] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, name, content)
            .expect("packed");
    }
    let archive = builder.into_inner().expect("packed");
    let packed = Boxes::version(1)
        .bundle()
        .replaced("path = \"software\"", "path = \"software.tar\"")
        .file("software.tar", archive);
    let system = System::with(&packed);
    let mut node = system.settled_box("a", 1, 1);
    put(&system, 1, 7);
    node.end_agent();
    node.stop_software();
    let unpacked = node.data.join("versions/1.1/software/software.tar");
    std::fs::write(unpacked.join("box.py"), "import sys; sys.exit('edited')").expect("edited");
    std::fs::remove_file(unpacked.join("part.txt")).expect("deleted");
    std::fs::write(unpacked.join("own.txt"), "the software's own").expect("written");
    node.start_agent();
    assert_eq!(reads(&system, 1), 7);
    let part = std::fs::read_to_string(unpacked.join("part.txt")).expect("mended");
    assert!(part == "a part" && unpacked.join("own.txt").exists());
}

#[test]
fn what_is_the_agents_alone_is_private() {
    let (system, node) = serving();
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    // Software that begins as root may become another user, who must enter its state.
    let state = if rustix::process::geteuid().is_root() {
        0o711
    } else {
        0o700
    };
    for (path, expected) in [
        ("", 0o711),
        ("artifacts", 0o700),
        ("cache", 0o700),
        ("adapters", 0o700),
        ("journal", 0o600),
        ("journal.witness", 0o600),
        ("journal.lock", 0o600),
        ("holder.lock", 0o600),
        ("holder.log", 0o600),
        ("versions", 0o711),
        ("versions/1.1/state", state),
        ("versions/1.1/bundle/upgrade.toml", 0o600),
    ] {
        assert_eq!(mode(&node.data.join(path)), expected, "{path}");
    }
    assert_eq!(mode(&system.folder().join("server")), 0o700);
}

#[test]
fn whatever_umask_an_agent_is_started_with_nobody_else_writes_to_what_it_makes() {
    let system = System::with(&Boxes::version(1).bundle());
    rustix::process::umask(rustix::fs::Mode::empty());
    let mut node = system.settled_box("a", 1, 1);
    let software = node.running_child();
    let status = std::fs::read_to_string(format!("/proc/{software}/status")).expect("it runs");
    assert!(
        status.contains("Umask:\t0000"),
        "the software has another umask than it was given: {status}"
    );
    // Before and after the agent has begun anew, by itself and by hand.
    for again in [false, true] {
        if again {
            node.end_agent();
            node.stop_software();
            node.start_agent();
            node.running_child();
        }
        let find = Command::new("find")
            .arg(&node.data)
            .args(["-path", "*/state", "-prune", "-o", "-type", "l", "-o"])
            .args(["-perm", "/022", "-print"])
            .output()
            .expect("runs");
        let open = String::from_utf8_lossy(&find.stdout);
        assert!(find.status.success() && open.is_empty(), "{open}");
    }
}

#[test]
fn a_data_directory_that_others_can_change_is_not_used() {
    let (_system, mut node) = serving();
    node.end_agent();
    node.stop_software();
    // Sticky or not; and what others have made before the first start, or could change since.
    for (name, open) in [
        ("", 0o777),
        ("", 0o1777),
        ("lib", 0o777),
        ("versions", 0o1777),
    ] {
        let folder = node.data.join(name);
        std::fs::set_permissions(&folder, Permissions::from_mode(open)).expect("opened");
        node.start_agent();
        let said = node.until_agent_gives_up();
        assert!(
            said.contains("can be written by everybody") && said.contains("chmod"),
            "{said}"
        );
        std::fs::set_permissions(&folder, Permissions::from_mode(0o711)).expect("closed");
    }
    node.start_agent();
    node.running_child();
}

#[test]
fn a_link_to_the_state_that_is_gone_is_made_again() {
    let (system, mut node) = serving();
    let current = node.data.join("current");
    let link = || std::fs::read_link(&current).expect("a link");
    assert_eq!(link(), Path::new("versions/1.1/state"));
    node.end_agent();
    node.stop_software();
    std::fs::remove_file(&current).expect("removed");
    node.start_agent();
    assert_eq!(reads(&system, 1), 7);
    assert_eq!(link(), Path::new("versions/1.1/state"));
    // Wherever else it leads, the journal says where it should.
    node.end_agent();
    node.stop_software();
    let elsewhere = system.folder().join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("made");
    std::fs::remove_file(&current).expect("removed");
    std::os::unix::fs::symlink(&elsewhere, &current).expect("made");
    node.start_agent();
    assert_eq!(reads(&system, 1), 7);
    assert_eq!(link(), Path::new("versions/1.1/state"));
}

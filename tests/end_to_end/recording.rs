//! `upstart record`: what is recorded of live traffic plays through the lens again, and nothing of it stays behind.

use crate::harness::{Boxes, Caller, Node, System, is_crash, kill, until};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A recording as a process.
struct Recorder {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

fn upstart() -> Command {
    Command::new(env!("CARGO_BIN_EXE_upstart"))
}

impl Recorder {
    /// Starts one and waits until it records.
    fn start(node: &Node, output: &Path, count: u64) -> Self {
        let mut command = upstart();
        command.args(["record", "--service", "data", "--count", &count.to_string()]);
        command
            .arg("--data")
            .arg(&node.data)
            .arg("--output")
            .arg(output);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("it says something");
        assert!(
            line.contains("recording new connections of box/data"),
            "{line}"
        );
        Self { child, stdout }
    }

    /// Waits for its end; gives the exit code and what it said.
    fn end(mut self) -> (Option<i32>, String) {
        let status = until("the recording to end", || {
            self.child.try_wait().expect("waits")
        });
        let mut said = String::new();
        self.stdout.read_to_string(&mut said).expect("text");
        (status.code(), said)
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process id")
    }
}

/// Whether a process itself has the other end of a caller's connection, with nothing in between.
fn is_raw(process: i32, caller: &Caller) -> bool {
    let port = format!(":{:04X}", caller.address().port());
    let table = std::fs::read_to_string("/proc/net/tcp").expect("readable");
    let inodes = table.lines().filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        columns
            .get(2)?
            .ends_with(&port)
            .then(|| format!("socket:[{}]", columns[9]))
    });
    let inodes: Vec<String> = inodes.collect();
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).expect("it runs");
    descriptors.flatten().any(|descriptor| {
        let target = std::fs::read_link(descriptor.path()).unwrap_or_default();
        inodes
            .iter()
            .any(|inode| target.as_os_str() == inode.as_str())
    })
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|_| panic!("no {}", folder.display()));
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

/// `upstart lens test` on what was recorded: all of it must pass.
fn play(lens: &Path, folder: &Path, number: usize) {
    assert_eq!(files(folder).len(), number, "{:?}", files(folder));
    let mut command = upstart();
    command
        .args(["lens", "test"])
        .arg(lens)
        .arg("--conversations")
        .arg(folder);
    let output = command.output().expect("runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains(&format!("{number} conversations as they should be, 0 not")),
        "{said}"
    );
}

#[test]
fn what_is_recorded_plays_through_the_lens_and_connections_are_raw_again_afterwards() {
    let system = System::with(&Boxes::version(1).bundle());
    let mut node = system.settled_box("a", 1, 1);
    system.publish(&Boxes::version(2).schedule("approval = true").bundle());
    system.until_staged(&node, 2);
    let (port, lens) = (system.port(1), system.folder().join("bundle-1/lens.toml"));
    let output = system.folder().join("recorded");
    let software = node.running_child();
    let mut before = system.member(port, 1).expect("connected");
    before.put("pears", 1).expect("stored");
    assert!(is_raw(software, &before));

    // Two calls each: direct with a label and without one, and through the future adapter.
    let recorder = Recorder::start(&node, &output, 6);
    let mut old = system.member(port, 1).expect("connected");
    let mut plain = Caller::unlabelled(port, 1).expect("connected");
    let mut new = system.member(port, 2).expect("connected");
    for (caller, number) in [(&mut old, 2), (&mut plain, 3), (&mut new, 4)] {
        caller.put("apples", number).expect("stored");
        assert_eq!(caller.get("apples").expect("answered"), Some(number));
    }
    for caller in [&mut old, &mut plain] {
        assert!(!is_raw(software, caller));
        assert_eq!(
            caller.last.as_ref().expect("an answer").caller(),
            caller.address()
        );
    }
    before.put("pears", 2).expect("stored");
    let (code, said) = recorder.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("6 conversations written"), "{said}");
    play(&lens, &output.join("box.data.v2.conversations"), 2);
    assert_eq!(files(&output.join("box.data.direct-v1")).len(), 4);

    // What began meanwhile goes on; what begins now is raw.
    old.put("apples", 5).expect("stored");
    let mut after = system.member(port, 1).expect("connected");
    after.put("apples", 6).expect("stored");
    assert!(is_raw(software, &after) && is_raw(software, &before));

    // The same through the past adapter, after the upgrade; this recording is interrupted.
    system.approve(2, None);
    system.until_settled(&node, 2);
    let recorder = Recorder::start(&node, &output, 1_000);
    let mut old = system.member(port, 1).expect("connected");
    old.put("plums", 7).expect("stored");
    assert_eq!(old.get("plums").expect("answered"), Some(7));
    let folder = output.join("box.data.v2.conversations");
    until("both to be written", || {
        (files(&folder).len() == 4).then_some(())
    });
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(recorder.pid()).expect("a process"),
        rustix::process::Signal::INT,
    )
    .expect("it runs");
    let (code, said) = recorder.end();
    assert_eq!(
        (code, said.contains("2 conversations written")),
        (Some(0), true),
        "{said}"
    );
    play(&lens, &folder, 4);
    node.end_agent();
}

#[test]
fn a_recording_ends_with_its_command_and_there_is_one_at_a_time() {
    let system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    let (port, output) = (system.port(1), system.folder().join("recorded"));
    let software = node.running_child();
    let recorder = Recorder::start(&node, &output, 100);
    let ask = |service: &str, data: &Path| {
        let mut command = upstart();
        command
            .args(["record", "--service", service, "--data"])
            .arg(data);
        let output = command.arg("--output").arg(&output).output().expect("runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    for (service, data, code, part) in [
        (
            "data",
            node.data.as_path(),
            1,
            "somebody records box/data already",
        ),
        ("front", node.data.as_path(), 1, "it has: data"),
        ("data", system.folder(), 2, "a running agent"),
    ] {
        let (found, said) = ask(service, data);
        assert_eq!(found, Some(code), "{said}");
        assert!(said.contains(part), "{said}");
    }
    let mut meanwhile = system.member(port, 1).expect("connected");
    meanwhile.put("apples", 1).expect("stored");
    assert!(!is_raw(software, &meanwhile));

    kill(recorder.pid());
    recorder.end();
    until("a connection to be raw", || {
        let mut caller = system.member(port, 1).ok()?;
        caller.put("apples", 2).ok()?;
        is_raw(software, &caller).then_some(())
    });
    // It passes through the agent still, to its end.
    meanwhile.put("apples", 3).expect("stored");
    let mut node = node;
    node.kill_agent();
    let error = meanwhile.get("apples").expect_err("it ends with the agent");
    assert!(is_crash(&error), "{error}");
}

//! What commands do where nobody reads, or nothing more can be written.

use crate::endings::*;
use crate::upstart::{Server, TOKEN, run};
use std::fs::OpenOptions;
use std::io::pipe;
use std::process::Command;

/// An agent's and a server's command lines, for a shell that has limited them: `$0` is the binary, `$1` a directory.
const AGENT: &str = "exec \"$0\" agent --data \"$1/node\" --name n --class echo";

const SERVER: &str = "exec \"$0\" server --data \"$1/udb\" --listen 127.0.0.1:0";

fn in_a_shell(server: &Server, shell: &[&str], script: &str) -> String {
    let folder = server.folder().join("small");
    std::fs::create_dir_all(&folder).expect("made");
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).args(["sh", "-c", script]);
    command.arg(env!("CARGO_BIN_EXE_upstart")).arg(folder);
    command.env("UPSTART_SERVER", server.url());
    command.env("UPSTART_TOKEN", TOKEN);
    run(&mut command).expect_advice(2).stderr()
}

#[test]
fn a_limit_of_files_sizes_ends_nobody_without_a_word() {
    let (server, _) = server();
    for (limit, script) in [("64", AGENT), ("4", SERVER)] {
        let script = format!("ulimit -f {limit}; {script}");
        let said = in_a_shell(&server, &["env"], &script);
        assert!(said.contains("ulimit -f"), "{said}");
    }
}

#[test]
fn a_disk_that_is_full_is_said_to_be() {
    let spaces = ["unshare", "--map-root-user", "--mount"];
    let tried = Command::new(spaces[0])
        .args(&spaces[1..])
        .arg("true")
        .status();
    if !tried.is_ok_and(|status| status.success()) {
        println!("SKIPPED: a_disk_that_is_full_is_said_to_be: needs a mount namespace");
        return;
    }
    let (server, _) = server();
    for (size, script) in [("600k", AGENT), ("16k", SERVER)] {
        let script = format!("mount -t tmpfs -o size={size} none \"$1\" && {script}");
        let said = in_a_shell(&server, &spaces, &script);
        assert!(said.contains("is full"), "{said}");
    }
}

#[test]
fn a_server_that_is_asked_to_end_ends_well() {
    for signal in [SIGINT, SIGTERM] {
        let mut server = Server::start();
        let ended = server.signalled(|child| signalled(child, signal));
        assert_eq!(ended.code(), Some(0), "{ended}");
    }
}

#[test]
fn no_command_minds_a_reader_that_has_gone() {
    let (server, bundle) = server();
    for words in that_print() {
        for json in [false, true] {
            let (reader, writer) = pipe().expect("a pipe");
            drop(reader);
            let mut command = told(&server, &bundle, &words);
            if json {
                command.arg("--json");
            }
            let output = command.stdout(writer).output().expect("runs");
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{words:?}: {stderr}");
            assert_eq!(stderr, "", "{words:?}");
        }
    }
}

/// What it waits for is not there when its reader goes: the exit code says what came of it.
#[test]
fn a_reader_that_goes_takes_no_answer_away() {
    let (server, bundle) = server();
    enrol(&server);
    let ends = |words: &[&str], code: i32| {
        for json in [false, true] {
            let (reader, writer) = pipe().expect("a pipe");
            drop(reader);
            let mut command = told(&server, &bundle, words);
            if json {
                command.arg("--json");
            }
            let output = command.stdout(writer).output().expect("runs");
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{words:?}: {stderr}");
        }
    };
    ends(&["watch"], 0);
    ends(&["events", "--follow"], 0);
    ends(&["logs", "--follow", "--data", "DATA"], 0);
    ends(&["watch", "--until", "1", "--timeout", "1"], 1);
    ends(&["retire", "1", "--wait", "1"], 1);
    std::fs::write(bundle.join("odd\\name"), "").expect("written");
    ends(&["check", "BUNDLE"], 1);
    ends(&["publish", "BUNDLE"], 1);
    std::fs::write(bundle.join("lens.toml"), "").expect("written");
    ends(&["lens", "test", "BUNDLE"], 1);
}

#[test]
fn what_cannot_be_written_is_an_error() {
    let (server, bundle) = server();
    for words in that_print() {
        let full = OpenOptions::new().write(true).open("/dev/full");
        let mut command = told(&server, &bundle, &words);
        let output = command
            .stdout(full.expect("a full device"))
            .output()
            .expect("runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {stderr}");
        assert!(stderr.contains("No space left"), "{words:?}: {stderr}");
    }
    // A closed stderr is nobody's error but takes no answer away.
    let full = OpenOptions::new().write(true).open("/dev/full");
    let refused = told(&server, &bundle, &["retry", "nobody"])
        .stderr(full.expect("a full device"))
        .status();
    assert_eq!(refused.expect("runs").code(), Some(1));
}

/// The end of a long history, as it stands there.
#[test]
fn the_last_events_are_the_last_of_all() {
    let server = Server::start();
    for reason in ["one", "two", "three"] {
        run(server.upstart().args(["pause", reason])).expect(0);
        run(server.upstart().arg("resume")).expect(0);
    }
    let events = |more: &[&str]| -> Vec<String> {
        let mut command = server.upstart();
        let told = run(command.arg("events").args(more)).expect(0).stdout();
        told.lines().map(str::to_owned).collect()
    };
    let all = events(&[]);
    assert_eq!(events(&["--last", "3"]), all[all.len() - 3..]);
    assert_eq!(events(&["--last", "1000"]), all);
    let paused = events(&["--last", "2", "--kind", "system.paused"]);
    assert_eq!(paused, events(&["--kind", "system.paused"])[1..]);
    assert!(events(&["--last", "0"]).is_empty());
}

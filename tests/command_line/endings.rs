//! How every command ends: by a signal, without a reader, without room, with words that are no text; and what it prints for programs.

use crate::bundles::{FIRST, write};
use crate::upstart::{Server, TOKEN, run};
use client::Client;
use model::api::EnrolRequest;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub(crate) const SIGINT: i32 = 2;
pub(crate) const SIGTERM: i32 = 15;
pub(crate) const SIGSTOP: i32 = 19;

/// No text: what a file's name, an argument and a variable may hold all the same.
pub(crate) const NO_TEXT: &[u8] = b"\xff\xfe";

/// A server at which version 1 is published, and the bundle.
pub(crate) fn server() -> (Server, PathBuf) {
    let server = Server::start();
    let bundle = server.folder().join("v1");
    write(&bundle, FIRST);
    run(server.upstart().arg("publish").arg(&bundle)).expect(0);
    (server, bundle)
}

/// Every command that prints and ends, with a bundle where it takes one.
pub(crate) fn that_print() -> Vec<Vec<&'static str>> {
    [
        "status",
        "nodes",
        "events",
        "permit list",
        "check BUNDLE",
        "publish BUNDLE",
        "pause lunch",
        "resume",
        "public 1",
        "approve 1",
        "schema lens",
        "completions bash",
        "man",
        "logs --data DATA",
    ]
    .iter()
    .map(|line| line.split(' ').collect())
    .collect()
}

/// A command with its arguments, told where things are.
pub(crate) fn told(server: &Server, bundle: &std::path::Path, words: &[&str]) -> Command {
    let data = server.folder().join("node");
    std::fs::create_dir_all(&data).expect("a directory");
    std::fs::write(data.join("output.log"), "one\ntwo\n").expect("written");
    let mut command = server.upstart();
    for word in words {
        match *word {
            "BUNDLE" => command.arg(bundle),
            "DATA" => command.arg(&data),
            word => command.arg(word),
        };
    }
    command
}

/// Makes a node known that never settles.
pub(crate) fn enrol(server: &Server) {
    let request = EnrolRequest {
        system_id: None,
        name: "a".to_owned(),
        class: "echo".to_owned(),
        attributes: [].into(),
        host: "host".to_owned(),
        data_directory: "/data".to_owned(),
        ..EnrolRequest::default()
    };
    let client = Client::new(&[server.url()], Some(TOKEN.to_owned())).expect("a client");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(client.enrol(&request)).expect("enrolled");
}

pub(crate) fn signal(process: u32, signal: i32) {
    let pid = i32::try_from(process).expect("a process");
    let pid = rustix::process::Pid::from_raw(pid).expect("a process");
    let signal = rustix::process::Signal::from_named_raw(signal).expect("a signal");
    rustix::process::kill_process(pid, signal).expect("signalled");
}

pub(crate) fn signalled(child: &mut Child, number: i32) -> ExitStatus {
    signal(child.id(), number);
    child.wait().expect("it ends")
}

#[test]
fn what_waits_ends_by_the_signal_and_never_as_if_it_had_what_it_waited_for() {
    let (server, bundle) = server();
    enrol(&server);
    for words in [
        &["events", "--follow"][..],
        &["logs", "--follow", "--data", "DATA"],
        &["watch"],
        &["watch", "--until", "1"],
        &["watch", "--until", "1", "--json"],
    ] {
        for signal in [SIGINT, SIGTERM] {
            let mut child = told(&server, &bundle, words)
                .stdout(Stdio::piped())
                .spawn()
                .expect("runs");
            let mut line = String::new();
            let stdout = child.stdout.take().expect("piped");
            BufReader::new(stdout).read_line(&mut line).expect("a line");
            let ended = signalled(&mut child, signal);
            assert_eq!(ended.signal(), Some(signal), "{words:?}: {ended}");
        }
    }
}

/// It takes requests and answers none: the time that a command was given holds all the same, and others say what they wait for.
#[test]
fn a_server_that_stands_still_is_said_to_and_holds_no_command_beyond_its_time() {
    let (server, bundle) = server();
    signal(server.process(), SIGSTOP);
    let begun = Instant::now();
    for words in [
        &["watch", "--until", "1", "--timeout", "1"][..],
        &["retire", "1", "--wait", "1"],
    ] {
        let said = run(&mut told(&server, &bundle, words))
            .expect_advice(2)
            .stderr();
        assert!(
            said.contains("does not answer") && said.contains("stands still"),
            "{said}"
        );
    }
    // Without a token's file it is the server that does not tell its token.
    let mut unknowing = told(&server, &bundle, &["watch", "--until", "1"]);
    let said = run(unknowing.env_remove("UPSTART_TOKEN_FILE")).expect_advice(2);
    assert!(said.stderr().contains("stands still"), "{}", said.stderr());
    assert!(
        !said.stderr().contains("end the program"),
        "{}",
        said.stderr()
    );
    // Without TLS, which would not come about, the request itself is waited for.
    let plain = server.url().replace("https://", "http://");
    let mut status = told(&server, &bundle, &["status"])
        .env("UPSTART_SERVER", plain)
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut line = String::new();
    let stderr = status.stderr.take().expect("piped");
    BufReader::new(stderr).read_line(&mut line).expect("a line");
    assert!(line.contains("has not answered yet"), "{line}");
    signalled(&mut status, SIGTERM);
    assert!(
        begun.elapsed() < Duration::from_secs(40),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn no_number_is_too_large_to_be_refused_or_taken() {
    const MOST: &str = "18446744073709551615";
    let (server, bundle) = server();
    enrol(&server);
    for words in [
        &["watch", "--until", "1", "--timeout", MOST][..],
        &["retire", "1", "--wait", MOST],
    ] {
        let mut child = told(&server, &bundle, words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("runs");
        std::thread::sleep(Duration::from_secs(1));
        assert!(child.try_wait().expect("waits").is_none(), "{words:?}");
        assert_eq!(signalled(&mut child, SIGTERM).signal(), Some(SIGTERM));
    }
    let agent = ["agent", "--data", "DATA", "--name", "n", "--class", "echo"];
    for (words, code) in [
        (&["events", "--after", MOST][..], 1),
        (
            &[
                "watch",
                "--until",
                "4294967295.4294967295",
                "--timeout",
                "0",
            ],
            1,
        ),
        (&["logs", "--data", "DATA", "-n", MOST], 0),
        (
            &[
                "record",
                "--data",
                "DATA",
                "--service",
                "s",
                "--output",
                "DATA",
                "--seconds",
                MOST,
            ],
            2,
        ),
        (&["server", "--data", "DATA", "--reachable-ms", MOST], 2),
        (&["server", "--data", "DATA", "--reachable-ms", "0"], 2),
        (&[&agent[..], &["--poll-ms", MOST]].concat(), 2),
        (&[&agent[..], &["--poll-ms", "0"]].concat(), 2),
        (&[&agent[..], &["--call-threads", "1000000"]].concat(), 2),
        (&[&agent[..], &["--call-threads", "0"]].concat(), 2),
    ] {
        let answer = run(&mut told(&server, &bundle, words)).expect(code);
        assert!(!answer.stderr().contains("panicked"), "{words:?}");
    }
    let file = server.folder().join("agent.toml");
    let text = "data = 'd'\nname = 'n'\nclass = 'echo'\nservers = ['http://127.0.0.1:1']\n";
    for (key, code) in [("poll_ms = 0", 2), ("call_threads = 1000000", 2)] {
        std::fs::write(&file, format!("{text}{key}\n")).expect("written");
        let said = run(server.upstart().args(["agent", "--config"]).arg(&file))
            .expect_advice(code)
            .stderr();
        assert!(
            said.contains("to 3600000") || said.contains("to 1024"),
            "{said}"
        );
    }
}

/// A device that has no end, a pipe that nobody writes into, and what is larger than any lens.
#[test]
fn what_is_no_file_is_not_read_and_not_waited_for() {
    let folder = tempfile::tempdir().expect("a directory");
    let (pipe, large) = (folder.path().join("pipe"), folder.path().join("large"));
    let made = Command::new("mkfifo").arg(&pipe).status().expect("runs");
    assert!(made.success());
    let file = std::fs::File::create(&large).expect("made");
    file.set_len(1 << 40).expect("a sparse file");
    let lens = folder.path().join("lens.toml");
    std::fs::write(&lens, "").expect("written");
    let explain = ["lens", "explain"];
    let call = ["POST", "/", "--direction", "past", "-d"];
    for odd in [std::path::Path::new("/dev/zero"), &pipe, &large] {
        let odd = odd.to_str().expect("text");
        let body = format!("@{odd}");
        for words in [
            &["lens", "test", odd][..],
            &["adapter", "test", odd],
            &[&explain[..], &[odd, "GET", "/", "--direction", "past"]].concat(),
            &[&explain[..], &["--conversation", odd, "lens.toml"]].concat(),
            &[&explain[..], &["lens.toml"], &call[..], &[&body]].concat(),
        ] {
            let answer = run(crate::upstart::upstart()
                .current_dir(folder.path())
                .args(words));
            let said = answer.expect_advice(2).stderr();
            assert!(
                said.contains("no regular file") || said.contains("16 MiB"),
                "{words:?}: {said}"
            );
        }
    }
}

#[test]
fn what_is_not_there_is_a_negative_answer_and_what_was_forgotten_is_still_told_of() {
    let (server, bundle) = server();
    enrol(&server);
    let of = |node: &str| run(&mut told(&server, &bundle, &["events", "--node", node]));
    let said = of("nobody").expect_advice(1).stderr();
    assert!(said.contains("nobody"), "{said}");
    let before = of("a").expect(0).stdout();
    assert_eq!(of("1").expect(0).stdout(), before);
    run(&mut told(&server, &bundle, &["forget", "a"])).expect(0);
    let after = of("a").expect(0).stdout();
    assert!(
        after.starts_with(&before) && after.contains("node.forgotten"),
        "{after}"
    );
    let never = run(&mut told(&server, &bundle, &["permit", "break", "9"]));
    let said = never.expect_advice(1).stderr();
    assert!(said.contains("No permit 9 was given"), "{said}");
    // Another path than the server's is an error, not its answer.
    let elsewhere = format!("{}/elsewhere", server.url());
    for words in [&["status"][..], &["pause"], &["events", "--node", "a"]] {
        let mut command = told(&server, &bundle, words);
        let said = run(command.args(["--server", &elsewhere])).expect_advice(2);
        assert!(said.stderr().contains("path"), "{}", said.stderr());
    }
}

#[test]
fn an_address_that_is_no_hosts_own_is_no_nodes_either() {
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("agent.toml");
    for address in ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255"] {
        let mut flags = crate::upstart::upstart();
        flags.args(["agent", "--name", "n", "--class", "c", "--address", address]);
        let flags = run(flags.arg("--data").arg(folder.path().join("data")));
        let text = format!(
            "data = 'd'\nname = 'n'\nclass = 'c'\nservers = ['http://127.0.0.1:1']\naddresses = ['{address}']\n"
        );
        std::fs::write(&file, text).expect("written");
        let mut from_file = crate::upstart::upstart();
        let from_file = run(from_file.args(["agent", "--config"]).arg(&file));
        for answer in [flags, from_file] {
            let said = answer.expect_advice(2).stderr();
            assert!(
                said.contains(address) && said.contains("--address"),
                "{said}"
            );
        }
    }
}

#[test]
fn every_command_prints_json_for_programs() {
    let (server, bundle) = server();
    for words in that_print() {
        if ["completions", "man"].contains(&words[0]) {
            continue;
        }
        let answer = run(told(&server, &bundle, &words).arg("--json")).expect(0);
        for line in answer.stdout().lines() {
            let value: Result<serde_json::Value, _> = serde_json::from_str(line);
            // A schema is one value over many lines.
            assert!(
                value.is_ok()
                    || serde_json::from_str::<serde_json::Value>(&answer.stdout()).is_ok(),
                "{words:?}: {line}"
            );
        }
        assert_ne!(answer.stdout(), "", "{words:?}");
    }
    let refused = run(told(&server, &bundle, &["retry", "nobody"]).arg("--json")).expect(1);
    assert_eq!(refused.json()["refused"], true);
}

#[test]
fn words_that_are_no_text_are_refused_or_taken_as_they_are() {
    let (server, _) = server();
    let odd = OsStr::from_bytes(NO_TEXT);
    for words in [
        &["status", "--server"][..],
        &["nodes"],
        &["events", "--node"],
        &["pause"],
        &["retry"],
        &["forget"],
        &["approve", "1", "--class"],
        &["public", "1", "--service"],
        &["agent", "--data", "d", "--class", "c", "--name"],
        &[
            "agent", "--data", "d", "--name", "n", "--class", "c", "--var",
        ],
        &["watch", "--until"],
        &["no-such-command"],
    ] {
        let answer = run(server.upstart().args(words).arg(odd)).expect(2);
        assert!(!answer.stderr().contains("panicked"), "{words:?}");
    }
    // Paths may be anything.
    let bundle = server.folder().join(odd);
    write(&bundle, FIRST);
    run(server.upstart().arg("check").arg(&bundle)).expect(0);
    run(server.upstart().arg("publish").arg(&bundle)).expect(0);
    let data = server.folder().join("data").join(odd);
    std::fs::create_dir_all(&data).expect("a directory");
    std::fs::write(data.join("output.log"), "one\n").expect("written");
    run(server.upstart().arg("logs").arg("--data").arg(&data)).expect(0);
    run(server
        .upstart()
        .arg("stop")
        .arg("--data")
        .arg(server.folder().join(odd)))
    .expect_advice(2);
}

#[test]
fn variables_that_are_no_text_end_nothing() {
    let (server, _) = server();
    let odd = OsStr::from_bytes(NO_TEXT);
    // Somebody else's are nobody's business; who it was is told without them.
    for name in [
        "USER",
        "SUDO_USER",
        "LOGNAME",
        "HOME",
        "LANG",
        "PATH",
        "ODD",
        "UPSTART_LOG",
    ] {
        run(server.upstart().arg("pause").env(name, odd)).expect(0);
    }
    // Ours are refused.
    for name in ["UPSTART_SERVER", "UPSTART_TOKEN", "UPSTART_TOKEN_FILE"] {
        let mut command = server.upstart();
        command.arg("status").env(name, odd);
        if name == "UPSTART_TOKEN" {
            command.env_remove("UPSTART_TOKEN_FILE");
        }
        let answer = run(&mut command).expect(2);
        let said = answer.stderr();
        assert!(!said.contains("panicked"), "{name}: {said}");
        assert!(
            said.contains("no text") || said.contains("UTF-8") || said.contains("token file"),
            "{name}: {said}"
        );
    }
}

#[test]
fn a_wait_that_was_in_vain_says_what_it_waited_for() {
    let (server, _) = server();
    let mut watch = server.upstart();
    watch.args(["watch", "--until", "1", "--timeout", "0"]);
    let said = run(&mut watch).expect_advice(1).stderr();
    assert!(said.contains("time is up"), "{said}");
    let mut second = server.upstart();
    let folder = server.folder().join("v2");
    write(&folder, crate::bundles::SECOND);
    run(server.upstart().arg("publish").arg(&folder)).expect(0);
    run(server.upstart().args(["withdraw", "2"])).expect(0);
    let said = run(second.args(["watch", "--until", "2"]))
        .expect_advice(1)
        .stderr();
    assert!(said.contains("version 2 is withdrawn"), "{said}");
}

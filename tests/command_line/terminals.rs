//! What others have written never reaches a person's terminal as an order to it; programs get it as it is.

use crate::bundles::{FIRST, write};
use crate::upstart::{Server, run, upstart};
use std::process::Command;

/// Clears the screen, sets the window's title, and turns the direction of what follows.
const ORDERS: &str = "\u{1b}[2J\u{1b}]0;mine\u{7}\u{9b}31m\u{202e}\nnode-9 storage 9 settled";

fn is_harmless(text: &str) -> bool {
    let is_order = |letter: char| (letter.is_control() && letter != '\n') || letter == '\u{202e}';
    !text.contains(is_order) && !text.lines().any(|line| line.starts_with("node-9"))
}

#[test]
fn names_reasons_and_messages_are_shown_and_not_obeyed() {
    let server = Server::start();
    let bundle = server.folder().join("v1");
    let description = serde_json::to_string(ORDERS).expect("JSON");
    let description = description
        .replace('\u{9b}', "\\u009b")
        .replace('\u{202e}', "\\u202e");
    write(
        &bundle,
        &FIRST.replace("\"The first version\"", &description),
    );
    run(server.upstart().arg("publish").arg(&bundle)).expect(0);
    run(server.upstart().args(["pause", ORDERS])).expect(0);
    for words in [
        &["status"][..],
        &["events"],
        &["nodes"],
        &["nodes", ORDERS],
        &["forget", ORDERS],
    ] {
        let answer = run(server.upstart().args(words));
        let (stdout, stderr) = (answer.stdout(), answer.stderr());
        assert!(is_harmless(&stdout), "{words:?}: {stdout:?}");
        assert!(is_harmless(&stderr), "{words:?}: {stderr:?}");
    }
    let status = run(server.upstart().arg("status")).expect(0).stdout();
    assert!(
        status.contains(r"\x1b[2J") && status.contains(r"\x9b31m"),
        "{status}"
    );
    let json = run(server.upstart().args(["status", "--json"]))
        .expect(0)
        .json();
    assert_eq!(json["paused"]["reason"], ORDERS);
    assert_eq!(json["upgrades"][0]["description"], ORDERS);
}

#[test]
fn what_software_has_printed_is_harmless_on_a_terminal_and_raw_elsewhere() {
    let data = tempfile::tempdir().expect("a directory");
    std::fs::write(data.path().join("output.log"), format!("{ORDERS}\nend\n")).expect("written");
    let mut raw = upstart();
    raw.args(["logs", "--data"]).arg(data.path());
    assert_eq!(run(&mut raw).expect(0).stdout(), format!("{ORDERS}\nend\n"));
    let on_terminal = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)";
    let mut terminal = Command::new("python3");
    terminal
        .args([
            "-c",
            on_terminal,
            env!("CARGO_BIN_EXE_upstart"),
            "logs",
            "--data",
        ])
        .arg(data.path());
    let shown = run(&mut terminal).expect(0).stdout().replace("\r\n", "\n");
    assert!(
        shown.contains(r"\x1b[2J\x1b]0;mine\x07\x9b31m\u{202e}") && shown.ends_with("end\n"),
        "{shown:?}"
    );
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
}

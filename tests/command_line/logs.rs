//! `logs` from a data directory; what programs that read our output may do to us.

use crate::upstart::{run, upstart};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

fn node_with_output(text: &str) -> tempfile::TempDir {
    let data = tempfile::tempdir().expect("a directory");
    std::fs::write(data.path().join("output.log"), text).expect("written");
    data
}

fn logs(data: &Path) -> Command {
    let mut command = upstart();
    command.arg("logs").arg("--data").arg(data);
    command
}

#[test]
fn the_last_lines_are_printed() {
    let lines: String = (1..=30_000)
        .map(|number| format!("line {number}\n"))
        .collect();
    let data = node_with_output(&lines);
    let text = run(logs(data.path()).args(["-n", "2"])).expect(0).stdout();
    assert_eq!(text, "line 29999\nline 30000\n");
    let text = run(logs(data.path()).args(["-n", "20000"]))
        .expect(0)
        .stdout();
    assert_eq!(text.lines().next(), Some("line 10001"));
    assert_eq!(
        run(logs(data.path()).args(["-n", "0"])).expect(0).stdout(),
        ""
    );
}

#[test]
fn a_last_line_without_an_end_counts() {
    let data = node_with_output("one\ntwo\nthree");
    assert_eq!(
        run(logs(data.path()).args(["-n", "2"])).expect(0).stdout(),
        "two\nthree"
    );
    let json = run(logs(data.path()).args(["-n", "2", "--json"]))
        .expect(0)
        .json_lines();
    assert_eq!(json[1]["line"], "three");
}

#[test]
fn following_prints_what_is_added_also_after_a_cut() {
    let data = node_with_output("old\n");
    let path = data.path().join("output.log");
    let mut child = logs(data.path())
        .arg("-f")
        .stdout(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    assert_eq!(next(), "old");
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .expect("opened");
    file.write_all(b"new\n").expect("written");
    assert_eq!(next(), "new");
    std::fs::write(&path, "x\n").expect("cut");
    assert_eq!(next(), "x");
    child.kill().expect("killed");
    child.wait().expect("ended");
}

#[test]
fn a_node_without_output_is_an_error_with_advice() {
    let data = tempfile::tempdir().expect("a directory");
    run(&mut logs(data.path())).expect_advice(2);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let lines = "a line that is written more than once\n".repeat(100_000);
    let data = node_with_output(&lines);
    let mut child = logs(data.path())
        .args(["-n", "100000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut reader = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    reader.read_line(&mut line).expect("a line");
    drop(reader);
    let output = child.wait_with_output().expect("ends");
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

//! `check` and `publish` before any server is asked.

use crate::upstart::{run, upstart};
use std::path::Path;

/// An upgrade that defines a small system.
pub(crate) const FIRST: &str = r#"
system = "echo"
version = 1
description = "The first version"

[class.echo]
[class.echo.software]
command = ["cat"]
[class.echo.lifecycle]
probe = { tcp = "talk" }
[class.echo.service.talk]
port = 7001
protocol = "raw"
"#;

/// The step after it, with the same interface.
pub(crate) const SECOND: &str = r#"
system = "echo"
version = 2
from = 1
description = "The second version"

[class.echo]
[class.echo.software]
command = ["cat", "-u"]
[class.echo.lifecycle]
probe = { tcp = "talk" }
[class.echo.service.talk]
port = 7001
protocol = "raw"
interface = "same"
"#;

/// Writes a bundle that consists of its upgrade file.
pub(crate) fn write(folder: &Path, text: &str) {
    std::fs::create_dir_all(folder).expect("a directory");
    std::fs::write(folder.join("upgrade.toml"), text).expect("written");
}

#[test]
fn a_sound_bundle_passes_and_says_what_it_is() {
    let folder = tempfile::tempdir().expect("a directory");
    write(folder.path(), FIRST);
    let text = run(upstart().arg("check").arg(folder.path()))
        .expect(0)
        .stdout();
    assert!(text.contains("echo version 1 is sound"), "{text}");
    let json = run(upstart().args(["check", "--json"]).arg(folder.path()))
        .expect(0)
        .json();
    assert_eq!(json["ok"], true);
    assert_eq!(json["system"], "echo");
    assert_eq!(json["version"], 1);
    assert_eq!(json["files"], 1);
    assert_eq!(json["manifest_sha256"].as_str().map(str::len), Some(64));
}

#[test]
fn an_unknown_key_is_a_negative_answer_with_file_line_and_the_nearest_key() {
    let folder = tempfile::tempdir().expect("a directory");
    write(folder.path(), &FIRST.replace("protocol", "protocl"));
    let text = run(upstart().arg("check").arg(folder.path()))
        .expect(1)
        .stdout();
    assert!(text.contains("upgrade.toml:13"), "{text}");
    assert!(
        text.contains("protocl") && text.contains("protocol"),
        "{text}"
    );
    let json = run(upstart().args(["check", "--json"]).arg(folder.path()))
        .expect(1)
        .json();
    assert_eq!(json["ok"], false);
    assert_eq!(json["errors"][0]["file"], "upgrade.toml");
    let lines: Vec<&serde_json::Value> = json["errors"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|error| &error["line"])
        .collect();
    assert!(lines.iter().any(|line| **line == 13), "{lines:?}");
}

#[test]
fn a_lens_that_cannot_be_read_is_found_offline() {
    let folder = tempfile::tempdir().expect("a directory");
    let text = SECOND
        .replace("protocol = \"raw\"", "protocol = \"http\"")
        .replace(
            "interface = \"same\"",
            "interface = \"changed\"\nadapter = \"lens.toml\"",
        );
    write(folder.path(), &text);
    std::fs::write(folder.path().join("lens.toml"), "nonsense = true\n").expect("written");
    let text = run(upstart().arg("check").arg(folder.path()))
        .expect(1)
        .stdout();
    assert!(text.contains("lens.toml:1"), "{text}");
}

#[test]
fn a_folder_that_is_no_bundle_is_an_error() {
    let folder = tempfile::tempdir().expect("a directory");
    run(upstart().arg("check").arg(folder.path())).expect_advice(2);
    let answer = run(upstart()
        .args(["check", "--json"])
        .arg(folder.path().join("no")))
    .expect_advice(2);
    assert!(answer.json()["error"].is_string());
}

#[test]
fn an_unsound_bundle_is_not_published_even_without_a_server() {
    let folder = tempfile::tempdir().expect("a directory");
    write(folder.path(), "system = \"x\"\n");
    let mut command = upstart();
    command
        .args(["publish", "--server", "http://127.0.0.1:9"])
        .arg(folder.path());
    run(&mut command).expect(1);
}

#[test]
fn an_upgrade_is_checked_against_those_before_it() {
    let folder = tempfile::tempdir().expect("a directory");
    let (first, second) = (folder.path().join("v1"), folder.path().join("v2"));
    write(&first, FIRST);
    write(&second, SECOND);
    let check = |second: &Path| {
        let mut command = upstart();
        command.arg("check").arg(second).arg("--after").arg(&first);
        run(&mut command)
    };
    check(&second).expect(0);
    write(&second, &SECOND.replace("interface = \"same\"\n", ""));
    let text = check(&second).expect(1).stdout();
    assert!(text.contains("interface"), "{text}");
}

/// Nothing is wrong with the files: what is missing is said, and no change of a good file is advised.
#[test]
fn a_history_without_its_beginning_is_said_to_be_incomplete() {
    let folder = tempfile::tempdir().expect("a directory");
    let (second, third) = (folder.path().join("v2"), folder.path().join("v3"));
    write(&second, SECOND);
    let next = SECOND.replace("version = 2", "version = 3");
    write(&third, &next.replace("from = 1", "from = 2"));
    let mut command = upstart();
    command.arg("check").arg(&third).arg("--after").arg(&second);
    let said = run(&mut command).expect(1).stderr();
    assert!(
        said.contains("needs the whole history: version 1 is missing, on which version 2 builds"),
        "{said}"
    );
    assert!(said.contains("--after v1 --after v2"), "{said}");
}

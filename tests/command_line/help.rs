//! What the binary says of itself: help, version, completions, manual pages; and wrong arguments.

use crate::upstart::{run, upstart};

/// Every command that people see.
const COMMANDS: [&str; 30] = [
    "server",
    "agent",
    "check",
    "lens",
    "adapter",
    "publish",
    "withdraw",
    "status",
    "nodes",
    "watch",
    "events",
    "page",
    "logs",
    "record",
    "pause",
    "resume",
    "approve",
    "retry",
    "forget",
    "public",
    "retire",
    "permit",
    "claim",
    "stop",
    "keys",
    "export",
    "import",
    "schema",
    "completions",
    "man",
];

#[test]
fn the_overview_lists_every_command_and_the_exit_codes() {
    let help = run(upstart().arg("--help")).expect(0).stdout();
    for command in COMMANDS {
        assert!(
            help.lines()
                .any(|line| line.trim_start().starts_with(command)),
            "{command} in {help}"
        );
    }
    assert!(help.contains("Exit codes"));
    for hidden in ["holder", "launch", "confine"] {
        assert!(
            !help
                .lines()
                .any(|line| line.trim_start().starts_with(hidden)),
            "{hidden} shows"
        );
    }
}

#[test]
fn every_command_explains_itself() {
    for command in COMMANDS {
        let help = run(upstart().args([command, "--help"])).expect(0).stdout();
        assert!(
            help.starts_with(|letter: char| letter.is_uppercase()),
            "{command}: {help}"
        );
        assert!(
            help.contains(&format!("Usage: upstart {command}")),
            "{command}: {help}"
        );
        assert!(
            help.contains("--json") && help.contains("--server"),
            "{command} lacks global options"
        );
    }
}

#[test]
fn without_arguments_the_help_is_shown_and_it_is_an_error() {
    let answer = run(&mut upstart()).expect(2);
    assert!(answer.stderr().contains("Usage: upstart"));
}

#[test]
fn wrong_arguments_are_errors_that_name_the_nearest_right_one() {
    let answer = run(upstart().arg("statsu")).expect(2);
    assert!(answer.stderr().contains("status"), "{}", answer.stderr());
    let answer = run(upstart().args(["retire", "two"])).expect(2);
    assert!(answer.stderr().contains("VERSION"), "{}", answer.stderr());
    run(upstart().args(["nodes", "a", "--class", "b"])).expect(2);
}

#[test]
fn the_version_is_the_packages() {
    let version = run(upstart().arg("--version")).expect(0).stdout();
    assert_eq!(
        version.trim(),
        concat!("upstart ", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn completions_exist_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(upstart().args(["completions", shell]))
            .expect(0)
            .stdout();
        assert!(script.contains("withdraw"), "{shell}");
    }
    run(upstart().args(["completions", "dos"])).expect(2);
}

#[test]
fn manual_pages_are_written_one_a_command() {
    let folder = tempfile::tempdir().expect("a directory");
    run(upstart().arg("man").arg("--output").arg(folder.path())).expect(0);
    for command in COMMANDS {
        let page = folder.path().join(format!("upstart-{command}.1"));
        let text = std::fs::read_to_string(&page)
            .unwrap_or_else(|_| panic!("{} is missing", page.display()));
        assert!(text.contains(".SH SYNOPSIS"), "{command}");
    }
    assert!(
        !folder.path().join("upstart-launch.1").exists(),
        "hidden commands have no page"
    );
    let first = run(upstart().arg("man")).expect(0).stdout();
    assert!(first.contains(".TH upstart 1"), "{first}");
}

#[test]
fn the_documentations_page_is_what_the_binary_says() {
    let page = run(upstart().args(["man", "--markdown"]))
        .expect(0)
        .stdout();
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/docs/reference/command-line.md"
    );
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        page == written,
        "write it anew: cargo run -- man --markdown > docs/reference/command-line.md"
    );
}

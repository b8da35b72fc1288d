//! What people are told about upgrade files that are wrong: each case changes one thing in a good file.

mod services;
mod software;

use model::bundle::{BundleFiles, FileInfo, UpgradeFile};
use model::manifest::{Digest, Mode};
use model::release::check;
use proptest::prelude::*;

const GOOD: &str = r#"system = "store"
version = 2
from = 1
description = "Paths and names change"

[settings]
drain_ms = 2000

[class.storage]

[class.storage.software]
path = "software"
command = ["python3", "${software}/storage.py", "--port", "${ports.data}"]
environment = { COLOUR = "red" }

[class.storage.service.data]
port = "vars.base + 1"
protocol = "http"
interface = "changed"
connections = "stateless"
adapter = "lens/data.toml"

[class.storage.service.peers]
port = 7200
protocol = "raw"
interface = "same"

[class.storage.state]
transform = { command = ["python3", "${bundle}/transform.py"], timeout_ms = 5000 }

[class.storage.lifecycle]
probe = { http = "/health", service = "data" }
stop_signal = "TERM"
before_stop = { command = ["true"] }
"#;

fn files() -> BundleFiles {
    let info = FileInfo {
        mode: Mode::Plain,
        size: 1,
        sha256: Digest::of(b"x"),
    };
    let paths = [
        "upgrade.toml",
        "software/storage.py",
        "lens/data.toml",
        "transform.py",
        "notes.txt",
        "soft.tar.gz",
    ];
    paths
        .into_iter()
        .map(|path| (path.to_owned(), info))
        .collect()
}

fn told(text: &str) -> String {
    match check(text, &files()) {
        Ok(_) => "nothing".to_owned(),
        Err(errors) => errors
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n"),
    }
}

#[test]
fn the_good_file_is_good() {
    assert_eq!(told(GOOD), "nothing");
}

/// The good file with one text replaced by another, and what is told about it.
struct Case(&'static str, &'static str, &'static str);

#[test]
fn every_mistake_is_told_with_its_place_and_what_to_do() {
    let mut wrong = String::new();
    for Case(old, new, expected) in software::CASES.iter().chain(services::CASES) {
        assert!(GOOD.contains(old), "the good file does not contain {old:?}");
        let told = told(&GOOD.replacen(old, new, 1));
        if told != *expected {
            wrong.push_str(&format!(
                "--- {old:?} -> {new:?}\nexpected:\n{expected}\ntold:\n{told}\n"
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever is done to a file, it is checked or told, never a panic; and whoever is told something is told where.
    #[test]
    fn a_mangled_file_is_told_not_stumbled_over(
        at in 0..GOOD.len(), length in 0usize..60,
        put in "[ -~\\n]{0,12}|\\$\\{|\"|\\[class\\.x\\]\\n|= \\{|99999999999999999999|é|-1|1\\.5|true",
    ) {
        let mut text = GOOD.to_owned();
        text.replace_range(at..(at + length).min(GOOD.len()), &put);
        if let Err(errors) = check(&text, &files()) {
            prop_assert!(!errors.is_empty());
            for error in errors {
                prop_assert!(error.line.is_none_or(|line| line <= text.lines().count() + 1), "{error}");
            }
        }
    }
}

/// A server or an agent of a newer Upstart must read what an older one let through.
#[test]
fn what_was_published_before_is_read_though_its_expressions_can_only_fail() {
    let text = GOOD.replace("vars.base + 1", "9223372036854775807 + 1");
    let file = UpgradeFile::parse(&text).expect("TOML");
    assert!(file.prove(&files()).is_err());
    let upgrade = file.prove_again(&files());
    assert!(upgrade.is_ok(), "{upgrade:?}");
}

//! The tutorial of README.md, run as it is written, on free ports and in a directory of its own.

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const README: &str = include_str!("../README.md");

/// Before a block that the surroundings have done already.
const BUILD: &str = "<!-- tutorial: build -->";

/// Before a block that shows what the block before it prints last.
const PRINTS: &str = "<!-- tutorial: prints -->";

/// Whatever happens, nothing of the tutorial runs on.
const CLEAN_UP: &str = r#"
clean_up() {
    kill $(jobs -p) 2> /dev/null || true
    wait
    for data in "$PLACE/a" "$PLACE/b"; do
        if [ -e "$data/journal" ]; then upstart stop --data "$data" || true; fi
    done
}
trap clean_up EXIT
set -eu
"#;

/// A block of the tutorial and what it must print last.
#[derive(Debug)]
struct Block {
    commands: String,
    prints: Option<String>,
}

/// The tutorial's blocks, in order.
fn blocks(text: &str) -> Vec<Block> {
    let start = text.find("## A tutorial").expect("the tutorial begins");
    let text = &text[start..];
    let text = &text[..text[3..].find("\n## ").map_or(text.len(), |end| end + 3)];
    let mut found: Vec<Block> = Vec::new();
    let mut parts = text.split("\n```");
    let mut before = parts.next().unwrap_or_default();
    while let (Some(block), Some(after)) = (parts.next(), parts.next()) {
        let (language, content) = block.split_once('\n').expect("a block has lines");
        match language {
            "sh" if before.trim_end().ends_with(BUILD) => {}
            "sh" => found.push(Block {
                commands: content.to_owned(),
                prints: None,
            }),
            _ if before.trim_end().ends_with(PRINTS) => {
                found.last_mut().expect("something was run").prints = Some(content.to_owned());
            }
            other => panic!("the tutorial has a block of `{other}` that nothing checks"),
        }
        before = after;
    }
    found
}

/// The blocks as one shell script; each one's output goes into a file of its number.
fn script(blocks: &[Block], outputs: &Path) -> String {
    let mut script = CLEAN_UP.to_owned();
    for (index, block) in blocks.iter().enumerate() {
        let file = outputs.join(index.to_string());
        write!(script, "{{\n{}\n}} > {}\n", block.commands, file.display()).expect("written");
    }
    script
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

#[test]
fn the_readmes_tutorial_works_literally() {
    let folder = tempfile::tempdir().expect("a directory");
    let place = folder.path().join("greeting");
    let outputs = folder.path().join("outputs");
    std::fs::create_dir(&outputs).expect("a directory");
    let binary = Path::new(env!("CARGO_BIN_EXE_upstart"));
    let programs = binary.parent().expect("a folder");
    assert!(
        programs.join("libupstart_preload.so").exists(),
        "build the library first: cargo build --package preload"
    );
    let mut text = README.replace("/tmp/greeting", &place.display().to_string());
    for port in ["7071", "8101", "8102"] {
        text = text.replace(port, &free_port().to_string());
    }
    text = text.replace("$PWD/target/debug", &programs.display().to_string());
    let blocks = blocks(&text);
    assert!(blocks.len() > 8, "the tutorial is not found: {blocks:?}");

    let mut bash = Command::new("bash");
    bash.arg("-c")
        .arg(script(&blocks, &outputs))
        .env("PLACE", &place)
        .stdin(Stdio::null());
    let output = bash
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("bash runs");
    let mut said = String::from_utf8_lossy(&output.stderr).into_owned();
    for index in 0..blocks.len() {
        said += &std::fs::read_to_string(outputs.join(index.to_string())).unwrap_or_default();
    }
    assert!(
        output.status.success(),
        "the tutorial ended with {}:\n{said}",
        output.status
    );
    for (index, block) in blocks.iter().enumerate() {
        let Some(expected) = &block.prints else {
            continue;
        };
        let printed = std::fs::read_to_string(outputs.join(index.to_string())).expect("printed");
        let last = printed.lines().last().unwrap_or_default();
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
        assert_eq!(
            value(last),
            value(expected),
            "after {}: {printed}\n{said}",
            block.commands
        );
        assert!(value(expected).is_some(), "{expected} is no JSON");
    }
    assert!(!place.exists(), "the tutorial leaves something behind");
}

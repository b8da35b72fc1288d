//! The example's own transform, run on files as a node runs it, but for one thing: one Python runs it again and again, since starting a
//! Python takes longer than a whole history.

use super::software::{Entry, Software};
use color_flavor_adapter::form::Form;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Runs the script for each line, which is a folder with the folders of a transform; says `done` after each.
const AGAIN_AND_AGAIN: &str = "
import os, runpy, sys
for line in sys.stdin:
    for name, folder in ('OLD_STATE', 'old'), ('NEW_STATE', 'new'), ('ADAPTER_STATE_IN', 'in'), ('ADAPTER_STATE_OUT', 'out'):
        os.environ['UPSTART_' + name] = os.path.join(line.rstrip(), folder)
    runpy.run_path(sys.argv[1], run_name='__main__')
    print('done', flush=True)
";

thread_local! {
    static TRANSFORMER: RefCell<Option<Transformer>> = const { RefCell::new(None) };
}

/// A Python that runs the transform; it ends with this value.
struct Transformer {
    child: Child,
    given: ChildStdin,
    said: BufReader<ChildStdout>,
}

impl Transformer {
    fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../v2/transform.py");
        let mut child = Command::new("python3")
            .args(["-c", AGAIN_AND_AGAIN])
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        Self {
            given: child.stdin.take().expect("it is piped"),
            said: BufReader::new(child.stdout.take().expect("it is piped")),
            child,
        }
    }

    fn run(&mut self, place: &Path) {
        writeln!(self.given, "{}", place.display()).expect("it reads");
        let mut line = String::new();
        self.said.read_line(&mut line).expect("it answers");
        assert_eq!(line.trim(), "done", "the transform failed");
    }
}

impl Drop for Transformer {
    fn drop(&mut self) {
        // It may have failed already, which was told.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The state of version 2 and of the past adapter, from that of version 1 and of the future adapter.
pub(crate) fn run(
    old: &Software,
    remembered: &BTreeMap<String, String>,
) -> (Software, BTreeMap<String, String>) {
    let place = tempfile::tempdir().expect("a folder");
    let folder = |name: &str| {
        let folder = place.path().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    };
    let (state, new, given, left) = (folder("old"), folder("new"), folder("in"), folder("out"));
    for copy in [&state, &new] {
        std::fs::write(copy.join("numbers.json"), numbers_file(old)).expect("it can be written");
    }
    std::fs::write(given.join("entries.jsonl"), lines(remembered)).expect("it can be written");
    TRANSFORMER.with_borrow_mut(|transformer| {
        transformer
            .get_or_insert_with(Transformer::start)
            .run(place.path());
    });
    assert!(!new.join("numbers.json").exists(), "the old file is left");
    let items = std::fs::read_to_string(new.join("items.json")).expect("it was written");
    let entries = std::fs::read_to_string(left.join("entries.jsonl")).expect("it was written");
    (items_file(&items), entries.lines().map(entry).collect())
}

fn numbers_file(software: &Software) -> String {
    let numbers: serde_json::Map<String, serde_json::Value> = software
        .numbers
        .iter()
        .map(|(number, entry)| {
            let Entry {
                word,
                inserted,
                changed,
            } = entry;
            let entry =
                serde_json::json!({ "colour": word, "inserted": inserted, "changed": changed });
            (number.to_string(), entry)
        })
        .collect();
    serde_json::json!({ "revision": software.revision, "numbers": numbers }).to_string()
}

fn items_file(text: &str) -> Software {
    let file: serde_json::Value = serde_json::from_str(text).expect("JSON");
    let items = file["items"].as_object().expect("an object");
    let numbers = items.iter().map(|(number, entry)| {
        let revision = |name: &str| entry[name].as_u64().expect("a revision");
        let entry = Entry {
            word: entry["flavour"].as_str().expect("a flavour").to_owned(),
            inserted: revision("inserted"),
            changed: revision("changed"),
        };
        (number.parse().expect("a number"), entry)
    });
    Software {
        form: Form::Flavours,
        revision: file["revision"].as_u64().expect("a revision"),
        numbers: numbers.collect(),
    }
}

fn lines(entries: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (key, value) in entries {
        let line = serde_json::json!({ "key": key, "value": value });
        writeln!(text, "{line}").expect("a string takes everything");
    }
    text
}

fn entry(line: &str) -> (String, String) {
    let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
    let text = |name: &str| line[name].as_str().expect("text").to_owned();
    (text("key"), text("value"))
}

//! The JSON schema of `upgrade.toml` knows every key that the parser knows and no other, accepts every example and refuses
//! what is misspelt. When this fails after a change of the file: mend schemas/upgrade.json.

use model::bundle::BundleFiles;
use model::release::check;
use schemas::{Schema, blocks, read, root};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const GOOD: &str = "\
system = 'store'
version = 3
from = 2
[settings]
[settings.calls]
[removed]
classes = ['old']
[once.finish]
class = 'storage'
command = ['true']
[class.storage]
[class.storage.schedule]
max_unavailable = 1
[class.storage.schedule.idle]
command = ['true']
[class.storage.schedule.role]
command = ['true']
last = ['leader']
[class.storage.schedule.deadline]
at = '2026-12-24'
zone = 'site'
[[class.storage.schedule.windows]]
start = '22:00'
length = '6h'
zone = 'site'
[[class.storage.schedule.waves]]
nodes = 'has(attributes.site)'
share = '5%'
[[class.storage.schedule.freeze]]
from = '2026-12-20'
until = '2027-01-03T06:00'
zone = 'Europe/Berlin'
[class.storage.software]
command = ['true']
[class.storage.service.data]
port = 1
protocol = 'http'
interface = { as_version = 1 }
adapter = 'refuse'
[class.storage.service.bus]
port = 2
protocol = 'framed'
interface = 'same'
[class.storage.service.bus.framing]
[class.storage.service.bus.framing.length]
bytes = 4
counts = 'all'
[class.storage.service.bus.framing.checksum]
kind = 'crc32c'
at = 'end'
[class.storage.state]
[class.storage.state.transform]
command = ['true']
[class.storage.state.reverse]
command = ['true']
[class.storage.lifecycle]
[class.storage.lifecycle.probe]
tcp = 'data'
[class.storage.lifecycle.before_stop]
command = ['true']
[class.storage.lifecycle.after_start]
command = ['true']
";

/// Where each kind of table is described in the schema, and its header in the file.
const SECTIONS: [(&str, &str); 24] = [
    ("", ""),
    ("/definitions/settings", "[settings]\n"),
    (
        "/definitions/settings/properties/calls",
        "[settings.calls]\n",
    ),
    ("/properties/removed", "[removed]\n"),
    ("/definitions/once", "[once.finish]\n"),
    ("/definitions/class", "[class.storage]\n"),
    ("/definitions/schedule", "[class.storage.schedule]\n"),
    (
        "/definitions/window",
        "[[class.storage.schedule.windows]]\n",
    ),
    ("/definitions/wave", "[[class.storage.schedule.waves]]\n"),
    (
        "/definitions/node_command",
        "[class.storage.schedule.idle]\n",
    ),
    ("/definitions/role", "[class.storage.schedule.role]\n"),
    (
        "/definitions/deadline",
        "[class.storage.schedule.deadline]\n",
    ),
    ("/definitions/freeze", "[[class.storage.schedule.freeze]]\n"),
    ("/definitions/software", "[class.storage.software]\n"),
    ("/definitions/service", "[class.storage.service.data]\n"),
    (
        "/definitions/service/properties/framing",
        "[class.storage.service.bus.framing]\n",
    ),
    (
        "/definitions/service/properties/framing/properties/length",
        "[class.storage.service.bus.framing.length]\n",
    ),
    (
        "/definitions/service/properties/framing/properties/checksum",
        "[class.storage.service.bus.framing.checksum]\n",
    ),
    ("/definitions/state", "[class.storage.state]\n"),
    (
        "/definitions/state/properties/transform",
        "[class.storage.state.transform]\n",
    ),
    (
        "/definitions/state/properties/reverse",
        "[class.storage.state.reverse]\n",
    ),
    ("/definitions/lifecycle", "[class.storage.lifecycle]\n"),
    (
        "/definitions/lifecycle/properties/probe",
        "[class.storage.lifecycle.probe]\n",
    ),
    (
        "/definitions/lifecycle/properties/before_stop",
        "[class.storage.lifecycle.before_stop]\n",
    ),
];

/// What the parser says, without its places: files that are missing here among it.
fn told(text: &str) -> BTreeSet<String> {
    let errors = check(text, &BundleFiles::new()).err().unwrap_or_default();
    let told = errors
        .iter()
        .map(|error| format!("{}: {}", error.key, error.problem));
    told.collect()
}

/// The keys that the parser lists for the unknown one.
fn listed(text: &str) -> BTreeSet<String> {
    let errors = check(text, &BundleFiles::new()).expect_err("an unknown key");
    let error = errors.iter().find(|error| error.key.ends_with("zzzzzzzz"));
    let error = error.unwrap_or_else(|| panic!("not told: {errors:?}"));
    let told = error.to_string();
    let list = told
        .split_once("known keys here: ")
        .or_else(|| told.split_once("expected one of "));
    let (_, known) = list.unwrap_or_else(|| panic!("no list in: {told}"));
    known
        .split(", ")
        .map(|key| key.trim_matches('`').to_owned())
        .collect()
}

fn with_unknown(header: &str) -> String {
    match header {
        "" => format!("zzzzzzzz = 1\n{GOOD}"),
        header => {
            assert!(GOOD.contains(header), "the example has no {header}");
            GOOD.replace(header, &format!("{header}zzzzzzzz = 1\n"))
        }
    }
}

#[test]
fn the_schema_has_every_key_of_the_parser_and_no_other() {
    let schema = Schema::load("upgrade.json");
    assert_eq!(schema.finding(GOOD), None);
    for (pointer, header) in SECTIONS {
        let text = with_unknown(header);
        assert_eq!(schema.keys(pointer), listed(&text), "{pointer}");
        assert!(schema.finding(&text).is_some(), "{pointer} takes anything");
    }
    let interface = GOOD.replace("as_version = 1", "as_version = 1, zzzzzzzz = 1");
    assert_eq!(
        listed(&interface),
        BTreeSet::from(["as_version".to_owned()])
    );
    assert!(schema.finding(&interface).is_some());
}

#[test]
fn every_closed_table_is_compared() {
    let schema = Schema::load("upgrade.json");
    let closed = schema.closed();
    let mut compared: BTreeSet<String> = SECTIONS
        .iter()
        .map(|(pointer, _)| pointer.to_string())
        .collect();
    // The same reader as `before_stop`; and the one table of `interface`, compared above.
    compared.insert("/definitions/lifecycle/properties/after_start".to_owned());
    compared.insert("/definitions/service/properties/interface/oneOf/1".to_owned());
    assert_eq!(closed, compared);
}

fn upgrade_files(below: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(below).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            upgrade_files(&path, found);
        } else if path.ends_with("upgrade.toml") {
            found.push(path);
        }
    }
}

#[test]
fn the_schema_accepts_every_example_and_the_documentations() {
    let schema = Schema::load("upgrade.json");
    let mut files = Vec::new();
    upgrade_files(&root().join("examples"), &mut files);
    assert!(files.len() >= 7, "{files:?}");
    for file in files {
        schema.accept(&file.display().to_string(), &read(&file));
    }
    let blocks = blocks("docs/reference/upgrade-file.md");
    assert!(blocks.len() >= 3, "{} blocks", blocks.len());
    for block in blocks {
        schema.accept(&block, &block);
    }
}

#[test]
fn the_schema_refuses_wrong_kinds_of_values() {
    let schema = Schema::load("upgrade.json");
    for (from, to) in [
        ("system = 'store'", "system = 'Store'"),
        ("version = 3", "version = 0"),
        ("protocol = 'http'", "protocol = 'ftp'"),
        ("port = 1", "port = 70000"),
        ("bytes = 4", "bytes = 9"),
        ("counts = 'all'", "counts = 'everything'"),
        ("kind = 'crc32c'", "kind = 'crc33'"),
        ("at = 'end'", "at = 'front'"),
        (
            "[class.storage.service.bus.framing]",
            "[class.storage.service.bus.framing]\nhead_bytes = 65537",
        ),
        ("command = ['true']", "command = 'true'"),
        ("[settings]", "[settings]\nhold_ms = 0"),
        (
            "[class.storage.lifecycle]",
            "[class.storage.lifecycle]\nstop_signal = 'BREAK'",
        ),
        ("max_unavailable = 1", "max_unavailable = 0"),
        ("zone = 'site'\n[[", "zone = 5\n[["),
    ] {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{from}");
        assert!(schema.finding(&text).is_some(), "{to}");
        assert!(told(&text).difference(&told(GOOD)).next().is_some(), "{to}");
    }
}

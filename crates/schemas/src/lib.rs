//! The repository's JSON schemas, for the tests that compare them with the parsers: what a schema knows, and what it says of a text. What is
//! not there panics, as in a test.

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The repository's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A file's text.
pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The TOML blocks of a page, given by its path in the repository.
pub fn blocks(page: &str) -> Vec<String> {
    let text = read(&root().join(page));
    let blocks = text.split("\n```").skip(1).step_by(2);
    blocks
        .filter_map(|block| block.strip_prefix("toml\n").map(str::to_owned))
        .collect()
}

/// A schema of this repository.
pub struct Schema {
    json: Value,
    compiled: Schemas,
    index: SchemaIndex,
}

impl Schema {
    /// The one of this name in the folder of schemas.
    pub fn load(name: &str) -> Self {
        let text = read(&root().join("schemas").join(name));
        let json: Value = serde_json::from_str(&text).expect("JSON");
        let mut compiled = Schemas::new();
        let mut compiler = Compiler::new();
        compiler.add_resource(name, json.clone()).expect("a schema");
        let index = compiler.compile(name, &mut compiled).expect("a schema");
        Self {
            json,
            compiled,
            index,
        }
    }

    /// What it says against a text.
    pub fn finding(&self, toml: &str) -> Option<String> {
        let value: Value = toml::from_str(toml).unwrap_or_else(|error| panic!("{error} in {toml}"));
        let verdict = self.compiled.validate(&value, self.index);
        verdict.err().map(|error| error.to_string())
    }

    /// It must say nothing against this one.
    #[track_caller]
    pub fn accept(&self, name: &str, toml: &str) {
        assert_eq!(self.finding(toml), None, "{name}");
    }

    /// The keys of the table that is described at this JSON pointer.
    pub fn keys(&self, pointer: &str) -> BTreeSet<String> {
        let object = self
            .json
            .pointer(pointer)
            .unwrap_or_else(|| panic!("no {pointer}"));
        let properties = object["properties"].as_object().expect("properties");
        properties.keys().cloned().collect()
    }

    /// The pointers to all tables that take no other keys than those described.
    pub fn closed(&self) -> BTreeSet<String> {
        let mut closed = BTreeSet::new();
        find_closed(&self.json, String::new(), &mut closed);
        closed
    }
}

fn find_closed(value: &Value, pointer: String, closed: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                find_closed(value, format!("{pointer}/{name}"), closed);
            }
            if value["additionalProperties"] == false {
                closed.insert(pointer);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                find_closed(value, format!("{pointer}/{index}"), closed);
            }
        }
        _ => {}
    }
}

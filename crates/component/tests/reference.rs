//! The examples of docs/reference/adapters.md hold as written.

use call::Direction;
use component::{Declaration, ENTRIES_FILE, StateId, Stores};

#[test]
fn the_examples_of_the_page_on_adapters_hold() {
    let text = include_str!("../../../docs/reference/adapters.md");
    let blocks: Vec<&str> = text.split("```").skip(1).step_by(2).collect();
    let [declaration, entries] = blocks[..] else {
        panic!("two blocks, not {}", blocks.len());
    };
    let declaration = declaration.strip_prefix("toml\n").expect("TOML");
    Declaration::parse("adapters.md", declaration).unwrap_or_else(|error| panic!("{error}"));

    let entries = entries.strip_prefix("json\n").expect("JSON");
    let folder = tempfile::tempdir().expect("a folder");
    let (given, back) = (folder.path().join("given"), folder.path().join("back"));
    std::fs::create_dir_all(&given).expect("a folder");
    std::fs::create_dir_all(&back).expect("a folder");
    std::fs::write(given.join(ENTRIES_FILE), entries).expect("written");
    let stores = Stores::new(folder.path().join("stores"));
    let past = StateId {
        upgrade: 2,
        direction: Direction::Past,
    };
    stores
        .import(past, &given)
        .expect("as a transform writes it");
    stores.export(past, &back).expect("as a transform reads it");
    let found = std::fs::read_to_string(back.join(ENTRIES_FILE)).expect("written");
    let values = |text: &str| -> Vec<serde_json::Value> {
        let lines = text.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().expect("lines of JSON")
    };
    assert_eq!(values(&found), values(entries));
}

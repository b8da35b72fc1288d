//! The examples of docs/reference/lenses.md and docs/reference/adapters.md hold as written.

mod support;

use adapter::component::Declaration;
use adapter::{ENTRIES_FILE, Lens, StateId, Stores};
use call::Direction;

#[test]
fn every_example_of_the_reference_holds() {
    let text = include_str!("../../../docs/reference/lenses.md");
    let mut blocks = text.split("```").skip(1).step_by(2).peekable();
    let (mut files, mut rules) = (0, 0);
    while let Some(block) = blocks.next() {
        let Some(block) = block.strip_prefix("toml\n") else {
            panic!("no TOML before {block}")
        };
        match blocks.next_if(|next| next.starts_with("json\n")) {
            Some(bodies) => {
                let mut bodies = bodies.lines().skip(1);
                let (old, new) = (bodies.next().expect("old"), bodies.next().expect("new"));
                support::rule(block.trim(), old, new);
                rules += 1;
            }
            None => {
                Lens::parse("lenses.md", block).unwrap_or_else(|error| panic!("{error}"));
                files += 1;
            }
        }
    }
    assert!(files >= 2 && rules >= 12, "{files} files and {rules} rules");
}

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

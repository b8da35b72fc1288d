//! The JSON schemas of lenses, components' files and conversations know every key that the parsers know and no other, accept every example and
//! refuse what is misspelt. When this fails after a change of the language: mend schemas/lens.json.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use component::Declaration;
use conversation::{Conversation, Script};
use lens::Lens;
use schemas::{Schema, blocks, read, root};

/// Where each kind of table is described in the schema, and a lens with an unknown key in one of these.
const SECTIONS: [(&str, &str); 18] = [
    ("", "zzzzzzzz = 1"),
    ("/properties/refusal", "[refusal]\nzzzzzzzz = 1"),
    ("/definitions/operation", "[[operation]]\nzzzzzzzz = 1"),
    (
        "/definitions/operation/properties/request/oneOf/1",
        "[[operation]]\nsame = 'GET /a'\nrequest = { zzzzzzzz = 1 }",
    ),
    (
        "/definitions/response",
        "[[operation]]\nsame = 'GET /a'\n[[operation.response]]\nzzzzzzzz = 1",
    ),
    (
        "/definitions/response/properties/status/oneOf/2",
        "[[operation]]\nsame = 'GET /a'\n[[operation.response]]\nstatus = { old = 200, new = 200, zzzzzzzz = 1 }",
    ),
    (
        "/definitions/rule",
        "[[operation]]\nsame = 'GET /a'\nrequest = [{ zzzzzzzz = 1 }]",
    ),
    (
        "/definitions/when",
        "[[operation]]\nsame = 'GET /a'\nwhen = { zzzzzzzz = 1 }",
    ),
    (
        "/definitions/refuse",
        "[[operation]]\nold = 'GET /a'\nrefuse = { status = 400, reason = 'x', zzzzzzzz = 1 }",
    ),
    (
        "/definitions/rule/properties/default",
        "[[operation]]\nsame = 'GET /a'\nrequest = [{ old = 'body.a', new = 'body.b', default = { zzzzzzzz = 1 } }]",
    ),
    (
        "/definitions/rule/properties/otherwise",
        "[[operation]]\nsame = 'GET /a'\nrequest = [{ old = 'body.a', new = 'body.b', map = {}, otherwise = { zzzzzzzz = 1 } }]",
    ),
    (
        "/definitions/rule/properties/entries",
        "[[operation]]\nsame = 'GET /a'\nrequest = [{ old = 'body.a', new = 'body.b', entries = { object = 'old', key = 'k', zzzzzzzz = 1 } }]",
    ),
    (
        "/properties/refusal/properties/malformed/oneOf/1",
        "[refusal]\nmalformed = { zzzzzzzz = 1 }",
    ),
    (
        "/definitions/words",
        "[refusal]\nmalformed = { old = { status = 400, zzzzzzzz = 1 } }",
    ),
    (
        "/definitions/operation/properties/lookup/additionalProperties/oneOf/1",
        "[[operation]]\nsame = 'GET /a'\nlookup = { a = { old = 'GET /b', zzzzzzzz = 1 } }",
    ),
    (
        "/definitions/operation/properties/conflict_key/oneOf/1",
        "[[operation]]\nsame = 'GET /a'\nconflict_key = { zzzzzzzz = 1 }",
    ),
    (
        "/definitions/bodies",
        "[[operation]]\nsame = 'GET /a'\nrequest = { body = { zzzzzzzz = 1 } }",
    ),
    ("/definitions/converter", ""),
];

/// The keys of rules that do not belong to their converter.
const NO_CONVERTER: [&str; 10] = [
    "old", "new", "optional", "default", "value", "lossy", "echo", "when", "refuse", "use",
];

/// The keys that a parser lists when it refuses an unknown one.
fn listed(error: &str) -> BTreeSet<String> {
    let (_, known) = error
        .split_once("known keys here: ")
        .unwrap_or_else(|| panic!("no list in: {error}"));
    known.split(", ").map(str::to_owned).collect()
}

#[test]
fn the_lens_schema_has_every_key_of_the_parser_and_no_other() {
    let schema = Schema::load("lens.json");
    for (pointer, text) in SECTIONS {
        if text.is_empty() {
            let mut keys = schema.keys("/definitions/rule");
            keys.retain(|key| !NO_CONVERTER.contains(&key.as_str()));
            assert_eq!(schema.keys(pointer), keys, "{pointer}");
            continue;
        }
        let error = Lens::parse("x", text)
            .expect_err("an unknown key")
            .to_string();
        assert_eq!(schema.keys(pointer), listed(&error), "{pointer}");
        assert!(schema.finding(text).is_some(), "{pointer} takes anything");
    }
}

#[test]
fn every_closed_table_of_the_lens_schema_is_compared() {
    let schema = Schema::load("lens.json");
    let mut closed = schema.closed();
    // The same description, repeated inside converters.
    closed.retain(|pointer| !pointer.starts_with("/definitions/converter/"));
    let compared: BTreeSet<String> = SECTIONS
        .iter()
        .map(|(pointer, _)| pointer.to_string())
        .collect();
    assert_eq!(closed, compared);
}

/// The lens files below a folder: what is TOML, is no upgrade, no conversation and declares no component.
fn lenses(below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(below).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && !name.ends_with(".conversations") && name != "node_modules" {
            found.extend(lenses(&path));
        } else if name.ends_with(".toml") && name != "upgrade.toml" && name != "Cargo.toml" {
            if Declaration::is_one(&read(&path)) {
                continue;
            }
            found.push(path);
        }
    }
    found
}

#[test]
fn the_lens_schema_accepts_every_lens_and_every_example_of_the_reference() {
    let schema = Schema::load("lens.json");
    let lenses = lenses(&root().join("examples"));
    assert!(lenses.len() >= 8, "{lenses:?}");
    for lens in lenses {
        schema.accept(&lens.display().to_string(), &read(&lens));
    }
    for name in ["lens2.toml", "lens3.toml"] {
        schema.accept(
            name,
            &read(&root().join("crates/harness/software").join(name)),
        );
    }
    let blocks = blocks("docs/reference/lenses.md");
    assert!(blocks.len() >= 14, "{} blocks", blocks.len());
    for block in blocks {
        // A rule by itself, or a whole file.
        let text = if block.starts_with('{') {
            format!(
                "[[operation]]\nsame = 'GET /a'\nrequest = [{}]",
                block.trim()
            )
        } else {
            block
        };
        schema.accept(&text, &text);
    }
}

#[test]
fn the_lens_schema_refuses_wrong_kinds_of_values() {
    let schema = Schema::load("lens.json");
    for text in [
        "unmatched = 'ignore'",
        "[refusal]\nrequest = 99",
        "[[operation]]\nsame = 'get /a'",
        "[[operation]]\nsame = 'GET /a'\n[[operation.response]]\nrules = []",
        "[[operation]]\nsame = 'GET /a'\nrequest = [{ old = 'body.a', new = 'body.b', optional = 'yes' }]",
        "[[operation]]\nsame = 'GET /a'\nrequest = [{ old = 'body.a', new = 'body.b', convert = ['int', 'string'] }]",
    ] {
        assert!(Lens::parse("x", text).is_err(), "{text}");
        assert!(schema.finding(text).is_some(), "{text}");
    }
}

/// The keys that the parser of scripts lists for a script with an unknown one, which the schema refuses.
fn known_in_script(schema: &Schema, text: &str) -> BTreeSet<String> {
    let error = Script::parse("x", text).expect_err("an unknown key");
    assert!(schema.finding(text).is_some(), "{text}");
    listed(&error.to_string())
}

/// Compares the tables of scripts; where the schema has them.
fn tables_of_scripts(schema: &Schema, script: &str) -> BTreeSet<String> {
    let mut compared = BTreeSet::new();
    for (pointer, text) in [
        (
            "/definitions/event",
            script.replace("caller", "zzzzzzzz = 1\ncaller"),
        ),
        (
            "/definitions/sent",
            script.replace("{ next", "{ zzzzzzzz = 1, next"),
        ),
    ] {
        assert_eq!(
            schema.keys(pointer),
            known_in_script(schema, &text),
            "{pointer}"
        );
        compared.insert(pointer.to_owned());
    }
    compared
}

#[test]
fn the_conversation_schema_knows_what_the_parser_knows() {
    let schema = Schema::load("conversation.json");
    let http = "direction = 'past'\n[caller.sends]\nrequest = 'GET /'\n[[next]]\n[next.gets]\nrequest = 'GET /'\n\
                [next.answers]\nstatus = 200\n[caller.gets]\nstatus = 200\n[recorded]\nservice = 'a/b'\ncaller_version = 1\nversion = 2\n";
    // What may be said depends on what is called.
    let of = |request: &str, answer: &str| {
        http.replace("request = 'GET /'", request)
            .replace("status = 200", answer)
    };
    let goods = [
        http.to_owned(),
        of("command = ['GET', 'a']", "value = '+'"),
        of("message = 'a'", "message = 'b'"),
    ];
    for good in &goods {
        schema.accept("good", good);
    }
    let script = "direction = 'past'\n[[event]]\ncaller = 'a'\nsends = [{ next = 'a' }]\n";
    schema.accept("script", script);
    let mut compared = BTreeSet::new();
    compared.extend(tables_of_scripts(&schema, script));
    for (pointer, header) in [
        ("", ""),
        ("/properties/caller", "[caller]\n"),
        ("/definitions/request", "[caller.sends]\n"),
        ("/properties/caller/properties/gets", "[caller.gets]\n"),
        ("/properties/next/items", "[[next]]\n"),
        ("/definitions/answer", "[next.answers]\n"),
        ("/properties/recorded", "[recorded]\n"),
    ] {
        let mut known = BTreeSet::new();
        for good in &goods {
            let text = match header {
                "" => format!("zzzzzzzz = 1\n{good}"),
                "[caller]\n" => {
                    good.replace("[caller.sends]", "[caller]\nzzzzzzzz = 1\n[caller.sends]")
                }
                header => good.replace(header, &format!("{header}zzzzzzzz = 1\n")),
            };
            let error = Conversation::parse("x", &text)
                .expect_err("an unknown key")
                .to_string();
            known.extend(listed(&error));
            assert!(schema.finding(&text).is_some(), "{pointer} takes anything");
        }
        if pointer.is_empty() {
            known.extend(known_in_script(&schema, &format!("zzzzzzzz = 1\n{script}")));
        }
        assert_eq!(schema.keys(pointer), known, "{pointer}");
        compared.insert(pointer.to_owned());
    }
    let closed = schema.closed();
    assert_eq!(closed, compared);
}

#[test]
fn the_conversation_schema_accepts_every_conversation() {
    let schema = Schema::load("conversation.json");
    let mut seen = 0;
    for folder in kit::folders(&root().join("examples"), "conversations") {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            schema.accept(&path.display().to_string(), &read(&path));
            seen += 1;
        }
    }
    assert!(seen >= 60, "{seen} conversations");
    let blocks = blocks("docs/guides/testing-lenses.md");
    assert!(blocks.len() >= 2, "{} blocks", blocks.len());
    for block in blocks {
        schema.accept(&block, &block);
        let read = if Script::is_one(&block) {
            Script::parse("testing-lenses.md", &block).map(drop)
        } else {
            Conversation::parse("testing-lenses.md", &block).map(drop)
        };
        read.unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn the_adapter_schema_has_every_key_of_the_parser_and_no_other() {
    let schema = Schema::load("adapter.json");
    for (pointer, text) in [
        ("", "component = 'a'\nzzzzzz = 1"),
        (
            "/properties/limits",
            "component = 'a'\n[limits]\nzzzzzz = 1",
        ),
        (
            "/properties/operation/items",
            "component = 'a'\n[[operation]]\ncall = 'GET /'\nzzzzzz = 1",
        ),
    ] {
        let error = Declaration::parse("x", text)
            .expect_err("an unknown key")
            .to_string();
        assert_eq!(schema.keys(pointer), listed(&error), "{pointer}");
        assert!(schema.finding(text).is_some(), "{pointer} takes anything");
    }
}

#[test]
fn the_adapter_schema_accepts_what_the_reference_shows_and_refuses_what_the_parser_does() {
    let schema = Schema::load("adapter.json");
    let blocks = blocks("docs/reference/adapters.md");
    assert!(!blocks.is_empty());
    for block in blocks {
        Declaration::parse("adapters.md", &block).unwrap_or_else(|error| panic!("{error}"));
        schema.accept(&block, &block);
    }
    for wrong in [
        "description = 'no component'",
        "component = 'a'\n[limits]\ntime_ms = 0",
        "component = 'a'\n[limits]\nmemory_mib = 5000",
        "component = 'a'\n[limits]\nstate_mib = -1",
        "component = 'a'\n[[operation]]\nname = 'b'",
        "component = 'a'\n[[operation]]\ncall = 'get /'",
        "component = 'a'\n[[operation]]\ncall = 'GET /'\ndelegates = 1001",
        "component = 'a'\n[[operation]]\ncall = 'GET /'\nreads = 'yes'",
    ] {
        assert!(schema.finding(wrong).is_some(), "the schema takes {wrong}");
        assert!(
            Declaration::parse("x", wrong).is_err(),
            "the parser takes {wrong}"
        );
    }
}

//! A type's name says which one is meant: across the product's crates it is there once.

use super::code::{self, Code};
use std::collections::BTreeMap;

/// Names that more than one type has, and how many have it. The list only gets shorter.
const KNOWN: &[(&str, usize)] = &[
    ("Action", 2),
    ("Answer", 5),
    ("Asked", 2),
    ("Begun", 2),
    ("Body", 2),
    ("Bounds", 2),
    ("Broken", 3),
    ("Caller", 4),
    ("ClientError", 2),
    ("Clock", 3),
    ("Content", 2),
    ("Conversation", 3),
    ("Cut", 2),
    ("Declared", 2),
    ("Direction", 2),
    ("End", 4),
    ("Ended", 2),
    ("Ending", 2),
    ("Entry", 2),
    ("Event", 3),
    ("Expected", 2),
    ("Expression", 2),
    ("Folder", 2),
    ("Found", 3),
    ("Framing", 2),
    ("Head", 3),
    ("Heard", 2),
    ("Held", 2),
    ("Hold", 2),
    ("Identity", 2),
    ("JournalError", 2),
    ("Level", 2),
    ("Line", 2),
    ("Link", 2),
    ("Look", 2),
    ("Looked", 2),
    ("News", 2),
    ("Next", 3),
    ("Node", 2),
    ("Notice", 2),
    ("Notices", 2),
    ("Operation", 2),
    ("Orders", 2),
    ("Origin", 3),
    ("Outcome", 3),
    ("Outgoing", 2),
    ("Output", 2),
    ("Owner", 2),
    ("Parsed", 2),
    ("Place", 4),
    ("Plan", 2),
    ("Probe", 2),
    ("Problem", 2),
    ("Program", 2),
    ("Progress", 2),
    ("Question", 3),
    ("Refused", 3),
    ("Reply", 2),
    ("Request", 3),
    ("Round", 2),
    ("Rules", 2),
    ("Said", 3),
    ("Scope", 2),
    ("Script", 2),
    ("Seen", 2),
    ("Segment", 2),
    ("Service", 3),
    ("Shared", 5),
    ("Side", 2),
    ("Software", 3),
    ("Source", 2),
    ("State", 4),
    ("Step", 6),
    ("Table", 2),
    ("Tail", 2),
    ("Template", 2),
    ("ToSoftware", 2),
    ("Told", 2),
    ("Traffic", 2),
    ("Transform", 2),
    ("Trouble", 2),
    ("Type", 2),
    ("Verdict", 3),
    ("Waiting", 3),
    ("Wanted", 3),
    ("Way", 2),
    ("Work", 2),
];

/// Crates that no program of the product is made of.
const FOR_TESTS: [&str; 2] = ["harness", "network"];

/// What begins the definition of a type.
const KEYWORDS: [&str; 4] = ["struct", "enum", "trait", "type"];

pub(super) fn findings(product: &[Code<'_>]) -> Vec<String> {
    let product = product.iter().filter(|file| !FOR_TESTS.contains(&file.of));
    let mut places: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for file in product {
        for (line, name) in types(&file.text) {
            let place = format!("{}:{line}", file.path);
            places.entry(name).or_default().push(place);
        }
    }
    let known: BTreeMap<&str, usize> = KNOWN.iter().copied().collect();
    let mut found = Vec::new();
    for (name, places) in &places {
        if places.len() > known.get(name).copied().unwrap_or(1) {
            found.push(format!(
                "{}: `{name}` is also {}: say in the name which one it is",
                places[0],
                places[1..].join(", ")
            ));
        }
    }
    for (name, count) in known {
        let now = places.get(name).map_or(0, Vec::len);
        if now < count {
            let what = match now {
                0 | 1 => "take it off".to_owned(),
                now => format!("say {now} in"),
            };
            found.push(format!(
                "`{name}` is no more the name of {count} types: {what} the known names of {}",
                file!()
            ));
        }
    }
    found
}

/// The types of a file that are not another's, as associated types are, with their lines.
fn types(code: &str) -> Vec<(usize, &str)> {
    let lines = code.lines().enumerate();
    lines
        .filter_map(|(index, line)| Some((index + 1, type_name(line)?)))
        .collect()
}

fn type_name(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    let is_inner = rest.len() < line.len();
    if let Some((_, behind)) = rest
        .strip_prefix("pub(")
        .and_then(|rest| rest.split_once(") "))
    {
        rest = behind;
    }
    for word in ["pub ", "unsafe "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    let (keyword, rest) = rest.split_once(' ')?;
    let is_one = KEYWORDS.contains(&keyword) && !(is_inner && keyword == "type");
    let name = code::word(rest);
    (is_one && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::super::Source;
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<Source> = files
            .iter()
            .map(|(path, text)| Source {
                path: (*path).to_owned(),
                text: (*text).to_owned(),
            })
            .collect();
        let mut found = findings(&code::product(&sources));
        found.retain(|finding| finding.contains(".rs:"));
        found
    }

    #[test]
    fn a_name_that_is_there_twice_is_found() {
        let first = ("crates/a/src/lib.rs", "pub struct Twice;\ntype Once = u8;");
        for second in [
            "enum Twice {}",
            "fn f() {\n    struct Twice;\n}",
            "pub(crate) trait Twice {}",
            "pub(in crate::a) struct Twice;",
        ] {
            assert_eq!(
                found(&[first, ("src/main.rs", second)]).len(),
                1,
                "{second}"
            );
        }
        assert_eq!(
            found(&[first, ("crates/a/src/b.rs", "type Twice = u8;")]).len(),
            1
        );
    }

    #[test]
    fn tests_and_inner_types_count_for_nothing() {
        let files = [
            ("crates/a/src/lib.rs", "pub struct Twice<'a>(&'a str);"),
            (
                "crates/b/src/lib.rs",
                "impl A for B {\n    type Twice = u8;\n}\n// struct Twice;\n",
            ),
            (
                "crates/b/src/c.rs",
                "#[cfg(test)]\nmod tests {\n    struct Twice;\n}\n",
            ),
            ("crates/b/tests/d.rs", "struct Twice;"),
            ("scenarios/src/main.rs", "struct Twice;"),
        ];
        assert_eq!(found(&files), Vec::<String>::new());
    }

    #[test]
    fn known_names_that_are_gone_are_found() {
        assert_eq!(findings(&[]).len(), KNOWN.len());
        let is_sorted = KNOWN.is_sorted_by(|one, next| one.0 < next.0);
        assert!(is_sorted, "each once, in the alphabet's order");
    }
}

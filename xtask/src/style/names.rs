//! A type's name says which one is meant: across the product's crates it is there once.

use super::code::{self, Code};
use std::collections::BTreeMap;

/// Crates that no program of the product is made of.
const FOR_TESTS: [&str; 6] = [
    "assemble", "harness", "kit", "network", "oracles", "schemas",
];

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
    let mut found = Vec::new();
    for (name, places) in &places {
        if places.len() > 1 {
            found.push(format!(
                "{}: `{name}` is also {}: say in the name which one it is",
                places[0],
                places[1..].join(", ")
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
}

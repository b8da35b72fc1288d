//! Files and functions stay small enough to be read at one sitting.

use super::functions;
use super::{Source, is_test};

/// A file of code that is longer has too much in it, in lines.
const FILE_LINES_MAX: usize = 500;

/// The length below which all functions but one in a hundred stay, in lines; tests do not count.
const FUNCTION_LINES_P99: usize = 60;

/// Longer files: path, why. The list only gets shorter.
const KNOWN: &[(&str, &str)] = &[
    (
        "crates/adapter/src/lens/explain/rules.rs",
        "it is being divided with its crate",
    ),
    (
        "crates/agent/src/node/start.rs",
        "it is being divided with its crate",
    ),
    (
        "crates/agent/src/relay/mod.rs",
        "it is being divided with its crate",
    ),
];

pub(super) fn findings(sources: &[Source]) -> Vec<String> {
    let code = || {
        let code = sources.iter().filter(|source| source.path.ends_with(".rs"));
        code.filter(|source| !is_test(&source.path))
    };
    let lines = |source: &Source| source.text.lines().count();
    let mut findings = Vec::new();
    for source in code().filter(|source| lines(source) >= FILE_LINES_MAX) {
        if !KNOWN.iter().any(|(path, _)| *path == source.path) {
            findings.push(format!(
                "{}:1: has {} lines; below {FILE_LINES_MAX} are read at one sitting",
                source.path,
                lines(source)
            ));
        }
    }
    for (path, _) in KNOWN {
        let is_long = |source: &Source| source.path == *path && lines(source) >= FILE_LINES_MAX;
        if !code().any(is_long) {
            findings.push(format!(
                "{path}: is short enough or gone: take it off the known long files of {}",
                file!()
            ));
        }
    }
    let lengths = code().flat_map(|source| functions::lengths(&source.text));
    let longest = percentile_99(lengths.collect());
    if longest > FUNCTION_LINES_P99 {
        findings.push(format!(
            "one function in a hundred is longer than {longest} lines; it was {FUNCTION_LINES_P99}"
        ));
    }
    findings
}

fn percentile_99(mut lengths: Vec<usize>) -> usize {
    lengths.sort_unstable();
    lengths.get(lengths.len() * 99 / 100).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: String) -> Source {
        Source {
            path: path.to_owned(),
            text,
        }
    }

    /// What is found beside the known files, which are not among these.
    fn found(sources: &[Source]) -> usize {
        findings(sources).len() - KNOWN.len()
    }

    #[test]
    fn long_files_are_found_but_for_tests() {
        let long = "let a = 1;\n".repeat(FILE_LINES_MAX);
        assert_eq!(found(&[source("src/a.rs", long.clone())]), 1);
        assert_eq!(found(&[source("src/a/tests.rs", long.clone())]), 0);
        assert_eq!(found(&[source("tests/a/b.rs", long.clone())]), 0);
        assert_eq!(found(&[source("src/a.rs", long[11..].to_owned())]), 0);
    }

    #[test]
    fn many_long_functions_are_found() {
        let short = "fn short() {\n    body\n}\n".repeat(98);
        let body = "    body\n".repeat(FUNCTION_LINES_P99);
        let long = format!("fn long() {{\n{body}}}\n");
        assert_eq!(found(&[source("src/a.rs", format!("{short}{long}"))]), 1);
        assert_eq!(found(&[source("src/a.rs", short)]), 0);
    }

    #[test]
    fn known_files_have_reasons() {
        assert!(KNOWN.iter().all(|(_, reason)| reason.len() > 10));
    }
}

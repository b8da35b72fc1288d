//! Files and functions stay small enough to be read at one sitting.

use super::functions;
use super::{Source, is_test};

/// A file of code that is longer has too much in it, in lines; tests are read too.
const FILE_LINES_MAX: usize = 500;

/// The length below which all functions but one in a hundred stay, in lines; tests do not count.
const FUNCTION_LINES_P99: usize = 60;

pub(super) fn findings(sources: &[Source]) -> Vec<String> {
    let code = || sources.iter().filter(|source| source.path.ends_with(".rs"));
    let lines = |source: &Source| source.text.lines().count();
    let mut findings = Vec::new();
    for source in code().filter(|source| lines(source) >= FILE_LINES_MAX) {
        findings.push(format!(
            "{}:1: has {} lines; below {FILE_LINES_MAX} are read at one sitting",
            source.path,
            lines(source)
        ));
    }
    let product = code().filter(|source| !is_test(&source.path));
    let lengths = product.flat_map(|source| functions::lengths(&source.text));
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

    #[test]
    fn long_files_are_found() {
        let long = "let a = 1;\n".repeat(FILE_LINES_MAX);
        assert_eq!(findings(&[source("src/a.rs", long.clone())]).len(), 1);
        assert_eq!(findings(&[source("src/a/tests.rs", long.clone())]).len(), 1);
        assert_eq!(findings(&[source("tests/a/b.rs", long.clone())]).len(), 1);
        assert_eq!(
            findings(&[source("src/a.rs", long[11..].to_owned())]).len(),
            0
        );
    }

    #[test]
    fn many_long_functions_are_found() {
        let short = "fn short() {\n    body\n}\n".repeat(98);
        let body = "    body\n".repeat(FUNCTION_LINES_P99);
        let long = format!("fn long() {{\n{body}}}\n");
        assert_eq!(
            findings(&[source("src/a.rs", format!("{short}{long}"))]).len(),
            1
        );
        assert_eq!(findings(&[source("src/a.rs", short)]).len(), 0);
    }
}

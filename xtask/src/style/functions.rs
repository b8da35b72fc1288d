//! Functions fit on a screen, but for a few that are listed with their reason.

use super::{FUNCTION_LINES_MAX, Source};

/// Longer functions that read better whole: file, function, why.
pub(super) const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "tests/end_to_end/cross_version.rs",
        "callers_of_every_kind_lose_no_call_through_an_upgrade",
        "one scenario, told in order",
    ),
    (
        "tests/end_to_end/together.rs",
        "nodes_that_call_each_other_within_every_request_upgrade_at_the_same_moment",
        "one scenario, told in order",
    ),
    (
        "tests/end_to_end/operating.rs",
        "retirement_is_refused_with_what_holds_it_then_done_in_two_phases",
        "one scenario, told in order",
    ),
    (
        "scenarios/src/demo/redis.rs",
        "run",
        "one scenario, told in order",
    ),
];

/// How large a share of all functions may be listed, one in so many.
const EXCEPTION_SHARE: usize = 200;

/// A function's name, where it begins, and how many lines it has.
#[derive(Debug, PartialEq)]
struct Function<'a> {
    name: &'a str,
    line: usize,
    lines: usize,
}

pub(super) fn findings(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    let mut all = 0;
    for source in sources.iter().filter(|source| source.path.ends_with(".rs")) {
        for function in functions(&source.text) {
            all += 1;
            let is_listed = EXCEPTIONS
                .iter()
                .any(|(file, name, _)| *file == source.path && *name == function.name);
            if function.lines >= FUNCTION_LINES_MAX && !is_listed {
                findings.push(format!(
                    "{}:{}: `{}` has {} lines; below {FUNCTION_LINES_MAX} fit on a screen",
                    source.path, function.line, function.name, function.lines
                ));
            }
        }
    }
    if all > EXCEPTION_SHARE && EXCEPTIONS.len() * EXCEPTION_SHARE > all {
        findings.push(format!(
            "{} exceptions of {all} functions are too many",
            EXCEPTIONS.len()
        ));
    }
    findings
}

/// The lengths of a file's functions, in lines.
pub(super) fn lengths(text: &str) -> impl Iterator<Item = usize> {
    functions(text).into_iter().map(|function| function.lines)
}

/// The functions of formatted source: the closing brace stands as deep as the line that begins the function.
fn functions(text: &str) -> Vec<Function<'_>> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else {
            continue;
        };
        let depth = line.len() - line.trim_start().len();
        let closes = |candidate: &&str| {
            candidate.trim_start().starts_with('}')
                && candidate.len() - candidate.trim_start().len() == depth
        };
        // Of a trait's methods some have no body: those end with a semicolon.
        let ends_head = |line: &&str| line.ends_with([';', '{', '}']);
        let head_ends = index + lines[index..].iter().position(ends_head).unwrap_or(0);
        let end = if lines[head_ends].ends_with('{') {
            lines[index..].iter().position(closes).unwrap_or(0)
        } else {
            head_ends - index
        };
        found.push(Function {
            name,
            line: index + 1,
            lines: end + 1,
        });
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    let qualifiers = [
        "pub(crate) ",
        "pub(super) ",
        "pub ",
        "const ",
        "async ",
        "unsafe ",
        "extern \"C\" ",
    ];
    while let Some(shorter) = qualifiers.iter().find_map(|word| rest.strip_prefix(word)) {
        rest = shorter;
    }
    let name = rest.strip_prefix("fn ")?;
    name.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_measured_to_their_closing_brace() {
        let text = "impl A {\n    pub(crate) async fn one(\n        a: u8,\n    ) -> u8 {\n        a\n    }\n    fn two() {}\n}\n";
        let found = functions(text);
        assert_eq!(
            found[0],
            Function {
                name: "one",
                line: 2,
                lines: 5
            }
        );
        assert_eq!(
            found[1],
            Function {
                name: "two",
                line: 7,
                lines: 1
            }
        );
    }

    #[test]
    fn a_method_without_a_body_ends_with_its_semicolon() {
        let text = "trait A {\n    fn one(\n        &self,\n    ) -> u8;\n\n    fn two();\n}\n\nimpl B {\n    fn three() {\n    }\n}\n";
        let lines: Vec<usize> = lengths(text).collect();
        assert_eq!(lines, [3, 1, 2]);
    }

    #[test]
    fn a_long_function_is_found() {
        let body = "    let a = 1;\n".repeat(FUNCTION_LINES_MAX);
        let source = Source {
            path: "a.rs".to_owned(),
            text: format!("fn long() {{\n{body}}}\n"),
        };
        assert_eq!(findings(&[source]).len(), 1);
    }

    #[test]
    fn exceptions_give_reasons() {
        assert!(EXCEPTIONS.iter().all(|(_, _, reason)| reason.len() > 10));
    }
}

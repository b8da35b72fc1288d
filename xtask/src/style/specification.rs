//! Every test that the page of promises names exists.

use super::Source;

/// The page of promises.
const PAGE: &str = "SPECIFICATION.md";

pub(super) fn findings(sources: &[Source]) -> Vec<String> {
    let Some(page) = super::page(sources, PAGE) else {
        return vec![format!("docs/: {PAGE} is missing")];
    };
    let mut findings = Vec::new();
    for (index, line) in page.text.lines().enumerate() {
        // Every second part stands between backticks.
        for named in line
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|part| is_test(part))
        {
            if !exists(named, sources) {
                let line = index + 1;
                findings.push(format!("{}:{line}: there is no test `{named}`", page.path));
            }
        }
    }
    findings
}

fn is_test(part: &str) -> bool {
    part.contains(".rs") || part.contains(".py")
}

/// `PATH::name`, or a whole file of tests.
fn exists(named: &str, sources: &[Source]) -> bool {
    let (path, name) = match named.split_once("::") {
        Some((path, name)) => (path, Some(name)),
        None => (named, None),
    };
    let has = |source: &&Source| {
        let forms = name.map(|name| [format!("fn {name}("), format!("def {name}(")]);
        forms.is_none_or(|forms| forms.iter().any(|form| source.text.contains(form)))
    };
    sources
        .iter()
        .filter(|source| source.path == path)
        .any(|source| has(&source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_is_gone_is_found() {
        let source = |path: &str, text: &str| Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let page = source(
            "docs/reference/SPECIFICATION.md",
            "| a | `a.rs::here`, `a.rs::gone`, `b.rs` |\n",
        );
        let sources = [page, source("a.rs", "#[test]\nfn here() {}\n")];
        let found = findings(&sources);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("gone") && found[1].contains("b.rs"));
    }
}

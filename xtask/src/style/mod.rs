//! Style as a test: what reviewers would otherwise have to say again and again.

mod arrows;
mod circles;
mod code;
mod functions;
mod names;
mod references;
mod sizes;
mod specification;

use crate::workspace::Workspace;
use anyhow::Context;
use std::process::ExitCode;

/// The longest function without an entry in [`functions::EXCEPTIONS`], in lines.
const FUNCTION_LINES_MAX: usize = 70;

/// The extensions of files that people write.
const TEXT: [&str; 8] = [
    ".rs", ".toml", ".md", ".py", ".sh", ".js", ".json", ".service",
];

/// A file of the repository.
struct Source {
    path: String,
    text: String,
}

/// `cargo xtask style`: prints every finding.
///
/// # Errors
/// When the repository cannot be read.
pub fn run() -> anyhow::Result<ExitCode> {
    let findings = findings()?;
    for finding in &findings {
        println!("{finding}");
    }
    println!("{} findings", findings.len());
    Ok(if findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Everything that breaks a rule, as `file:line: what`.
fn findings() -> anyhow::Result<Vec<String>> {
    let workspace = Workspace::find()?;
    let sources = sources(&workspace)?;
    let product = code::product(&sources);
    let packages = &workspace.metadata.packages;
    let mut findings = arrows::findings(packages, workspace.root(), &sources);
    findings.extend(circles::findings(&product));
    findings.extend(names::findings(&product));
    findings.extend(sources.iter().filter_map(opening));
    findings.extend(sources.iter().flat_map(unfinished));
    findings.extend(sources.iter().flat_map(hops));
    let private = private_paths(&workspace);
    findings.extend(
        sources
            .iter()
            .flat_map(|source| machine_paths(source, &private)),
    );
    findings.extend(functions::findings(&sources));
    findings.extend(sizes::findings(&sources));
    findings.extend(references::findings(&sources));
    findings.extend(specification::findings(&sources));
    findings.extend(crate::docs::findings(&workspace)?);
    Ok(findings)
}

/// The files that are in the repository or would be added to it.
fn sources(workspace: &Workspace) -> anyhow::Result<Vec<Source>> {
    let arguments = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let output = workspace
        .command("git")
        .args(arguments)
        .output()
        .context("cannot run git")?;
    let mut sources = Vec::new();
    for path in String::from_utf8(output.stdout)?.lines() {
        if !TEXT.iter().any(|extension| path.ends_with(extension)) {
            continue;
        }
        // Deleted and not yet committed, or not text: nothing to judge.
        if let Ok(text) = std::fs::read_to_string(workspace.root().join(path)) {
            sources.push(Source {
                path: path.to_owned(),
                text,
            });
        }
    }
    anyhow::ensure!(!sources.is_empty(), "git lists no files here");
    Ok(sources)
}

/// A page of the documentation by its file's name, in whatever folder of `docs/` it lies.
fn page<'a>(sources: &'a [Source], name: &str) -> Option<&'a Source> {
    let is_it = |path: &str| path.starts_with("docs/") && path.rsplit('/').next() == Some(name);
    sources.iter().find(|source| is_it(&source.path))
}

/// Whether a file holds nothing but tests.
fn is_test(path: &str) -> bool {
    path.split('/')
        .any(|part| ["tests", "tests.rs"].contains(&part))
}

/// Every Rust file says first what lives there.
fn opening(source: &Source) -> Option<String> {
    let is_open = source.text.starts_with("//!") || !source.path.ends_with(".rs");
    (!is_open).then(|| {
        format!(
            "{}:1: begin with `//!`: what lives here and why",
            source.path
        )
    })
}

/// No module lies elsewhere than its name says, in another crate's folder least of all: what several need is a crate.
fn hops(source: &Source) -> Vec<String> {
    let is_rust = source.path.ends_with(".rs");
    let lines = source.text.lines().enumerate();
    let hops = lines.filter(|(_, line)| is_rust && line.trim_start().starts_with("#[path"));
    hops.map(|(index, _)| {
        format!(
            "{}:{}: `path` leads to a module elsewhere: give what it has a home in a crate that both use",
            source.path,
            index + 1
        )
    })
    .collect()
}

/// Nothing unfinished without a reason: the mark is followed by it in parentheses.
fn unfinished(source: &Source) -> Vec<String> {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME")];
    let is_bare = |line: &str| {
        marks.iter().any(|mark| {
            line.split(mark)
                .skip(1)
                .any(|rest| !rest.starts_with('(') || rest.starts_with("()"))
        })
    };
    let lines = source
        .text
        .lines()
        .enumerate()
        .filter(|(_, line)| is_bare(line));
    lines
        .map(|(index, _)| {
            format!(
                "{}:{}: say why it is unfinished, or finish it",
                source.path,
                index + 1
            )
        })
        .collect()
}

/// Beginnings of paths that exist on one machine only: this one's, and those of common workplaces.
fn private_paths(workspace: &Workspace) -> Vec<String> {
    let mut paths = vec![
        concat!("/wo", "rk/").to_owned(),
        concat!("/Us", "ers/").to_owned(),
    ];
    paths.push(workspace.root().display().to_string());
    paths.extend(std::env::var("CARGO_HOME"));
    paths.extend(std::env::var("HOME").map(|home| format!("{home}/.cargo")));
    paths
}

/// No path that exists on one machine only.
fn machine_paths(source: &Source, private: &[String]) -> Vec<String> {
    let is_private = |line: &str| private.iter().any(|path| line.contains(path));
    let lines = source
        .text
        .lines()
        .enumerate()
        .filter(|(_, line)| is_private(line));
    lines
        .map(|(index, _)| format!("{}:{}: a path of one machine", source.path, index + 1))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn the_tree_follows_the_style() {
        let findings = findings().expect("the repository can be read");
        assert!(findings.is_empty(), "\n{}", findings.join("\n"));
    }

    #[test]
    fn each_rule_can_fail() {
        assert!(opening(&source("a.rs", "fn a() {}")).is_some());
        assert!(opening(&source("a.py", "x = 1")).is_none());
        let mark = concat!("// TO", "DO");
        assert_eq!(
            unfinished(&source("a.rs", &format!("{mark}: later"))).len(),
            1
        );
        assert_eq!(
            unfinished(&source("a.rs", &format!("{mark}(waits for the kernel)"))).len(),
            0
        );
        let hop = "//! A.\n    #[path = \"../b.rs\"]\nmod b;";
        assert_eq!(hops(&source("a.rs", hop)).len(), 1);
        assert_eq!(hops(&source("a.rs", "// `#[path` is refused")).len(), 0);
        let path = "/somewhere/of/mine/file";
        let private = ["/somewhere/of/mine".to_owned()];
        assert_eq!(machine_paths(&source("a.md", path), &private).len(), 1);
    }
}

//! `cargo xtask docs`: builds docs/ as a site, and runs what its pages show.
//!
//! A page is a document and a test: its blocks of shell are executed one after the other, its blocks of files are written, and
//! what it shows as output must be what came out. How blocks are marked is told in CONTRIBUTING.md.

#[cfg(test)]
mod commands;
mod expected;
mod links;
mod page;
mod run;
mod script;
pub(crate) mod site;
#[cfg(test)]
mod tests;

use crate::install;
use crate::workspace::{Profile, Workspace};
use anyhow::Context;
use clap::Args;
pub(crate) use page::Page;
pub(crate) use run::Run;
pub(crate) use script::{Script, Surroundings};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Pages whose blocks of files and bodies are examples that a test of another crate reads from the page.
const CHECKED_ELSEWHERE: [(&str, &str); 4] = [
    (
        "docs/reference/adapters.md",
        "crates/component/tests/reference.rs",
    ),
    ("docs/reference/lenses.md", "crates/lens/tests/reference.rs"),
    (
        "docs/guides/testing-lenses.md",
        "crates/component/tests/schema.rs",
    ),
    (
        "docs/reference/upgrade-file.md",
        "crates/model/tests/folders.rs",
    ),
];

/// Arguments of `cargo xtask docs`.
#[derive(Debug, Args)]
pub struct Options {
    /// Run what these pages show (docs/FOLDER/NAME.md or README.md) instead of building the site
    #[arg(long, value_name = "PAGE", num_args = 1..)]
    run: Vec<PathBuf>,
}

/// Builds the site into target/book, or runs pages.
///
/// # Errors
/// When mdBook cannot be installed or the workspace cannot be built.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::find()?;
    if options.run.is_empty() {
        install::book(&workspace)?;
        let index = site::build(&workspace)?;
        eprintln!("the site begins at {}", index.display());
        return Ok(ExitCode::SUCCESS);
    }
    workspace.build(Profile::Dev)?;
    let mut findings = Vec::new();
    for name in &options.run {
        match read(&workspace, name).and_then(|page| Run::of(&workspace, &page)) {
            Ok(run) => {
                eprint!("{}", run.said);
                findings.extend(run.findings);
            }
            Err(error) => findings.push(format!("{error:#}")),
        }
    }
    for finding in &findings {
        println!("{finding}");
    }
    println!("{} findings", findings.len());
    Ok(ExitCode::from(u8::from(!findings.is_empty())))
}

/// A page by its path in the repository.
pub(crate) fn read(workspace: &Workspace, name: &Path) -> anyhow::Result<Page> {
    let text = std::fs::read_to_string(workspace.root().join(name))
        .with_context(|| format!("cannot read {}", name.display()))?;
    Page::parse(&name.display().to_string(), &text)
        .map_err(|findings| anyhow::anyhow!("{}", findings.join("\n")))
}

/// What is wrong with the pages as far as it shows without running them, as `file:line: what`: blocks that nothing checks, links
/// that lead nowhere, pages that the table of contents lacks.
pub(crate) fn findings(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let mut found = links::findings(workspace)?;
    for name in names(workspace)?.iter().filter(|name| is_run(name)) {
        found.extend(
            read(workspace, name)
                .err()
                .map(|error| format!("{error:#}")),
        );
    }
    Ok(found)
}

/// Every text for readers: the pages of docs/ and README.md, which are run, and those beside them, as paths in the repository.
pub(crate) fn names(workspace: &Workspace) -> anyhow::Result<Vec<PathBuf>> {
    let mut names = vec!["README.md".into(), "CONTRIBUTING.md".into()];
    let mut folders = vec![PathBuf::from("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(workspace.root().join(&folder))? {
            let entry = entry?;
            let into = if entry.file_type()?.is_dir() {
                &mut folders
            } else {
                &mut names
            };
            into.push(folder.join(entry.file_name()));
        }
    }
    for entry in std::fs::read_dir(workspace.root().join("examples"))? {
        names.push(
            PathBuf::from("examples")
                .join(entry?.file_name())
                .join("README.md"),
        );
    }
    let is_text = |name: &PathBuf| name.extension().is_some_and(|extension| extension == "md");
    names.retain(|name| is_text(name) && workspace.root().join(name).exists());
    names.sort();
    Ok(names)
}

/// Whether what a text shows is run.
pub(crate) fn is_run(name: &Path) -> bool {
    name.starts_with("docs") || name == Path::new("README.md")
}

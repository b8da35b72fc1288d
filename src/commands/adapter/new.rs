//! `upstart adapter new`: a project of an adapter, in the language that its writer likes.

use super::templates::{self, ProjectFile};
use crate::failure::{Advise, CommandEnd, CommandOutcome, failure};
use crate::globals::Globals;
use crate::output;
use clap::{Args, ValueEnum};
use serde_json::json;
use std::path::{Path, PathBuf};

/// The longest name of an adapter, in bytes: it is a file's and a package's name.
const NAME_BYTES_MAX: usize = 63;

/// Arguments of `upstart adapter new`.
#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// The project's folder, which must not exist yet; its last part is the adapter's name
    #[arg(value_name = "NAME")]
    pub(crate) folder: PathBuf,
    /// The language that the adapter is written in
    #[arg(long)]
    pub(crate) language: Language,
}

/// A language with a template. Others work too: whatever can be made a component of the worlds in `wit/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// Rust: fast, a tool chain that most have
    Rust,
    /// C: fastest, the smallest components
    C,
    /// JavaScript on QuickJS
    Javascript,
    /// Python: components of 18 MB
    Python,
}

/// `upstart adapter new`.
pub(crate) fn run(globals: &Globals, arguments: &NewArgs) -> CommandOutcome {
    let folder = &arguments.folder;
    let name = name(folder)?;
    if folder.exists() {
        return Err(failure(
            format!("{} is there already", folder.display()),
            "give a name that is new",
        ));
    }
    let files: Vec<(String, String)> = templates::of(arguments.language)
        .map(|template| filled(template, name))
        .collect();
    for (path, text) in &files {
        write(&folder.join(path), text)?;
    }
    if globals.json {
        let paths: Vec<&String> = files.iter().map(|(path, _)| path).collect();
        output::json(&json!({ "folder": folder, "name": name, "files": paths }))?;
    } else {
        output::line(format!("{} is an adapter now", folder.display()))?;
        output::line(format!(
            "next: read {0}/README.md, then run `sh {0}/build.sh` and `sh {0}/test.sh`",
            folder.display()
        ))?;
    }
    Ok(CommandEnd::Yes)
}

/// The adapter's name; languages make packages and files of it.
fn name(folder: &Path) -> anyhow::Result<&str> {
    let name = folder.file_name().and_then(|name| name.to_str());
    let is_good = |name: &&str| {
        name.len() <= NAME_BYTES_MAX
            && name.starts_with(|first: char| first.is_ascii_lowercase())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    name.filter(is_good).ok_or_else(|| {
        failure(
            format!("`{}` does not end in an adapter's name", folder.display()),
            format!(
                "use lower-case letters, digits and `-`, a letter first, at most {NAME_BYTES_MAX}"
            ),
        )
    })
}

/// A template's file with the name put in: its path in the project, and its text.
fn filled(template: &ProjectFile, name: &str) -> (String, String) {
    let fill = |text: &str| {
        text.replace("NAME", name)
            .replace("MODULE", &name.replace('-', "_"))
    };
    (fill(template.path), fill(template.text))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let shown = path.display();
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).advise(
            format!("cannot make {}", folder.display()),
            "give a folder that you may write",
        )?;
    }
    std::fs::write(path, text).advise(
        format!("cannot write {shown}"),
        "give a folder that you may write",
    )
}

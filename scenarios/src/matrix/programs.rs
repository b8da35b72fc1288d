//! What is known of each program: `matrix/programs/NAME/program.toml`, described in matrix/README.md.

use anyhow::{Context, bail};
use regex::Regex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A program as its file describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Program {
    /// Its folder's name; the row's name.
    #[serde(skip)]
    pub(super) name: String,
    /// Its folder.
    #[serde(skip)]
    pub(super) folder: PathBuf,
    /// What it is, for people.
    pub(super) title: String,
    /// Shell that prints its version.
    pub(super) version: String,
    /// Debian packages that it needs.
    #[serde(default)]
    pub(super) debian: Vec<String>,
    /// Python packages that it needs.
    #[serde(default)]
    pub(super) pypi: Vec<String>,
    /// npm packages that it needs.
    #[serde(default)]
    pub(super) npm: Vec<String>,
    /// Part of the quick choice: everything that it needs is installed for the tests anyway.
    #[serde(default)]
    pub(super) quick: bool,
    /// One naive way to listen, not a program that people run.
    #[serde(default)]
    pub(super) naive: bool,
    /// Works for root only.
    #[serde(default)]
    pub(super) root: bool,
    /// The user that it runs as, where the matrix runs as root.
    pub(super) user: Option<String>,
    /// Shell that builds it, in the folder that becomes `$BUILT`.
    pub(super) build: Option<String>,
    /// Shell that becomes the program.
    pub(super) start: String,
    /// How its health is seen.
    #[serde(default)]
    pub(super) probe: Probe,
    /// Shell that talks to it; what it prints is compared.
    pub(super) converse: String,
    /// What differs each time, as regular expressions.
    #[serde(default)]
    pub(super) mask: Vec<String>,
    /// What callers say while it is upgraded.
    pub(super) load: Load,
    /// Ports besides its main one.
    #[serde(default)]
    pub(super) services: Vec<String>,
    /// An origin outside and one that is a member are there to be called.
    #[serde(default)]
    pub(super) origin: bool,
    /// How long its start may take.
    #[serde(default = "patience")]
    pub(super) patience_s: u64,
    /// How long one call may take, those included that are held while the program is upgraded.
    #[serde(default = "slowest")]
    pub(super) slowest_s: u64,
    /// How long the failing version is given to become healthy, which it never does.
    #[serde(default = "failing")]
    pub(super) failing_s: u64,
    /// What asks it to end, where that is not SIGTERM.
    pub(super) stop_signal: Option<String>,
    /// How long it may take to end.
    #[serde(default = "grace")]
    pub(super) stop_grace_s: u64,
    /// What the upgrade file's `protocol` says, where its probe does not tell.
    protocol: Option<String>,
    /// The main process ends when it has started another: what is started bare is not waited for.
    #[serde(default)]
    pub(super) forks: bool,
    /// A log that it writes into its state, where it prints nothing.
    pub(super) log: Option<String>,
    /// Columns that make no sense for it, with the reason.
    #[serde(default)]
    pub(super) without: BTreeMap<String, String>,
}

/// How health is seen: by a connection, a page, or shell.
#[derive(Clone, Debug, Deserialize, Default)]
#[serde(untagged)]
pub(super) enum Probe {
    /// Shell that succeeds.
    Shell(String),
    /// A page that is there.
    Page {
        /// Its path.
        http: String,
    },
    /// It accepts a connection.
    #[default]
    Tcp,
}

/// What callers say, as `matrix/client.py` reads it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Load {
    /// A page that is got.
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<String>,
    /// A page that tells the caller's address and port; it is got every other time.
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
    /// A file that is run by FastCGI.
    #[serde(skip_serializing_if = "Option::is_none")]
    fastcgi: Option<String>,
    /// What the answer holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    expect: Option<String>,
    /// How an answer begins by which it takes leave of a connection while it is being stopped: that counts as a reset.
    #[serde(skip_serializing_if = "Option::is_none")]
    farewell: Option<String>,
    /// What is said once on each connection.
    #[serde(default)]
    open: Vec<String>,
    /// What is said in each call.
    #[serde(default)]
    call: Vec<String>,
    /// What is said before a connection is closed.
    #[serde(default)]
    close: Vec<String>,
    /// Where else it is called, besides 127.0.0.1.
    #[serde(default)]
    hosts: Vec<String>,
    /// How many callers make a connection for each call.
    #[serde(skip_serializing_if = "Option::is_none")]
    fresh: Option<u32>,
    /// How many keep theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<u32>,
    /// How long each waits between two calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pace_ms: Option<u32>,
}

/// The columns that a row may be without.
const COLUMNS: [&str; 3] = ["same_as_bare", "upgrade", "flip_back"];

/// What always differs: dates, and which of its versions the program is.
const ALWAYS: [&str; 2] = [
    r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT",
    r"version[-_ ]?\d\b",
];

fn patience() -> u64 {
    40
}

fn slowest() -> u64 {
    30
}

fn failing() -> u64 {
    3
}

fn grace() -> u64 {
    10
}

impl Program {
    fn read(folder: &Path) -> anyhow::Result<Self> {
        let file = folder.join("program.toml");
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        let mut program: Self =
            toml::from_str(&text).with_context(|| format!("in {}", file.display()))?;
        program.name = folder
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        program.folder = folder.to_owned();
        for pattern in &program.mask {
            Regex::new(pattern).with_context(|| format!("in {}", file.display()))?;
        }
        if let Some(unknown) = program
            .without
            .keys()
            .find(|column| !COLUMNS.contains(&column.as_str()))
        {
            bail!("{}: there is no column `{unknown}`", file.display());
        }
        Ok(program)
    }

    /// What the upgrade file's `protocol` says.
    pub(super) fn protocol(&self) -> &str {
        match (&self.protocol, &self.probe) {
            (Some(protocol), _) => protocol,
            (None, Probe::Page { .. }) => "http",
            (None, Probe::Shell(_) | Probe::Tcp) => "raw",
        }
    }

    /// Why it has no such column, where it has none.
    pub(super) fn without(&self, column: &str) -> Option<&str> {
        self.without.get(column).map(String::as_str)
    }

    /// What it printed, without what differs each time.
    pub(super) fn masked(&self, text: &str) -> String {
        let mut masked = text.to_owned();
        let always = ALWAYS.iter().copied();
        for pattern in self.mask.iter().map(String::as_str).chain(always) {
            if let Ok(pattern) = Regex::new(pattern) {
                masked = pattern.replace_all(&masked, "…").into_owned();
            }
        }
        masked
    }
}

/// Every program below this folder, by name.
///
/// # Errors
/// When one of them is not well described.
pub(super) fn all(folder: &Path) -> anyhow::Result<Vec<Program>> {
    let mut programs = Vec::new();
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.join("program.toml").exists() {
            programs.push(Program::read(&path)?);
        }
    }
    programs.sort_by(|one, other| (one.naive, &one.name).cmp(&(other.naive, &other.name)));
    Ok(programs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs() -> Vec<Program> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../matrix/programs");
        all(&root).expect("every program is well described")
    }

    #[test]
    fn every_program_is_described() {
        let programs = programs();
        let real = programs.iter().filter(|program| !program.naive).count();
        assert!(real >= 48, "only {real} programs that people run");
    }

    #[test]
    fn the_quick_choice_needs_nothing_but_what_the_tests_install() {
        let known = xtask::install::DEBIAN;
        for program in programs().iter().filter(|program| program.quick) {
            let other: Vec<_> = program
                .debian
                .iter()
                .filter(|package| !known.contains(&package.as_str()))
                .collect();
            let is_installed =
                other.is_empty() && program.npm.is_empty() && program.pypi.is_empty();
            assert!(is_installed, "{} needs more: {other:?}", program.name);
        }
    }
}

//! `upstart check`: proves an upgrade's folder without a server; publishing does the same first.

use crate::arguments::Globals;
use crate::failure::{Advise, End, Outcome, refusal};
use crate::output;
use adapter::Lens;
use clap::Args;
use model::bundle::{self, BundleError, Checked, Folder};
use model::ids::Version;
use model::manifest::UPGRADE_FILE;
use model::release::{History, HistoryError};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Arguments of `upstart check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The folder with `upgrade.toml`
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Also check that it follows on this earlier upgrade (repeatable: the whole history, from version 1)
    #[arg(long, value_name = "DIR")]
    pub(crate) after: Vec<PathBuf>,
}

/// A bundle that may be published, as far as it can be judged without the system.
pub(crate) struct Proved {
    /// The folder and its files.
    pub(crate) folder: Folder,
    /// The upgrade and its manifest.
    pub(crate) checked: Checked,
}

/// `upstart check`.
pub(crate) fn run(globals: &Globals, arguments: &CheckArgs) -> Outcome {
    let proved = match prove(&arguments.directory)? {
        Ok(proved) => proved,
        Err(errors) => return complain(globals, &errors),
    };
    match history_finding(&proved, &arguments.after)? {
        None => report(globals, &proved),
        Some(finding) => complain(globals, &[finding]),
    }
}

/// Why the upgrade does not follow on the earlier ones, where some are given.
fn history_finding(proved: &Proved, after: &[PathBuf]) -> anyhow::Result<Option<BundleError>> {
    if after.is_empty() {
        return Ok(None);
    }
    let mut upgrades = vec![Arc::new(proved.checked.upgrade.clone())];
    for directory in after {
        match prove(directory)? {
            Ok(earlier) => upgrades.push(Arc::new(earlier.checked.upgrade)),
            Err(errors) => {
                return Err(refusal(
                    format!("{} is not sound: {}", directory.display(), errors[0]),
                    "check it first",
                ));
            }
        }
    }
    // A number that no folder has was withdrawn: only the server knows better.
    let published: BTreeSet<Version> = upgrades.iter().map(|upgrade| upgrade.version).collect();
    let newest = published.last().map_or(0, |version| version.0);
    let withdrawn = (1..newest)
        .map(Version)
        .filter(|version| !published.contains(version));
    let history = History::new(upgrades, &withdrawn.collect());
    let finding = |error: HistoryError| BundleError::of_file(UPGRADE_FILE, error.to_string(), "");
    Ok(history.err().map(finding))
}

/// Reads and proves a folder: the outer error is a folder that cannot be read, the inner ones are findings in it.
pub(crate) fn prove(directory: &Path) -> anyhow::Result<Result<Proved, Vec<BundleError>>> {
    let folder = bundle::read_directory(directory)
        .map_err(anyhow::Error::from)
        .advise(
            format!("{} cannot be checked", directory.display()),
            "give the folder that holds the upgrade's `upgrade.toml`",
        )?;
    let checked = match bundle::check(&folder.upgrade_toml, &folder.files) {
        Ok(checked) => checked,
        Err(errors) => return Ok(Err(errors)),
    };
    let mut findings = Vec::new();
    for path in checked.upgrade.lenses() {
        findings.extend(lens_finding(&folder.path, path));
    }
    match findings.is_empty() {
        true => Ok(Ok(Proved { folder, checked })),
        false => Ok(Err(findings)),
    }
}

/// What is wrong with one lens file.
fn lens_finding(folder: &Path, path: &str) -> Option<BundleError> {
    let text = match std::fs::read_to_string(folder.join(path)) {
        Ok(text) => text,
        Err(error) => {
            let help = "a lens is a readable UTF-8 file in the bundle";
            return Some(BundleError::of_file(
                path,
                format!("cannot be read: {error}"),
                help,
            ));
        }
    };
    let error = Lens::parse(path, &text).err()?;
    Some(BundleError {
        line: Some(error.line).filter(|line| *line > 0),
        key: error.key,
        ..BundleError::of_file(path, error.message, error.hint.unwrap_or_default())
    })
}

fn report(globals: &Globals, proved: &Proved) -> Outcome {
    let (upgrade, manifest) = (&proved.checked.upgrade, &proved.checked.manifest);
    let bytes: u64 = manifest.files.iter().map(|file| file.size).sum();
    if globals.json {
        output::json(&json!({
            "ok": true, "system": upgrade.system, "version": upgrade.version, "from": upgrade.from,
            "classes": upgrade.classes.keys().collect::<Vec<_>>(), "files": manifest.files.len(),
            "bytes": bytes, "manifest_sha256": manifest.digest(), "errors": [],
        }))?;
    } else {
        output::line(format!(
            "{} version {} is sound: {}, {}, {bytes} bytes, manifest {}",
            upgrade.system,
            upgrade.version,
            output::counted(upgrade.classes.len(), "class", "classes"),
            output::counted(manifest.files.len(), "file", "files"),
            manifest.digest()
        ))?;
    }
    Ok(End::Yes)
}

/// Prints the findings: a negative answer.
pub(crate) fn complain(globals: &Globals, errors: &[BundleError]) -> Outcome {
    if globals.json {
        let errors: Vec<_> = errors.iter().map(finding).collect();
        output::json(&json!({ "ok": false, "errors": errors }))?;
        return Ok(End::No);
    }
    for error in errors {
        output::line(error)?;
    }
    let count = errors.len();
    output::line(format!(
        "{count} finding{}: mend and check again",
        if count == 1 { "" } else { "s" }
    ))?;
    Ok(End::No)
}

fn finding(error: &BundleError) -> serde_json::Value {
    json!({
        "file": error.file, "line": error.line, "column": error.column, "key": error.key,
        "problem": error.problem, "help": error.help,
    })
}

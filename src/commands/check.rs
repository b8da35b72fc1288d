//! `upstart check`: proves an upgrade's folder without a server; publishing does the same first.

use crate::arguments::Globals;
use crate::failure::{Advise, End, Outcome};
use crate::output;
use adapter::Lens;
use clap::Args;
use model::bundle::{self, BundleError, Checked, Folder};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Arguments of `upstart check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The folder with `upgrade.toml`
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
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
    match prove(&arguments.directory)? {
        Ok(proved) => report(globals, &proved),
        Err(errors) => complain(globals, &errors),
    }
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
            "{} version {} is sound: {} classes, {} files, {bytes} bytes, manifest {}",
            upgrade.system,
            upgrade.version,
            upgrade.classes.len(),
            manifest.files.len(),
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

//! `upstart check`: proves an upgrade's folder without a server; publishing does the same first.

use crate::failure::{CommandEnd, CommandOutcome, failure, refusal, sentence};
use crate::globals::Globals;
use crate::output;
use agent::fetch::FetchError;
use call::AdapterKind;
use clap::Args;
use component::{CompileHelper, Compiler, Declaration};
use declaration::DeclarationError;
use lens::Lens;
use model::bundle::{
    self, BundleError, Folder, FolderError, Service, SoftwareKind, Upgrade, UpgradeFile,
};
use model::ids::Version;
use model::manifest::UPGRADE_FILE;
use model::release::{self, Checked, History, HistoryError};
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
pub(crate) fn run(globals: &Globals, arguments: &CheckArgs) -> CommandOutcome {
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
    let mut earlier = Vec::new();
    for directory in after {
        match prove(directory)? {
            Ok(one) => earlier.push(one),
            Err(errors) => {
                return Err(refusal(
                    format!("{} is not sound: {}", directory.display(), errors[0]),
                    format!(
                        "mend it first: `upstart check {}` says everything",
                        directory.display()
                    ),
                ));
            }
        }
    }
    let all = || std::iter::once(proved).chain(&earlier);
    if let Some(refused) = beginning_missing(all().map(|one| &one.checked.upgrade)) {
        return Err(refused);
    }
    // A number that no folder has was withdrawn: only the server knows better.
    let upgrades: Vec<_> = all()
        .map(|one| Arc::new(one.checked.upgrade.clone()))
        .collect();
    let published: BTreeSet<Version> = upgrades.iter().map(|upgrade| upgrade.version).collect();
    let newest = published.last().map_or(0, |version| version.0);
    let withdrawn = (1..newest)
        .map(Version)
        .filter(|version| !published.contains(version));
    let history = History::new(upgrades, &withdrawn.collect());
    Ok(history.err().map(|error| placed(&error, proved, &earlier)))
}

/// Why the upgrades cannot be judged together: the first of them builds on one that is not given.
fn beginning_missing<'a>(upgrades: impl Iterator<Item = &'a Upgrade>) -> Option<anyhow::Error> {
    let first = upgrades.min_by_key(|upgrade| upgrade.version)?;
    let missing = first.from;
    if first.version.0 <= 1 || missing.0 == 0 {
        return None;
    }
    Some(refusal(
        format!(
            "`--after` needs the whole history: version {missing} is missing, on which version {} builds",
            first.version
        ),
        "give the folder of every earlier version, such as `--after v1 --after v2`",
    ))
}

/// What is wrong with a history, at its place: in the upgrade that is checked, or in an earlier one.
fn placed(error: &HistoryError, proved: &Proved, earlier: &[Proved]) -> BundleError {
    let is_about = |one: &&Proved| Some(one.checked.upgrade.version) == error.version();
    let other = if is_about(&proved) {
        None
    } else {
        earlier.iter().find(is_about)
    };
    let (one, file) = match other {
        Some(one) => (
            one,
            one.folder.path.join(UPGRADE_FILE).display().to_string(),
        ),
        None => (proved, UPGRADE_FILE.to_owned()),
    };
    let (key, problem) = error.finding();
    let parsed = UpgradeFile::parse(&one.folder.upgrade_toml).ok();
    let place = parsed.and_then(|parsed| parsed.place(&key));
    BundleError {
        line: place.map(|(line, _)| line),
        column: place.map(|(_, column)| column),
        key,
        ..BundleError::of_file(&file, problem, "")
    }
}

/// Reads and proves a folder: the outer error is a folder that cannot be read, the inner ones are findings in it.
pub(crate) fn prove(directory: &Path) -> anyhow::Result<Result<Proved, Vec<BundleError>>> {
    let folder = match bundle::read_directory(directory) {
        Ok(folder) => folder,
        Err(FolderError::Unfit(findings)) => return Ok(Err(findings)),
        Err(error) => return Err(unreadable(directory, error)),
    };
    let checked = match release::check(&folder.upgrade_toml, &folder.files) {
        Ok(checked) => checked,
        Err(errors) => return Ok(Err(errors)),
    };
    let mut findings = Vec::new();
    for path in checked.upgrade.adapter_files() {
        let services = checked.upgrade.services_of(path);
        findings.extend(adapter_finding(&folder.path, path, &services));
    }
    for (path, kind) in archives(&checked.upgrade) {
        let gzip = kind == SoftwareKind::TarGz;
        let inspected = agent::fetch::inspect(&folder.path.join(path), gzip);
        findings.extend(inspected.err().map(|error| archive_finding(path, error)));
    }
    if findings.is_empty() {
        Ok(Ok(Proved { folder, checked }))
    } else {
        Ok(Err(findings))
    }
}

fn unreadable(directory: &Path, error: FolderError) -> anyhow::Error {
    let next = match &error {
        FolderError::Read { .. } => "see to it that you may read everything in it",
        _ => "give the folder that holds the upgrade's `upgrade.toml`",
    };
    let why = sentence(&error.into());
    failure(
        format!("{} cannot be checked: {why}", directory.display()),
        next,
    )
}

/// What is wrong with one file of an `adapter` key: a lens, or the declaration of a component.
fn adapter_finding(folder: &Path, path: &str, services: &[&Service]) -> Option<BundleError> {
    let bytes = match std::fs::read(folder.join(path)) {
        Ok(bytes) => bytes,
        Err(error) => {
            let help = "an adapter's file is a readable UTF-8 file in the bundle";
            let problem = format!("cannot be read: {error}");
            return Some(BundleError::of_file(path, problem, help));
        }
    };
    let text = match bundle::folder::text(path, bytes) {
        Ok(text) => text,
        Err(error) => return Some(*error),
    };
    if text.trim().is_empty() {
        let help = "write at least one [[operation]] or `pass`, or say `adapter = \"refuse\"` in upgrade.toml";
        let problem = "is empty: every call between the two versions would be refused";
        return Some(BundleError::of_file(path, problem, help));
    }
    let error = if Declaration::is_one(&text) {
        component_error(folder, path, &text, services)?
    } else {
        match Lens::parse(path, &text) {
            Err(error) => error,
            Ok(_) => {
                let problem = unfit(AdapterKind::Lens, services)?;
                return Some(BundleError::of_file(path, problem, ""));
            }
        }
    };
    Some(BundleError {
        line: Some(error.line).filter(|line| *line > 0),
        key: error.key,
        ..BundleError::of_file(path, error.message, error.hint.unwrap_or_default())
    })
}

/// What is wrong with a component, or with its declaration: it is compiled and looked at as by a node.
fn component_error(
    folder: &Path,
    path: &str,
    text: &str,
    services: &[&Service],
) -> Option<DeclarationError> {
    let declaration = match Declaration::parse(path, text) {
        Ok(declaration) => declaration,
        Err(error) => return Some(error),
    };
    let component = declaration.component();
    let file = folder.join(&component);
    if !file.is_file() {
        let problem = format!("there is no file `{component}` in the bundle");
        return Some(declaration.complaint(problem, "put the component beside this file"));
    }
    let compiled = (std::env::current_exe())
        .and_then(|upstart_binary| Ok((upstart_binary, tempfile::tempdir()?)))
        .map_err(|error| error.to_string());
    let (upstart_binary, scratch) = match compiled {
        Ok(both) => both,
        Err(why) => return Some(declaration.complaint(format!("cannot be compiled: {why}"), "")),
    };
    let compiler = Compiler::new(CompileHelper { upstart_binary }, scratch.path());
    let checked = compiler.program(&component, &file, declaration.limits());
    let error = match checked {
        Err(error) => error,
        Ok(program) => {
            if let Some(problem) = unfit(program.kind(), services) {
                return Some(declaration.complaint(problem, ""));
            }
            return (services.iter()).find_map(|it| declaration.fits(it.protocol).err());
        }
    };
    let why = sentence(&anyhow::anyhow!(error.to_string()));
    Some(declaration.complaint(why, error.hint()))
}

/// Why an adapter of this kind does not fit the services that name it.
fn unfit(kind: AdapterKind, services: &[&Service]) -> Option<String> {
    services
        .iter()
        .find_map(|service| kind.serves(service).err())
        .map(|unfit| unfit.to_string())
}

/// The archives that nodes will unpack, each once.
fn archives(upgrade: &Upgrade) -> BTreeSet<(&str, SoftwareKind)> {
    let definitions = (upgrade.classes.values()).filter_map(|class| class.definition.as_ref());
    let sources = definitions.filter_map(|class| class.software.source.as_ref());
    sources
        .filter(|source| source.kind != SoftwareKind::Folder)
        .map(|source| (source.path.as_str(), source.kind))
        .collect()
}

fn archive_finding(path: &str, error: FetchError) -> BundleError {
    let problem = match error {
        FetchError::Archive { problem, .. } => problem,
        other => format!("{:#}", anyhow::Error::from(other)),
    };
    let help = "pack it again, with `tar -czf` from inside the software's folder";
    BundleError::of_file(path, format!("nodes would not unpack it: {problem}"), help)
}

fn report(globals: &Globals, proved: &Proved) -> CommandOutcome {
    let (upgrade, manifest) = (&proved.checked.upgrade, &proved.checked.manifest);
    let bytes: u64 = manifest.files.iter().map(|file| file.size).sum();
    let remarks = bundle::remarks(upgrade);
    if globals.json {
        output::json(&json!({
            "ok": true, "system": upgrade.system, "version": upgrade.version, "from": upgrade.from,
            "classes": upgrade.classes.keys().collect::<Vec<_>>(), "files": manifest.files.len(),
            "bytes": bytes, "manifest_sha256": manifest.digest(), "errors": [],
            "remarks": remarks.iter().map(|remark| json!({ "key": remark.key, "text": remark.text })).collect::<Vec<_>>(),
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
        for remark in remarks {
            output::line(remark)?;
        }
    }
    Ok(CommandEnd::Yes)
}

/// Prints the findings: a negative answer.
pub(crate) fn complain(globals: &Globals, errors: &[BundleError]) -> CommandOutcome {
    if globals.json {
        let errors: Vec<_> = errors.iter().map(finding).collect();
        output::json(&json!({ "ok": false, "errors": errors }))?;
        return Ok(CommandEnd::No);
    }
    for error in errors {
        output::line(error)?;
    }
    let count = errors.len();
    output::line(format!(
        "{count} finding{}: mend and check again",
        if count == 1 { "" } else { "s" }
    ))?;
    Ok(CommandEnd::No)
}

fn finding(error: &BundleError) -> serde_json::Value {
    json!({
        "file": error.file, "line": error.line, "column": error.column, "key": error.key,
        "problem": error.problem, "help": error.help,
    })
}

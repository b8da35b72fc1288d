//! Which adapters an argument means, and where their conversations are.

use crate::commands::check::{self, complain};
use crate::failure::{Advise, CommandEnd, failure, refusal};
use crate::globals::Globals;
use call::AdapterKind;
use component::{CompileHelper, Compiler, Declaration, Program};
use conversation::FOLDER_EXTENSION;
use lens::Lens;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What makes a folder a bundle.
const UPGRADE_FILE: &str = "upgrade.toml";

/// An adapter, as it is found in a file.
pub(crate) enum FileAdapter {
    /// A lens.
    Lens(Arc<Lens>),
    /// A component of calls.
    Component(Arc<Declaration>, Arc<Program>),
    /// A component of sessions.
    Sessions(Arc<Declaration>, Arc<Program>),
}

/// An adapter and its file.
pub(crate) struct AdapterFile {
    /// The file, as it is shown.
    pub(crate) path: PathBuf,
    /// The adapter.
    pub(crate) adapter: FileAdapter,
}

/// What an argument that names adapters leads to.
pub(crate) enum AdaptersFound {
    /// These.
    Found(Vec<AdapterFile>),
    /// A bundle that is not sound; its findings have been told.
    Unsound(CommandEnd),
}

/// The adapter of a file, or all of a folder, a bundle's or a project's.
pub(crate) fn adapters(globals: &Globals, path: &Path) -> anyhow::Result<AdaptersFound> {
    if !path.is_dir() {
        return Ok(AdaptersFound::Found(vec![load(path)?]));
    }
    let files = if path.join(UPGRADE_FILE).exists() {
        let proved = match check::prove(path)? {
            Ok(proved) => proved,
            Err(errors) => return complain(globals, &errors).map(AdaptersFound::Unsound),
        };
        let files = proved.checked.upgrade.adapter_files();
        files.iter().map(|file| path.join(file)).collect()
    } else {
        declarations_in(path)?
    };
    if files.is_empty() {
        return Err(refusal(
            format!("{} has no adapter", path.display()),
            "give an adapter's file, a bundle whose interface changes, or a project of `upstart adapter new`",
        ));
    }
    let found = files.iter().map(|file| load(file));
    Ok(AdaptersFound::Found(found.collect::<anyhow::Result<_>>()?))
}

/// The declarations of a project's folder, by name.
fn declarations_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = files_in(folder)?;
    let is_declaration = |file: &PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".adapter.toml")
    };
    files.retain(is_declaration);
    // In the folder where people are they are shown without it.
    let shown = |file: PathBuf| file.strip_prefix(".").map_or(file.clone(), Path::to_owned);
    Ok(files.into_iter().map(shown).collect())
}

/// Reads one adapter's file; a component is compiled as nodes do it.
fn load(path: &Path) -> anyhow::Result<AdapterFile> {
    let shown = path.display().to_string();
    let text = crate::files::read_text(path).advise(
        format!("cannot read {shown}"),
        "give an adapter's file, or the folder of a bundle",
    )?;
    let adapter = if Declaration::is_one(&text) {
        component(path, &shown, &text)?
    } else {
        let lens = Lens::parse(&shown, &text).map_err(|error| {
            refusal(
                error.to_string(),
                "mend the lens; docs/reference/lenses.md is the reference",
            )
        })?;
        FileAdapter::Lens(Arc::new(lens))
    };
    Ok(AdapterFile {
        path: path.to_owned(),
        adapter,
    })
}

fn component(path: &Path, shown: &str, text: &str) -> anyhow::Result<FileAdapter> {
    let mend = "mend it; docs/reference/adapters.md is the reference";
    let declaration =
        Declaration::parse(shown, text).map_err(|error| refusal(error.to_string(), mend))?;
    // The name is relative to the file's own folder, as in a bundle.
    let file = PathBuf::from(declaration.component());
    if !file.is_file() {
        return Err(refusal(
            format!(
                "there is no component {}, which {} names",
                file.display(),
                path.display()
            ),
            "build it first: in a project of `upstart adapter new`, `sh build.sh`",
        ));
    }
    let scratch = tempfile::tempdir()?;
    let helper = CompileHelper {
        upstart_binary: std::env::current_exe()?,
    };
    let compiler = Compiler::new(helper, scratch.path());
    let name = file.display().to_string();
    let program = compiler
        .program(&name, &file, declaration.limits())
        .map_err(|error| refusal(error.to_string(), error.hint().to_owned()))?;
    let declaration = Arc::new(declaration);
    Ok(match program.kind() {
        AdapterKind::Sessions => FileAdapter::Sessions(declaration, program),
        AdapterKind::Calls | AdapterKind::Lens => FileAdapter::Component(declaration, program),
    })
}

/// Where an adapter's conversations are unless told otherwise: `lens.toml` has `lens.conversations` beside it.
pub(crate) fn conversations_of(adapter: &Path) -> PathBuf {
    adapter.with_extension(FOLDER_EXTENSION)
}

/// The conversation files of a folder, by name; none where there is no such folder.
pub(crate) fn files_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(failure(
                format!("cannot read {}: {error}", folder.display()),
                "give a folder that can be read",
            ));
        }
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

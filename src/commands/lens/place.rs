//! Which lenses an argument means, and where their conversations are.

use crate::commands::check::{self, complain};
use crate::failure::{Advise, End, failure, refusal};
use adapter::Lens;
use adapter::conversation::FOLDER_EXTENSION;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A lens and its file.
pub(crate) struct Found {
    /// The file, as it is shown.
    pub(crate) path: PathBuf,
    /// The lens.
    pub(crate) lens: Arc<Lens>,
}

/// What an argument that names lenses leads to.
pub(crate) enum Lenses {
    /// These.
    Found(Vec<Found>),
    /// A bundle that is not sound; its findings have been told.
    Unsound(End),
}

/// The lens of a file, or all lenses of a bundle's folder.
pub(crate) fn lenses(globals: &crate::arguments::Globals, path: &Path) -> anyhow::Result<Lenses> {
    if !path.is_dir() {
        return Ok(Lenses::Found(vec![load(path)?]));
    }
    let proved = match check::prove(path)? {
        Ok(proved) => proved,
        Err(errors) => return complain(globals, &errors).map(Lenses::Unsound),
    };
    let mut files = proved.checked.upgrade.adapter_files();
    files.retain(|file| !declares_component(&path.join(file)));
    if files.is_empty() {
        return Err(refusal(
            format!("the bundle {} has no lens", path.display()),
            "give a bundle whose interface changes, or a lens file",
        ));
    }
    let found = files.into_iter().map(|file| load(&path.join(file)));
    found.collect::<Result<_, _>>().map(Lenses::Found)
}

/// Whether an adapter's file declares a component instead of being a lens.
fn declares_component(file: &Path) -> bool {
    std::fs::read_to_string(file).is_ok_and(|text| adapter::component::Declaration::is_one(&text))
}

/// Reads one lens file.
pub(crate) fn load(path: &Path) -> anyhow::Result<Found> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).advise(
        format!("cannot read {shown}"),
        "give a lens file, or the folder of a bundle",
    )?;
    let lens = Lens::parse(&shown, &text).map_err(|error| {
        refusal(
            error.to_string(),
            "mend the lens; docs/lenses.md is the reference",
        )
    })?;
    Ok(Found {
        path: path.to_owned(),
        lens: Arc::new(lens),
    })
}

/// Where a lens' conversations are unless told otherwise: `lens.toml` has `lens.conversations` beside it.
pub(crate) fn conversations_of(lens: &Path) -> PathBuf {
    lens.with_extension(FOLDER_EXTENSION)
}

/// The conversation files of a folder, by name; none where there is no such folder.
pub(crate) fn files_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(failure(
                format!("cannot read {}: {error}", folder.display()),
                "give a folder with conversation files",
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

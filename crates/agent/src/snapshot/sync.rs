//! Making a tree durable.

use super::{SnapshotError, failed};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Up to so many entries are synced one by one; beyond it the whole file system is cheaper.
const SINGLE_SYNCS_MAX: usize = 256;

/// Makes a tree durable: every file, every directory, and the entry in its parent.
///
/// # Errors
/// When the file system reports that something could not be written.
pub fn sync_tree(root: &Path) -> Result<(), SnapshotError> {
    let entries = entries(root)?;
    if entries.len() > SINGLE_SYNCS_MAX {
        let folder = open(root)?;
        rustix::fs::syncfs(&folder).map_err(|error| failed("sync", root)(error.into()))?;
    } else {
        for entry in &entries {
            open(entry)?.sync_all().map_err(failed("sync", entry))?;
        }
    }
    match root.parent() {
        Some(parent) => open(parent)?.sync_all().map_err(failed("sync", parent)),
        None => Ok(()),
    }
}

fn open(path: &Path) -> Result<File, SnapshotError> {
    File::open(path).map_err(failed("open", path))
}

/// Files and directories, what is inside a directory before the directory itself; one more than the limit at most.
fn entries(root: &Path) -> Result<Vec<PathBuf>, SnapshotError> {
    let mut found = vec![root.to_owned()];
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(failed("list", &folder))? {
            let entry = entry.map_err(failed("list", &folder))?;
            let kind = entry
                .file_type()
                .map_err(failed("look at", &entry.path()))?;
            if kind.is_dir() {
                folders.push(entry.path());
            }
            if kind.is_dir() || kind.is_file() {
                found.push(entry.path());
            }
            if found.len() > SINGLE_SYNCS_MAX {
                return Ok(found);
            }
        }
    }
    found.reverse();
    Ok(found)
}

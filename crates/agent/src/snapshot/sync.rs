//! Making a tree durable.

use super::{SnapshotError, failed};
use crate::tree::{OpenFolder, kind};
use rustix::fs::FileType;
use std::fs::File;
use std::io;
use std::path::Path;

/// Up to so many entries are synced one by one; beyond it the whole file system is cheaper.
const SINGLE_SYNCS_MAX: usize = 256;

/// Makes a tree durable: every file, every directory, and the entry in its parent.
///
/// # Errors
/// When the file system reports that something could not be written.
pub fn sync_tree(root: &Path) -> Result<(), SnapshotError> {
    let folder = OpenFolder::open(root).map_err(failed("open", root))?;
    let mut left = SINGLE_SYNCS_MAX;
    let all = sync_entries(&folder, &mut left).map_err(failed("sync", root))?;
    if !all {
        rustix::fs::syncfs(&folder).map_err(|error| failed("sync", root)(error.into()))?;
    }
    match root.parent() {
        Some(parent) => File::open(parent)
            .and_then(|parent| parent.sync_all())
            .map_err(failed("sync", parent)),
        None => Ok(()),
    }
}

/// Syncs what is in a folder, then the folder; says whether that was all, or more than are synced one by one.
fn sync_entries(folder: &OpenFolder, left: &mut usize) -> io::Result<bool> {
    for name in folder.names()? {
        if *left == 0 {
            return Ok(false);
        }
        *left -= 1;
        match kind(&folder.look_at(&name)?) {
            FileType::RegularFile => folder.file(&name)?.0.sync_all()?,
            FileType::Directory if !sync_entries(&folder.folder(&name)?, left)? => {
                return Ok(false);
            }
            // Part of their folder.
            _ => {}
        }
    }
    rustix::fs::fsync(folder)?;
    Ok(true)
}

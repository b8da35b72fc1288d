//! Copying a state tree: by reflink where the file system can, else in full.
//!
//! The copy has the same names, contents, modes, owners, times, symbolic links, hard links, holes and extended attributes.
//! Sockets, pipes and devices are left out: they are made by running programs. Hard links would be no snapshot: software
//! that appends in place would change both.

mod attributes;
mod copy;
mod sync;

pub use sync::sync_tree;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a directory entry is taken to cost beside its contents when space is checked.
const ENTRY_BYTES: u64 = 4096;

/// What a snapshot did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Regular files.
    pub files: u64,
    /// Their bytes (holes not counted).
    pub bytes: u64,
    /// Files that share their blocks with the original.
    pub cloned: u64,
    /// Sockets, pipes and devices that were left out.
    pub skipped: u64,
}

/// How far a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes copied (or shared) so far.
    pub bytes: u64,
    /// Bytes in all.
    pub bytes_total: u64,
}

/// Why a snapshot was not made; what was begun is removed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file system is full, or would be.
    #[error(
        "no space left: a copy of the state needs {needed} bytes, {available} are free at {path}; free some, and the upgrade goes on by itself"
    )]
    NoSpace {
        /// Where the copy would be.
        path: PathBuf,
        /// Bytes that the copy takes.
        needed: u64,
        /// Bytes that are free.
        available: u64,
    },
    /// A step failed.
    #[error("cannot {what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// Copies the tree at `from` to `to`, which must not exist, and makes it durable. Blocks: call it on a blocking thread.
///
/// # Errors
/// [`SnapshotError::NoSpace`] before the first byte or when space runs out; then nothing is left at `to`.
pub fn snapshot(
    from: &Path,
    to: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Copied, SnapshotError> {
    let from = fs::canonicalize(from).map_err(failed("find", from))?;
    let plan = Plan::make(&from)?;
    plan.check_space(to)?;
    fs::create_dir(to).map_err(|error| full_or("make", to, error, plan.bytes))?;
    let made = copy::copy_tree(&from, to, plan.bytes, progress)
        .and_then(|copied| sync_tree(to).map(|()| copied));
    if made.is_err() {
        // What cannot be removed now is removed before the next attempt.
        let _ = fs::remove_dir_all(to);
    }
    made
}

/// Whether there is room in the folder `to` for a copy of the tree at `from`. Blocks as [`snapshot`] does.
///
/// # Errors
/// [`SnapshotError::NoSpace`] where there is none.
pub fn check_space(from: &Path, to: &Path) -> Result<(), SnapshotError> {
    let from = fs::canonicalize(from).map_err(failed("find", from))?;
    Plan::make(&from)?.check_space(&to.join("copy"))
}

impl SnapshotError {
    /// The disk is full, or would be.
    pub fn is_no_space(&self) -> bool {
        matches!(self, SnapshotError::NoSpace { .. })
    }
}

/// What a tree holds.
#[derive(Debug, Default)]
struct Plan {
    bytes: u64,
    entries: u64,
    /// A file to try a reflink with.
    sample: Option<PathBuf>,
}

impl Plan {
    fn make(from: &Path) -> Result<Self, SnapshotError> {
        let mut plan = Self::default();
        let mut seen = std::collections::BTreeSet::new();
        let mut folders = vec![from.to_owned()];
        while let Some(folder) = folders.pop() {
            let entries = fs::read_dir(&folder).map_err(failed("list", &folder))?;
            for entry in entries {
                let path = entry.map_err(failed("list", &folder))?.path();
                let metadata = fs::symlink_metadata(&path).map_err(failed("look at", &path))?;
                plan.entries += 1;
                if metadata.is_dir() {
                    folders.push(path);
                } else if metadata.is_file()
                    && (metadata.nlink() == 1 || seen.insert((metadata.dev(), metadata.ino())))
                {
                    plan.bytes += allocated(&metadata);
                    if plan.sample.is_none() && metadata.len() > 0 {
                        plan.sample = Some(path);
                    }
                }
            }
        }
        Ok(plan)
    }

    /// Refuses a copy for which there is no space. Reflinks take none worth counting.
    fn check_space(&self, to: &Path) -> Result<(), SnapshotError> {
        let parent = to.parent().unwrap_or(Path::new("."));
        if self
            .sample
            .as_ref()
            .is_some_and(|sample| copy::can_clone(sample, parent))
        {
            return Ok(());
        }
        let needed = self.bytes + self.entries * ENTRY_BYTES;
        let available = available(parent).map_err(failed("look at the file system of", parent))?;
        if needed > available {
            let path = parent.to_owned();
            return Err(SnapshotError::NoSpace {
                path,
                needed,
                available,
            });
        }
        Ok(())
    }
}

/// Bytes that are free for the ordinary user on the file system of this path.
pub(crate) fn available(path: &Path) -> io::Result<u64> {
    let figures = rustix::fs::statvfs(path)?;
    Ok(figures.f_bavail.saturating_mul(figures.f_frsize))
}

/// The bytes on disk, which holes do not take (never more than the length, which the last block exceeds).
fn allocated(metadata: &fs::Metadata) -> u64 {
    metadata.len().min(metadata.blocks().saturating_mul(512))
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SnapshotError {
    let path = path.to_owned();
    move |source| SnapshotError::Io { what, path, source }
}

/// The error as a full disk where it is one.
fn full_or(what: &'static str, path: &Path, error: io::Error, needed: u64) -> SnapshotError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => SnapshotError::NoSpace {
            path: path.parent().unwrap_or(path).to_owned(),
            needed,
            available: available(path.parent().unwrap_or(path)).unwrap_or(0),
        },
        _ => failed(what, path)(error),
    }
}

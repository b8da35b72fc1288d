//! Copying a state tree: by reflink where the file system can, else in full.
//!
//! The copy has the same names, contents, modes, owners, times, symbolic links, hard links, pipes, holes and extended attributes.
//! Sockets are left out: they are made by running programs. Hard links would be no snapshot: software
//! that appends in place would change both.
//!
//! The state belongs to the software's user, who may change it while a privileged agent copies: nothing is found by a path
//! ([`crate::tree`]). What gives a program another user's rights is carried over only where that is declared, and what would be no copy
//! (a link that leads out, another file system, a device) is refused. Only this user enters a copy before it is whole.

mod attributes;
mod copy;
mod declared;
mod plan;
mod room;
mod sync;

pub use declared::DeclaredState;
pub(crate) use room::FreeRoom;
pub use sync::sync_tree;

use crate::tree::{self, OpenFolder};
use plan::TreePlan;
use room::full_or;
use rustix::fs::Stat;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What a snapshot did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Regular files.
    pub files: u64,
    /// Their bytes (holes not counted).
    pub bytes: u64,
    /// Files that share their blocks with the original.
    pub cloned: u64,
    /// Sockets that were left out.
    pub skipped: u64,
}

/// How far a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotProgress {
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
    /// The file system can have no more files (inodes), or could not.
    #[error(
        "no space left: a copy of the state needs {needed} files (inodes), {available} are free at {path}; remove some, and the upgrade goes on by itself"
    )]
    NoFiles {
        /// Where the copy would be.
        path: PathBuf,
        /// Files and folders that the copy takes.
        needed: u64,
        /// How many more there can be.
        available: u64,
    },
    /// What no copy can have as it is.
    #[error("the state cannot be copied: {path} {problem}")]
    Unfit {
        /// What.
        path: PathBuf,
        /// Why not, and what to do.
        problem: String,
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

/// What fails where the whole state is missing.
const FIND: &str = "find the state";

/// Copies the tree at `from` to `to`, which must not exist, and makes it durable. Blocks: call it on a blocking thread.
///
/// # Errors
/// [`SnapshotError::NoSpace`] before the first byte or when space runs out, [`SnapshotError::Unfit`] where no copy can have what
/// is there; then nothing is left at `to`.
pub fn snapshot(
    from: &Path,
    to: &Path,
    declared: &DeclaredState,
    progress: &mut dyn FnMut(SnapshotProgress),
) -> Result<Copied, SnapshotError> {
    let from = fs::canonicalize(from).map_err(failed(FIND, from))?;
    let state = OpenFolder::open(&from).map_err(failed("open", &from))?;
    let room = to.parent().unwrap_or(Path::new("."));
    let plan = TreePlan::make(&from, &state, declared)?;
    plan.check_space(room)?;
    let folder = make(to, room).map_err(|error| full_or("make", to, room, error, plan.bytes))?;
    let trees = copy::Trees {
        root: &from,
        room,
        from: &state,
        to: &folder,
        declared,
        bytes_total: plan.bytes,
    };
    let made = copy::copy_tree(&trees, progress).and_then(|copied| sync_tree(to).map(|()| copied));
    if made.is_err() {
        // What cannot be removed now is removed before the next attempt.
        let _ = tree::remove(to);
    }
    made
}

fn make(to: &Path, parent: &Path) -> io::Result<OpenFolder> {
    let name = to.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    OpenFolder::open(parent)?.make_folder(name)
}

/// Whether there is room in the folder `to` for a copy of the tree at `from`, and whether a copy can have what is there. Blocks as
/// [`snapshot`] does.
///
/// # Errors
/// [`SnapshotError::NoSpace`] or [`SnapshotError::Unfit`] where it is not so.
pub fn check(from: &Path, to: &Path, declared: &DeclaredState) -> Result<(), SnapshotError> {
    look(from, declared)?.check_space(to)
}

/// Whether the tree at `from` is whole: nothing in it leads out of it that is not declared. Blocks as [`snapshot`] does.
///
/// # Errors
/// [`SnapshotError::Unfit`] where it is not so.
pub fn check_whole(from: &Path, declared: &DeclaredState) -> Result<(), SnapshotError> {
    look(from, declared).map(|_| ())
}

fn look(from: &Path, declared: &DeclaredState) -> Result<TreePlan, SnapshotError> {
    let from = fs::canonicalize(from).map_err(failed(FIND, from))?;
    let state = OpenFolder::open(&from).map_err(failed("open", &from))?;
    TreePlan::make(&from, &state, declared)
}

impl SnapshotError {
    /// The disk is full, or would be.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::NoSpace { .. } | Self::NoFiles { .. })
    }

    /// The software has removed something while it was looked for.
    pub fn is_passing(&self) -> bool {
        let vanished = |source: &io::Error| source.kind() == io::ErrorKind::NotFound;
        matches!(self, Self::Io { what, source, .. } if *what != FIND && vanished(source))
    }
}

/// The bytes on disk, which holes do not take (never more than the length, which the last block exceeds).
fn allocated(stat: &Stat) -> u64 {
    let blocks = stat.st_blocks.cast_unsigned();
    stat.st_size.cast_unsigned().min(blocks.saturating_mul(512))
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SnapshotError {
    let path = path.to_owned();
    move |source| SnapshotError::Io { what, path, source }
}

//! What a file system still has room for: bytes, and files.

use super::{SnapshotError, failed};
use std::io;
use std::path::Path;

/// What is free for the ordinary user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FreeRoom {
    /// Bytes.
    pub(crate) bytes: u64,
    /// Files (inodes), where the file system counts them beforehand.
    pub(crate) files: Option<u64>,
}

impl FreeRoom {
    /// What is free on the file system of this path.
    ///
    /// # Errors
    /// There is no such path, or it cannot be looked at.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        let figures = rustix::fs::statvfs(path)?;
        Ok(Self {
            bytes: figures.f_bavail.saturating_mul(figures.f_frsize),
            // Btrfs makes them as they are needed, and says zero.
            files: (figures.f_files > 0).then_some(figures.f_favail),
        })
    }
}

/// Refuses a copy of so many bytes and entries where the folder `parent` has no room for it. Blocks that are shared take none worth
/// counting, files do.
pub(super) fn check(parent: &Path, bytes: Option<u64>, entries: u64) -> Result<(), SnapshotError> {
    let free = FreeRoom::at(parent).map_err(failed("look at the file system of", parent))?;
    if let Some(available) = free.files.filter(|available| *available < entries) {
        return Err(SnapshotError::NoFiles {
            path: parent.to_owned(),
            needed: entries,
            available,
        });
    }
    match bytes {
        Some(needed) if needed > free.bytes => Err(SnapshotError::NoSpace {
            path: parent.to_owned(),
            needed,
            available: free.bytes,
        }),
        _ => Ok(()),
    }
}

/// The error as a full disk where it is one: in the folder `room`, where `needed` bytes were to be.
pub(super) fn full_or(
    what: &'static str,
    path: &Path,
    room: &Path,
    error: io::Error,
    needed: u64,
) -> SnapshotError {
    let free = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FreeRoom::at(room).ok(),
        _ => return failed(what, path)(error),
    };
    let path = room.to_owned();
    match free {
        Some(FreeRoom {
            files: Some(available @ 0),
            ..
        }) => SnapshotError::NoFiles {
            path,
            needed: 1,
            available,
        },
        free => SnapshotError::NoSpace {
            path,
            needed,
            available: free.map_or(0, |free| free.bytes),
        },
    }
}

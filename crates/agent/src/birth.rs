//! Which file or folder something is, by what no copy of it has: its inode and its time of birth.

use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// What `statfs` says of FUSE (linux/magic.h), whose inode numbers need not last.
const FUSE: i64 = 0x6573_5546;

/// A file that is no copy of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Birth {
    pub(crate) inode: u64,
    /// Nanoseconds since the epoch, where the file system keeps it.
    pub(crate) born_ns: Option<u64>,
}

impl Birth {
    /// That of an open file; none where the file system knows no lasting identity.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub(crate) fn of(file: &File) -> io::Result<Option<Self>> {
        if rustix::fs::fstatfs(file)?.f_type == FUSE {
            return Ok(None);
        }
        let about = file.metadata()?;
        let born = about.created().ok();
        let born = born.and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        Ok(Some(Self {
            inode: about.ino(),
            born_ns: born.and_then(|born| u64::try_from(born.as_nanos()).ok()),
        }))
    }

    /// That of whatever is at a path; none where it cannot be told.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        Self::of(&File::open(path).ok()?).ok()?
    }
}

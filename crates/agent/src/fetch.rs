//! Fetching what an upgrade consists of: files by digest into `<data>/artifacts`, and from there a version's folders.

mod assemble;
mod chunked;
mod download;
mod forms;
mod part;
mod partial;
mod sources;
mod unpack;
mod whole;

pub use assemble::assemble;

use crate::snapshot::FreeRoom;
pub use download::{Fetcher, WantedFile};
pub use forms::{HeldForms, is_gzip};
pub(crate) use part::SUFFIX as CHUNKS_SUFFIX;
pub use sources::FetchedBundle;
pub use unpack::{inspect, unpack};
pub use whole::{LookedAt, damaged, digest_of, mend, mend_unpacked};

use client::ClientError;
use model::manifest::Digest;
use std::io;
use std::path::{Path, PathBuf};

/// Why something is not there.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The server has not given it, however often it was asked.
    #[error("cannot fetch {digest}")]
    Server {
        /// What.
        digest: Digest,
        /// Why.
        #[source]
        source: Box<ClientError>,
    },
    /// What came is something else.
    #[error("something else came than {digest}")]
    Altered {
        /// What was asked for.
        digest: Digest,
    },
    /// The disk is full, or would be.
    #[error("no space left for {path}: {missing}; free some, and fetching goes on by itself")]
    NoSpace {
        /// What was to be written.
        path: PathBuf,
        /// How much is missing, for people.
        missing: String,
    },
    /// The disk did not do what was asked.
    #[error("cannot {what} {path}")]
    Disk {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// An archive that is not unpacked.
    #[error("archive {path}: {problem}")]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

impl FetchError {
    /// The disk is full: not the upgrade's fault.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::NoSpace { .. })
    }
}

/// Wraps what the system said; a full disk apart.
pub(crate) fn disk(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FetchError {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FetchError::NoSpace {
            missing: match FreeRoom::at(path.parent().unwrap_or(&path)) {
                Ok(FreeRoom { files: Some(0), .. }) => {
                    "there can be no more files (inodes)".to_owned()
                }
                _ => source.to_string(),
            },
            path,
        },
        _ => FetchError::Disk { what, path, source },
    }
}

/// Makes a new folder beside `target` with `fill`, makes it durable, and renames it there: `target` is there whole or
/// not at all. Nothing is done if it is there already.
fn place_whole(
    target: &Path,
    fill: impl FnOnce(&Path) -> Result<(), FetchError>,
) -> Result<(), FetchError> {
    if target.exists() {
        return Ok(());
    }
    let parent = target.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(disk("make", parent))?;
    let new = with_suffix(target, ".new");
    crate::tree::remove(&new).map_err(disk("remove", &new))?;
    std::fs::create_dir(&new).map_err(disk("make", &new))?;
    let filled = open_to_all(&new, 0o755)
        .and_then(|()| fill(&new))
        .and_then(|()| sync_tree(&new));
    if filled.is_err() {
        // What cannot be removed now is removed before the next try. The software needs the room.
        let _ = crate::tree::remove(&new);
    }
    filled?;
    std::fs::rename(&new, target).map_err(disk("rename", &new))?;
    sync(parent)
}

/// The software's user reads what the agent's user has written, whatever the agent's umask.
fn open_to_all(path: &Path, bits: u32) -> Result<(), FetchError> {
    use std::os::unix::fs::PermissionsExt;
    let permissions = std::fs::Permissions::from_mode(bits);
    std::fs::set_permissions(path, permissions).map_err(disk("set the mode of", path))
}

/// Makes a tree durable: what its files hold, and that they are there. Links are part of their folder.
fn sync_tree(folder: &Path) -> Result<(), FetchError> {
    for entry in std::fs::read_dir(folder).map_err(disk("read", folder))? {
        let entry = entry.map_err(disk("read", folder))?;
        let kind = entry.file_type().map_err(disk("read", folder))?;
        if kind.is_dir() {
            sync_tree(&entry.path())?;
        } else if kind.is_file() {
            sync(&entry.path())?;
        }
    }
    sync(folder)
}

fn sync(path: &Path) -> Result<(), FetchError> {
    let file = std::fs::File::open(path).map_err(disk("open", path))?;
    file.sync_all().map_err(disk("sync", path))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

//! The journal's files on the disk: made, read, locked and replaced whole.

use super::JournalFileError;
use super::error::{disk, format_error};
use super::witness::{self, Witness};
use model::journal::{self, HEADER};
use model::machine::Record;
use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::Errno;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// How much is preallocated at a time: some hundred upgrades.
pub(super) const CHUNK_BYTES: u64 = 256 * 1024;

/// How files of the journal are opened: no link is followed, and no pipe waited for.
pub(super) fn unlinked() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    options
}

/// Refuses what is no regular file.
pub(super) fn regular(file: File, path: &Path) -> Result<File, JournalFileError> {
    if file.metadata().map_err(disk("look at", path))?.is_file() {
        Ok(file)
    } else {
        Err(disk("read", path)(io::Error::other(
            "it is no regular file",
        )))
    }
}

/// The journal's file and what is in it; none where there is certainly none.
pub(super) fn read(path: &Path) -> Result<Option<(File, Vec<u8>)>, JournalFileError> {
    let file = match unlinked().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => regular(opened.map_err(disk("open", path))?, path)?,
    };
    let mut bytes = Vec::new();
    (&file)
        .read_to_end(&mut bytes)
        .map_err(disk("read", path))?;
    Ok(Some((file, bytes)))
}

/// Makes sure that no node has been here: that no journal is seen is no proof of it.
pub(super) fn nothing_before(
    path: &Path,
    witness: Option<&Witness>,
) -> Result<(), JournalFileError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let missing = |trace: PathBuf| JournalFileError::Missing {
        path: path.to_owned(),
        trace,
    };
    if witness.is_some_and(|witness| witness.said.total > 0) {
        return Err(missing(witness::path_of(path)));
    }
    for name in ["current", "start.json"] {
        let trace = folder.join(name);
        match std::fs::symlink_metadata(&trace) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(disk("look at", &trace)(error)),
            Ok(_) => return Err(missing(trace)),
        }
    }
    let versions = folder.join("versions");
    let first = match std::fs::read_dir(&versions) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(disk("list", &versions)(error)),
        Ok(mut entries) => entries.next(),
    };
    match first {
        None => Ok(()),
        Some(entry) => Err(missing(entry.map_err(disk("list", &versions))?.path())),
    }
}

/// Writes a whole journal beside `path` and renames it there.
pub(super) fn write_new(path: &Path, records: &[Record]) -> Result<(), JournalFileError> {
    let (bytes, _) = frames(path, records)?;
    write_file(path, &bytes).map(|_| ())
}

/// A journal's bytes, and the checksums of its records.
pub(super) fn frames(
    path: &Path,
    records: &[Record],
) -> Result<(Vec<u8>, Vec<u32>), JournalFileError> {
    let (mut bytes, mut checksums) = (HEADER.to_vec(), Vec::new());
    for (sequence, record) in records.iter().enumerate() {
        let frame = journal::encode(sequence as u64, record);
        let frame = frame.map_err(|source| format_error(path, source))?;
        checksums.push(journal::checksum_of(&frame));
        bytes.extend(frame);
    }
    Ok((bytes, checksums))
}

/// Writes a journal's bytes beside `path` and renames them there; answers where the records and the file end.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(u64, u64), JournalFileError> {
    let end = bytes.len() as u64;
    let allocated = end.next_multiple_of(CHUNK_BYTES);
    let new = path.with_extension("new");
    let file = (unlinked().write(true).create(true).truncate(true))
        .mode(0o600)
        .open(&new)
        .map_err(disk("make", &new))?;
    allocate(&file, &new, 0, allocated)?;
    file.write_all_at(bytes, 0).map_err(disk("write", &new))?;
    file.sync_all().map_err(disk("sync", &new))?;
    std::fs::rename(&new, path).map_err(disk("rename", &new))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    (File::open(folder).and_then(|folder| folder.sync_all())).map_err(disk("sync", folder))?;
    Ok((end, allocated))
}

/// Reserves `from..to` of the file, as zeros.
pub(super) fn allocate(
    file: &File,
    path: &Path,
    from: u64,
    to: u64,
) -> Result<(), JournalFileError> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), from, to - from) {
        Ok(()) => file.sync_all().map_err(disk("sync", path)),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
            let zeros = vec![0; (to - from) as usize];
            let written = file.write_all_at(&zeros, from);
            written
                .and_then(|()| file.sync_all())
                .map_err(disk("write", path))
        }
        Err(error) => Err(disk("allocate", path)(error.into())),
    }
}

/// One agent per node: held until the process ends. The lock has a file of its own, since compaction replaces the journal's.
pub(super) fn lock(path: &Path) -> Result<File, JournalFileError> {
    let path = path.with_extension("lock");
    let file = (unlinked().write(true).create(true).truncate(false))
        .mode(0o600)
        .open(&path)
        .map_err(disk("open", &path))?;
    let file = regular(file, &path)?;
    // Whoever can open it can lock it; one of a former agent may be open to all.
    file.set_permissions(Permissions::from_mode(0o600))
        .map_err(disk("set the mode of", &path))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(JournalFileError::Locked { path }),
        Err(error) => Err(disk("lock", &path)(error.into())),
    }
}

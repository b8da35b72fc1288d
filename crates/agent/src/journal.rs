//! The journal's file: preallocated, append-only, durable before the action, one agent at a time.
//!
//! An error while appending is fatal for the agent: after a failed fsync nobody knows what is on the disk, so the
//! process must end and recover from what it then reads (see "fsyncgate", <https://lwn.net/Articles/752063/>).

use model::journal::{self, HEADER, JournalError as FormatError};
use model::machine::Record;
use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How much is preallocated at a time: some hundred upgrades.
const CHUNK_BYTES: u64 = 256 * 1024;

/// What one upgrade's records may take: a dozen records, of which one may hold the end of a program's output.
const RESERVE_BYTES: u64 = 128 * 1024;

/// A journal longer than this is worth compacting.
const COMPACT_ABOVE_BYTES: u64 = 128 * 1024;

/// What can go wrong with the journal's file.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another agent has the node.
    #[error("another agent runs this node: {path} is locked")]
    Locked {
        /// The lock's file.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("no space left for the journal {path}: free some, and the agent goes on by itself")]
    NoSpace {
        /// The journal.
        path: PathBuf,
    },
    /// What is in it cannot be used.
    #[error("journal {path}")]
    Format {
        /// The journal.
        path: PathBuf,
        /// What is wrong.
        source: FormatError,
    },
    /// The disk did not do what was asked.
    #[error("cannot {what} {path}")]
    Disk {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An earlier append failed: this process must not go on.
    #[error("journal {path} failed before; restart the agent")]
    Failed {
        /// The journal.
        path: PathBuf,
    },
}

/// An open journal, locked for this process.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    _lock: File,
    end: u64,
    allocated: u64,
    next_sequence: u64,
    failed: bool,
}

impl Journal {
    /// Locks, opens (or makes) the journal at `path`, drops a torn last record, and reads the rest.
    ///
    /// # Errors
    /// It is locked, corrupt, from a newer program, or the disk fails.
    pub fn open(path: &Path) -> Result<(Journal, Vec<Record>), JournalError> {
        let lock = lock(path)?;
        if !path.exists() {
            write_new(path, &[])?;
        }
        let file = (OpenOptions::new().read(true).write(true))
            .open(path)
            .map_err(disk("open", path))?;
        let bytes = std::fs::read(path).map_err(disk("read", path))?;
        let decoded =
            journal::decode::<Record>(&bytes).map_err(|source| format_error(path, source))?;
        let opened = Journal {
            path: path.to_owned(),
            file,
            _lock: lock,
            end: decoded.end as u64,
            allocated: bytes.len() as u64,
            next_sequence: decoded.records.len() as u64,
            failed: false,
        };
        if decoded.torn {
            opened.clear_tail()?;
        }
        Ok((opened, decoded.records))
    }

    /// Sees to it that an upgrade's records fit without more of the disk.
    ///
    /// # Errors
    /// The disk is full ([`JournalError::NoSpace`]: nothing has changed, the journal goes on) or fails.
    pub fn reserve(&mut self) -> Result<(), JournalError> {
        self.grow_to(self.end + RESERVE_BYTES)
    }

    /// Appends a record and makes it durable. After an error other than [`JournalError::NoSpace`] the journal refuses
    /// everything: end the process.
    ///
    /// # Errors
    /// The disk is full (nothing was written) or fails.
    pub fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        if self.failed {
            let path = self.path.clone();
            return Err(JournalError::Failed { path });
        }
        let frame = journal::encode(self.next_sequence, record)
            .map_err(|source| format_error(&self.path, source))?;
        let grown = self.grow_to(self.end + frame.len() as u64);
        let appended = match grown {
            // Nothing has been written: the journal is what it was.
            Err(error @ JournalError::NoSpace { .. }) => return Err(error),
            Err(error) => Err(error),
            Ok(()) => self.write(&frame),
        };
        self.failed = appended.is_err();
        // A disk that fills up behind this cannot stop what has begun.
        if appended.is_ok() && self.reserve().is_err() {
            tracing::warn!(path = %self.path.display(), "no room for a longer journal");
        }
        appended
    }

    /// The journal has grown enough for [`Journal::compact`].
    pub fn wants_compaction(&self) -> bool {
        self.end > COMPACT_ABOVE_BYTES
    }

    /// Replaces everything by these records, by one rename.
    ///
    /// # Errors
    /// The disk is full or fails; the old journal is still there and in use.
    pub fn compact(&mut self, records: &[Record]) -> Result<(), JournalError> {
        if self.failed {
            let path = self.path.clone();
            return Err(JournalError::Failed { path });
        }
        let (end, allocated) = match write_new(&self.path, records) {
            Ok(lengths) => lengths,
            Err(error) => {
                // Half a new journal is worth nothing, and its room is needed.
                let _ = std::fs::remove_file(self.path.with_extension("new"));
                // The rename may have happened: appending to the old file could be appending to nothing.
                self.failed = !matches!(error, JournalError::NoSpace { .. });
                return Err(error);
            }
        };
        let reopened = OpenOptions::new().read(true).write(true).open(&self.path);
        self.failed = reopened.is_err();
        self.file = reopened.map_err(disk("open", &self.path))?;
        self.end = end;
        self.allocated = allocated;
        self.next_sequence = records.len() as u64;
        Ok(())
    }

    fn grow_to(&mut self, end: u64) -> Result<(), JournalError> {
        if end > self.allocated {
            let wanted = end.next_multiple_of(CHUNK_BYTES);
            allocate(&self.file, &self.path, self.allocated, wanted)?;
            self.allocated = wanted;
        }
        Ok(())
    }

    fn write(&mut self, frame: &[u8]) -> Result<(), JournalError> {
        // Within what is allocated: a disk that is full now says so all the same on some file systems, and then nobody
        // knows what is in the file.
        self.file
            .write_all_at(frame, self.end)
            .map_err(broken("write", &self.path))?;
        self.file.sync_data().map_err(broken("sync", &self.path))?;
        self.end += frame.len() as u64;
        self.next_sequence += 1;
        Ok(())
    }

    /// Zeros after the last record, so that a shorter frame written there is not followed by a torn one's bytes.
    fn clear_tail(&self) -> Result<(), JournalError> {
        let zeros = vec![0; (self.allocated - self.end) as usize];
        self.file
            .write_all_at(&zeros, self.end)
            .map_err(disk("write", &self.path))?;
        self.file.sync_data().map_err(disk("sync", &self.path))
    }
}

/// Writes a whole journal beside `path` and renames it there; answers where the records and the file end.
fn write_new(path: &Path, records: &[Record]) -> Result<(u64, u64), JournalError> {
    let mut bytes = HEADER.to_vec();
    for (sequence, record) in records.iter().enumerate() {
        let frame = journal::encode(sequence as u64, record);
        bytes.extend(frame.map_err(|source| format_error(path, source))?);
    }
    let end = bytes.len() as u64;
    let allocated = end.next_multiple_of(CHUNK_BYTES);
    let new = path.with_extension("new");
    let file = (OpenOptions::new().write(true).create(true).truncate(true))
        .mode(0o600)
        .open(&new)
        .map_err(disk("make", &new))?;
    allocate(&file, &new, 0, allocated)?;
    file.write_all_at(&bytes, 0).map_err(disk("write", &new))?;
    file.sync_all().map_err(disk("sync", &new))?;
    std::fs::rename(&new, path).map_err(disk("rename", &new))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    (File::open(folder).and_then(|folder| folder.sync_all())).map_err(disk("sync", folder))?;
    Ok((end, allocated))
}

/// Reserves `from..to` of the file, as zeros.
fn allocate(file: &File, path: &Path, from: u64, to: u64) -> Result<(), JournalError> {
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
fn lock(path: &Path) -> Result<File, JournalError> {
    let path = path.with_extension("lock");
    let file = (OpenOptions::new().write(true).create(true).truncate(false))
        .mode(0o600)
        .open(&path)
        .map_err(disk("open", &path))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(JournalError::Locked { path }),
        Err(error) => Err(disk("lock", &path)(error.into())),
    }
}

fn format_error(path: &Path, source: FormatError) -> JournalError {
    let path = path.to_owned();
    JournalError::Format { path, source }
}

/// Wraps what the system said.
fn broken(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Disk { what, path, source }
}

/// Wraps what the system said; a full disk apart.
fn disk(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => JournalError::NoSpace { path },
        _ => JournalError::Disk { what, path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        (folder, path)
    }

    fn blocked(reason: &str) -> Record {
        Record::FlippingBack {
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn what_is_appended_is_read_after_a_restart() {
        let (_folder, path) = fresh();
        let (mut journal, records) = Journal::open(&path).expect("opens");
        assert!(records.is_empty());
        for record in [Record::Committed, blocked("x")] {
            journal.append(&record).expect("appends");
        }
        drop(journal);
        let (mut journal, records) = Journal::open(&path).expect("opens");
        assert_eq!(records, [Record::Committed, blocked("x")]);
        journal.append(&Record::Probing).expect("appends");
        drop(journal);
        assert_eq!(Journal::open(&path).expect("opens").1.len(), 3);
    }

    #[test]
    fn only_one_agent_has_it() {
        let (_folder, path) = fresh();
        let first = Journal::open(&path).expect("opens");
        assert!(matches!(
            Journal::open(&path),
            Err(JournalError::Locked { .. })
        ));
        drop(first);
        Journal::open(&path).expect("opens");
    }

    #[test]
    fn a_torn_record_is_dropped_and_overwritten() {
        let (_folder, path) = fresh();
        let (mut journal, _) = Journal::open(&path).expect("opens");
        journal.append(&Record::Committed).expect("appends");
        journal
            .append(&blocked("a long reason that is torn"))
            .expect("appends");
        let tail = journal.end - 5;
        drop(journal);
        let file = OpenOptions::new().write(true).open(&path).expect("opens");
        file.write_all_at(&[0; 5], tail).expect("writes");
        let (mut journal, records) = Journal::open(&path).expect("opens");
        assert_eq!(records, [Record::Committed]);
        journal.append(&Record::Probing).expect("appends");
        drop(journal);
        assert_eq!(
            Journal::open(&path).expect("opens").1,
            [Record::Committed, Record::Probing]
        );
    }

    #[test]
    fn corruption_in_the_middle_is_an_error_with_its_place() {
        let (_folder, path) = fresh();
        let (mut journal, _) = Journal::open(&path).expect("opens");
        for _ in 0..3 {
            journal.append(&Record::Committed).expect("appends");
        }
        drop(journal);
        let file = OpenOptions::new().write(true).open(&path).expect("opens");
        file.write_all_at(b"X", HEADER.len() as u64 + 20)
            .expect("writes");
        let error = Journal::open(&path).expect_err("corrupt");
        let source = std::error::Error::source(&error)
            .expect("a source")
            .to_string();
        assert!(source.contains("at byte 16"), "{source}");
    }

    #[test]
    fn compaction_replaces_the_file_and_goes_on() {
        let (_folder, path) = fresh();
        let (mut journal, _) = Journal::open(&path).expect("opens");
        while !journal.wants_compaction() {
            journal
                .append(&blocked(&"x".repeat(20_000)))
                .expect("appends");
        }
        journal.compact(&[Record::Committed]).expect("compacts");
        assert!(!journal.wants_compaction());
        journal.append(&Record::Probing).expect("appends");
        drop(journal);
        let (_, records) = Journal::open(&path).expect("opens");
        assert_eq!(records, [Record::Committed, Record::Probing]);
    }

    #[test]
    fn it_grows_beyond_what_was_preallocated() {
        let (_folder, path) = fresh();
        let (mut journal, _) = Journal::open(&path).expect("opens");
        let long = blocked(&"x".repeat(50_000));
        for _ in 0..8 {
            journal.append(&long).expect("appends");
        }
        drop(journal);
        assert_eq!(Journal::open(&path).expect("opens").1.len(), 8);
    }
}

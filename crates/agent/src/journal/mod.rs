//! The journal's file: preallocated, append-only, durable before the action, one agent at a time.
//!
//! An error while appending is fatal for the agent: after a failed fsync nobody knows what is on the disk, so the
//! process must end and recover from what it then reads (see "fsyncgate", <https://lwn.net/Articles/752063/>).

mod error;
mod files;
mod witness;

pub use error::JournalFileError;

use error::{broken, disk, format_error};
use files::{CHUNK_BYTES, allocate, frames, lock, nothing_before, read, write_file, write_new};
use model::journal;
use model::machine::Record;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use witness::{Mark, Witness, Witnessed};

/// What one upgrade's records may take: a dozen records, of which one may hold the end of a program's output.
const RESERVE_BYTES: u64 = 128 * 1024;

/// A journal longer than this is worth compacting.
const COMPACT_ABOVE_BYTES: u64 = 128 * 1024;

/// An open journal, locked for this process.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    witness: Witness,
    _lock: File,
    end: u64,
    allocated: u64,
    next_sequence: u64,
    failed: bool,
}

/// No agent runs the node as long as this lives.
#[derive(Debug)]
pub struct JournalLock {
    _file: File,
}

impl Journal {
    /// Locks, opens (or makes) the journal at `path`, drops a torn last record, and reads the rest. One is made only where nothing
    /// shows that there has been one.
    ///
    /// # Errors
    /// It is locked, missing, cut, corrupt, from a newer program, in a copied directory, or the disk fails.
    pub fn open(path: &Path) -> Result<(Self, Vec<Record>), JournalFileError> {
        let lock = lock(path)?;
        let witness = Witness::open(path)?;
        let (file, bytes) = match read(path)? {
            Some(found) => found,
            None => {
                nothing_before(path, witness.as_ref())?;
                Witness::make(path)?;
                write_new(path, &[])?;
                drop(lock);
                return Self::open(path);
            }
        };
        let witness_path = witness::path_of(path);
        let witness = witness.ok_or(JournalFileError::NoWitness { path: witness_path })?;
        if witness.is_copy()? {
            let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
            return Err(JournalFileError::Copy { folder });
        }
        Self::of(path, (file, bytes), witness, lock)
    }

    fn of(
        path: &Path,
        (file, bytes): (File, Vec<u8>),
        witness: Witness,
        lock: File,
    ) -> Result<(Self, Vec<Record>), JournalFileError> {
        if (bytes.len() as u64) < CHUNK_BYTES {
            return Err(JournalFileError::Short {
                path: path.to_owned(),
                bytes: bytes.len() as u64,
            });
        }
        let decoded =
            journal::decode::<Record>(&bytes).map_err(|source| format_error(path, source))?;
        if !witness.said.is_kept_by(&decoded.checksums) {
            return Err(JournalFileError::Cut {
                path: path.to_owned(),
                there: decoded.records.len() as u64,
                written: witness.said.mark.records,
                witness: witness::path_of(path),
            });
        }
        let mut opened = Self {
            path: path.to_owned(),
            file,
            witness,
            _lock: lock,
            end: decoded.end as u64,
            allocated: bytes.len() as u64,
            next_sequence: decoded.records.len() as u64,
            failed: false,
        };
        if decoded.torn {
            opened.clear_tail()?;
        }
        opened.witness.settle()?;
        opened.bear_witness(Mark::of(&decoded.checksums))?;
        Ok((opened, decoded.records))
    }

    /// How many records have ever been written here.
    pub fn total(&self) -> u64 {
        self.witness.said.total
    }

    /// Whether its witness says that this directory is a copy of another, or nothing at all.
    ///
    /// # Errors
    /// The disk fails.
    pub fn is_copied(path: &Path) -> Result<bool, JournalFileError> {
        Witness::open(path)?.map_or(Ok(true), |witness| witness.is_copy())
    }

    /// Keeps agents away for whoever ends what runs here, whatever has become of the journal's records.
    ///
    /// # Errors
    /// An agent runs there, it is in a copied directory, or the disk fails.
    pub fn lock_only(path: &Path) -> Result<JournalLock, JournalFileError> {
        let lock = lock(path)?;
        match Witness::open(path)? {
            Some(witness) if witness.is_copy()? => {
                let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
                Err(JournalFileError::Copy { folder })
            }
            _ => Ok(JournalLock { _file: lock }),
        }
    }

    /// Compares with what the server has heard of this node: whoever has written fewer records than that has been set back. One that was
    /// claimed counts on from there; how many records it lacks is said, once.
    ///
    /// # Errors
    /// It has been set back ([`JournalFileError::SetBack`]), or the disk fails.
    pub fn compare(&mut self, heard: u64) -> Result<Option<u64>, JournalFileError> {
        let said = self.witness.said;
        if heard > said.total && !said.claimed {
            return Err(JournalFileError::SetBack {
                path: self.path.clone(),
                there: said.total,
                heard,
            });
        }
        if said.claimed {
            let total = said.total.max(heard + 1);
            let claimed = false;
            self.witness.say(Witnessed {
                total,
                claimed,
                ..said
            })?;
        }
        Ok(heard.checked_sub(said.total).filter(|behind| *behind > 0))
    }

    /// Somebody has said that this directory is the node's, and no server has heard of it yet.
    pub fn is_claimed(&self) -> bool {
        self.witness.said.claimed
    }

    /// Makes a copied, moved or restored data directory the node's own; `forget` removes what is the original's alone. Says how many
    /// records have been written here.
    ///
    /// # Errors
    /// An agent runs there, it is no node's directory, what is in it is damaged, or the disk fails.
    pub fn claim(
        path: &Path,
        forget: impl FnOnce() -> Result<(), (PathBuf, io::Error)>,
    ) -> Result<u64, JournalFileError> {
        let lock = lock(path)?;
        let witness = Witness::open(path)?;
        let witness_path = witness::path_of(path);
        let mut witness = witness.ok_or(JournalFileError::NoWitness { path: witness_path })?;
        forget().map_err(|(path, error)| disk("remove", &path)(error))?;
        witness.claim()?;
        drop(lock);
        Self::open(path).map(|(journal, _)| journal.total())
    }

    fn bear_witness(&mut self, mark: Mark) -> Result<(), JournalFileError> {
        let said = self.witness.said;
        if said.mark == mark && said.next.is_none() {
            return Ok(());
        }
        let more = mark.records.saturating_sub(said.mark.records).max(1);
        self.witness.say(Witnessed {
            mark,
            next: None,
            total: said.total + more,
            ..said
        })
    }

    /// Sees to it that an upgrade's records fit without more of the disk.
    ///
    /// # Errors
    /// The disk is full ([`JournalFileError::NoSpace`]: nothing has changed, the journal goes on) or fails.
    pub fn reserve(&mut self) -> Result<(), JournalFileError> {
        self.grow_to(self.end + RESERVE_BYTES)
    }

    /// Appends a record and makes it durable. After an error other than [`JournalFileError::NoSpace`] the journal refuses
    /// everything: end the process.
    ///
    /// # Errors
    /// The disk is full (nothing was written) or fails.
    pub fn append(&mut self, record: &Record) -> Result<(), JournalFileError> {
        if self.failed {
            let path = self.path.clone();
            return Err(JournalFileError::Failed { path });
        }
        let frame = journal::encode(self.next_sequence, record)
            .map_err(|source| format_error(&self.path, source))?;
        let grown = self.grow_to(self.end + frame.len() as u64);
        let appended = match grown {
            // Nothing has been written: the journal is what it was.
            Err(error @ JournalFileError::NoSpace { .. }) => return Err(error),
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
    pub fn compact(&mut self, records: &[Record]) -> Result<(), JournalFileError> {
        if self.failed {
            let path = self.path.clone();
            return Err(JournalFileError::Failed { path });
        }
        let written = self.replace(records);
        let (end, allocated, mark) = match written {
            Ok(written) => written,
            Err(error) => {
                // Half a new journal is worth nothing, and its room is needed.
                let _ = std::fs::remove_file(self.path.with_extension("new"));
                // The rename may have happened: appending to the old file could be appending to nothing.
                self.failed = !matches!(error, JournalFileError::NoSpace { .. });
                return Err(error);
            }
        };
        let reopened = OpenOptions::new().read(true).write(true).open(&self.path);
        self.failed = reopened.is_err();
        self.file = reopened.map_err(disk("open", &self.path))?;
        self.end = end;
        self.allocated = allocated;
        self.next_sequence = records.len() as u64;
        let witnessed = self.bear_witness(mark);
        self.failed = witnessed.is_err();
        witnessed
    }

    /// Puts a file with these records in the place of the journal's. Whichever of the two is found later is the one.
    fn replace(&mut self, records: &[Record]) -> Result<(u64, u64, Mark), JournalFileError> {
        let (bytes, checksums) = frames(&self.path, records)?;
        let mark = Mark::of(&checksums);
        let said = self.witness.said;
        self.witness.say(Witnessed {
            next: Some(mark),
            ..said
        })?;
        let (end, allocated) = write_file(&self.path, &bytes)?;
        Ok((end, allocated, mark))
    }

    fn grow_to(&mut self, end: u64) -> Result<(), JournalFileError> {
        if end > self.allocated {
            let wanted = end.next_multiple_of(CHUNK_BYTES);
            allocate(&self.file, &self.path, self.allocated, wanted)?;
            self.allocated = wanted;
        }
        Ok(())
    }

    fn write(&mut self, frame: &[u8]) -> Result<(), JournalFileError> {
        // Within what is allocated: a disk that is full now says so all the same on some file systems, and then nobody
        // knows what is in the file.
        self.file
            .write_all_at(frame, self.end)
            .map_err(broken("write", &self.path))?;
        self.file.sync_data().map_err(broken("sync", &self.path))?;
        self.end += frame.len() as u64;
        self.next_sequence += 1;
        self.bear_witness(Mark {
            records: self.next_sequence,
            checksum: journal::checksum_of(frame),
        })
    }

    /// Zeros after the last record, so that a shorter frame written there is not followed by a torn one's bytes.
    fn clear_tail(&self) -> Result<(), JournalFileError> {
        let zeros = vec![0; (self.allocated - self.end) as usize];
        self.file
            .write_all_at(&zeros, self.end)
            .map_err(disk("write", &self.path))?;
        self.file.sync_data().map_err(disk("sync", &self.path))
    }
}

#[cfg(test)]
mod tests;

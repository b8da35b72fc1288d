//! The journal's file: preallocated, append-only, durable before the action, one agent at a time.
//!
//! An error while appending is fatal for the agent: after a failed fsync nobody knows what is on the disk, so the
//! process must end and recover from what it then reads (see "fsyncgate", <https://lwn.net/Articles/752063/>).

mod witness;

use model::journal::{self, HEADER, JournalError as FormatError};
use model::machine::Record;
use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::Errno;
use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use witness::{Mark, Said, Witness};

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
    /// There is none where a node has been.
    #[error(
        "the node's journal {path} is missing, and {trace} shows that there was one: nothing is begun over what is there"
    )]
    Missing {
        /// The journal.
        path: PathBuf,
        /// What shows it.
        trace: PathBuf,
    },
    /// It is not what was written.
    #[error(
        "the node's journal {path} has lost records: {there} are there, {written} were written, as {witness} says"
    )]
    Cut {
        /// The journal.
        path: PathBuf,
        /// Records that are there.
        there: u64,
        /// Records that were there.
        written: u64,
        /// Who says so.
        witness: PathBuf,
    },
    /// Its file is not as long as any was made.
    #[error(
        "the node's journal {path} was cut: it has {bytes} bytes, and was made with {CHUNK_BYTES}"
    )]
    Short {
        /// The journal.
        path: PathBuf,
        /// How long it is.
        bytes: u64,
    },
    /// Nobody says whether it is whole.
    #[error("{path} is missing or damaged: without it nobody knows whether the journal is whole")]
    NoWitness {
        /// The witness.
        path: PathBuf,
    },
    /// The directory is not the one that a node has been in.
    #[error("{folder} is a copy of a node's data directory, not the directory itself")]
    Copy {
        /// The directory.
        folder: PathBuf,
    },
    /// The server has heard more of the node than this directory knows.
    #[error(
        "the journal {path} is older than the node: {there} records have been written here, and the server has heard of {heard}"
    )]
    SetBack {
        /// The journal.
        path: PathBuf,
        /// Records that were written here.
        there: u64,
        /// Records that the server has heard of.
        heard: u64,
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
    witness: Witness,
    _lock: File,
    end: u64,
    allocated: u64,
    next_sequence: u64,
    failed: bool,
}

impl Journal {
    /// Locks, opens (or makes) the journal at `path`, drops a torn last record, and reads the rest. One is made only where nothing
    /// shows that there has been one.
    ///
    /// # Errors
    /// It is locked, missing, cut, corrupt, from a newer program, in a copied directory, or the disk fails.
    pub fn open(path: &Path) -> Result<(Journal, Vec<Record>), JournalError> {
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
        let witness = witness.ok_or(JournalError::NoWitness { path: witness_path })?;
        if witness.is_copy()? {
            let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
            return Err(JournalError::Copy { folder });
        }
        Self::of(path, (file, bytes), witness, lock)
    }

    fn of(
        path: &Path,
        (file, bytes): (File, Vec<u8>),
        witness: Witness,
        lock: File,
    ) -> Result<(Journal, Vec<Record>), JournalError> {
        if (bytes.len() as u64) < CHUNK_BYTES {
            return Err(JournalError::Short {
                path: path.to_owned(),
                bytes: bytes.len() as u64,
            });
        }
        let decoded =
            journal::decode::<Record>(&bytes).map_err(|source| format_error(path, source))?;
        if !witness.said.is_kept_by(&decoded.checksums) {
            return Err(JournalError::Cut {
                path: path.to_owned(),
                there: decoded.records.len() as u64,
                written: witness.said.mark.records,
                witness: witness::path_of(path),
            });
        }
        let mut opened = Journal {
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
        opened.bear_witness(Mark::of(&decoded.checksums))?;
        Ok((opened, decoded.records))
    }

    /// How many records have ever been written here.
    pub fn total(&self) -> u64 {
        self.witness.said.total
    }

    /// Compares with what the server has heard of this node: whoever has written fewer records than that has been set back. One that was
    /// claimed counts on from there; how many records it lacks is said, once.
    ///
    /// # Errors
    /// It has been set back ([`JournalError::SetBack`]), or the disk fails.
    pub fn compare(&mut self, heard: u64) -> Result<Option<u64>, JournalError> {
        let said = self.witness.said;
        if heard > said.total && !said.claimed {
            return Err(JournalError::SetBack {
                path: self.path.clone(),
                there: said.total,
                heard,
            });
        }
        if said.claimed {
            let total = said.total.max(heard + 1);
            let claimed = false;
            self.witness.say(Said {
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
    ) -> Result<u64, JournalError> {
        let lock = lock(path)?;
        let witness = Witness::open(path)?;
        let witness_path = witness::path_of(path);
        let mut witness = witness.ok_or(JournalError::NoWitness { path: witness_path })?;
        forget().map_err(|(path, error)| disk("remove", &path)(error))?;
        witness.claim()?;
        drop(lock);
        Self::open(path).map(|(journal, _)| journal.total())
    }

    fn bear_witness(&mut self, mark: Mark) -> Result<(), JournalError> {
        let said = self.witness.said;
        if said.mark == mark && said.next.is_none() {
            return Ok(());
        }
        let more = mark.records.saturating_sub(said.mark.records).max(1);
        self.witness.say(Said {
            mark,
            next: None,
            total: said.total + more,
            ..said
        })
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
        let written = self.replace(records);
        let (end, allocated, mark) = match written {
            Ok(written) => written,
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
        let witnessed = self.bear_witness(mark);
        self.failed = witnessed.is_err();
        witnessed
    }

    /// Puts a file with these records in the place of the journal's. Whichever of the two is found later is the one.
    fn replace(&mut self, records: &[Record]) -> Result<(u64, u64, Mark), JournalError> {
        let (bytes, checksums) = frames(&self.path, records)?;
        let mark = Mark::of(&checksums);
        let said = self.witness.said;
        self.witness.say(Said {
            next: Some(mark),
            ..said
        })?;
        let (end, allocated) = write_file(&self.path, &bytes)?;
        Ok((end, allocated, mark))
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
        self.bear_witness(Mark {
            records: self.next_sequence,
            checksum: journal::checksum_of(frame),
        })
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

/// The journal's file and what is in it; none where there is certainly none.
fn read(path: &Path) -> Result<Option<(File, Vec<u8>)>, JournalError> {
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(disk("open", path))?,
    };
    let bytes = std::fs::read(path).map_err(disk("read", path))?;
    Ok(Some((file, bytes)))
}

/// Makes sure that no node has been here: that no journal is seen is no proof of it.
fn nothing_before(path: &Path, witness: Option<&Witness>) -> Result<(), JournalError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let missing = |trace: PathBuf| JournalError::Missing {
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
fn write_new(path: &Path, records: &[Record]) -> Result<(), JournalError> {
    let (bytes, _) = frames(path, records)?;
    write_file(path, &bytes).map(|_| ())
}

/// A journal's bytes, and the checksums of its records.
fn frames(path: &Path, records: &[Record]) -> Result<(Vec<u8>, Vec<u32>), JournalError> {
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
fn write_file(path: &Path, bytes: &[u8]) -> Result<(u64, u64), JournalError> {
    let end = bytes.len() as u64;
    let allocated = end.next_multiple_of(CHUNK_BYTES);
    let new = path.with_extension("new");
    let file = (OpenOptions::new().write(true).create(true).truncate(true))
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
    // Whoever can open it can lock it; one of a former agent may be open to all.
    file.set_permissions(Permissions::from_mode(0o600))
        .map_err(disk("set the mode of", &path))?;
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
        let end = journal.end;
        drop(journal);
        // The power went while this was written: nobody was told that it is there.
        let frame = journal::encode(1, &blocked("a long reason that is torn")).expect("encodes");
        let file = OpenOptions::new().write(true).open(&path).expect("opens");
        file.write_all_at(&frame[..frame.len() - 5], end)
            .expect("writes");
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
    fn a_journal_that_was_cut_or_emptied_is_damage() {
        let (_folder, path) = fresh();
        let (mut journal, _) = Journal::open(&path).expect("opens");
        for _ in 0..3 {
            journal.append(&Record::Committed).expect("appends");
        }
        let end = journal.end;
        drop(journal);
        let whole = std::fs::read(&path).expect("read");
        let last = journal::encode(2, &Record::Committed).expect("encodes");
        // Without the end of its file it is cut, whatever is in the rest.
        for length in [0, end - 1, end, CHUNK_BYTES / 2] {
            std::fs::write(&path, &whole[..length as usize]).expect("written");
            let error = Journal::open(&path).expect_err("damage");
            assert!(matches!(error, JournalError::Short { .. }), "{error}");
        }
        // A whole record, its last byte, everything: as long as it was.
        for from in [end - last.len() as u64, end - 1, HEADER.len() as u64] {
            let mut cut = whole.clone();
            cut[from as usize..].fill(0);
            std::fs::write(&path, cut).expect("written");
            let error = Journal::open(&path).expect_err("damage");
            assert!(
                matches!(error, JournalError::Cut { written: 3, .. }),
                "{error}"
            );
        }
        std::fs::write(&path, &whole).expect("written");
        let (journal, records) = Journal::open(&path).expect("opens");
        assert_eq!((records.len(), journal.total()), (3, 3));
        drop(journal);
        std::fs::remove_file(witness::path_of(&path)).expect("removed");
        let error = Journal::open(&path).expect_err("nobody says that it is whole");
        assert!(matches!(error, JournalError::NoWitness { .. }), "{error}");
    }

    #[test]
    fn none_is_made_where_one_has_been_or_may_be() {
        let (folder, path) = fresh();
        drop(Journal::open(&path).expect("opens"));
        // Between the witness and the journal: no record was ever written.
        std::fs::remove_file(&path).expect("removed");
        let (mut journal, _) = Journal::open(&path).expect("opens");
        journal.append(&Record::Committed).expect("appends");
        drop(journal);
        std::fs::remove_file(&path).expect("removed");
        let missing = || match Journal::open(&path) {
            Err(JournalError::Missing { trace, .. }) => trace,
            other => panic!("{other:?}"),
        };
        assert_eq!(missing(), witness::path_of(&path));
        std::fs::remove_file(witness::path_of(&path)).expect("removed");
        let versions = folder.path().join("versions");
        std::fs::create_dir_all(versions.join("1.1")).expect("made");
        assert_eq!(missing(), versions.join("1.1"));
        std::fs::remove_dir(versions.join("1.1")).expect("removed");
        std::os::unix::fs::symlink("nowhere", folder.path().join("current")).expect("made");
        assert_eq!(missing(), folder.path().join("current"));
        std::fs::remove_file(folder.path().join("current")).expect("removed");
        // Whatever cannot be looked at is not absent.
        std::os::unix::fs::symlink("journal", &path).expect("made");
        let error = Journal::open(&path).expect_err("a link to itself");
        assert!(matches!(error, JournalError::Disk { .. }), "{error}");
        std::fs::remove_file(&path).expect("removed");
        assert!(Journal::open(&path).expect("opens").1.is_empty());
    }

    #[test]
    fn a_copied_directory_is_known_until_it_is_claimed() {
        let (folder, path) = fresh();
        let (mut journal, _) = Journal::open(&path).expect("opens");
        journal.append(&Record::Committed).expect("appends");
        drop(journal);
        let moved = folder.path().join("moved");
        std::fs::create_dir(&moved).expect("made");
        for name in ["journal", "journal.witness"] {
            std::fs::copy(folder.path().join(name), moved.join(name)).expect("copied");
        }
        let copy = moved.join("journal");
        let error = Journal::open(&copy).expect_err("a copy");
        assert!(matches!(error, JournalError::Copy { .. }), "{error}");
        Journal::claim(&copy, || Ok(())).expect("claimed");
        assert_eq!(Journal::open(&copy).expect("opens").1.len(), 1);
        Journal::open(&path).expect("the original opens as before");
    }

    #[test]
    fn one_that_was_set_back_is_known_by_what_the_server_has_heard() {
        let (_folder, path) = fresh();
        let (mut journal, _) = Journal::open(&path).expect("opens");
        for _ in 0..2 {
            journal.append(&Record::Committed).expect("appends");
        }
        // Compaction makes a journal shorter and no younger.
        journal.compact(&[Record::Committed]).expect("compacts");
        assert_eq!(journal.total(), 3);
        journal.compare(3).expect("as heard");
        journal.compare(0).expect("the server has forgotten it");
        let error = journal.compare(9).expect_err("set back");
        assert!(
            matches!(
                error,
                JournalError::SetBack {
                    there: 3,
                    heard: 9,
                    ..
                }
            ),
            "{error}"
        );
        drop(journal);
        Journal::claim(&path, || Ok(())).expect("claimed");
        let (mut journal, _) = Journal::open(&path).expect("opens");
        journal.compare(9).expect("claimed");
        assert_eq!(journal.total(), 10);
        journal.compare(11).expect_err("claimed once");
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

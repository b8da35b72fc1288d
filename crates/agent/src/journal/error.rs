//! What can go wrong with the journal's file, in the words of the log.

use super::files::CHUNK_BYTES;
use model::journal::JournalError as FormatError;
use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong with the journal's file.
#[derive(Debug, thiserror::Error)]
pub enum JournalFileError {
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
    /// Its files are another directory's too.
    #[error(
        "{path} is a hard link: this directory shares its files with another, so it can be no node of its own"
    )]
    Linked {
        /// The witness.
        path: PathBuf,
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

pub(super) fn format_error(path: &Path, source: FormatError) -> JournalFileError {
    let path = path.to_owned();
    JournalFileError::Format { path, source }
}

/// Wraps what the system said.
pub(super) fn broken(
    what: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> JournalFileError {
    let path = path.to_owned();
    move |source| JournalFileError::Disk { what, path, source }
}

/// Wraps what the system said; a full disk apart.
pub(super) fn disk(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalFileError {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            JournalFileError::NoSpace { path }
        }
        _ => JournalFileError::Disk { what, path, source },
    }
}

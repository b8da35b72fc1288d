//! Adapters' state as files that a transform in any language can read and write: a line of JSON for each entry.
//!
//! `{"key": "text", "value": "text"}`, and for bytes that are no UTF-8 `{"key_base64": …, "value_base64": …}`.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine};
use redb::{Database, ReadableDatabase, ReadableTable};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::committer::{BEGUN, ENTRIES, INTENTS};
use super::{AdapterState, KEY_BYTES_MAX, StateError, VALUE_BYTES_MAX};

/// The entries, one a line, in the order of their keys.
pub const ENTRIES_FILE: &str = "entries.jsonl";
/// Calls of which nobody knows how far they came, one a line; only for reading, and only where there are some.
pub const UNFINISHED_FILE: &str = "unfinished.jsonl";

/// Longest line that is read: a value and a key in base64, and what stands around them.
const LINE_BYTES_MAX: u64 = 2 << 20;

/// Longest file of entries that is read: it is held in memory, and the states of adapters are limited to far less.
const ENTRIES_FILE_BYTES_MAX: u64 = 1 << 30;

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TransferLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

/// Text, or base64 where it is none.
fn written(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(BASE64_STANDARD.encode(bytes))),
    }
}

fn read(what: &str, text: Option<String>, encoded: Option<String>) -> Result<Vec<u8>, String> {
    match (text, encoded) {
        (Some(text), None) => Ok(text.into_bytes()),
        (None, Some(encoded)) => BASE64_STANDARD
            .decode(encoded)
            .map_err(|why| format!("`{what}_base64` is no base64: {why}")),
        (None, None) => Err(format!("`{what}` is missing; write it, or `{what}_base64`")),
        (Some(_), Some(_)) => Err(format!("`{what}` and `{what}_base64` are both there")),
    }
}

/// Writes a state into a folder.
pub(super) fn export(state: &Arc<AdapterState>, folder: &Path) -> Result<(), StateError> {
    let failed = |why: &dyn std::fmt::Display| state.failed("export", why);
    let entries = || -> Result<(), io::Error> {
        let mut to = BufWriter::new(fresh(&folder.join(ENTRIES_FILE))?);
        let reading = state.database.begin_read().map_err(io::Error::other)?;
        let table = reading.open_table(ENTRIES).map_err(io::Error::other)?;
        for entry in table.iter().map_err(io::Error::other)? {
            let (key, value) = entry.map_err(io::Error::other)?;
            let (key, key_base64) = written(key.value());
            let (value, value_base64) = written(value.value());
            let line = TransferLine {
                key,
                key_base64,
                value,
                value_base64,
            };
            serde_json::to_writer(&mut to, &line)?;
            to.write_all(b"\n")?;
        }
        to.flush()
    };
    entries().map_err(|why| failed(&why))?;
    let unfinished = state.all_unfinished().clone();
    if unfinished.is_empty() {
        return Ok(());
    }
    let lines = || -> Result<(), io::Error> {
        let mut to = BufWriter::new(fresh(&folder.join(UNFINISHED_FILE))?);
        for intent in unfinished.values() {
            serde_json::to_writer(&mut to, intent)?;
            to.write_all(b"\n")?;
        }
        to.flush()
    };
    lines().map_err(|why| failed(&why))
}

/// A file that was not there, which only this user reads.
fn fresh(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)
}

/// What a transform has left under this name, if anything. It may be the work of another user, who may put anything there: a link is
/// not followed, a pipe not waited for.
fn left_by_transform(path: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(io::Error::other("it is a link; write a file")),
        Err(error) => return Err(error.into()),
    };
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    if found.len() > ENTRIES_FILE_BYTES_MAX {
        let text = format!("it has more than {ENTRIES_FILE_BYTES_MAX} bytes");
        return Err(io::Error::other(text));
    }
    Ok(Some(file))
}

/// Makes a state file from what a transform has left in a folder: no file there is no entry.
pub(super) fn import(to: &Path, folder: &Path) -> Result<(), StateError> {
    let entries = entries(&folder.join(ENTRIES_FILE))?;
    let write = || -> Result<(), redb::Error> {
        let database = Database::create(to)?;
        let transaction = database.begin_write()?;
        {
            let mut table = transaction.open_table(ENTRIES)?;
            for (key, value) in &entries {
                table.insert(key.as_slice(), value.as_slice())?;
            }
            transaction.open_table(INTENTS)?;
            transaction.open_table(BEGUN)?;
        }
        transaction.commit()?;
        Ok(())
    };
    write().map_err(|why| StateError::Store {
        file: to.display().to_string(),
        what: "write",
        why: why.to_string(),
    })
}

fn entries(file: &Path) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, StateError> {
    let wrong = |line: usize, what: String| StateError::Written {
        file: file.display().to_string(),
        line,
        what,
    };
    let mut entries = BTreeMap::new();
    let mut from = match left_by_transform(file) {
        // A file that grows meanwhile is read no further.
        Ok(Some(file)) => BufReader::new(file.take(ENTRIES_FILE_BYTES_MAX)),
        Ok(None) => return Ok(entries),
        Err(error) => return Err(wrong(0, format!("cannot be read: {error}"))),
    };
    for number in 1.. {
        let mut text = String::new();
        let read_line = (&mut from).take(LINE_BYTES_MAX).read_line(&mut text);
        if read_line.map_err(|error| wrong(number, error.to_string()))? == 0 {
            break;
        }
        if text.trim().is_empty() {
            continue;
        }
        let (key, value) = entry(&text).map_err(|what| wrong(number, what))?;
        if entries.insert(key, value).is_some() {
            return Err(wrong(number, "this key was there already".to_owned()));
        }
    }
    Ok(entries)
}

fn entry(text: &str) -> Result<(Vec<u8>, Vec<u8>), String> {
    let line: TransferLine = serde_json::from_str(text).map_err(|why| why.to_string())?;
    let key = read("key", line.key, line.key_base64)?;
    let value = read("value", line.value, line.value_base64)?;
    if key.len() > KEY_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
        return Err(format!(
            "a key has at most {KEY_BYTES_MAX} bytes, a value {VALUE_BYTES_MAX}"
        ));
    }
    Ok((key, value))
}

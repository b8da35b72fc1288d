//! The trusted state on disk: one file that is replaced as a whole, so that it is always of one moment.

use crate::error::TrustError;
use crate::metadata::SignedDocument;
use crate::trust::Trust;
use model::manifest::Digest;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The format that is written and read here.
const FORMAT: u32 = 1;
/// The largest state, in bytes: the largest metadata of every role, as JSON in JSON.
const STATE_BYTES_MAX: u64 = 64 << 20;

/// The state as it is written: the documents are the texts that were signed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustedState {
    format: u32,
    root: String,
    timestamp: Option<String>,
    snapshot: Option<String>,
    targets: Option<String>,
    targets_floor: u64,
}

/// Reads the state. It is the verifier's own, so its documents are not verified again: targets stay trusted though the keys that
/// signed them have been rotated since. A checksum finds damage.
pub(crate) fn load(path: &Path) -> Result<Trust, TrustError> {
    let fault = |problem: String| TrustError::State {
        path: path.to_owned(),
        problem,
    };
    let about = std::fs::metadata(path).map_err(|error| fault(error.to_string()))?;
    if about.len() > STATE_BYTES_MAX {
        return Err(fault(format!("it has more than {STATE_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| fault(error.to_string()))?;
    let damaged = || fault("it is damaged".to_owned());
    let (digest, state) = text.split_once('\n').ok_or_else(damaged)?;
    if Digest::of(state.as_bytes()).to_string() != digest {
        return Err(damaged());
    }
    let state: TrustedState =
        serde_json::from_str(state).map_err(|error| fault(error.to_string()))?;
    if state.format != FORMAT {
        return Err(fault(format!(
            "its format is {}, this program knows {FORMAT}",
            state.format
        )));
    }
    let mut trust = Trust::pin(state.root.as_bytes())?;
    trust.timestamp = document(state.timestamp)?;
    trust.snapshot = document(state.snapshot)?;
    trust.targets = document(state.targets)?;
    trust.targets_floor = state.targets_floor;
    Ok(trust)
}

fn document<T: crate::metadata::Metadata>(
    text: Option<String>,
) -> Result<Option<SignedDocument<T>>, TrustError> {
    text.map(|text| SignedDocument::read(text.as_bytes()))
        .transpose()
}

/// Replaces the state, unless it is the same.
pub(crate) fn save(path: &Path, trust: &Trust) -> Result<(), TrustError> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let state = TrustedState {
        format: FORMAT,
        root: text(&trust.root.bytes),
        timestamp: trust.timestamp.as_ref().map(|found| text(&found.bytes)),
        snapshot: trust.snapshot.as_ref().map(|found| text(&found.bytes)),
        targets: trust.targets.as_ref().map(|found| text(&found.bytes)),
        targets_floor: trust.targets_floor,
    };
    let fault = |problem: String| TrustError::State {
        path: path.to_owned(),
        problem,
    };
    let state = serde_json::to_string(&state).map_err(|error| fault(error.to_string()))?;
    let whole = format!("{}\n{state}", Digest::of(state.as_bytes()));
    if std::fs::read(path).is_ok_and(|there| there == whole.as_bytes()) {
        return Ok(());
    }
    replace(path, whole.as_bytes()).map_err(|source| TrustError::Unkept {
        path: path.to_owned(),
        source,
    })
}

/// Writes a file so that it is there as a whole or not at all, also after a power cut.
///
/// # Errors
/// The disk does not take it; what was there stays.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    write_fresh(path, bytes)?;
    std::fs::rename(fresh(path), path)?;
    File::open(folder)?.sync_all()
}

/// Below a folder, which of its files are about to be replaced: all of them lie beside their places, as a whole.
const REPLACING: &str = "replacing.json";

/// Writes files of one folder that belong together: none of them where one cannot be written. Whoever is ended in between has begun what
/// [`end_replacing`] ends. Nobody else may write there meanwhile.
pub(crate) fn replace_all(folder: &Path, files: &[(String, &[u8])]) -> io::Result<()> {
    let written = files
        .iter()
        .try_for_each(|(name, bytes)| write_fresh(&folder.join(name), bytes));
    let names: Vec<&String> = files.iter().map(|(name, _)| name).collect();
    let begun = written
        .and_then(|()| serde_json::to_vec(&names).map_err(io::Error::other))
        .and_then(|names| replace(&folder.join(REPLACING), &names));
    if begun.is_err() && !folder.join(REPLACING).exists() {
        for (name, _) in files {
            // What stays is written over the next time.
            let _ = std::fs::remove_file(fresh(&folder.join(name)));
        }
    }
    begun?;
    end_replacing(folder).map(|_| ())
}

/// Whether files of a folder are about to be replaced.
pub(crate) fn is_replacing(folder: &Path) -> bool {
    folder.join(REPLACING).exists()
}

/// Ends what was begun, and says whether there was something. The last file is in its place when all others are.
pub(crate) fn end_replacing(folder: &Path) -> io::Result<bool> {
    let mark = folder.join(REPLACING);
    let names: Vec<String> = match std::fs::read(&mark) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        read => serde_json::from_slice(&read?).map_err(io::Error::other)?,
    };
    for name in names {
        let place = folder.join(name);
        match std::fs::rename(fresh(&place), place) {
            // It is in its place already.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            renamed => renamed?,
        }
    }
    File::open(folder)?.sync_all()?;
    std::fs::remove_file(mark)?;
    // Durable before anything else is begun: this would be done again, with what that has written.
    File::open(folder)?.sync_all()?;
    Ok(true)
}

/// Where a file is written before it gets its name.
fn fresh(path: &Path) -> PathBuf {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    fresh.into()
}

/// Writes all of a file, or nothing, beside its place.
fn write_fresh(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = fresh(path);
    let written = File::create(&fresh).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    if written.is_err() {
        // Half a file takes room that is wanted.
        let _ = std::fs::remove_file(&fresh);
    }
    written
}

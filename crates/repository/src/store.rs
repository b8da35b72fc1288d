//! The trusted state on disk: one file that is replaced as a whole, so that it is always of one moment.

use crate::error::TrustError;
use crate::metadata::SignedDocument;
use crate::trust::Trust;
use model::manifest::Digest;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::path::Path;

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
    replace(path, whole.as_bytes()).map_err(|error| fault(error.to_string()))
}

/// Writes a file so that it is there as a whole or not at all, also after a power cut.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    File::open(folder)?.sync_all()
}

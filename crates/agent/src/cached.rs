//! Small documents on disk: what was heard from the server last, and the like. Whatever is wrong with one, it counts as absent.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Reads a cached document; whatever is wrong with it, it counts as absent: the server has the original.
pub(crate) fn load<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let mut options = OpenOptions::new();
    // A pipe in its place is not waited for.
    let mut file = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .ok()?;
    let mut bytes = Vec::new();
    let is_file = file.metadata().ok()?.is_file();
    is_file.then(|| file.read_to_end(&mut bytes).ok())??;
    serde_json::from_slice(&bytes).ok()
}

/// Writes a document through a rename, and is sure that it survives a power cut.
pub(crate) fn save_durably<T: Serialize>(path: &Path, document: &T) -> std::io::Result<()> {
    save_durably_as(path, document, 0o666)
}

/// The same for a document that nobody but the agent's user may read.
pub(crate) fn save_secret_durably<T: Serialize>(path: &Path, document: &T) -> std::io::Result<()> {
    save_durably_as(path, document, 0o600)
}

fn save_durably_as<T: Serialize>(path: &Path, document: &T, mode: u32) -> std::io::Result<()> {
    let bytes = serde_json::to_vec(document).map_err(std::io::Error::other)?;
    let fresh = path.with_extension("new");
    // What was left there may be readable by others.
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&fresh)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    match path.parent() {
        Some(folder) => std::fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Writes a cached document through a rename. A full disk costs only the cache.
pub(crate) fn save<T: Serialize>(path: &Path, document: &T) {
    report(
        path,
        bytes_of(document).and_then(|bytes| replace(path, &bytes)),
    );
}

/// The same for a document that must be kept even when the disk is full: it is written over the old one then, which
/// takes no room. A crash meanwhile leaves none.
pub(crate) fn save_small<T: Serialize>(path: &Path, document: &T) {
    let written = bytes_of(document).and_then(|bytes| {
        replace(path, &bytes).or_else(|_| {
            let mut file = OpenOptions::new().write(true).open(path)?;
            file.write_all(&bytes)?;
            file.set_len(bytes.len() as u64)
        })
    });
    report(path, written);
}

fn bytes_of<T: Serialize>(document: &T) -> io::Result<Vec<u8>> {
    serde_json::to_vec(document).map_err(io::Error::other)
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let written = std::fs::write(&fresh, bytes).and_then(|()| std::fs::rename(&fresh, path));
    if written.is_err() {
        // Its room is needed; what cannot be removed is written over the next time.
        let _ = std::fs::remove_file(&fresh);
    }
    written
}

fn report(path: &Path, written: io::Result<()>) {
    if let Err(error) = written {
        tracing::warn!(path = %path.display(), %error, "cannot cache");
    }
}

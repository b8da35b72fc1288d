//! What has come of an artifact, until it is whole.

use super::{FetchError, WantedFile, disk, sync};
use model::manifest::Digest;
use sha2::{Digest as _, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

/// How much of a file is read at once when a broken-off download is hashed again.
const BLOCK_BYTES: usize = 256 * 1024;

/// What has come of an artifact, with its hash so far.
pub(super) struct Partial {
    path: PathBuf,
    file: File,
    pub(super) length: u64,
    hash: Sha256,
}

impl Partial {
    pub(super) fn open(path: &Path, size: u64) -> Result<Self, FetchError> {
        let mut file = (OpenOptions::new().read(true).append(true).create(true))
            .open(path)
            .map_err(disk("open", path))?;
        let mut hash = Sha256::new();
        let mut length = 0;
        let mut block = vec![0; BLOCK_BYTES];
        loop {
            let read = file.read(&mut block).map_err(disk("read", path))?;
            if read == 0 {
                break;
            }
            hash.update(&block[..read]);
            length += read as u64;
        }
        if length > size {
            file.set_len(0).map_err(disk("empty", path))?;
            hash = Sha256::new();
            length = 0;
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            length,
            hash,
        })
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        self.file
            .write_all(bytes)
            .map_err(disk("write", &self.path))?;
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn is(&self, wanted: WantedFile) -> bool {
        let digest: [u8; 32] = self.hash.clone().finalize().into();
        self.length == wanted.size && Digest(digest) == wanted.digest
    }

    /// Durable under its name.
    pub(super) fn keep(self, part: &Path, path: &Path) -> Result<(), FetchError> {
        self.file.sync_all().map_err(disk("sync", part))?;
        std::fs::rename(part, path).map_err(disk("rename", part))?;
        sync(path.parent().unwrap_or(Path::new(".")))
    }
}

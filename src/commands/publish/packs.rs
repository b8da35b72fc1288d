//! New packs, written to files until they are uploaded.

use chunks::{PackFile, Packer};
use model::manifest::Digest;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// The largest pack: servers and mirrors take files of this size.
const PACK_BYTES_MAX: u64 = 1 << 30;

/// A pack that is finished, and its file.
pub(super) struct NewPack {
    pub(super) pack: PackFile,
    pub(super) path: PathBuf,
}

/// Writes chunks one behind the other.
pub(super) struct PackWriter {
    folder: PathBuf,
    packer: Packer,
    finished: Vec<NewPack>,
    open: Option<OpenPack>,
    /// How many chunks were written.
    pub(super) chunks: usize,
}

struct OpenPack {
    path: PathBuf,
    file: BufWriter<File>,
    hash: Sha256,
    size: u64,
}

/// Where a chunk was written.
pub(super) struct PackedChunk {
    /// Which of the new packs, counted from zero.
    pub(super) pack: usize,
    pub(super) offset: u64,
    pub(super) stored: u32,
}

impl PackWriter {
    /// A writer of packs in this folder.
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        Ok(Self {
            folder: folder.to_owned(),
            packer: Packer::new()?,
            finished: Vec::new(),
            open: None,
            chunks: 0,
        })
    }

    /// Writes one chunk.
    pub(super) fn write(&mut self, chunk: &[u8]) -> io::Result<PackedChunk> {
        let stored = self.packer.packed(chunk)?;
        let is_full = |open: &OpenPack| open.size + stored.len() as u64 > PACK_BYTES_MAX;
        if self.open.as_ref().is_some_and(is_full) {
            self.finish_one()?;
        }
        let pack = self.finished.len();
        let open = match &mut self.open {
            Some(open) => open,
            closed => closed.insert(OpenPack::create(self.folder.join(format!("{pack}.pack")))?),
        };
        let offset = open.size;
        open.file.write_all(&stored)?;
        open.hash.update(&stored);
        open.size += stored.len() as u64;
        self.chunks += 1;
        Ok(PackedChunk {
            pack,
            offset,
            stored: u32::try_from(stored.len()).map_err(io::Error::other)?,
        })
    }

    fn finish_one(&mut self) -> io::Result<()> {
        let Some(mut open) = self.open.take() else {
            return Ok(());
        };
        open.file.flush()?;
        let pack = PackFile {
            digest: Digest(open.hash.finalize().into()),
            size: open.size,
        };
        let path = open.path;
        self.finished.push(NewPack { pack, path });
        Ok(())
    }

    /// All packs, in the order of their numbers.
    pub(super) fn finish(mut self) -> io::Result<Vec<NewPack>> {
        self.finish_one()?;
        Ok(self.finished)
    }
}

impl OpenPack {
    fn create(path: PathBuf) -> io::Result<Self> {
        Ok(Self {
            file: BufWriter::new(File::create(&path)?),
            path,
            hash: Sha256::new(),
            size: 0,
        })
    }
}

//! A chunk as it lies in a pack: one frame of zstd, or the chunk itself where that would not be shorter.

use crate::{ChunkError, ChunkPlace};
use model::manifest::Digest;
use std::io;
use zstd::bulk::{Compressor, Decompressor};

/// zstd's own default: good enough for programs, and faster than a line.
const LEVEL: i32 = 3;

/// Content that does not shrink below this part of itself, in percent, is as well read from the file itself.
const SHRUNK_PERCENT_MAX: usize = 90;

/// Makes what lies in packs.
pub struct Packer(Compressor<'static>);

impl Packer {
    /// A packer.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn new() -> io::Result<Self> {
        Compressor::new(LEVEL).map(Self)
    }

    /// A chunk as it is to lie in a pack: as many bytes as the chunk means that it is the chunk itself.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn packed(&mut self, chunk: &[u8]) -> io::Result<Vec<u8>> {
        let frame = self.0.compress(chunk)?;
        Ok(if frame.len() < chunk.len() {
            frame
        } else {
            chunk.to_vec()
        })
    }
}

/// Whether a sample of content shrinks enough to be worth a pack.
///
/// # Errors
/// There is no memory for it.
pub fn shrinks(sample: &[u8]) -> io::Result<bool> {
    let shrunk = Packer::new()?.packed(sample)?.len();
    Ok(shrunk.saturating_mul(100) < sample.len().saturating_mul(SHRUNK_PERCENT_MAX))
}

/// The chunk in what a pack gave; takes no more memory than the chunk is long.
///
/// # Errors
/// It is not that chunk.
pub fn unpacked(stored: Vec<u8>, chunk: &ChunkPlace) -> Result<Vec<u8>, ChunkError> {
    let altered = || ChunkError::Altered {
        chunk: chunk.digest,
    };
    let length = chunk.length as usize;
    let bytes = if stored.len() == length {
        stored
    } else {
        let mut bytes = vec![0; length];
        let mut decompressor = Decompressor::new().map_err(|_| altered())?;
        let written = decompressor.decompress_to_buffer(&stored, bytes.as_mut_slice());
        if written.ok() != Some(length) {
            return Err(altered());
        }
        bytes
    };
    if Digest::of(&bytes) == chunk.digest {
        Ok(bytes)
    } else {
        Err(altered())
    }
}

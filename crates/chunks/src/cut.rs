//! Where content is cut: by what it is, not by where it lies, so that an insertion moves no other cut.

use fastcdc::v2020::{Normalization, StreamCDC};
use std::io::{self, Read};

/// The shortest chunk, but for the last of a file.
const CHUNK_BYTES_MIN: usize = 16 << 10;

/// What chunks are long on average: small enough that a small change moves little, large enough that the index of a file is a thousandth of it.
const CHUNK_BYTES_AVERAGE: usize = 64 << 10;

/// The longest chunk.
pub const CHUNK_BYTES_MAX: usize = 256 << 10;

/// Files below this are always fetched whole: they are few chunks, and a request each.
pub const CHUNKED_BYTES_MIN: u64 = 1 << 20;

/// Cuts what it reads, one chunk at a time. Publishers and nodes must cut alike for ever: golden vectors are in the tests.
pub struct ChunkCutter<R: Read> {
    chunks: StreamCDC<R>,
}

impl<R: Read> ChunkCutter<R> {
    /// Cuts all of `content`.
    pub fn new(content: R) -> Self {
        Self {
            chunks: StreamCDC::with_level(
                content,
                CHUNK_BYTES_MIN,
                CHUNK_BYTES_AVERAGE,
                CHUNK_BYTES_MAX,
                Normalization::Level1,
            ),
        }
    }
}

impl<R: Read> Iterator for ChunkCutter<R> {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.chunks.next()?;
        Some(next.map(|chunk| chunk.data).map_err(io::Error::from))
    }
}

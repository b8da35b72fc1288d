//! What is asked of packs: few ranges, and whether they are worth it.

use crate::{ChunkError, ChunkPlace, unpacked};

/// What lies between two chunks is read with them if it is not longer: that costs less than another request.
pub const GAP_BYTES_MAX: u64 = 32 << 10;

/// What a request costs beside what it brings, in bytes: its head and its answer's, and the time that it takes.
const REQUEST_BYTES: u64 = 2 << 10;

/// Chunks are taken if they cost less than this part of the whole file, in percent: a whole file is one request and one check.
const WORTH_PERCENT_MAX: u64 = 90;

/// A part of a pack that is read with one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackRange {
    /// Which pack, by its number in the index.
    pub pack: u32,
    /// Its first byte.
    pub first: u64,
    /// How many bytes.
    pub count: u64,
    /// The chunks in it, in the order in which they lie there; each is there once.
    pub chunks: Vec<ChunkPlace>,
}

impl PackRange {
    fn end(&self) -> u64 {
        self.first + self.count
    }
}

/// The ranges that bring these chunks, each chunk once, whatever the order in which they are given.
#[must_use]
pub fn joined(mut chunks: Vec<ChunkPlace>) -> Vec<PackRange> {
    chunks.sort_unstable_by_key(|chunk| (chunk.digest, chunk.pack, chunk.offset));
    chunks.dedup_by_key(|chunk| chunk.digest);
    chunks.sort_unstable_by_key(|chunk| (chunk.pack, chunk.offset));
    let mut ranges: Vec<PackRange> = Vec::new();
    for chunk in chunks {
        let end = chunk.offset + u64::from(chunk.stored);
        match ranges.last_mut() {
            // What overlaps is a range of its own: chunks of one range lie one behind the other.
            Some(last)
                if last.pack == chunk.pack
                    && chunk.offset >= last.end()
                    && chunk.offset - last.end() <= GAP_BYTES_MAX =>
            {
                last.count = end - last.first;
                last.chunks.push(chunk);
            }
            _ => ranges.push(PackRange {
                pack: chunk.pack,
                first: chunk.offset,
                count: u64::from(chunk.stored),
                chunks: vec![chunk],
            }),
        }
    }
    ranges
}

/// What ranges cost, in bytes.
#[must_use]
pub fn cost(ranges: &[PackRange]) -> u64 {
    let each = |range: &PackRange| range.count.saturating_add(REQUEST_BYTES);
    ranges.iter().map(each).fold(0, u64::saturating_add)
}

/// Whether ranges are to be read rather than a whole file of this size.
#[must_use]
pub fn is_worth_it(ranges: &[PackRange], whole: u64) -> bool {
    cost(ranges) < whole / 100 * WORTH_PERCENT_MAX
}

/// Takes the chunks out of what a range brings, piece by piece; keeps no more than one chunk.
#[derive(Debug)]
pub struct RangeReader {
    chunks: std::vec::IntoIter<ChunkPlace>,
    next: Option<ChunkPlace>,
    at: u64,
    stored: Vec<u8>,
}

impl RangeReader {
    /// A reader of a range from its beginning.
    #[must_use]
    pub fn new(range: PackRange) -> Self {
        let mut chunks = range.chunks.into_iter();
        Self {
            next: chunks.next(),
            chunks,
            at: range.first,
            stored: Vec::new(),
        }
    }

    /// Whether all chunks have come.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.next.is_none()
    }

    /// The next chunk that ends in these bytes, which are taken as far as it goes; nothing when all of them are taken.
    ///
    /// # Errors
    /// What came is not the chunk.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<(ChunkPlace, Vec<u8>)>, ChunkError> {
        let Some(chunk) = self.next else {
            *bytes = &[];
            return Ok(None);
        };
        let before = usize::try_from(chunk.offset.saturating_sub(self.at)).unwrap_or(usize::MAX);
        self.take(bytes, before);
        let missing = (chunk.stored as usize).saturating_sub(self.stored.len());
        if self.at >= chunk.offset {
            let taken = self.take(bytes, missing);
            self.stored.extend_from_slice(taken);
        }
        if self.stored.len() < chunk.stored as usize {
            return Ok(None);
        }
        self.next = self.chunks.next();
        let content = unpacked(std::mem::take(&mut self.stored), &chunk)?;
        Ok(Some((chunk, content)))
    }

    fn take<'b>(&mut self, bytes: &mut &'b [u8], most: usize) -> &'b [u8] {
        let (taken, rest) = bytes.split_at(most.min(bytes.len()));
        *bytes = rest;
        self.at += taken.len() as u64;
        taken
    }
}

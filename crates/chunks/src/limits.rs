//! How much an index may list: more is refused before memory is taken for it.

/// The most packs of an index: each publication adds few.
pub const PACKS_MAX: usize = 4096;

/// The most chunks of an index: 64 GiB in chunks of usual length.
pub const CHUNKS_MAX: usize = 1 << 20;

/// The largest index, in bytes: it is read as a whole.
pub const INDEX_BYTES_MAX: u64 = 64 << 20;

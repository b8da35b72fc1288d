//! What is wrong with an index, or with what a pack gave.

use crate::limits::{CHUNKS_MAX, INDEX_BYTES_MAX, PACKS_MAX};
use model::manifest::Digest;

/// Why chunks cannot be used. The whole file is then fetched by its digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// It is no index, or one of a format that this program does not know.
    #[error("the index of chunks is of another format than this program knows")]
    Format,
    /// It is too large.
    #[error("the index of chunks has {bytes} bytes; at most {INDEX_BYTES_MAX} are read")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// It ends before what it lists.
    #[error("the index of chunks was cut off")]
    CutOff,
    /// Something follows after its end.
    #[error("the index of chunks has {0} bytes too many")]
    TooLong(usize),
    /// It lists too much.
    #[error("the index lists more than {PACKS_MAX} packs or {CHUNKS_MAX} chunks")]
    TooMany,
    /// A file is not described as it can be.
    #[error("the index of chunks describes file {file} wrongly: {problem}")]
    Content {
        /// The file.
        file: Digest,
        /// What is wrong.
        problem: &'static str,
    },
    /// Its files are not sorted, or one is there twice.
    #[error("the index of chunks is not sorted by file")]
    NotSorted,
    /// What a pack gave is not the chunk.
    #[error("a pack gave something else than the chunk {chunk}")]
    Altered {
        /// Which chunk was to be there.
        chunk: Digest,
    },
}

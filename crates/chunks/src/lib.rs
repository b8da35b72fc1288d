//! Large files as content-defined chunks, so that a node which has one version of a file fetches only what the next one changed.
//!
//! The publisher cuts the uncompressed content of each large file ([`ChunkCutter`]). It writes the chunks that no earlier publication has
//! into packs ([`Packer`]), and lists all of them in one index ([`ChunkIndex`]), which is a file of the bundle: so it is signed with
//! the manifest. A pack is any artifact of the repository of which parts are read: chunks lie in it one behind the other, each as one
//! frame of zstd, or as it is. A node cuts what lies on its disk in the same way, takes what it finds there, and reads the rest from the
//! packs, as few ranges ([`joined`]).
//!
//! Nothing here touches files or the network, and nothing that is read is believed: an index and what packs give are checked, and
//! limited, before they are used. Whatever is wrong with them, there is the whole file by its digest.

mod cut;
mod error;
mod frame;
mod index;
mod limits;
mod ranges;

pub use cut::{CHUNK_BYTES_MAX, CHUNKED_BYTES_MIN, ChunkCutter};
pub use error::ChunkError;
pub use frame::{Packer, shrinks, unpacked};
pub use index::{ChunkIndex, ChunkPlace, ContentForm, IndexedContent, PackFile};
pub use limits::{CHUNKS_MAX, INDEX_BYTES_MAX, PACKS_MAX};
pub use ranges::{GAP_BYTES_MAX, PackRange, RangeReader, cost, is_worth_it, joined};

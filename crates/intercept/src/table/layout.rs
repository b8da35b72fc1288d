//! Where each word of the file is. All are `u64`, little endian.
//!
//! ```text
//! file     0: magic   1: epoch   512: buffer 0   512 + BUFFER_WORDS: buffer 1        (epoch 0: nothing published)
//! buffer   0: system  1: version | node << 32   2, 3: agent's lock   4: flags
//!          5..=8: how many services, endpoints, sources, networks   9: stopping until
//!          10: how many endpoints in doubt
//! service  0: port | flags << 16 | number of versions << 32   1..: versions, two a word
//! network  0, 1: address   2: prefix length, of the mapped address      endpoint  0, 1: address   2: port
//!          those in doubt stand a second time, at the end of the endpoints' place
//! source   0, 1: address
//! ```

use super::{ENDPOINTS_MAX, NETWORKS_MAX, SERVICES_MAX, SOURCES_MAX, VERSIONS_MAX};

/// "UPSTTAB" and the version of the layout.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"UPSTTAB\x03");
pub(super) const MAGIC_AT: usize = 0;
pub(super) const EPOCH_AT: usize = 1;
const BUFFERS_AT: usize = 512;

pub(super) const SYSTEM: usize = 0;
pub(super) const VERSION_NODE: usize = 1;
pub(super) const LOCK: usize = 2;
pub(super) const FLAGS: usize = 4;
pub(super) const SERVICES: usize = 5;
pub(super) const ENDPOINTS: usize = 6;
pub(super) const SOURCES: usize = 7;
pub(super) const NETWORKS: usize = 8;
pub(super) const STOPPING_UNTIL: usize = 9;
pub(super) const DOUBTFUL: usize = 10;

pub(super) const FLAG_PROBING: u64 = 1;
pub(super) const FLAG_REFUSE_MEMBERS: u64 = 2;
pub(super) const FLAG_LOCAL_LABELS_PROMPT: u64 = 4;
pub(super) const FLAG_COOKIES: u64 = 8;
pub(super) const FLAG_SIGNS: u64 = 16;

pub(super) const SERVICE_KEPT: u64 = 1 << 16;
pub(super) const SERVICE_PUBLIC_DIRECT: u64 = 1 << 17;
pub(super) const SERVICE_UNSURE: u64 = 1 << 18;
pub(super) const SERVICE_CALLERS_BEGIN: u64 = 1 << 19;
pub(super) const SERVICE_WORDS: usize = 1 + VERSIONS_MAX / 2;
pub(super) const NETWORK_WORDS: usize = 3;
pub(super) const ENDPOINT_WORDS: usize = 3;
pub(super) const SOURCE_WORDS: usize = 2;

pub(super) const SERVICES_AT: usize = 16;
pub(super) const NETWORKS_AT: usize = SERVICES_AT + SERVICES_MAX * SERVICE_WORDS;
pub(super) const ENDPOINTS_AT: usize = NETWORKS_AT + NETWORKS_MAX * NETWORK_WORDS;
pub(super) const SOURCES_AT: usize = ENDPOINTS_AT + ENDPOINTS_MAX * ENDPOINT_WORDS;
pub(super) const BUFFER_WORDS: usize = SOURCES_AT + SOURCES_MAX * SOURCE_WORDS;

/// The length of the file.
pub const FILE_BYTES: usize = FILE_WORDS * 8;
/// The length of the table in words.
pub const FILE_WORDS: usize = BUFFERS_AT + 2 * BUFFER_WORDS;

/// The word at which the buffer of this epoch begins.
pub(super) fn buffer_at(epoch: u64) -> usize {
    BUFFERS_AT + (epoch % 2) as usize * BUFFER_WORDS
}

/// The two words of an address.
pub(super) fn halves(number: u128) -> [u64; 2] {
    [(number >> 64) as u64, number as u64]
}

//! The keyring as words, read without locks and without allocation.
//!
//! ```text
//! 0: magic   1: epoch, 0 before the first   8..: two buffers
//! buffer   0: 1 when proofs are demanded   1: signing generation   2: how many keys   3: how many endpoints
//! key      0: generation   1..=4: the key     endpoint   0, 1: address   2: port dialled | port reached << 16
//! ```

use super::{ENDPOINTS_MAX, KEYS_MAX, Keyring};
use crate::address::{canonical, number};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// "UPSTKEY" and the version of the layout.
const MAGIC: u64 = u64::from_le_bytes(*b"UPSTKEY\x01");
const MAGIC_AT: usize = 0;
const EPOCH_AT: usize = 1;
const BUFFERS_AT: usize = 8;

const DEMANDED: usize = 0;
const SIGNING: usize = 1;
const KEYS: usize = 2;
const ENDPOINTS: usize = 3;
const KEYS_AT: usize = 4;
const KEY_WORDS: usize = 5;
const ENDPOINTS_AT: usize = KEYS_AT + KEYS_MAX * KEY_WORDS;
const ENDPOINT_WORDS: usize = 3;
const BUFFER_WORDS: usize = ENDPOINTS_AT + ENDPOINTS_MAX * ENDPOINT_WORDS;

/// How much memory a keyring takes: whole pages.
pub const BYTES: usize = 16 * 1024;
/// The same in words.
pub const WORDS: usize = BYTES / 8;
const _: () = assert!(BUFFERS_AT + 2 * BUFFER_WORDS <= WORDS);

/// Reads are repeated this often; a writer would have to publish twice within each of them for all to fail.
const TRIES: usize = 64;

/// A keyring in memory that is written by one and read by many.
#[derive(Debug)]
pub struct HeldKeyring<W> {
    words: W,
}

/// A keyring as it is read.
#[derive(Clone, Copy, Debug)]
pub struct KeyringView<'a> {
    words: &'a [AtomicU64],
}

/// One buffer during one read.
#[derive(Clone, Copy)]
pub(super) struct KeyringBuffer<'a> {
    words: &'a [AtomicU64],
}

impl HeldKeyring<Box<[AtomicU64]>> {
    /// A keyring in memory of this process alone, with nothing in it yet.
    pub fn private() -> Self {
        let words: Box<[AtomicU64]> = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
        words[MAGIC_AT].store(MAGIC, Ordering::Release);
        Self { words }
    }
}

impl<W: AsRef<[AtomicU64]>> HeldKeyring<W> {
    /// Makes a keyring of memory of [`WORDS`] words, with nothing in it yet; `None` where it is shorter.
    pub fn new(words: W) -> Option<Self> {
        if words.as_ref().len() < WORDS {
            return None;
        }
        words.as_ref()[MAGIC_AT].store(MAGIC, Ordering::Release);
        Some(Self { words })
    }

    /// Puts this keyring in force for all who have the memory. Of keys and endpoints beyond their limits the first count.
    pub fn publish(&self, keyring: &Keyring) {
        let words = self.words.as_ref();
        let epoch = words[EPOCH_AT].load(Ordering::Acquire) + 1;
        let begin = buffer_at(epoch);
        let buffer = &words[begin..begin + BUFFER_WORDS];
        let put = |at: usize, value: u64| buffer[at].store(value, Ordering::Release);
        let keys = &keyring.keys[..keyring.keys.len().min(KEYS_MAX)];
        let endpoints = &keyring.endpoints[..keyring.endpoints.len().min(ENDPOINTS_MAX)];
        // A key that has ended is not left behind.
        (0..BUFFER_WORDS).for_each(|at| put(at, 0));
        put(DEMANDED, u64::from(keyring.demanded));
        put(SIGNING, u64::from(keyring.signing.unwrap_or(0)));
        put(KEYS, keys.len() as u64);
        put(ENDPOINTS, endpoints.len() as u64);
        for (index, key) in keys.iter().enumerate() {
            let at = KEYS_AT + index * KEY_WORDS;
            put(at, u64::from(key.generation));
            for (offset, word) in key.key.as_chunks::<8>().0.iter().enumerate() {
                put(at + 1 + offset, u64::from_le_bytes(*word));
            }
        }
        for (index, endpoint) in endpoints.iter().enumerate() {
            let at = ENDPOINTS_AT + index * ENDPOINT_WORDS;
            let dialled = canonical(endpoint.at);
            let ip = number(dialled.ip());
            put(at, (ip >> 64) as u64);
            put(at + 1, ip as u64);
            put(at + 2, ports(dialled.port(), endpoint.port));
        }
        words[EPOCH_AT].store(epoch, Ordering::Release);
        let former = buffer_at(epoch + 1);
        // Nor is it left in the other buffer: whoever reads there now repeats the read.
        for word in &words[former..former + BUFFER_WORDS] {
            word.store(0, Ordering::Release);
        }
    }

    /// What hooks see of it.
    pub fn view(&self) -> KeyringView<'_> {
        KeyringView {
            words: self.words.as_ref(),
        }
    }
}

impl<'a> KeyringView<'a> {
    /// A view of these words; `None` when they are no keyring of this layout.
    pub fn new(words: &'a [AtomicU64]) -> Option<Self> {
        let known = words.len() >= WORDS && words[MAGIC_AT].load(Ordering::Relaxed) == MAGIC;
        known.then_some(Self { words })
    }

    /// What `look` finds in the buffer in force; `None` when nothing was published yet. It may run several times and must only look.
    pub(super) fn read<T>(&self, look: impl Fn(KeyringBuffer<'a>) -> T) -> Option<T> {
        for _ in 0..TRIES {
            let epoch = self.words[EPOCH_AT].load(Ordering::Acquire);
            if epoch == 0 {
                return None;
            }
            let begin = buffer_at(epoch);
            let found = look(KeyringBuffer {
                words: &self.words[begin..begin + BUFFER_WORDS],
            });
            fence(Ordering::Acquire);
            if self.words[EPOCH_AT].load(Ordering::Relaxed) == epoch {
                return Some(found);
            }
        }
        None
    }
}

impl KeyringBuffer<'_> {
    fn word(&self, at: usize) -> u64 {
        self.words[at].load(Ordering::Relaxed)
    }

    pub(super) fn demanded(&self) -> bool {
        self.word(DEMANDED) != 0
    }

    pub(super) fn signing(&self) -> Option<u32> {
        Some(self.word(SIGNING) as u32).filter(|generation| *generation > 0)
    }

    pub(super) fn key(&self, generation: u32) -> Option<[u8; 32]> {
        let count = (self.word(KEYS) as usize).min(KEYS_MAX);
        let mut places = (0..count).map(|index| KEYS_AT + index * KEY_WORDS);
        let at = places.find(|at| self.word(*at) == u64::from(generation))?;
        let mut key = [0; 32];
        for (offset, word) in key.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            *word = self.word(at + 1 + offset).to_le_bytes();
        }
        Some(key)
    }

    /// Whether who dials this (canonical) address arrives at this port of the node.
    pub(super) fn leads(&self, dialled: SocketAddr, port: u16) -> bool {
        let count = (self.word(ENDPOINTS) as usize).min(ENDPOINTS_MAX);
        let wanted = number(dialled.ip());
        let wanted = [
            (wanted >> 64) as u64,
            wanted as u64,
            ports(dialled.port(), port),
        ];
        (0..count)
            .map(|index| ENDPOINTS_AT + index * ENDPOINT_WORDS)
            .any(|at| [self.word(at), self.word(at + 1), self.word(at + 2)] == wanted)
    }
}

fn ports(dialled: u16, reached: u16) -> u64 {
    u64::from(dialled) | u64::from(reached) << 16
}

fn buffer_at(epoch: u64) -> usize {
    BUFFERS_AT + (epoch % 2) as usize * BUFFER_WORDS
}

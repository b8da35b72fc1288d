//! Reading a table without locks: the hooks' side. No allocation; a torn read is noticed by the epoch and repeated.

use super::layout::{
    BUFFER_WORDS, DOUBTFUL, ENDPOINT_WORDS, ENDPOINTS, ENDPOINTS_AT, EPOCH_AT, FILE_WORDS,
    FLAG_COOKIES, FLAG_LOCAL_LABELS_PROMPT, FLAG_PROBING, FLAG_REFUSE_MEMBERS, FLAG_SIGNS, FLAGS,
    LOCK, MAGIC, MAGIC_AT, NETWORK_WORDS, NETWORKS, NETWORKS_AT, SERVICE_CALLERS_BEGIN,
    SERVICE_KEPT, SERVICE_PUBLIC_DIRECT, SERVICE_UNSURE, SERVICE_WORDS, SERVICES, SERVICES_AT,
    SOURCE_WORDS, SOURCES, SOURCES_AT, STOPPING_UNTIL, SYSTEM, VERSION_NODE, buffer_at,
};
use super::{ENDPOINTS_MAX, NETWORKS_MAX, SERVICES_MAX, SOURCES_MAX, VERSIONS_MAX};
use crate::address::number;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Reads are repeated this often; a writer would have to publish twice within each of them for all to fail.
const TRIES: usize = 64;

/// The mapped file.
#[derive(Clone, Copy, Debug)]
pub struct TableView<'a> {
    words: &'a [AtomicU64],
}

/// One buffer during one read.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    words: &'a [AtomicU64],
}

/// A declared service, as hooks see it.
#[derive(Clone, Copy, Debug)]
pub struct ServiceView<'a> {
    words: &'a [AtomicU64],
    head: u64,
}

impl<'a> TableView<'a> {
    /// A view of these words; `None` when they are not a table of this layout.
    pub fn new(words: &'a [AtomicU64]) -> Option<Self> {
        let known =
            words.len() >= FILE_WORDS && words[MAGIC_AT].load(Ordering::Relaxed) == MAGIC.to_le();
        known.then_some(Self { words })
    }

    /// Calls `look` with a buffer and returns what it found, or `None` when nothing was published yet. `look` may run
    /// several times and must only look.
    pub fn read<T>(&self, look: impl Fn(Snapshot<'a>) -> T) -> Option<T> {
        for _ in 0..TRIES {
            let epoch = u64::from_le(self.words[EPOCH_AT].load(Ordering::Acquire));
            if epoch == 0 {
                return None;
            }
            let begin = buffer_at(epoch);
            let found = look(Snapshot {
                words: &self.words[begin..begin + BUFFER_WORDS],
            });
            fence(Ordering::Acquire);
            if self.words[EPOCH_AT].load(Ordering::Relaxed) == epoch.to_le() {
                return Some(found);
            }
        }
        None
    }
}

impl<'a> Snapshot<'a> {
    fn word(&self, at: usize) -> u64 {
        load(self.words, at)
    }

    fn count(&self, at: usize, limit: usize) -> usize {
        (self.word(at) as usize).min(limit)
    }

    /// The system.
    pub fn system(&self) -> u64 {
        self.word(SYSTEM)
    }

    /// The child's version.
    pub fn version(&self) -> u32 {
        self.word(VERSION_NODE) as u32
    }

    /// The child's node.
    pub fn node(&self) -> u32 {
        (self.word(VERSION_NODE) >> 32) as u32
    }

    /// Its agent's lock.
    pub fn agent_lock(&self) -> [u8; 16] {
        join(self.word(LOCK), self.word(LOCK + 1)).to_be_bytes()
    }

    /// See [`super::Table::probing`].
    pub fn probing(&self) -> bool {
        self.word(FLAGS) & FLAG_PROBING != 0
    }

    /// See [`super::Table::refuse_members`].
    pub fn refuse_members(&self) -> bool {
        self.word(FLAGS) & FLAG_REFUSE_MEMBERS != 0
    }

    /// See [`super::Table::local_labels_prompt`].
    pub fn local_labels_prompt(&self) -> bool {
        self.word(FLAGS) & FLAG_LOCAL_LABELS_PROMPT != 0
    }

    /// See [`super::Table::stopping_until_ms`].
    pub fn stopping(&self, now_ms: u64) -> bool {
        now_ms < self.word(STOPPING_UNTIL)
    }

    /// See [`super::Table::cookies`].
    pub fn cookies(&self) -> bool {
        self.word(FLAGS) & FLAG_COOKIES != 0
    }

    /// See [`super::Table::signs`].
    pub fn signs(&self) -> bool {
        self.word(FLAGS) & FLAG_SIGNS != 0
    }

    /// The declared service at this port.
    pub fn service(&self, port: u16) -> Option<ServiceView<'a>> {
        (0..self.count(SERVICES, SERVICES_MAX)).find_map(|index| {
            let at = SERVICES_AT + index * SERVICE_WORDS;
            let head = self.word(at);
            (head as u16 == port).then_some(ServiceView {
                words: &self.words[at..at + SERVICE_WORDS],
                head,
            })
        })
    }

    /// A member listens at this (canonical) address.
    pub fn is_endpoint(&self, address: SocketAddr) -> bool {
        self.has_endpoint(address, 0, self.count(ENDPOINTS, ENDPOINTS_MAX))
    }

    /// Nobody has shown lately that a member still listens at this (canonical) address, which is an endpoint.
    pub fn is_doubtful(&self, address: SocketAddr) -> bool {
        let count = self.count(DOUBTFUL, ENDPOINTS_MAX);
        count > 0 && self.has_endpoint(address, ENDPOINTS_MAX - count, count)
    }

    /// Whether this address is among so many sorted ones, of which this is the first.
    fn has_endpoint(&self, address: SocketAddr, first: usize, count: usize) -> bool {
        let wanted = (number(address.ip()), u64::from(address.port()));
        search(count, |index| {
            let at = ENDPOINTS_AT + (first + index) * ENDPOINT_WORDS;
            (join(self.word(at), self.word(at + 1)), self.word(at + 2)).cmp(&wanted)
        })
    }

    /// Labels from this (canonical) address are honoured.
    pub fn is_source(&self, ip: IpAddr) -> bool {
        let wanted = number(ip);
        let listed = search(self.count(SOURCES, SOURCES_MAX), |index| {
            let at = SOURCES_AT + index * SOURCE_WORDS;
            join(self.word(at), self.word(at + 1)).cmp(&wanted)
        });
        listed || self.is_in_network(ip)
    }

    /// This (canonical) address belongs to a declared network.
    pub fn is_in_network(&self, ip: IpAddr) -> bool {
        let wanted = number(ip);
        (0..self.count(NETWORKS, NETWORKS_MAX)).any(|index| {
            let at = NETWORKS_AT + index * NETWORK_WORDS;
            let network = join(self.word(at), self.word(at + 1));
            let host_bits = 128u32.saturating_sub(self.word(at + 2) as u32);
            (network ^ wanted).checked_shr(host_bits).unwrap_or(0) == 0
        })
    }
}

impl ServiceView<'_> {
    /// See [`super::Service::kept`].
    pub fn kept(&self) -> bool {
        self.head & SERVICE_KEPT != 0
    }

    /// See [`super::Service::public_direct`].
    pub fn public_direct(&self) -> bool {
        self.head & SERVICE_PUBLIC_DIRECT != 0
    }

    /// See [`super::Service::unsure`].
    pub fn unsure(&self) -> bool {
        self.head & SERVICE_UNSURE != 0
    }

    /// See [`super::Service::callers_begin`].
    pub fn callers_begin(&self) -> bool {
        self.head & SERVICE_CALLERS_BEGIN != 0
    }

    /// This version has the present interface.
    pub fn speaks(&self, version: u32) -> bool {
        let count = ((self.head >> 32) as usize).min(VERSIONS_MAX);
        (0..count)
            .any(|index| (load(self.words, 1 + index / 2) >> (32 * (index % 2))) as u32 == version)
    }
}

fn load(words: &[AtomicU64], at: usize) -> u64 {
    u64::from_le(words[at].load(Ordering::Relaxed))
}

fn join(high: u64, low: u64) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}

/// Binary search; terminates whatever the words say.
fn search(count: usize, compare: impl Fn(usize) -> std::cmp::Ordering) -> bool {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        match compare(middle) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    false
}

//! Publishing a table: the agent's side.

use super::layout::{
    DOUBTFUL, ENDPOINT_WORDS, ENDPOINTS, ENDPOINTS_AT, EPOCH_AT, FILE_BYTES, FILE_WORDS,
    FLAG_COOKIES, FLAG_LOCAL_LABELS_PROMPT, FLAG_PROBING, FLAG_REFUSE_MEMBERS, FLAG_SIGNS, FLAGS,
    LOCK, MAGIC, MAGIC_AT, NETWORK_WORDS, NETWORKS, NETWORKS_AT, SERVICE_CALLERS_BEGIN,
    SERVICE_KEPT, SERVICE_PUBLIC_DIRECT, SERVICE_UNSURE, SERVICE_WORDS, SERVICES, SERVICES_AT,
    SOURCES, SOURCES_AT, STOPPING_UNTIL, SYSTEM, VERSION_NODE, buffer_at, halves,
};
use super::{
    ENDPOINTS_MAX, NETWORKS_MAX, SERVICES_MAX, SOURCES_MAX, Table, TableError, TableService,
    VERSIONS_MAX,
};
use crate::address::{canonical, number};
use crate::words::Words;
use std::fs::OpenOptions;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

/// Any user may read it, since software may change its user as it likes; there is nothing secret in it. Hooks believe it, so
/// that nobody but its owner may write.
const MODE: u32 = 0o644;

/// A table to be published, in shared memory or in a file. One writer at a time (the node's lock sees to it).
#[derive(Debug)]
pub struct TableFile {
    words: Words,
    path: PathBuf,
    epoch: u64,
}

/// All of it is written, so that a table can be published while the disk is full.
fn make(words: &Words) -> io::Result<()> {
    words.write(0, &vec![0; FILE_WORDS])?;
    words.write(MAGIC_AT, &[MAGIC])
}

impl TableFile {
    /// Opens the file, or makes it; what was published before stays in force until the next [`publish`](Self::publish).
    ///
    /// # Errors
    /// The file cannot be opened, read or written, or it is no table of this layout.
    pub fn open(path: &Path) -> Result<Self, TableError> {
        let failed = |source| TableError::File {
            path: path.to_owned(),
            source,
        };
        let options = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(MODE)
            .clone();
        let file = options.open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let words = Words::File(file);
        if length == 0
            && let Err(error) = make(&words)
        {
            if let Words::File(file) = &words {
                // Half a table would be taken for somebody else's file; an empty one is made again.
                let _ = file.set_len(0);
            }
            return Err(failed(error));
        }
        match length {
            0 => Self::of(words, path),
            length if length == FILE_BYTES as u64 => Self::of(words, path),
            _ => Err(TableError::NotATable {
                path: path.to_owned(),
            }),
        }
    }

    /// The table in shared memory: the one that is there, or, where nothing is yet, a new one. `name` is told where something fails.
    ///
    /// # Errors
    /// Something else lies there.
    pub fn in_memory(words: &'static [AtomicU64], name: &str) -> Result<Self, TableError> {
        let path = PathBuf::from(name);
        let words = Words::Memory(words);
        let failed = |source| TableError::File {
            path: path.clone(),
            source,
        };
        if words.read(MAGIC_AT, 1).map_err(failed)? == [0] {
            words.write(MAGIC_AT, &[MAGIC]).map_err(failed)?;
        }
        Self::of(words, &path)
    }

    fn of(words: Words, path: &Path) -> Result<Self, TableError> {
        let failed = |source| TableError::File {
            path: path.to_owned(),
            source,
        };
        if words.read(MAGIC_AT, 1).map_err(failed)? != [MAGIC] {
            return Err(TableError::NotATable {
                path: path.to_owned(),
            });
        }
        let epoch = words.read(EPOCH_AT, 1).map_err(failed)?[0];
        Ok(Self {
            words,
            path: path.to_owned(),
            epoch,
        })
    }

    /// Puts this table in force: every hook that starts afterwards goes by it.
    ///
    /// # Errors
    /// The table is too large, or the file cannot be written; the one before stays in force.
    pub fn publish(&mut self, table: &Table) -> Result<(), TableError> {
        let sections = encode(table)?;
        self.write(&sections).map_err(|source| TableError::File {
            path: self.path.clone(),
            source,
        })
    }

    fn write(&mut self, sections: &[(usize, Vec<u64>)]) -> io::Result<()> {
        let epoch = self.epoch + 1;
        for (at, words) in sections {
            self.words.write(buffer_at(epoch) + at, words)?;
        }
        self.words.write(EPOCH_AT, &[epoch])?;
        self.epoch = epoch;
        Ok(())
    }
}

/// The used parts of a buffer: where each begins, and its words.
pub(super) fn encode(table: &Table) -> Result<[(usize, Vec<u64>); 6], TableError> {
    fits("services", table.services.len(), SERVICES_MAX)?;
    fits("networks", table.networks.len(), NETWORKS_MAX)?;
    let endpoints = sorted(&table.endpoints);
    fits("endpoints", endpoints.len(), ENDPOINTS_MAX)?;
    let mut doubtful = sorted(&table.doubtful);
    doubtful.truncate(ENDPOINTS_MAX - endpoints.len());
    let mut sources: Vec<_> = table
        .sources
        .iter()
        .map(|ip| number(ip.to_canonical()))
        .collect();
    sources.sort_unstable();
    sources.dedup();
    fits("sources", sources.len(), SOURCES_MAX)?;

    let head = head(table, endpoints.len(), doubtful.len(), sources.len());
    let services = table.services.iter().flat_map(service).collect();
    let networks = table
        .networks
        .iter()
        .flat_map(|network| network_words(*network))
        .collect();
    let doubtful_at = ENDPOINTS_AT + (ENDPOINTS_MAX - doubtful.len()) * ENDPOINT_WORDS;
    let sources = sources.iter().flat_map(|ip| halves(*ip));
    Ok([
        (0, head),
        (SERVICES_AT, services),
        (NETWORKS_AT, networks),
        (ENDPOINTS_AT, endpoint_words(&endpoints)),
        (doubtful_at, endpoint_words(&doubtful)),
        (SOURCES_AT, sources.collect()),
    ])
}

/// Each of these addresses once, in the order in which hooks look for them.
fn sorted(endpoints: &[SocketAddr]) -> Vec<(u128, u16)> {
    let mut sorted: Vec<_> = (endpoints.iter())
        .map(|at| canonical(*at))
        .map(|at| (number(at.ip()), at.port()))
        .collect();
    sorted.sort_unstable();
    sorted.dedup();
    sorted
}

fn endpoint_words(endpoints: &[(u128, u16)]) -> Vec<u64> {
    let words = endpoints.iter().flat_map(|(ip, port)| {
        let [high, low] = halves(*ip);
        [high, low, u64::from(*port)]
    });
    words.collect()
}

fn fits(what: &'static str, count: usize, limit: usize) -> Result<(), TableError> {
    if count > limit {
        Err(TableError::TooMany { what, count, limit })
    } else {
        Ok(())
    }
}

fn head(table: &Table, endpoints: usize, doubtful: usize, sources: usize) -> Vec<u64> {
    let mut head = vec![0; SERVICES_AT];
    head[SYSTEM] = table.system;
    head[VERSION_NODE] = u64::from(table.version) | u64::from(table.node) << 32;
    let lock = u128::from_be_bytes(table.agent_lock);
    head[LOCK..LOCK + 2].copy_from_slice(&halves(lock));
    head[FLAGS] = flag(table.probing, FLAG_PROBING)
        | flag(table.refuse_members, FLAG_REFUSE_MEMBERS)
        | flag(table.local_labels_prompt, FLAG_LOCAL_LABELS_PROMPT)
        | flag(table.cookies, FLAG_COOKIES)
        | flag(table.signs, FLAG_SIGNS);
    head[SERVICES] = table.services.len() as u64;
    head[ENDPOINTS] = endpoints as u64;
    head[DOUBTFUL] = doubtful as u64;
    head[SOURCES] = sources as u64;
    head[NETWORKS] = table.networks.len() as u64;
    head[STOPPING_UNTIL] = table.stopping_until_ms;
    head
}

fn flag(set: bool, bit: u64) -> u64 {
    if set { bit } else { 0 }
}

fn service(service: &TableService) -> [u64; SERVICE_WORDS] {
    let mut versions = service.versions.clone();
    versions.sort_unstable();
    let newest = &versions[versions.len().saturating_sub(VERSIONS_MAX)..];
    let mut words = [0; SERVICE_WORDS];
    words[0] = u64::from(service.port)
        | flag(service.kept, SERVICE_KEPT)
        | flag(service.public_direct, SERVICE_PUBLIC_DIRECT)
        | flag(service.unsure, SERVICE_UNSURE)
        | flag(service.callers_begin, SERVICE_CALLERS_BEGIN)
        | (newest.len() as u64) << 32;
    for (index, version) in newest.iter().enumerate() {
        words[1 + index / 2] |= u64::from(*version) << (32 * (index % 2));
    }
    words
}

fn network_words((ip, prefix): (std::net::IpAddr, u8)) -> [u64; NETWORK_WORDS] {
    let prefix = if ip.is_ipv4() {
        prefix.min(32) + 96
    } else {
        prefix.min(128)
    };
    let [high, low] = halves(number(ip));
    [high, low, u64::from(prefix)]
}

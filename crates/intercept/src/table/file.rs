//! Publishing a table: the agent's side.

use super::layout::*;
use super::{
    ENDPOINTS_MAX, NETWORKS_MAX, SERVICES_MAX, SOURCES_MAX, Service, Table, TableError,
    VERSIONS_MAX,
};
use crate::address::{canonical, number};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Any user may read it, since software may change its user as it likes; there is nothing secret in it. Hooks believe it, so
/// that nobody but its owner may write.
const MODE: u32 = 0o644;

/// An open table file. One writer at a time (the node's lock sees to it).
#[derive(Debug)]
pub struct TableFile {
    file: File,
    path: PathBuf,
    epoch: u64,
}

/// All of it is written, so that a table can be published while the disk is full.
fn make(file: &File) -> io::Result<()> {
    file.write_all_at(&vec![0; FILE_BYTES], 0)?;
    write_words(file, MAGIC_AT, &[MAGIC])
}

impl TableFile {
    /// Opens the file, or makes it; what was published before stays in force until the next [`publish`](Self::publish).
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
        if file.metadata().map_err(failed)?.len() == 0
            && let Err(error) = make(&file)
        {
            // Half a table would be taken for somebody else's file; an empty one is made again.
            let _ = file.set_len(0);
            return Err(failed(error));
        }
        let magic = read_word(&file, MAGIC_AT).map_err(failed)?;
        let whole = file.metadata().map_err(failed)?.len() == FILE_BYTES as u64;
        if magic != MAGIC || !whole {
            return Err(TableError::NotATable {
                path: path.to_owned(),
            });
        }
        let epoch = read_word(&file, EPOCH_AT).map_err(failed)?;
        Ok(Self {
            file,
            path: path.to_owned(),
            epoch,
        })
    }

    /// Puts this table in force: every hook that starts afterwards goes by it.
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
            write_words(&self.file, buffer_at(epoch) + at, words)?;
        }
        write_words(&self.file, EPOCH_AT, &[epoch])?;
        self.epoch = epoch;
        Ok(())
    }
}

fn write_words(file: &File, at: usize, words: &[u64]) -> io::Result<()> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    file.write_all_at(&bytes, at as u64 * 8)
}

fn read_word(file: &File, at: usize) -> io::Result<u64> {
    let mut bytes = [0; 8];
    match file.read_exact_at(&mut bytes, at as u64 * 8) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        read => read.map(|()| u64::from_le_bytes(bytes)),
    }
}

/// The used parts of a buffer: where each begins, and its words.
pub(super) fn encode(table: &Table) -> Result<[(usize, Vec<u64>); 5], TableError> {
    fits("services", table.services.len(), SERVICES_MAX)?;
    fits("networks", table.networks.len(), NETWORKS_MAX)?;
    let mut endpoints: Vec<_> = table
        .endpoints
        .iter()
        .map(|at| canonical(*at))
        .map(|at| (number(at.ip()), at.port()))
        .collect();
    endpoints.sort_unstable();
    endpoints.dedup();
    fits("endpoints", endpoints.len(), ENDPOINTS_MAX)?;
    let mut sources: Vec<_> = table
        .sources
        .iter()
        .map(|ip| number(ip.to_canonical()))
        .collect();
    sources.sort_unstable();
    sources.dedup();
    fits("sources", sources.len(), SOURCES_MAX)?;

    let head = head(table, endpoints.len(), sources.len());
    let services = table.services.iter().flat_map(service).collect();
    let networks = table
        .networks
        .iter()
        .flat_map(|network| network_words(*network))
        .collect();
    let endpoints = endpoints.iter().flat_map(|(ip, port)| {
        let [high, low] = halves(*ip);
        [high, low, u64::from(*port)]
    });
    let sources = sources.iter().flat_map(|ip| halves(*ip));
    Ok([
        (0, head),
        (SERVICES_AT, services),
        (NETWORKS_AT, networks),
        (ENDPOINTS_AT, endpoints.collect()),
        (SOURCES_AT, sources.collect()),
    ])
}

fn fits(what: &'static str, count: usize, limit: usize) -> Result<(), TableError> {
    if count > limit {
        Err(TableError::TooMany { what, count, limit })
    } else {
        Ok(())
    }
}

fn head(table: &Table, endpoints: usize, sources: usize) -> Vec<u64> {
    let mut head = vec![0; SERVICES_AT];
    head[SYSTEM] = table.system;
    head[VERSION_NODE] = u64::from(table.version) | u64::from(table.node) << 32;
    let lock = u128::from_be_bytes(table.agent_lock);
    head[LOCK..LOCK + 2].copy_from_slice(&halves(lock));
    head[FLAGS] = flag(table.probing, FLAG_PROBING)
        | flag(table.refuse_members, FLAG_REFUSE_MEMBERS)
        | flag(table.local_labels_prompt, FLAG_LOCAL_LABELS_PROMPT)
        | flag(table.cookies, FLAG_COOKIES);
    head[SERVICES] = table.services.len() as u64;
    head[ENDPOINTS] = endpoints as u64;
    head[SOURCES] = sources as u64;
    head[NETWORKS] = table.networks.len() as u64;
    head[STOPPING_UNTIL] = table.stopping_until_ms;
    head
}

fn flag(set: bool, bit: u64) -> u64 {
    if set { bit } else { 0 }
}

fn service(service: &Service) -> [u64; SERVICE_WORDS] {
    let mut versions = service.versions.clone();
    versions.sort_unstable();
    let newest = &versions[versions.len().saturating_sub(VERSIONS_MAX)..];
    let mut words = [0; SERVICE_WORDS];
    words[0] = u64::from(service.port)
        | flag(service.kept, SERVICE_KEPT)
        | flag(service.public_direct, SERVICE_PUBLIC_DIRECT)
        | flag(service.unsure, SERVICE_UNSURE)
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

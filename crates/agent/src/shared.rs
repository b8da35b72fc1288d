//! What the software's processes share with their agent: the member table, and the counters. They lie in segments of memory
//! ([`interpose::segment`]), so that nothing that is done to a file can end the software or make it go by nothing. A file in the data
//! directory says which segments they are; they last as long as agent, holder or software have them.

use intercept::environment::{self, segment_name};
use intercept::stats::{self, StatsFile, StatsSnapshot};
use intercept::table::{self, TableError, TableFile};
use interpose::segment::{self, Segment};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// Every user may look at the table, since software may change its user as it likes; nobody but its maker may write to it.
const TABLE_MODE: i32 = 0o644;

/// Those who run the software may count.
const STATS_MODE: i32 = 0o600;

/// Table and counters of a node.
#[derive(Debug)]
pub(crate) struct Shared {
    table: Segment,
    stats: Segment,
}

/// Which segments they are, for the next agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SharingNote {
    /// Numbers count from one boot to the next, and in one namespace.
    boot: String,
    namespace: PathBuf,
    table: (i32, u64),
    stats: (i32, u64),
}

/// Where it is noted.
fn path(data: &Path) -> PathBuf {
    data.join("shared")
}

impl Shared {
    /// Those of a node: the ones that are there, else new ones. Software that runs (its processes) goes by the ones that it has.
    ///
    /// # Errors
    /// There are none although software runs that has some, or none can be made.
    pub(crate) fn open(data: &Path, software: Option<&[i32]>) -> Result<Self, TableError> {
        if let Some(there) = Self::there(data, true) {
            return Ok(there);
        }
        if let Some(processes) = software {
            // Nobody but the software may know them any more.
            let found = processes.iter().find_map(|pid| Self::of_process(*pid));
            let found = found.ok_or_else(|| TableError::NotATable { path: path(data) })?;
            found.note(data);
            return Ok(found);
        }
        let failed = |source| TableError::File {
            path: path(data),
            source,
        };
        let made = Self::make().map_err(failed)?;
        made.note(data);
        Ok(made)
    }

    /// Where it cannot be noted, the next agent asks the software, or makes new ones.
    fn note(&self, data: &Path) {
        let noted = SharingNote {
            boot: boot(),
            namespace: namespace(),
            table: (self.table.id, self.table.mark),
            stats: (self.stats.id, self.stats.mark),
        };
        crate::cached::save_small(&path(data), &noted);
    }

    /// Those that a process was told of.
    fn of_process(pid: i32) -> Option<Self> {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
        let find = |name: &str| {
            let mut variables = environment.split(|byte| *byte == 0);
            variables.find_map(|variable| {
                let value = variable.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
                environment::segment(value)
            })
        };
        Self::take(find(environment::TABLE)?, find(environment::STATS)?, true)
    }

    fn take(table: (i32, u64), stats: (i32, u64), writable: bool) -> Option<Self> {
        let take = |(id, mark), words| segment::attach(id, mark, words, writable).ok();
        Some(Self {
            table: take(table, table::FILE_WORDS)?,
            stats: take(stats, stats::FILE_WORDS)?,
        })
    }

    fn make() -> io::Result<Self> {
        let create = |words, mode| {
            segment::create(words, mode, rand::random()).map_err(io::Error::from_raw_os_error)
        };
        Ok(Self {
            table: create(table::FILE_WORDS, TABLE_MODE)?,
            stats: create(stats::FILE_WORDS, STATS_MODE)?,
        })
    }

    /// Those that are noted, if they are there still.
    fn there(data: &Path, writable: bool) -> Option<Self> {
        let noted: SharingNote = crate::cached::load(&path(data))?;
        if noted.boot != boot() || noted.namespace != namespace() {
            return None;
        }
        Self::take(noted.table, noted.stats, writable)
    }

    /// The table, to be published.
    pub(crate) fn table(&self) -> Result<TableFile, TableError> {
        TableFile::in_memory(self.table.words, &self.table_name())
    }

    /// The counters, to be read.
    pub(crate) fn stats(&self) -> io::Result<StatsFile> {
        StatsFile::in_memory(self.stats.words)
    }

    /// What the software is told of the table.
    pub(crate) fn table_name(&self) -> String {
        segment_name(self.table.id, self.table.mark)
    }

    /// What the software is told of the counters.
    pub(crate) fn stats_name(&self) -> String {
        segment_name(self.stats.id, self.stats.mark)
    }

    /// Lets the software's user count.
    pub(crate) fn give_stats(&self, user: u32, group: u32) -> io::Result<()> {
        segment::give(self.stats.id, user, group).map_err(io::Error::from_raw_os_error)
    }
}

/// What the hooks of a node that runs have counted.
///
/// # Errors
/// The node has no counters: nothing of it runs.
pub fn counted(data: &Path) -> io::Result<StatsSnapshot> {
    let shared = Shared::there(data, false).ok_or(io::ErrorKind::NotFound)?;
    shared.stats()?.read()
}

/// What every user of the machine can read of a node that runs: the words of its table.
///
/// # Errors
/// The node has no table: nothing of it runs.
pub fn published(data: &Path) -> io::Result<Vec<u64>> {
    let shared = Shared::there(data, false).ok_or(io::ErrorKind::NotFound)?;
    let words = shared.table.words.iter();
    Ok(words.map(|word| word.load(Ordering::Acquire)).collect())
}

fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

fn namespace() -> PathBuf {
    std::fs::read_link("/proc/self/ns/ipc").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use intercept::table::Table;

    #[test]
    fn the_next_agent_finds_what_is_there_and_nothing_done_to_files_harms_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path();
        let first = Shared::open(data, None).expect("made");
        let mut table = first.table().expect("a table");
        table.publish(&Table::default()).expect("published");
        let next = Shared::open(data, Some(&[])).expect("found");
        assert_eq!(next.table_name(), first.table_name());
        assert_eq!(next.stats_name(), first.stats_name());
        // Whatever lies in the data directory is emptied; who has the table looks at it all the same.
        for entry in std::fs::read_dir(data).expect("there") {
            std::fs::write(entry.expect("an entry").path(), "").expect("emptied");
        }
        table.publish(&Table::default()).expect("published");
        assert!(first.stats().and_then(|stats| stats.read()).is_ok());
        let lost = Shared::open(data, Some(&[]));
        assert!(
            matches!(lost, Err(TableError::NotATable { .. })),
            "{lost:?}"
        );
        // The software knows what it was told.
        let mut software = std::process::Command::new("sleep");
        software
            .arg("60")
            .env(environment::TABLE, first.table_name())
            .env(environment::STATS, first.stats_name());
        let mut software = software.spawn().expect("sleep");
        let pid = i32::try_from(software.id()).expect("a pid");
        // A program that has just begun shows no environment for a moment.
        while std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|told| told.is_empty()) {
            std::thread::yield_now();
        }
        let asked = Shared::open(data, Some(&[pid])).expect("found");
        assert_eq!(asked.table_name(), first.table_name());
        software.kill().expect("killed");
        software.wait().expect("reaped");
        std::fs::remove_file(path(data)).expect("removed");
        let new = Shared::open(data, None).expect("made");
        assert_ne!(new.table_name(), first.table_name());
    }
}

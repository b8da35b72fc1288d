//! The agent's side: making the file and reading it.

use super::view::{COUNTERS_AT, FILE_BYTES, MAGIC, PROCESS_WORDS, PROCESSES_AT, PROCESSES_MAX};
use super::{Counter, Deed};
use crate::words::Words;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::AtomicU64;

/// The counters, in shared memory or in a file.
#[derive(Debug)]
pub struct StatsFile {
    words: Words,
}

/// What the file said at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatsSnapshot {
    counters: Vec<u64>,
    /// The processes that hooks saw doing something, ended ones included until their slot is needed.
    pub processes: Vec<ProcessSeen>,
}

/// A process that hooks saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessSeen {
    /// Its number.
    pub pid: u32,
    /// The library in it.
    pub library: u16,
    /// When it was first seen, in ms of the monotonic clock: a process that began later only has the same number.
    pub since_ms: u64,
    deeds: u64,
}

impl StatsFile {
    /// Opens the file, or makes it; what was counted before stays.
    ///
    /// # Errors
    /// The file cannot be opened, read or written.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let mut magic = [0; 8];
        let known = file.read_exact_at(&mut magic, 0).is_ok() && u64::from_le_bytes(magic) == MAGIC;
        if !known || file.metadata()?.len() != FILE_BYTES as u64 {
            file.set_len(0)?;
            // Written, not a hole: a hook that writes into a hole while the disk is full would kill its software (SIGBUS).
            file.write_all_at(&vec![0; FILE_BYTES], 0)?;
            file.write_all_at(&MAGIC.to_le_bytes(), 0)?;
        }
        let words = Words::File(file);
        Ok(Self { words })
    }

    /// Those in shared memory: what is there, or, where nothing is yet, new ones.
    ///
    /// # Errors
    /// Something else lies there.
    pub fn in_memory(words: &'static [AtomicU64]) -> io::Result<Self> {
        let words = Words::Memory(words);
        match words.read(0, 1)?[0] {
            0 => words.write(0, &[MAGIC])?,
            MAGIC => {}
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
        Ok(Self { words })
    }

    /// Reads counters and processes.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&self) -> io::Result<StatsSnapshot> {
        let words = self.words.read(COUNTERS_AT, Counter::ALL.len())?;
        let slots = self
            .words
            .read(PROCESSES_AT, PROCESSES_MAX * PROCESS_WORDS)?;
        let processes = slots
            .as_chunks::<PROCESS_WORDS>()
            .0
            .iter()
            .filter(|slot| slot[0] != 0);
        Ok(StatsSnapshot {
            counters: words,
            processes: processes
                .map(|[head, deeds, since_ms]| ProcessSeen {
                    pid: *head as u32,
                    library: (*head >> 32) as u16,
                    since_ms: *since_ms,
                    deeds: *deeds,
                })
                .collect(),
        })
    }
}

impl StatsSnapshot {
    /// How often this was counted.
    pub fn get(&self, counter: Counter) -> u64 {
        self.counters.get(counter as usize).copied().unwrap_or(0)
    }

    /// All counters that are not zero, with their names.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Counter::ALL
            .iter()
            .map(|counter| (counter.name(), self.get(*counter)))
            .filter(|(_, count)| *count != 0)
    }
}

impl ProcessSeen {
    /// The hooks saw it do this.
    pub fn did(&self, deed: Deed) -> bool {
        self.deeds & deed as u64 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::StatsView;
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn what_hooks_write_the_agent_reads() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("stats");
        let file = StatsFile::open(&path).expect("made");
        let bytes = std::fs::read(&path).expect("read");
        let words: Vec<_> = bytes
            .as_chunks::<8>()
            .0
            .iter()
            .map(|word| AtomicU64::new(u64::from_ne_bytes(*word)))
            .collect();
        let view = StatsView::new(&words).expect("a stats file");
        view.count(Counter::ConnectLabelled);
        view.count(Counter::ConnectLabelled);
        view.count(Counter::PathRemembered);
        let slot = view.process(4242, 1, 99, |_| false).expect("a slot");
        view.note(slot, Deed::Listen);
        let bytes: Vec<u8> = words
            .iter()
            .flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes())
            .collect();
        OpenOptions::new()
            .write(true)
            .open(&path)
            .and_then(|file| file.write_all_at(&bytes, 0))
            .expect("written");

        let seen = StatsFile::open(&path)
            .and_then(|again| again.read())
            .expect("read");
        assert_eq!(seen, file.read().expect("read"));
        let named: Vec<_> = seen.named().collect();
        assert_eq!(named, [("connect.labelled", 2), ("path.remembered", 1)]);
        let [process] = seen.processes[..] else {
            panic!("{:?}", seen.processes)
        };
        assert_eq!(
            (process.pid, process.library, process.since_ms),
            (4242, 1, 99)
        );
        assert!(process.did(Deed::Listen) && !process.did(Deed::Connect));
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = Counter::ALL.iter().map(|counter| counter.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Counter::ALL.len());
    }
}

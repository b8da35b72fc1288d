//! Where the words of tables and counters lie: in memory that is shared with the software's processes, or in a file that they map.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Words that are written by one and read by many.
#[derive(Debug)]
pub(crate) enum Words {
    Memory(&'static [AtomicU64]),
    File(File),
}

impl Words {
    /// Writes words from this one on: whoever sees the last of them sees all that was written before it.
    pub(crate) fn write(&self, at: usize, words: &[u64]) -> io::Result<()> {
        match self {
            Self::Memory(memory) => {
                let place = memory.get(at..at + words.len());
                let place = place.ok_or(io::ErrorKind::UnexpectedEof)?;
                for (word, value) in place.iter().zip(words) {
                    word.store(value.to_le(), Ordering::Release);
                }
                Ok(())
            }
            Self::File(file) => {
                let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
                file.write_all_at(&bytes, at as u64 * 8)
            }
        }
    }

    /// Reads so many words.
    pub(crate) fn read(&self, at: usize, count: usize) -> io::Result<Vec<u64>> {
        match self {
            Self::Memory(memory) => {
                let place = memory.get(at..at + count);
                let place = place.ok_or(io::ErrorKind::UnexpectedEof)?;
                let load = |word: &AtomicU64| u64::from_le(word.load(Ordering::Acquire));
                Ok(place.iter().map(load).collect())
            }
            Self::File(file) => {
                let mut bytes = vec![0; count * 8];
                file.read_exact_at(&mut bytes, at as u64 * 8)?;
                let words = bytes.as_chunks::<8>().0.iter();
                Ok(words.map(|word| u64::from_le_bytes(*word)).collect())
            }
        }
    }
}

//! What a journal's file cannot say of itself: that it was once longer, and that it lies where it was written.
//!
//! A journal that was cut, emptied or lost looks like one of a younger node, or of none. So beside it lies a small file that is
//! written over after each record: how many records there are, the checksum of the last, and how many there have ever been. It also says
//! which file it is itself, by what no copy of a file has, and in which folder: a data directory that was copied is known as a copy, also
//! one of hard links.

use super::{JournalFileError, broken, disk, files};
use crate::birth::{self, Birth};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Two places are written in turn, each within one sector: a torn one leaves the other.
const SLOT_BYTES: usize = 512;

/// Checksum and length, before the text.
const HEAD_BYTES: usize = 8;

/// A journal's file: so many records, of which the last has this checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) records: u64,
    pub(super) checksum: u32,
}

impl Mark {
    /// That of a file whose records have these checksums.
    pub(super) fn of(checksums: &[u32]) -> Self {
        Self {
            records: checksums.len() as u64,
            checksum: checksums.last().copied().unwrap_or(0),
        }
    }

    /// Whether a file with these checksums has at least what it had then.
    fn is_in(self, checksums: &[u32]) -> bool {
        match usize::try_from(self.records) {
            Ok(0) => true,
            Ok(records) => checksums.get(records - 1) == Some(&self.checksum),
            Err(_) => false,
        }
    }
}

/// What is witnessed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Witnessed {
    pub(super) generation: u64,
    /// The journal's file.
    pub(super) mark: Mark,
    /// The file that takes its place just now, or has taken it.
    pub(super) next: Option<Mark>,
    /// How many records there have ever been; what replaced others counts once more.
    pub(super) total: u64,
    /// None where the file system knows no lasting identity.
    pub(super) birth: Option<Birth>,
    /// The inode of the folder, where that lasts.
    #[serde(default)]
    pub(super) folder: Option<u64>,
    /// Somebody has said that this directory is the node's, whatever the server has heard of another.
    pub(super) claimed: bool,
}

impl Witnessed {
    /// Whether a journal with these checksums is what was witnessed, or more.
    pub(super) fn is_kept_by(&self, checksums: &[u32]) -> bool {
        self.mark.is_in(checksums) || self.next.is_some_and(|next| next.is_in(checksums))
    }
}

/// The witness of a journal.
#[derive(Debug)]
pub(super) struct Witness {
    path: PathBuf,
    file: File,
    pub(super) said: Witnessed,
}

impl Witness {
    /// That of this journal, if there is one that says something.
    pub(super) fn open(journal: &Path) -> Result<Option<Self>, JournalFileError> {
        let path = path_of(journal);
        let file = match files::unlinked().read(true).write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => files::regular(opened.map_err(disk("open", &path))?, &path)?,
        };
        let mut bytes = Vec::new();
        (&file)
            .take(2 * SLOT_BYTES as u64)
            .read_to_end(&mut bytes)
            .map_err(disk("read", &path))?;
        let slots = bytes.chunks(SLOT_BYTES).filter_map(parse);
        let newest = slots.max_by_key(|said| said.generation);
        Ok(newest.map(|said| Self { path, file, said }))
    }

    /// A new one, before its journal is made.
    pub(super) fn make(journal: &Path) -> Result<Self, JournalFileError> {
        let path = path_of(journal);
        let mut options = files::unlinked();
        options.read(true).write(true).create(true).mode(0o600);
        let file = options.open(&path).map_err(disk("make", &path))?;
        let (birth, folder) = identity(&file, &path)?;
        let said = Witnessed {
            birth,
            folder,
            ..Witnessed::default()
        };
        file.write_all_at(&[0; 2 * SLOT_BYTES], 0)
            .map_err(disk("write", &path))?;
        let mut witness = Self { path, file, said };
        witness.say(said)?;
        let folder = journal.parent().unwrap_or(Path::new("."));
        (File::open(folder).and_then(|folder| folder.sync_all())).map_err(disk("sync", folder))?;
        Ok(witness)
    }

    /// Whether the directory is a copy of the one in which this was written.
    pub(super) fn is_copy(&self) -> Result<bool, JournalFileError> {
        let (birth, folder) = identity(&self.file, &self.path)?;
        let twin = (self.said.birth.zip(birth)).is_some_and(|(then, now)| !then.is_of(&now));
        let linked = (self.said.folder.zip(folder)).is_some_and(|(then, now)| then != now);
        Ok(twin || linked)
    }

    /// Notes where it is now: the numbers of disks are those of one boot.
    pub(super) fn settle(&mut self) -> Result<(), JournalFileError> {
        let (birth, folder) = identity(&self.file, &self.path)?;
        if (self.said.birth, self.said.folder) == (birth, folder) || self.said.birth.is_none() {
            return Ok(());
        }
        self.say(Witnessed {
            birth,
            folder,
            ..self.said
        })
    }

    /// Makes this directory the node's, copy or not.
    ///
    /// # Errors
    /// It shares its files with another directory, or the disk fails.
    pub(super) fn claim(&mut self) -> Result<(), JournalFileError> {
        let about = self.file.metadata().map_err(disk("look at", &self.path))?;
        if about.nlink() > 1 {
            let path = self.path.clone();
            return Err(JournalFileError::Linked { path });
        }
        let (birth, folder) = identity(&self.file, &self.path)?;
        self.say(Witnessed {
            birth,
            folder,
            claimed: true,
            ..self.said
        })
    }

    /// Makes it durable. There is room: it is written over what is there.
    pub(super) fn say(&mut self, said: Witnessed) -> Result<(), JournalFileError> {
        let generation = self.said.generation + 1;
        let said = Witnessed { generation, ..said };
        let at = generation % 2 * SLOT_BYTES as u64;
        let slot = written(&said).map_err(broken("write", &self.path))?;
        self.file
            .write_all_at(&slot, at)
            .map_err(broken("write", &self.path))?;
        self.file.sync_data().map_err(broken("sync", &self.path))?;
        self.said = said;
        Ok(())
    }
}

/// Which file it is, and the inode of its folder; none where the file system knows no lasting identity.
fn identity(file: &File, path: &Path) -> Result<(Option<Birth>, Option<u64>), JournalFileError> {
    let birth = Birth::of(file).map_err(disk("look at", path))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let about = std::fs::metadata(folder).map_err(disk("look at", folder))?;
    let lasts = birth::folders_last(folder).map_err(disk("look at", folder))?;
    Ok((birth, birth.filter(|_| lasts).map(|_| about.ino())))
}

/// Beside the journal.
pub(super) fn path_of(journal: &Path) -> PathBuf {
    journal.with_extension("witness")
}

fn written(said: &Witnessed) -> io::Result<[u8; SLOT_BYTES]> {
    let text = serde_json::to_vec(said)?;
    let mut slot = [0; SLOT_BYTES];
    let place = slot.get_mut(HEAD_BYTES..HEAD_BYTES + text.len());
    let place = place.ok_or_else(|| io::Error::other("too long for its place"))?;
    place.copy_from_slice(&text);
    slot[4..HEAD_BYTES].copy_from_slice(&(text.len() as u32).to_le_bytes());
    let checksum = label::crc32c(&slot[4..]);
    slot[..4].copy_from_slice(&checksum.to_le_bytes());
    Ok(slot)
}

fn parse(slot: &[u8]) -> Option<Witnessed> {
    let number = |at: usize| {
        let bytes = slot.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes))
    };
    let (checksum, length) = (number(0)?, number(4)? as usize);
    if label::crc32c(slot.get(4..)?) != checksum {
        return None;
    }
    let text = slot.get(HEAD_BYTES..HEAD_BYTES.checked_add(length)?)?;
    serde_json::from_slice(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::birth::Device;

    #[test]
    fn what_was_said_last_counts_and_a_torn_word_leaves_the_one_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = folder.path().join("journal");
        assert!(Witness::open(&journal).expect("looked").is_none());
        let mut witness = Witness::make(&journal).expect("made");
        for total in 1..=3 {
            let said = Witnessed {
                total,
                ..witness.said
            };
            witness.say(said).expect("said");
        }
        let read = || Witness::open(&journal).map(|witness| witness.expect("there").said.total);
        assert_eq!(read().expect("read"), 3);
        let newest = witness.said.generation % 2 * SLOT_BYTES as u64;
        witness
            .file
            .write_all_at(b"torn", newest + 20)
            .expect("written");
        assert_eq!(read().expect("read"), 2);
        witness.file.set_len(0).expect("cut");
        assert!(Witness::open(&journal).expect("looked").is_none());
    }

    #[test]
    fn the_longest_words_have_room() {
        let mark = Mark {
            records: u64::MAX,
            checksum: u32::MAX,
        };
        let said = Witnessed {
            generation: u64::MAX,
            mark,
            next: Some(mark),
            total: u64::MAX,
            birth: Some(Birth {
                inode: u64::MAX,
                born_ns: Some(u64::MAX),
                subvolume: Some(u64::MAX),
                device: Some(Device {
                    number: u64::MAX,
                    boot: u32::MAX,
                }),
            }),
            folder: Some(u64::MAX),
            claimed: true,
        };
        assert_eq!(parse(&written(&said).expect("fits")), Some(said));
    }

    #[test]
    fn a_copy_is_known() {
        let folder = tempfile::tempdir().expect("a folder");
        let (here, there) = (folder.path().join("journal"), folder.path().join("copied"));
        let witness = Witness::make(&here).expect("made");
        assert!(!witness.is_copy().expect("looked"));
        // Elsewhere under the same name it is still itself, as when the directory is renamed.
        std::fs::copy(path_of(&here), path_of(&there)).expect("copied");
        let mut copy = Witness::open(&there).expect("looked").expect("there");
        assert!(copy.is_copy().expect("looked"));
        copy.claim().expect("claimed");
        let copy = Witness::open(&there).expect("looked").expect("there");
        assert!(!copy.is_copy().expect("looked") && copy.said.claimed);
        // As `cp -al` makes one, whose files are the original's.
        let linked = folder.path().join("linked");
        std::fs::create_dir(&linked).expect("made");
        let linked = linked.join("journal");
        std::fs::hard_link(path_of(&here), path_of(&linked)).expect("linked");
        let mut linked = Witness::open(&linked).expect("looked").expect("there");
        assert!(linked.is_copy().expect("looked") && linked.claim().is_err());
        assert!(!witness.is_copy().expect("looked"));
    }

    #[test]
    fn a_link_in_its_place_is_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = folder.path().join("journal");
        let other = folder.path().join("other");
        std::fs::write(&other, [0; 2 * SLOT_BYTES]).expect("written");
        std::os::unix::fs::symlink(&other, path_of(&journal)).expect("linked");
        assert!(Witness::open(&journal).is_err() && Witness::make(&journal).is_err());
    }
}

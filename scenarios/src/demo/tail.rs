//! Follows the clients' history files while they grow, for the live view and to know when enough was seen.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// What the files hold so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Calls that ended.
    pub calls: u64,
    /// Of these, writes.
    pub writes: u64,
    /// Connections that broke.
    pub resets: u64,
    /// Connections that were refused.
    pub refused: u64,
}

/// A folder of history files and how far each is read.
#[derive(Debug)]
pub struct Tail {
    folder: PathBuf,
    read: BTreeMap<PathBuf, u64>,
    seen: Seen,
}

impl Tail {
    /// Nothing read yet.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            read: BTreeMap::new(),
            seen: Seen::default(),
        }
    }

    /// Reads what is new.
    pub fn look(&mut self) -> Seen {
        let entries = fs::read_dir(&self.folder);
        for entry in entries.into_iter().flatten().flatten() {
            let path = entry.path();
            let from = self.read.get(&path).copied().unwrap_or(0);
            if let Ok(text) = read_from(&path, from) {
                let whole = text.rfind('\n').map_or(0, |end| end + 1);
                text[..whole]
                    .lines()
                    .for_each(|line| count(&mut self.seen, line));
                self.read.insert(path, from + whole as u64);
            }
        }
        self.seen
    }
}

fn read_from(path: &Path, from: u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// Counts a line by its beginning, which the clients write first: reading it all is left to the checker.
fn count(seen: &mut Seen, line: &str) {
    let kind = line
        .strip_prefix(r#"{"kind":""#)
        .and_then(|rest| rest.split('"').next());
    match kind {
        Some("write") => {
            seen.calls += 1;
            seen.writes += 1;
        }
        Some("read") => seen.calls += 1,
        Some("reset") => seen.resets += 1,
        Some("refused") => seen.refused += 1,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_once_and_only_when_they_are_whole() {
        let folder = std::env::temp_dir().join(format!("upstart-tail-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("a.jsonl");
        let mut tail = Tail::new(&folder);
        fs::write(&file, "{\"kind\":\"write\",\"id\":1}\n{\"kind\":\"re").expect("written");
        assert_eq!(
            tail.look(),
            Seen {
                calls: 1,
                writes: 1,
                ..Seen::default()
            }
        );
        fs::write(
            &file,
            "{\"kind\":\"write\",\"id\":1}\n{\"kind\":\"reset\"}\n",
        )
        .expect("written");
        assert_eq!(
            tail.look(),
            Seen {
                calls: 1,
                writes: 1,
                resets: 1,
                refused: 0
            }
        );
        fs::remove_dir_all(&folder).expect("removed");
    }
}

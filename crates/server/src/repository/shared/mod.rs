//! What is signed, where several servers over one database have no folder in common: beside the artifacts, in a bucket or a
//! registry. Each server works on a copy in its own folder, which it brings up to date before it changes anything, and whose
//! changes it brings there before it says that they are done. The database gives the turn to one server at a time.

#[cfg(test)]
mod tests;

use super::placing::write_whole;
use super::turn::TURN_LIMIT;
use super::{DocumentStore, StoredDocument};
use crate::udb::{DatabaseTurn, Udb};
use model::manifest::Digest;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::fs;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// What is written last and read first.
const TIMESTAMP: &str = "timestamp.json";

/// What is signed and not sealed yet.
const PENDING: &str = "pending.json";

/// What says that a change of the folder was begun there.
const REPLACING: &str = "replacing.json";

/// How many snapshots, and targets, are kept for all servers; more would make a registry's one list of them grow for ever.
const KEPT: u64 = 16;

/// How soon it is asked again whether another server's turn has ended.
const TURN_PAUSE: Duration = Duration::from_millis(100);

/// The documents that all servers have.
pub(crate) struct SharedDocuments {
    store: Arc<dyn DocumentStore>,
    udb: Arc<dyn Udb>,
    /// What the store and the folder had when they were last the same; empty where that is not known.
    same: Mutex<BTreeMap<String, Same>>,
}

/// A document that is the same in the store and in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Same {
    /// How the store tells one content from another.
    tag: Option<String>,
    digest: Digest,
}

impl std::fmt::Debug for SharedDocuments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SharedDocuments").field(&self.store).finish()
    }
}

impl SharedDocuments {
    /// Those in this store, of the servers over this database.
    pub(crate) fn new(store: Arc<dyn DocumentStore>, udb: Arc<dyn Udb>) -> Self {
        Self {
            store,
            udb,
            same: Mutex::default(),
        }
    }

    /// A document as all servers have it.
    pub(super) async fn document(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let found = self.store.document(name).await?;
        Ok(found.map(|document| document.bytes))
    }

    /// Waits for this server's turn to change them.
    pub(super) async fn turn(&self) -> io::Result<DatabaseTurn> {
        let end = Instant::now() + TURN_LIMIT;
        loop {
            let turn = self.udb.turn().await.map_err(io::Error::other)?;
            if let Some(turn) = turn {
                return Ok(turn);
            }
            if Instant::now() > end {
                return Err(io::Error::other(
                    "another server changes the signed repository and does not end; look at that server",
                ));
            }
            tokio::time::sleep(TURN_PAUSE).await;
        }
    }

    /// Brings the folder to what all servers have, and says whether they have anything: they have nothing yet, or the store has lost
    /// it, and this folder is a copy.
    pub(super) async fn pull(&self, folder: &Path) -> io::Result<bool> {
        let mut same = self.same.lock().await;
        self.pull_into(folder, &mut same).await
    }

    /// Does the same while somebody else here has the turn, if nothing was brought yet although there is something: whoever has the turn
    /// changes nothing before that.
    pub(super) async fn pull_first(&self, folder: &Path) -> io::Result<()> {
        let mut same = self.same.lock().await;
        if same.is_empty() && !self.store.documents().await?.is_empty() {
            self.pull_into(folder, &mut same).await?;
        }
        Ok(())
    }

    async fn pull_into(
        &self,
        folder: &Path,
        same: &mut BTreeMap<String, Same>,
    ) -> io::Result<bool> {
        let folder = prepared(folder, same.is_empty()).await?;
        // Whatever it names was there before it.
        let timestamp = self.store.document(TIMESTAMP).await?;
        let there = self.store.documents().await?;
        if there.is_empty() {
            same.clear();
            return Ok(false);
        }
        for name in documents_of(&folder).await? {
            if !there.contains_key(&name) {
                fs::remove_file(folder.join(name)).await?;
            }
        }
        let mut now = BTreeMap::new();
        for (name, tag) in there {
            if let Some(known) = same.get(&name).filter(|known| known.tag == tag) {
                now.insert(name, known.clone());
                continue;
            }
            let found = match name.as_str() {
                TIMESTAMP => timestamp.clone(),
                _ => self.store.document(&name).await?,
            };
            // What is the tag of these bytes: it may be another than the listed one by now.
            let Some(StoredDocument { bytes, tag }) = found else {
                continue;
            };
            let digest = Digest::of(&bytes);
            if name != TIMESTAMP {
                write_whole(&folder.join(&name), &bytes).await?;
            }
            now.insert(name, Same { tag, digest });
        }
        if let Some(timestamp) = timestamp.filter(|_| same.get(TIMESTAMP) != now.get(TIMESTAMP)) {
            write_whole(&folder.join(TIMESTAMP), &timestamp.bytes).await?;
        }
        *same = now;
        Ok(true)
    }

    /// Brings what has changed in the folder to all servers, the timestamp last.
    pub(super) async fn push(&self, folder: &Path) -> io::Result<()> {
        let mut same = self.same.lock().await;
        // What breaks off in between is read anew before the next change.
        let before = std::mem::take(&mut *same);
        let folder = folder.join("metadata");
        let there = self.store.documents().await?;
        if there.get(TIMESTAMP) != before.get(TIMESTAMP).map(|known| &known.tag) {
            return Err(io::Error::other(
                "another server has changed the signed repository meanwhile; ask again",
            ));
        }
        let (mut names, old) = without_old(documents_of(&folder).await?);
        // What the timestamp names is there before it.
        names.sort_by_key(|name| name == TIMESTAMP);
        let still_same = |name: &str| {
            let known = before.get(name);
            known.filter(|known| there.get(name) == Some(&known.tag))
        };
        let unchanged = |name: String| Some((name.clone(), still_same(&name)?.clone()));
        let mut now: BTreeMap<_, _> = old.into_iter().filter_map(unchanged).collect();
        let mut documents = Vec::new();
        for name in names {
            let bytes = fs::read(folder.join(&name)).await?;
            let digest = Digest::of(&bytes);
            let known = still_same(&name).filter(|known| known.digest == digest);
            let tag = known.and_then(|known| known.tag.clone());
            documents.push((name.clone(), known.is_none().then_some(bytes)));
            now.insert(name, Same { tag, digest });
        }
        let is_over = there.contains_key(PENDING) && !now.contains_key(PENDING);
        let gone: Vec<String> = is_over.then(|| PENDING.to_owned()).into_iter().collect();
        if is_over || documents.iter().any(|(_, bytes)| bytes.is_some()) {
            for (name, tag) in self.store.replace(documents, &gone).await? {
                if let Some(same) = now.get_mut(&name) {
                    same.tag = tag;
                }
            }
        }
        *same = now;
        Ok(())
    }
}

/// Parts the names of documents into those that are brought to all servers and those that are too old for it. Every root is wanted for
/// ever; of snapshots and targets the last, and by readers that are under way the last few.
fn without_old(names: Vec<String>) -> (Vec<String>, Vec<String>) {
    let numbered = |name: &str| {
        let (number, role) = name.split_once('.')?;
        let is_followed = role == "snapshot.json" || role == "targets.json";
        Some((role.to_owned(), number.parse::<u64>().ok()?)).filter(|_| is_followed)
    };
    let mut last = BTreeMap::<String, u64>::new();
    for (role, number) in names.iter().filter_map(|name| numbered(name)) {
        let last = last.entry(role).or_default();
        *last = number.max(*last);
    }
    names.into_iter().partition(|name| {
        let old = numbered(name).filter(|(role, number)| number + KEPT <= last[role]);
        old.is_none()
    })
}

/// The folder of the documents; before the first look, without what a server that was killed had begun to write there.
async fn prepared(folder: &Path, is_first: bool) -> io::Result<PathBuf> {
    let metadata = folder.join("metadata");
    fs::create_dir_all(&metadata).await?;
    if is_first {
        match fs::remove_file(metadata.join(REPLACING)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(metadata)
}

/// The names of the documents in a folder.
async fn documents_of(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    let mut entries = fs::read_dir(folder).await?;
    while let Some(entry) = entries.next_entry().await? {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".json") && name != REPLACING {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

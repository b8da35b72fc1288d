//! The states of all adapters at a node, each in a file of its own.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::store::StateOrigin;
use super::{AdapterState, StateError, transfer};
use call::Direction;

/// Whose state: the adapters of one upgrade in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateId {
    /// The version that the upgrade leads to.
    pub upgrade: u32,
    /// Which of its adapters.
    pub direction: Direction,
}

impl StateId {
    fn name(self) -> String {
        format!("{}-{}", self.upgrade, self.direction.name())
    }

    fn order(self) -> (u32, &'static str) {
        (self.upgrade, self.direction.name())
    }
}

/// The states of a node's adapters, opened when they are first needed.
pub struct Stores {
    folder: PathBuf,
    open: Mutex<BTreeMap<(u32, &'static str), Arc<AdapterState>>>,
    frozen: Arc<AtomicBool>,
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

/// The end of the names of states that adapters began with nothing in.
const NEW: &str = "new";
/// The end of the names of states that transforms have written.
const TRANSFORMED: &str = "transformed";

impl Stores {
    /// States below this folder, which is made when it is needed.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            open: Mutex::default(),
            frozen: Arc::default(),
        }
    }

    fn file(&self, id: StateId, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{kind}", id.name()))
    }

    /// The state with this name, opened or made.
    pub(crate) fn state(&self, id: StateId) -> Result<Arc<AdapterState>, StateError> {
        let mut open = self.open.lock();
        if let Some(state) = open.get(&id.order()) {
            return Ok(state.clone());
        }
        let transformed = self.file(id, TRANSFORMED);
        let (file, origin) = if transformed.exists() {
            (transformed, StateOrigin::Transformed)
        } else {
            (self.file(id, NEW), StateOrigin::New)
        };
        std::fs::create_dir_all(&self.folder).map_err(|error| failed(&file, "make", &error))?;
        let state = AdapterState::open(&file, origin, self.frozen.clone())?;
        open.insert(id.order(), state.clone());
        Ok(state)
    }

    /// From now on nothing becomes durable: calls that still run fail. The states are given to a transform.
    pub fn freeze(&self) {
        self.frozen.store(true, Ordering::SeqCst);
    }

    /// Changes become durable again.
    pub fn thaw(&self) {
        self.frozen.store(false, Ordering::SeqCst);
    }

    /// Writes a state into a folder, as transforms read it; an empty folder where there is none.
    ///
    /// # Errors
    /// When the state cannot be read or the folder not be written.
    pub fn export(&self, id: StateId, folder: &Path) -> Result<(), StateError> {
        let there = [NEW, TRANSFORMED].map(|kind| self.file(id, kind).exists());
        if there.contains(&true) {
            transfer::export(&self.state(id)?, folder)?;
        }
        Ok(())
    }

    /// Lets adapters begin with what a transform has left in a folder, in place of whatever was there.
    ///
    /// # Errors
    /// When what was written is no state, or cannot be made durable.
    pub fn import(&self, id: StateId, folder: &Path) -> Result<(), StateError> {
        let file = self.file(id, TRANSFORMED);
        std::fs::create_dir_all(&self.folder).map_err(|error| failed(&file, "make", &error))?;
        self.close(id);
        let fresh = self.file(id, "incoming");
        remove(&fresh)?;
        transfer::import(&fresh, folder)?;
        remove(&self.file(id, NEW))?;
        std::fs::rename(&fresh, &file).map_err(|error| failed(&file, "replace", &error))?;
        let synced = std::fs::File::open(&self.folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| failed(&self.folder, "sync", &error))
    }

    /// Removes a state that no caller needs any more.
    ///
    /// # Errors
    /// When its file cannot be removed.
    pub fn remove(&self, id: StateId) -> Result<(), StateError> {
        self.close(id);
        for kind in [NEW, TRANSFORMED] {
            remove(&self.file(id, kind))?;
        }
        Ok(())
    }

    /// Removes the states of every upgrade up to this one.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn remove_through(&self, upgrade: u32) -> Result<(), StateError> {
        let Ok(files) = std::fs::read_dir(&self.folder) else {
            return Ok(());
        };
        for file in files.flatten() {
            let name = file.file_name();
            let number = name.to_str().and_then(|name| name.split_once('-'));
            let number = number.and_then(|(number, _)| number.parse::<u32>().ok());
            if let Some(upgrade) = number.filter(|number| *number <= upgrade) {
                for direction in [Direction::Past, Direction::Future] {
                    self.remove(StateId { upgrade, direction })?;
                }
            }
        }
        Ok(())
    }

    fn close(&self, id: StateId) {
        let mut open = self.open.lock();
        open.remove(&id.order());
    }
}

fn remove(file: &Path) -> Result<(), StateError> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed(file, "remove", &error))
        }
        _ => Ok(()),
    }
}

fn failed(file: &Path, what: &'static str, error: &io::Error) -> StateError {
    StateError::Store {
        file: file.display().to_string(),
        what,
        why: error.to_string(),
    }
}

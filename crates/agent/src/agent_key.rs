//! The key by which the software's hooks know their agent's own connections: kept for the next agent, readable by nobody
//! else, and new for every start of the software. The hooks are told only the lock that it opens.

use intercept::agent_key::lock_of;
use parking_lot::Mutex;
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Nobody but the agent's user.
const MODE: u32 = 0o600;

/// The present key.
#[derive(Clone)]
pub(crate) struct AgentKey {
    file: Arc<Path>,
    key: Arc<Mutex<[u8; 16]>>,
}

impl AgentKey {
    /// The key that an earlier agent has left, or a new one.
    pub(crate) fn open(file: PathBuf) -> io::Result<Self> {
        let left = std::fs::read(&file).ok();
        let left = left.and_then(|bytes| <[u8; 16]>::try_from(bytes.as_slice()).ok());
        let key = Self {
            file: file.into(),
            key: Arc::default(),
        };
        match left {
            Some(left) => {
                std::fs::set_permissions(&key.file, Permissions::from_mode(MODE))?;
                *key.held() = left;
            }
            None => key.renew()?,
        }
        Ok(key)
    }

    fn held(&self) -> parking_lot::MutexGuard<'_, [u8; 16]> {
        self.key.lock()
    }

    /// What the agent says in its labels.
    pub(crate) fn value(&self) -> [u8; 16] {
        *self.held()
    }

    /// What the hooks are told.
    pub(crate) fn lock(&self) -> [u8; 16] {
        lock_of(&self.held())
    }

    /// Another key: whoever got hold of the last one, by listening where the software did before it ended, gains nothing.
    pub(crate) fn renew(&self) -> io::Result<()> {
        let key: [u8; 16] = rand::random();
        match self.replace(&key) {
            // Over the former one, which takes no room: a full disk is no reason not to start the software.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                File::options()
                    .write(true)
                    .open(&self.file)?
                    .write_all(&key)?;
            }
            replaced => replaced?,
        }
        *self.held() = key;
        Ok(())
    }

    fn replace(&self, key: &[u8; 16]) -> io::Result<()> {
        let fresh = self.file.with_extension("new");
        match std::fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = File::options();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(MODE)
            .open(&fresh)?;
        file.write_all(key)?;
        std::fs::rename(&fresh, &self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_agents_alone_is_found_again_and_changes_when_it_is_renewed() {
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("agent.key");
        let first = AgentKey::open(file.clone()).expect("a key");
        let mode = || {
            std::fs::metadata(&file)
                .expect("a file")
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!(mode(), MODE);
        let again = AgentKey::open(file.clone()).expect("the same key");
        assert_eq!(first.value(), again.value());
        let before = (again.value(), again.lock());
        again.renew().expect("another key");
        assert_ne!(before.0, again.value());
        assert_ne!(before.1, again.lock());
        assert_eq!(
            AgentKey::open(file.clone()).expect("kept").value(),
            again.value()
        );
        // A file of an older version, which everybody could read.
        std::fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("set");
        AgentKey::open(file.clone()).expect("the same key");
        assert_eq!(mode(), MODE);
    }
}

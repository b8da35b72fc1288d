//! The turn to change the signed repository: one server at a time has it, and what it changes is everywhere when it says so.

use super::SignedRepository;
use super::placing::remove_leftovers;
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::udb::DatabaseTurn;
use std::fs::TryLockError;
use std::io;
use std::time::Duration;
use tokio::sync::MutexGuard;
use tokio::time::Instant;

/// How long another server may change the repository.
pub(super) const TURN_LIMIT: Duration = Duration::from_secs(30);

/// How soon it is looked again whether it has ended.
const TURN_PAUSE: Duration = Duration::from_millis(20);

/// The right to change the signed repository; it ends with its holder, however that ends.
#[derive(Debug)]
pub(crate) struct SealingTurn<'r> {
    _here: MutexGuard<'r, ()>,
    _file: std::fs::File,
    _everywhere: Option<DatabaseTurn>,
}

impl SignedRepository {
    /// One change at a time, also where several servers share the folder: held until the change is sealed.
    ///
    /// # Errors
    /// The folder cannot be written, or another server has held it for too long.
    pub(crate) async fn turn(&self) -> Result<SealingTurn<'_>, RequestRefusal> {
        let here = self.turn.lock().await;
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("seal.lock"))
            .map_err(|error| super::unusable(&error))?;
        let end = Instant::now() + TURN_LIMIT;
        loop {
            match file.try_lock() {
                Ok(()) => {
                    let everywhere = self.turn_everywhere().await?;
                    remove_leftovers(&self.folder).await;
                    return Ok(SealingTurn {
                        _here: here,
                        _file: file,
                        _everywhere: everywhere,
                    });
                }
                Err(TryLockError::WouldBlock) if Instant::now() < end => {
                    tokio::time::sleep(TURN_PAUSE).await;
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(refuse(
                        Kind::REPOSITORY_UNAVAILABLE,
                        "Another server changes the signed repository and does not end; ask again, and look at that server.",
                    ));
                }
                Err(TryLockError::Error(error)) => return Err(super::unusable(&error)),
            }
        }
    }

    /// The turn among servers without a common folder; this one's is up to date then.
    async fn turn_everywhere(&self) -> Result<Option<DatabaseTurn>, RequestRefusal> {
        let Some(shared) = &self.shared else {
            return Ok(None);
        };
        let turn = async {
            let turn = shared.turn().await?;
            if !shared.pull(&self.folder).await? && self.is_begun() {
                tracing::warn!(
                    "what is signed is not there any more where artifacts lie; it is put back from this server's copy"
                );
                shared.push(&self.folder).await?;
            }
            Ok(Some(turn))
        };
        turn.await
            .map_err(|error: io::Error| super::unusable(&error))
    }

    /// Brings a folder up to date that is not all servers', unless it is being changed here, and is up to date by that.
    ///
    /// # Errors
    /// What all servers have cannot be read.
    pub(crate) async fn refresh(&self) -> Result<(), RequestRefusal> {
        let Some(shared) = &self.shared else {
            return Ok(());
        };
        let pulled = match self.turn.try_lock() {
            Ok(_turn) => shared.pull(&self.folder).await.map(drop),
            Err(_) => shared.pull_first(&self.folder).await,
        };
        pulled.map_err(|error| super::unusable(&error))
    }

    /// Brings what has changed here to all servers.
    pub(super) async fn push(&self) -> Result<(), RequestRefusal> {
        let Some(shared) = &self.shared else {
            return Ok(());
        };
        let pushed = shared.push(&self.folder).await;
        pushed.map_err(|error| super::unusable(&error))
    }
}

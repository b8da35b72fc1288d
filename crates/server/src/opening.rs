//! What a server opens at its start, each where it is told: its directory, the repository, what is signed in it, the database.

use crate::config::ServerConfig;
use crate::error::ServerError;
use crate::repository::{ArtifactsElsewhere, RepositoryFolder, SharedDocuments, SignedRepository};
use crate::udb::{Postgres, SQLITE_FILE, Sqlite, Udb};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Makes the data directory, which only its owner enters: what is published may hold secrets. One that is there is closed to strangers;
/// what its group may is left as it is.
pub(crate) fn private(data: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)?;
    let about = std::fs::metadata(data)?;
    let user = rustix::process::geteuid().as_raw();
    if ![0, user].contains(&about.uid()) {
        return Err(io::Error::other(format!(
            "it belongs to user {}, who could put a token and upgrades of his own there",
            about.uid()
        )));
    }
    if about.mode() & 0o1000 != 0 {
        return Err(io::Error::other(
            "everybody makes files there, as its sticky bit says: give the server a folder of its own",
        ));
    }
    if data.join("journal.witness").symlink_metadata().is_ok() {
        return Err(io::Error::other(
            "it is a node's data directory: give the server a folder of its own",
        ));
    }
    let mode = about.permissions().mode();
    match mode & 0o007 {
        0 => Ok(()),
        _ => std::fs::set_permissions(data, PermissionsExt::from_mode(mode & !0o007)),
    }
}

/// Where the repository is.
pub(crate) fn repository_folder(config: &ServerConfig) -> PathBuf {
    let own = || config.data.join("repository");
    config.repository.clone().unwrap_or_else(own)
}

/// Where the keys are that all servers of a repository have: the one that seals, and the authority's.
pub(crate) fn beside_repository(config: &ServerConfig, name: &str) -> PathBuf {
    let place = config.repository.as_ref().unwrap_or(&config.data);
    place.join(name)
}

/// Opens, or makes, the repository: one of its own, or one that it shares with other servers; its artifacts may lie elsewhere.
pub(crate) async fn open_repository(
    config: &ServerConfig,
) -> Result<RepositoryFolder, ServerError> {
    let limit = config.artifact_bytes_max;
    let folder = repository_folder(config);
    let unusable = |source| ServerError::Data {
        path: folder.clone(),
        source,
    };
    if let Some(shared) = &config.repository {
        private(shared).map_err(unusable)?;
    }
    let opened = match (&config.artifacts, &config.repository) {
        (Some(address), _) => {
            let notes = config.data.join("uploads");
            let there = ArtifactsElsewhere::open(address, notes).await?;
            RepositoryFolder::open_with(folder.clone(), there, limit).await
        }
        (None, None) => RepositoryFolder::open(folder.clone(), limit).await,
        (None, Some(_)) => RepositoryFolder::open_shared(folder.clone(), limit).await,
    };
    opened.map_err(unusable)
}

/// Opens the signed repository. Servers over one database that share no folder share it where their artifacts lie.
pub(crate) fn open_signed(
    config: &ServerConfig,
    repository: &RepositoryFolder,
    udb: &Arc<dyn Udb>,
) -> Result<SignedRepository, ServerError> {
    let is_alone = config.repository.is_some() || !udb.is_shared();
    let store = repository.elsewhere().filter(|_| !is_alone);
    let shared = store.map(|store| SharedDocuments::new(Arc::clone(store), Arc::clone(udb)));
    let key = beside_repository(config, "server.pem");
    Ok(SignedRepository::open(
        &repository_folder(config),
        &key,
        shared,
    )?)
}

/// Opens, or makes, the database; with PostgreSQL its clock is the server's, so that all servers have one.
pub(crate) async fn open_database(config: &mut ServerConfig) -> Result<Arc<dyn Udb>, ServerError> {
    let Some(url) = &config.database else {
        return Ok(Arc::new(Sqlite::open(&config.data.join(SQLITE_FILE))?));
    };
    let database = Postgres::open(url).await?;
    config.clock = database.clock();
    Ok(Arc::new(database))
}

//! Copies of a server's SQLite database, and its way to PostgreSQL.

use crate::error::ServerError;
use crate::opening::private;
use crate::server::lock;
use crate::udb::{self, Postgres, TakenOver};
use std::path::{Path, PathBuf};

/// Copies the database of this data directory into a new file; a server may run meanwhile.
///
/// # Errors
/// There is no database, or the file is there already or cannot be written.
pub fn save(data: &Path, file: &Path) -> Result<(), ServerError> {
    Ok(udb::save_sqlite(&data.join(udb::SQLITE_FILE), file)?)
}

/// Puts a copy into the place of the database of this data directory, and says where the one before is kept.
///
/// # Errors
/// A server runs there, the copy is none or of a newer program, or the directory cannot be used.
pub fn restore(data: &Path, file: &Path) -> Result<Option<PathBuf>, ServerError> {
    let unusable = |source| ServerError::Data {
        path: data.to_owned(),
        source,
    };
    private(data).map_err(unusable)?;
    let held = lock(data)?;
    let kept = udb::restore_sqlite(file, &data.join(udb::SQLITE_FILE))?;
    drop(held);
    Ok(kept)
}

/// A database that was moved.
#[derive(Clone, Debug)]
pub struct MovedDatabase {
    /// What it holds.
    pub taken_over: TakenOver,
    /// Where the one before is kept.
    pub kept: PathBuf,
}

/// Moves the database of this data directory into an empty one of PostgreSQL. The one before is set aside.
///
/// # Errors
/// A server runs there, there is no database, the one in PostgreSQL is not empty, or either cannot be used. Then nothing has changed.
pub async fn move_to_postgres(data: &Path, url: &str) -> Result<MovedDatabase, ServerError> {
    let unusable = |source| ServerError::Data {
        path: data.to_owned(),
        source,
    };
    let database = data.join(udb::SQLITE_FILE);
    if !database.is_file() {
        let none = format!("there is no {}", udb::SQLITE_FILE);
        return Err(unusable(std::io::Error::other(none)));
    }
    private(data).map_err(unusable)?;
    let held = lock(data)?;
    let from = udb::existing(&database)?;
    let to = Postgres::open(url).await?;
    let taken_over = to.fill(&from).await?;
    from.close();
    let kept = udb::set_aside(&database)?;
    drop(held);
    Ok(MovedDatabase { taken_over, kept })
}

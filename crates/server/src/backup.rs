//! Copies of a server's SQLite database.

use crate::error::ServerError;
use crate::opening::private;
use crate::server::lock;
use crate::udb;
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

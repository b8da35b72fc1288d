//! Files of the signed repository are put into their places as wholes; what a server that was killed has left beside them is removed.

use ::repository::manifest_path;
use model::ids::Place;
use model::manifest::Digest;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::fs;

/// A half-written manifest is nobody's when it is so old: any server may place one at any time.
const LEFTOVER_AGE: Duration = Duration::from_secs(60 * 60);

/// Removes what was never given its name. Whoever has the turn to change the repository is alone with what is signed and not sealed.
pub(super) async fn remove_leftovers(folder: &Path) {
    let places = [
        ("metadata", "pending.", Duration::ZERO),
        ("targets/upgrades", "", LEFTOVER_AGE),
    ];
    for (within, beginning, age) in places {
        if let Err(error) = remove_older(&folder.join(within), beginning, age).await
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "what a server that was killed has left stays in {within} of the repository");
        }
    }
}

async fn remove_older(folder: &Path, beginning: &str, age: Duration) -> io::Result<()> {
    let mut entries = fs::read_dir(folder).await?;
    while let Some(entry) = entries.next_entry().await? {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with(beginning) || !name.ends_with(".new") {
            continue;
        }
        let written = entry.metadata().await?.modified()?;
        if written.elapsed().unwrap_or_default() >= age {
            fs::remove_file(entry.path()).await?;
            tracing::info!(file = %entry.path().display(), "removed what a server that was killed has left");
        }
    }
    Ok(())
}

/// Puts a manifest where clients of the signed repository look for it. It can be made again at any time from its artifact.
///
/// # Errors
/// The disk does not take it.
pub(super) async fn place_manifest(folder: &Path, place: Place, text: &str) -> io::Result<()> {
    let digest = Digest::of(text.as_bytes());
    let path = folder.join(manifest_path(place, digest));
    match fs::read(&path).await {
        Ok(there) if there == text.as_bytes() => return Ok(()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).await?;
    }
    write_whole(&path, text.as_bytes()).await
}

/// Writes a file that is there as a whole or not at all.
pub(super) async fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Several servers may write the same.
    let fresh = path.with_extension(format!("{:016x}.new", rand::random::<u64>()));
    let written = write_and_rename(&fresh, path, bytes).await;
    if written.is_err() {
        // Half a file takes room that is wanted.
        let _ = fs::remove_file(&fresh).await;
    }
    written?;
    match path.parent() {
        Some(folder) => super::sync_folder(folder).await,
        None => Ok(()),
    }
}

async fn write_and_rename(fresh: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::write(fresh, bytes).await?;
    fs::File::open(fresh).await?.sync_all().await?;
    fs::rename(fresh, path).await
}

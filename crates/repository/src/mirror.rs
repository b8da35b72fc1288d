//! A verified copy of a repository: nothing is written that was not signed, and the timestamp is written last.

use crate::error::TrustError;
use crate::metadata::{Metadata, artifact_path, manifest_path};
use crate::store::replace;
use crate::transport::{Bytes, DirectoryTransport, Transport, copy_verified};
use crate::trust::Trust;
use crate::verifier::{self, Verifier, needed};
use async_trait::async_trait;
use chunks::{ChunkIndex, INDEX_BYTES_MAX};
use model::manifest::{CHUNKS_FILE, Digest, ManifestFile, Mode};
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use tough::schema::Root;

/// What a copy brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mirrored {
    /// How many upgrades and revisions the repository has.
    pub manifests: usize,
    /// How many artifacts it has.
    pub artifacts: usize,
    /// How many of them were not there before.
    pub copied: usize,
}

/// Brings a folder to the state of a repository. What was verified before is not copied again.
///
/// # Errors
/// Something is not to be trusted, not there, or cannot be written. The folder then is what it was, but for files that nothing names yet.
pub async fn mirror(
    verifier: &mut Verifier,
    from: &dyn Transport,
    to: &Path,
    now: jiff::Timestamp,
) -> Result<Mirrored, TrustError> {
    // Two copies at once would write the same files. Held to the end of this function.
    let lock = std::fs::create_dir_all(to).and_then(|()| std::fs::File::open(to));
    let lock = lock.and_then(|folder| folder.lock().map(|()| folder));
    let _lock = lock.map_err(|source| TrustError::Transport {
        name: to.display().to_string(),
        source,
    })?;
    verifier.refresh(from, now).await?;
    let mut files = BTreeMap::new();
    let mut mirrored = Mirrored::default();
    for (place, signed) in verifier.catalogue().manifests() {
        let manifest = verifier::manifest(verifier.trust(), from, place, signed).await?;
        let name = manifest_path(place, signed.sha256);
        keep(to, &name, manifest.text().as_bytes())?;
        mirrored.manifests += 1;
        files.extend(manifest.files.into_iter().map(|file| (file.sha256, file)));
    }
    for file in files.values() {
        mirrored.copied += usize::from(copy(from, to, file).await?);
    }
    let packs = packs(to, &files);
    mirrored.artifacts = files.len() + packs.len();
    for pack in packs.values() {
        match copy(from, to, pack).await {
            Ok(copied) => mirrored.copied += usize::from(copied),
            // What is in it lies in whole files, too.
            Err(TrustError::Missing { .. }) => mirrored.artifacts -= 1,
            Err(error) => return Err(error),
        }
    }
    copy_metadata(verifier.trust(), from, to).await?;
    Ok(mirrored)
}

/// The packs that hold chunks of these files, as the indexes among them say, which must be there. An index that this program cannot read names
/// none: nodes then fetch whole files.
pub(crate) fn packs(
    repository: &Path,
    files: &BTreeMap<Digest, ManifestFile>,
) -> BTreeMap<Digest, ManifestFile> {
    let indexes = files.values().filter(|file| file.path == CHUNKS_FILE);
    let mut packs = BTreeMap::new();
    for file in indexes.filter(|file| file.size <= INDEX_BYTES_MAX) {
        let bytes = std::fs::read(repository.join(artifact_path(file.sha256)));
        let index = bytes.ok().and_then(|bytes| ChunkIndex::parse(&bytes).ok());
        for pack in index.unwrap_or_default().packs {
            let listed = ManifestFile {
                mode: Mode::Plain,
                path: String::new(),
                sha256: pack.digest,
                size: pack.size,
            };
            if !files.contains_key(&pack.digest) {
                packs.insert(pack.digest, listed);
            }
        }
    }
    packs
}

/// Copies the metadata that is trusted: every root, and the documents below the last; the timestamp is written last.
///
/// # Errors
/// An earlier root is not there or not to be trusted, or something cannot be written.
pub async fn copy_metadata(
    trust: &Trust,
    from: &dyn Transport,
    to: &Path,
) -> Result<(), TrustError> {
    for (name, bytes) in chain(trust, from).await? {
        keep(to, &name, &bytes)?;
    }
    for (name, bytes) in trust.documents() {
        keep(to, &name, bytes)?;
    }
    Ok(())
}

/// Puts a file into a repository's folder as an artifact, unless it is there: whether it was copied.
///
/// # Errors
/// The file is not what the manifest says, or cannot be read or written.
pub async fn store_artifact(
    file: &ManifestFile,
    from: &Path,
    repository: &Path,
) -> Result<bool, TrustError> {
    let from = OneFile(from.to_owned());
    copy(&from, repository, file).await
}

/// A transport of one file, whatever it is asked for.
struct OneFile(PathBuf);

#[async_trait]
impl Transport for OneFile {
    async fn open(&self, _name: &str) -> std::io::Result<Option<Bytes>> {
        DirectoryTransport::open_path(&self.0)
    }
}

/// Copies an artifact unless it is there: whether it was copied.
async fn copy(from: &dyn Transport, to: &Path, file: &ManifestFile) -> Result<bool, TrustError> {
    let name = artifact_path(file.sha256);
    let path = to.join(&name);
    let failed = |source| TrustError::Transport {
        name: path.display().to_string(),
        source,
    };
    // It got its name when it was verified.
    if std::fs::metadata(&path).is_ok_and(|there| there.len() == file.size) {
        return Ok(false);
    }
    std::fs::create_dir_all(to.join("artifacts")).map_err(failed)?;
    let fresh = path.with_extension("new");
    let mut written = tokio::fs::File::create(&fresh).await.map_err(failed)?;
    let copied = copy_verified(from, &name, (file.sha256, file.size), &mut written).await;
    if let Err(error) = copied {
        // Nothing looks for this name; an error here changes nothing.
        let _ = std::fs::remove_file(&fresh);
        return Err(error);
    }
    written.sync_all().await.map_err(failed)?;
    std::fs::rename(&fresh, &path).map_err(failed)?;
    Ok(true)
}

/// Every root from the first to the trusted one, so that whoever pinned an older one can follow.
pub(crate) async fn chain(
    trust: &Trust,
    from: &dyn Transport,
) -> Result<Vec<(String, Vec<u8>)>, TrustError> {
    let mut roots: Vec<(String, Vec<u8>)> = Vec::new();
    let mut followed: Option<Trust> = None;
    for number in 1..=trust.root_version().get() {
        let name = Root::path(NonZeroU64::MIN.saturating_add(number - 1));
        let bytes = needed(from, &name, Root::BYTES_MAX).await?;
        match &mut followed {
            Some(followed) => followed.take_root(&bytes)?,
            None => followed = Some(Trust::pin(&bytes)?),
        }
        roots.push((name, bytes));
    }
    let last = roots.last().map(|(_, bytes)| Digest::of(bytes));
    if last != Some(Digest::of(&trust.root.bytes)) {
        return Err(TrustError::Contradiction {
            document: "root".to_owned(),
            version: trust.root_version().get(),
        });
    }
    Ok(roots)
}

fn keep(to: &Path, name: &str, bytes: &[u8]) -> Result<(), TrustError> {
    let path = to.join(name);
    if std::fs::read(&path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    replace(&path, bytes).map_err(|source| TrustError::Transport {
        name: path.display().to_string(),
        source,
    })
}

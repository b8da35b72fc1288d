//! A repository as one tar file, for sites without a network.

use crate::error::{SignError, TrustError};
use crate::metadata::artifact_path;
use crate::mirror::{chain, packs};
use crate::transport::{Bytes, DirectoryTransport, Transport, open_file};
use crate::writer::RepositoryWriter;
use crate::{manifest_path, verifier};
use async_trait::async_trait;
use aws_lc_rs::digest::{Context, SHA256};
use model::manifest::{Digest, ManifestFile};
use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{BufWriter, Error, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tokio::io::AsyncReadExt;

/// The most entries of an archive: more than the artifacts of twenty upgrades that are as large as can be.
const ENTRIES_MAX: usize = 1_000_000;

/// A repository in a tar file. Only where its entries are is read at first; nothing is unpacked.
#[derive(Debug)]
pub struct ArchiveTransport {
    path: PathBuf,
    entries: BTreeMap<String, (u64, u64)>,
}

impl ArchiveTransport {
    /// Reads what the archive holds.
    ///
    /// # Errors
    /// It cannot be read, or is no archive of regular files.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let invalid = |problem: String| Error::new(ErrorKind::InvalidData, problem);
        let file = open_file(path)?.ok_or_else(|| Error::from(ErrorKind::NotFound))?;
        let mut archive = tar::Archive::new(file);
        let mut entries = BTreeMap::new();
        for entry in archive.entries_with_seek()? {
            let entry = entry?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            if entry.header().entry_type().is_dir() {
                continue;
            }
            if !entry.header().entry_type().is_file() {
                return Err(invalid(format!("{name} is no regular file")));
            }
            let name = name.trim_start_matches("./").to_owned();
            let place = (entry.raw_file_position(), entry.size());
            if entries.insert(name.clone(), place).is_some() {
                return Err(invalid(format!("{name} is there twice")));
            }
            if entries.len() > ENTRIES_MAX {
                return Err(invalid(format!("it has more than {ENTRIES_MAX} entries")));
            }
        }
        Ok(Self {
            path: path.to_owned(),
            entries,
        })
    }
}

#[async_trait]
impl Transport for ArchiveTransport {
    async fn open(&self, name: &str) -> std::io::Result<Option<Bytes>> {
        let Some(&(at, size)) = self.entries.get(name) else {
            return Ok(None);
        };
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(at))?;
        Ok(Some(Box::new(tokio::fs::File::from_std(file).take(size))))
    }
}

/// Packs a repository into a tar file: all of it that its newest root vouches for. The same repository gives the same bytes.
///
/// # Errors
/// Something is missing or altered, or the file cannot be written.
pub async fn pack(repository: &RepositoryWriter, file: &Path) -> Result<(), SignError> {
    let trust = repository.trust();
    let transport = DirectoryTransport {
        path: repository.path().to_owned(),
    };
    let mut small = chain(trust, &transport).await?;
    let mut artifacts: BTreeMap<Digest, ManifestFile> = BTreeMap::new();
    for (place, signed) in trust.catalogue().manifests() {
        let manifest = verifier::manifest(trust, &transport, place, signed).await?;
        let name = manifest_path(place, signed.sha256);
        small.push((name, manifest.text().into_bytes()));
        artifacts.extend(manifest.files.into_iter().map(|file| (file.sha256, file)));
    }
    // What is not here, nobody needs: what is in packs lies in whole files, too.
    let mut packs = packs(repository.path(), &artifacts);
    packs.retain(|digest, _| repository.path().join(artifact_path(*digest)).exists());
    artifacts.extend(packs);
    let documents = trust.documents();
    small.extend(documents.map(|(name, bytes)| (name, bytes.to_vec())));
    let disk = |source| SignError::Disk {
        path: file.to_owned(),
        source,
    };
    let folder = file.parent().filter(|folder| *folder != Path::new(""));
    // It goes away by itself unless it gets its name.
    let fresh = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(folder.unwrap_or(Path::new(".")))
        .map_err(disk)?;
    write(fresh.as_file(), file, &small, &artifacts, repository.path())?;
    fresh.persist(file).map_err(|error| disk(error.error))?;
    Ok(())
}

fn write(
    file: &File,
    to: &Path,
    small: &[(String, Vec<u8>)],
    artifacts: &BTreeMap<Digest, ManifestFile>,
    repository: &Path,
) -> Result<(), SignError> {
    let disk = |source| SignError::Disk {
        path: to.to_owned(),
        source,
    };
    let mut archive = tar::Builder::new(BufWriter::new(file));
    for (name, bytes) in small {
        let mut header = header(bytes.len() as u64);
        archive
            .append_data(&mut header, name, bytes.as_slice())
            .map_err(disk)?;
    }
    for file in artifacts.values() {
        let name = artifact_path(file.sha256);
        let opened = open_file(&repository.join(&name));
        let opened = opened.map_err(|source| TrustError::Transport {
            name: name.clone(),
            source,
        })?;
        let missing = || TrustError::Missing { name: name.clone() };
        let mut source = Hashing {
            from: opened.ok_or_else(missing)?.take(file.size),
            hash: Context::new(&SHA256),
        };
        let mut header = header(file.size);
        archive
            .append_data(&mut header, &name, &mut source)
            .map_err(disk)?;
        if source.hash.finish().as_ref() != file.sha256.0 {
            let problem = "its digest is another one".to_owned();
            return Err(TrustError::Altered { name, problem }.into());
        }
    }
    let buffered = archive.into_inner().map_err(disk)?;
    let file = buffered
        .into_inner()
        .map_err(|error| disk(error.into_error()))?;
    file.sync_all().map_err(disk)
}

/// A header without anything of this machine or moment in it.
fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// Reads and keeps the digest of what was read.
struct Hashing<R> {
    from: R,
    hash: Context,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.hash.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

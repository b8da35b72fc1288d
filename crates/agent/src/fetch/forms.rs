//! In which forms a file of a bundle may lie here: as it was published; or, of a compressed archive that only agents read, what is in
//! it. A node that has an earlier version makes the content of the archive from chunks, and cannot compress it to the same bytes again.

use super::WantedFile;
use chunks::{ChunkIndex, ContentForm, INDEX_BYTES_MAX};
use model::manifest::{CHUNKS_FILE, Digest, Manifest, ManifestFile};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// How a gzip file begins (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What may lie here in the place of files.
#[derive(Clone, Debug, Default)]
pub struct HeldForms {
    contents: BTreeMap<Digest, WantedFile>,
}

impl HeldForms {
    /// The forms of a bundle's files, by the index of its chunks in the bundle's folder or among the artifacts. Without one that is what was
    /// published, every file has its published form only. Blocks.
    pub fn of(manifest: &Manifest, bundle: &Path, artifacts: &Path) -> Self {
        let Some(file) = manifest.file(CHUNKS_FILE) else {
            return Self::default();
        };
        let places = [
            bundle.join(CHUNKS_FILE),
            artifacts.join(file.sha256.to_string()),
        ];
        let index = places.iter().find_map(|path| read_index(file.into(), path));
        index.map(|index| Self::listed(&index)).unwrap_or_default()
    }

    /// The same by an index that was read.
    pub(super) fn listed(index: &ChunkIndex) -> Self {
        let contents = index.contents.iter();
        let archives = contents.filter(|content| content.form == ContentForm::Gzip);
        let entry = |content: &chunks::IndexedContent| {
            let held = WantedFile {
                digest: content.content,
                size: content.length,
            };
            (content.file, held)
        };
        Self {
            contents: archives.map(entry).collect(),
        }
    }

    /// A file's forms: first as it was published.
    pub(super) fn of_file(&self, file: WantedFile) -> impl Iterator<Item = WantedFile> {
        let content = self.contents.get(&file.digest).copied();
        std::iter::once(file).chain(content)
    }

    /// The digests of what may lie here beside what was published.
    pub(crate) fn contents(&self) -> impl Iterator<Item = Digest> {
        self.contents.values().map(|content| content.digest)
    }
}

impl From<&ManifestFile> for WantedFile {
    fn from(file: &ManifestFile) -> Self {
        Self {
            digest: file.sha256,
            size: file.size,
        }
    }
}

/// An index of chunks, if it is there as it was published and this program can read it.
pub(super) fn read_index(file: WantedFile, path: &Path) -> Option<ChunkIndex> {
    let is_long = std::fs::metadata(path).is_ok_and(|found| found.len() == file.size);
    if !is_long || file.size > INDEX_BYTES_MAX {
        return None;
    }
    let bytes = std::fs::read(path).ok()?;
    if Digest::of(&bytes) != file.digest {
        return None;
    }
    match ChunkIndex::parse(&bytes) {
        Ok(index) => Some(index),
        Err(error) => {
            tracing::warn!(%error, "chunks are not used: files are fetched whole");
            None
        }
    }
}

/// Whether a file is compressed with gzip, by how it begins. A tar archive begins with a name.
pub fn is_gzip(path: &Path) -> bool {
    let mut begins = [0; 2];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut begins));
    read.is_ok() && begins == GZIP
}

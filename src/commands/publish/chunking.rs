//! The index of the chunks of an upgrade's large files, and the packs of those chunks that no earlier publication has.

use super::earlier::EarlierUpgrade;
use super::packs::{NewPack, PackWriter};
use crate::commands::check::Proved;
use crate::failure::{Advise, failure, refusal};
use chunks::{
    CHUNKED_BYTES_MIN, CHUNKS_MAX, ChunkCutter, ChunkIndex, ChunkPlace, ContentForm,
    IndexedContent, PackFile, shrinks,
};
use flate2::read::GzDecoder;
use model::manifest::{
    CHUNKS_FILE, Digest, FILE_BYTES_MAX, FILES_MAX, FileInfo, Manifest, ManifestFile, Mode,
};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// How many samples of a file are looked at, and how long they are, to see whether it shrinks.
const SAMPLES: u64 = 16;
const SAMPLE_BYTES: usize = 64 << 10;

/// How gzip files begin: content that does is not taken out of an archive, since nodes tell the two apart by that.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// An upgrade with its chunks.
pub(super) struct Chunked {
    /// The manifest as it is to be published.
    pub(super) manifest: Manifest,
    /// What the large files consist of.
    pub(super) index: ChunkIndex,
    /// The index as a file.
    pub(super) index_path: PathBuf,
    /// Packs that nobody has yet.
    pub(super) packs: Vec<NewPack>,
    /// How many chunks are in them.
    pub(super) new_chunks: usize,
    /// Where index and packs lie; removed with this.
    _folder: tempfile::TempDir,
}

/// Cuts the large files of an upgrade, and writes packs and index into a temporary folder.
pub(super) fn chunk(proved: &Proved, earlier: &[EarlierUpgrade]) -> anyhow::Result<Chunked> {
    let no_folder = "see to the disk, or name another place for temporary files with TMPDIR";
    let folder = tempfile::tempdir().advise("cannot make a temporary folder", no_folder)?;
    let manifest = &proved.checked.manifest;
    let writer = PackWriter::new(folder.path()).advise("cannot write packs", no_folder)?;
    let mut chunking = Chunking::new(earlier, writer);
    if manifest.files.len() < FILES_MAX {
        let archives = proved.checked.upgrade.unpacked_archives();
        for file in large_files(manifest) {
            let path = proved.folder.path.join(&file.path);
            let may_unpack = archives.contains(file.path.as_str());
            let added = chunking.add(file, &path, may_unpack);
            added.map_err(|error| unread(&path, error))?;
        }
    }
    let new_chunks = chunking.writer.chunks;
    let finished = chunking.finish();
    let (index, packs) = finished.advise("cannot write packs", no_folder)?;
    let index_path = folder.path().join(CHUNKS_FILE);
    let mut files = manifest.listing();
    if !index.contents.is_empty() {
        let bytes = index.bytes();
        let info = FileInfo {
            mode: Mode::Plain,
            size: bytes.len() as u64,
            sha256: Digest::of(&bytes),
        };
        std::fs::write(&index_path, bytes).advise("cannot write the index", no_folder)?;
        files.insert(CHUNKS_FILE.to_owned(), info);
    }
    Ok(Chunked {
        manifest: proved.checked.upgrade.manifest(&files),
        index,
        index_path,
        packs,
        new_chunks,
        _folder: folder,
    })
}

/// The files that are cut, each content once, in the order of the index.
fn large_files(manifest: &Manifest) -> impl Iterator<Item = &ManifestFile> {
    let large = (manifest.files.iter()).filter(|file| file.size >= CHUNKED_BYTES_MIN);
    let by_digest: BTreeMap<Digest, &ManifestFile> =
        large.map(|file| (file.sha256, file)).collect();
    by_digest.into_values()
}

fn unread(path: &Path, error: io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::InvalidData {
        return refusal(
            format!(
                "{} changed while it was published; nothing was published",
                path.display()
            ),
            "publish again when nothing writes into the folder any more",
        );
    }
    failure(
        format!("{} cannot be cut into chunks: {error}", path.display()),
        "see to the disk, or name another place for temporary files with TMPDIR",
    )
}

/// Where a chunk lies.
#[derive(Clone, Copy)]
struct ChunkLocation {
    pack: Pack,
    offset: u64,
    stored: u32,
    length: u32,
}

/// A pack that is published, or the number of a new one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Pack {
    Old(PackFile),
    New(usize),
}

/// An index as it grows.
struct Chunking<'a> {
    earlier: &'a [EarlierUpgrade],
    known: HashMap<Digest, ChunkLocation>,
    writer: PackWriter,
    contents: Vec<(IndexedContent, Vec<Pack>)>,
    chunks: usize,
}

impl<'a> Chunking<'a> {
    fn new(earlier: &'a [EarlierUpgrade], writer: PackWriter) -> Self {
        let mut known = HashMap::new();
        for upgrade in earlier {
            for chunk in upgrade.index.contents.iter().flat_map(|it| &it.chunks) {
                let pack = upgrade.index.packs[chunk.pack as usize];
                if upgrade.packs.contains(&pack.digest) {
                    let place = ChunkLocation {
                        pack: Pack::Old(pack),
                        offset: chunk.offset,
                        stored: chunk.stored,
                        length: chunk.length,
                    };
                    known.entry(chunk.digest).or_insert(place);
                }
            }
        }
        Self {
            earlier,
            known,
            writer,
            contents: Vec::new(),
            chunks: 0,
        }
    }

    /// Adds a file; one that would make the index too large is left out, and nodes fetch it whole.
    fn add(&mut self, file: &ManifestFile, path: &Path, may_unpack: bool) -> io::Result<()> {
        let form = if may_unpack {
            form(path)?
        } else {
            ContentForm::Plain
        };
        let added = match self.published(file, form) {
            Some(published) => Some(published),
            None if form == ContentForm::Plain && !file_shrinks(path, file.size)? => {
                Some(itself(file, path)?)
            }
            None => self.cut(file, path, form)?,
        };
        if let Some((content, packs)) = added {
            self.chunks += content.chunks.len();
            if self.chunks <= CHUNKS_MAX {
                self.contents.push((content, packs));
            }
        }
        Ok(())
    }

    /// What an earlier index says of the same file, if all its packs are there.
    fn published(
        &self,
        file: &ManifestFile,
        form: ContentForm,
    ) -> Option<(IndexedContent, Vec<Pack>)> {
        self.earlier.iter().find_map(|upgrade| {
            let content = upgrade.index.content(file.sha256)?;
            let packs = content.chunks.iter();
            let packs = packs.map(|chunk| upgrade.index.packs[chunk.pack as usize]);
            let packs: Vec<PackFile> = packs.collect();
            let all_there = packs.iter().all(|it| upgrade.packs.contains(&it.digest));
            let packs = packs.into_iter().map(Pack::Old).collect();
            (content.form == form && all_there).then(|| (content.clone(), packs))
        })
    }

    /// Cuts a file, and writes what is not known. Content that is longer than a file may be is not cut.
    fn cut(
        &mut self,
        file: &ManifestFile,
        path: &Path,
        form: ContentForm,
    ) -> io::Result<Option<(IndexedContent, Vec<Pack>)>> {
        let opened = BufReader::new(File::open(path)?);
        let content: Box<dyn Read> = match form {
            ContentForm::Plain => Box::new(opened),
            ContentForm::Gzip => Box::new(GzDecoder::new(opened).take(FILE_BYTES_MAX + 1)),
        };
        let mut hash = Sha256::new();
        let (mut length, mut chunks, mut packs) = (0, Vec::new(), Vec::new());
        for chunk in ChunkCutter::new(content) {
            let chunk = chunk?;
            hash.update(&chunk);
            let digest = Digest::of(&chunk);
            let place = match self.known.get(&digest) {
                Some(place) if place.length as usize == chunk.len() => *place,
                _ => self.written(digest, &chunk)?,
            };
            length += chunk.len() as u64;
            packs.push(place.pack);
            chunks.push(ChunkPlace {
                digest,
                length: place.length,
                pack: 0,
                offset: place.offset,
                stored: place.stored,
            });
        }
        let content = Digest(hash.finalize().into());
        if form == ContentForm::Plain && content != file.sha256 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let indexed = IndexedContent {
            file: file.sha256,
            form,
            content,
            length,
            chunks,
        };
        let is_fit = length <= FILE_BYTES_MAX && length > 0;
        Ok(is_fit.then_some((indexed, packs)))
    }

    fn written(&mut self, digest: Digest, chunk: &[u8]) -> io::Result<ChunkLocation> {
        let written = self.writer.write(chunk)?;
        let place = ChunkLocation {
            pack: Pack::New(written.pack),
            offset: written.offset,
            stored: written.stored,
            length: u32::try_from(chunk.len()).map_err(io::Error::other)?,
        };
        self.known.insert(digest, place);
        Ok(place)
    }

    /// The index, with the packs that it needs, and the new ones of them. An index that nodes would not read is none.
    fn finish(self) -> io::Result<(ChunkIndex, Vec<NewPack>)> {
        let new = self.writer.finish()?;
        let resolved = |pack: Pack| match pack {
            Pack::Old(pack) => pack,
            Pack::New(number) => new[number].pack,
        };
        let used = self.contents.iter().flat_map(|(_, packs)| packs);
        let used: BTreeSet<Pack> = used.copied().collect();
        let used: BTreeSet<PackFile> = used.into_iter().map(resolved).collect();
        let packs: Vec<PackFile> = used.into_iter().collect();
        let mut index = ChunkIndex {
            packs,
            contents: Vec::new(),
        };
        for (mut content, packs) in self.contents {
            for (chunk, pack) in content.chunks.iter_mut().zip(packs) {
                let number = index.packs.binary_search(&resolved(pack));
                let number = number.map_err(|_| io::ErrorKind::NotFound)?;
                chunk.pack = u32::try_from(number).map_err(io::Error::other)?;
            }
            index.contents.push(content);
        }
        let is_read = ChunkIndex::parse(&index.bytes()).is_ok();
        if is_read {
            Ok((index, new))
        } else {
            Ok((ChunkIndex::default(), Vec::new()))
        }
    }
}

/// A file that does not shrink lies in the repository as it is: it is the pack of its own chunks.
fn itself(file: &ManifestFile, path: &Path) -> io::Result<(IndexedContent, Vec<Pack>)> {
    let pack = PackFile {
        digest: file.sha256,
        size: file.size,
    };
    let mut hash = Sha256::new();
    let (mut at, mut chunks) = (0, Vec::new());
    for chunk in ChunkCutter::new(BufReader::new(File::open(path)?)) {
        let chunk = chunk?;
        hash.update(&chunk);
        let length = u32::try_from(chunk.len()).map_err(io::Error::other)?;
        chunks.push(ChunkPlace {
            digest: Digest::of(&chunk),
            length,
            pack: 0,
            offset: at,
            stored: length,
        });
        at += chunk.len() as u64;
    }
    if Digest(hash.finalize().into()) != file.sha256 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let packs = vec![Pack::Old(pack); chunks.len()];
    let content = IndexedContent {
        file: file.sha256,
        form: ContentForm::Plain,
        content: file.sha256,
        length: file.size,
        chunks,
    };
    Ok((content, packs))
}

/// Whether what is in an archive can be told from the archive, by how it begins.
fn form(path: &Path) -> io::Result<ContentForm> {
    let mut begins = [0; 2];
    GzDecoder::new(BufReader::new(File::open(path)?)).read_exact(&mut begins)?;
    Ok(if begins == GZIP {
        ContentForm::Plain
    } else {
        ContentForm::Gzip
    })
}

/// Whether a file shrinks, by samples of it.
fn file_shrinks(path: &Path, size: u64) -> io::Result<bool> {
    let file = File::open(path)?;
    let last = size.saturating_sub(SAMPLE_BYTES as u64);
    let mut samples = vec![0; SAMPLE_BYTES * usize::try_from(SAMPLES).unwrap_or(1)];
    for (number, sample) in (0..).zip(samples.chunks_exact_mut(SAMPLE_BYTES)) {
        let at = u128::from(last) * number / u128::from(SAMPLES);
        let at = u64::try_from(at).unwrap_or(last);
        file.read_exact_at(sample, at)?;
    }
    shrinks(&samples)
}

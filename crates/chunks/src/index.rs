//! The index: of which chunks large files consist, and where each lies.
//!
//! Its numbers are little-endian. It begins with `UPCHUNK1`. Then come the packs (their number in 4 bytes; each a digest and its
//! size in 8), and the files (their number in 4 bytes). A file is its digest, its form in 1 byte, the digest of its content, the
//! content's length in 8, the number of its chunks in 4, and the chunks: each a digest, its length in 4, its pack's number in 4, where it
//! begins there in 8, and how long it is there in 4.

use crate::limits::{CHUNKS_MAX, INDEX_BYTES_MAX, PACKS_MAX};
use crate::{CHUNK_BYTES_MAX, ChunkError};
use model::manifest::{Digest, FILE_BYTES_MAX};

/// How an index begins.
const MAGIC: &[u8; 8] = b"UPCHUNK1";

/// How many bytes a pack, a file without its chunks, and a chunk take.
const PACK_BYTES: usize = 40;
const CONTENT_BYTES: usize = 77;
const PLACE_BYTES: usize = 52;

/// A file of the repository that holds chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackFile {
    /// Its digest, by which it is asked for.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// How a file's content is told apart from the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentForm {
    /// The file is its content.
    Plain,
    /// The content is what gzip unpacks from the file.
    Gzip,
}

/// A chunk and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkPlace {
    /// The chunk's digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub length: u32,
    /// The number of its pack in the index.
    pub pack: u32,
    /// Where it begins there.
    pub offset: u64,
    /// How many bytes it takes there; as many as it has itself where it is not compressed.
    pub stored: u32,
}

/// One large file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexedContent {
    /// The file's digest, as the manifest lists it.
    pub file: Digest,
    /// What its content is to it.
    pub form: ContentForm,
    /// The digest of its content.
    pub content: Digest,
    /// How many bytes its content has.
    pub length: u64,
    /// The content's chunks, in order.
    pub chunks: Vec<ChunkPlace>,
}

/// All large files of a bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChunkIndex {
    /// The packs that the chunks lie in.
    pub packs: Vec<PackFile>,
    /// The files, by their digests.
    pub contents: Vec<IndexedContent>,
}

impl ChunkIndex {
    /// What is known of a file.
    #[must_use]
    pub fn content(&self, file: Digest) -> Option<&IndexedContent> {
        let found = (self.contents).binary_search_by_key(&file, |content| content.file);
        self.contents.get(found.ok()?)
    }

    /// The index as bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes();
        bytes.extend(number(self.packs.len()));
        for pack in &self.packs {
            bytes.extend(pack.digest.0);
            bytes.extend(pack.size.to_le_bytes());
        }
        bytes.extend(number(self.contents.len()));
        for content in &self.contents {
            bytes.extend(content.file.0);
            bytes.push(u8::from(content.form == ContentForm::Gzip));
            bytes.extend(content.content.0);
            bytes.extend(content.length.to_le_bytes());
            bytes.extend(number(content.chunks.len()));
            for chunk in &content.chunks {
                bytes.extend(chunk.digest.0);
                bytes.extend(chunk.length.to_le_bytes());
                bytes.extend(chunk.pack.to_le_bytes());
                bytes.extend(chunk.offset.to_le_bytes());
                bytes.extend(chunk.stored.to_le_bytes());
            }
        }
        bytes
    }

    /// Reads an index; everything in it is checked.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, ChunkError> {
        if bytes.len() as u64 > INDEX_BYTES_MAX {
            return Err(ChunkError::TooLarge {
                bytes: bytes.len() as u64,
            });
        }
        let mut rest = UnreadIndex(bytes);
        if rest.array::<8>().as_ref() != Ok(MAGIC) {
            return Err(ChunkError::Format);
        }
        let packs = rest.count(PACK_BYTES, PACKS_MAX)?;
        let packs: Result<Vec<_>, _> = (0..packs).map(|_| rest.pack()).collect();
        let packs = packs?;
        let mut left = CHUNKS_MAX;
        let mut contents: Vec<IndexedContent> = Vec::new();
        for _ in 0..rest.count(CONTENT_BYTES, CHUNKS_MAX)? {
            let content = rest.content(&packs, left)?;
            left -= content.chunks.len();
            if contents
                .last()
                .is_some_and(|last| last.file >= content.file)
            {
                return Err(ChunkError::NotSorted);
            }
            contents.push(content);
        }
        match rest.0.len() {
            0 => Ok(Self { packs, contents }),
            more => Err(ChunkError::TooLong(more)),
        }
    }
}

/// What of an index is not read yet.
struct UnreadIndex<'a>(&'a [u8]);

impl UnreadIndex<'_> {
    fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], ChunkError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(ChunkError::CutOff)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn digest(&mut self) -> Result<Digest, ChunkError> {
        self.array().map(Digest)
    }

    fn long(&mut self) -> Result<u64, ChunkError> {
        self.array().map(u64::from_le_bytes)
    }

    fn short(&mut self) -> Result<u32, ChunkError> {
        self.array().map(u32::from_le_bytes)
    }

    /// A number of things that must all be there: memory is taken for no more.
    fn count(&mut self, each: usize, most: usize) -> Result<usize, ChunkError> {
        let count = self.short()? as usize;
        if count > most {
            return Err(ChunkError::TooMany);
        }
        if count.saturating_mul(each) > self.0.len() {
            return Err(ChunkError::CutOff);
        }
        Ok(count)
    }

    fn pack(&mut self) -> Result<PackFile, ChunkError> {
        Ok(PackFile {
            digest: self.digest()?,
            size: self.long()?,
        })
    }

    fn content(&mut self, packs: &[PackFile], most: usize) -> Result<IndexedContent, ChunkError> {
        let file = self.digest()?;
        let wrong = |problem| ChunkError::Content { file, problem };
        let form = match self.array()? {
            [0] => ContentForm::Plain,
            [1] => ContentForm::Gzip,
            _ => return Err(wrong("its form is not known")),
        };
        let content = self.digest()?;
        if form == ContentForm::Plain && content != file {
            return Err(wrong("its content has another digest than itself"));
        }
        let length = self.long()?;
        if length > FILE_BYTES_MAX {
            return Err(wrong("it is too long"));
        }
        let count = self.count(PLACE_BYTES, most)?;
        let mut chunks = Vec::with_capacity(count);
        let mut sum = 0;
        for _ in 0..count {
            let chunk = self.chunk(packs).map_err(|problem| match problem {
                Some(problem) => wrong(problem),
                None => ChunkError::CutOff,
            })?;
            sum += u64::from(chunk.length);
            chunks.push(chunk);
        }
        if sum != length || chunks.is_empty() {
            return Err(wrong("its chunks are not as long as it is"));
        }
        Ok(IndexedContent {
            file,
            form,
            content,
            length,
            chunks,
        })
    }

    /// A chunk; without a problem the index was cut off.
    fn chunk(&mut self, packs: &[PackFile]) -> Result<ChunkPlace, Option<&'static str>> {
        let ended = |_| None;
        let chunk = ChunkPlace {
            digest: self.digest().map_err(ended)?,
            length: self.short().map_err(ended)?,
            pack: self.short().map_err(ended)?,
            offset: self.long().map_err(ended)?,
            stored: self.short().map_err(ended)?,
        };
        if chunk.length == 0 || chunk.length as usize > CHUNK_BYTES_MAX {
            return Err(Some("a chunk has a length that none has"));
        }
        if chunk.stored == 0 || chunk.stored > chunk.length {
            return Err(Some("a chunk takes more in its pack than it is long"));
        }
        let pack = packs.get(chunk.pack as usize);
        let pack = pack.ok_or(Some("a chunk's pack is not listed"))?;
        let end = chunk.offset.checked_add(u64::from(chunk.stored));
        if end.is_none_or(|end| end > pack.size) {
            return Err(Some("a chunk lies behind the end of its pack"));
        }
        Ok(chunk)
    }
}

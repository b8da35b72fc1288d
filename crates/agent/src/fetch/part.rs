//! A file that is put together from chunks: what is here already, what is missing, and that it is whole in the end.

use super::{FetchError, digest_of, disk, sync, with_suffix};
use chunks::{ChunkPlace, IndexedContent};
use model::manifest::Digest;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// What the file is called until it is whole.
pub(crate) const SUFFIX: &str = ".chunks";

/// How much is asked of a node at once: what breaks off is not asked for again from the start.
const RUN_BYTES_MAX: u64 = 64 << 20;

/// A part of the file that is missing.
pub(super) struct MissingRun {
    /// Where it begins.
    pub(super) first: u64,
    /// How many bytes it has.
    pub(super) count: u64,
    /// The chunks in it.
    pub(super) chunks: Vec<ChunkPlace>,
}

/// A file on its way.
pub(super) struct ChunkedPart {
    /// What it will be.
    pub(super) content: IndexedContent,
    /// How many bytes of it are here.
    pub(super) came: u64,
    path: PathBuf,
    target: PathBuf,
    file: File,
    /// Where each chunk begins, and whether it is here.
    places: Vec<(u64, bool)>,
    by_digest: HashMap<Digest, Vec<usize>>,
}

impl ChunkedPart {
    /// Begins a file in `folder`, or goes on with one: what was written of it is looked at. Blocks.
    pub(super) fn open(folder: &Path, content: IndexedContent) -> Result<Self, FetchError> {
        let target = folder.join(content.content.to_string());
        let path = with_suffix(&target, SUFFIX);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&path).map_err(disk("open", &path))?;
        let before = file.metadata().map_err(disk("look at", &path))?.len();
        file.set_len(content.length).map_err(disk("make", &path))?;
        let mut places = Vec::with_capacity(content.chunks.len());
        let mut by_digest: HashMap<Digest, Vec<usize>> = HashMap::new();
        let mut at = 0;
        for (number, chunk) in content.chunks.iter().enumerate() {
            places.push((at, false));
            by_digest.entry(chunk.digest).or_default().push(number);
            at += u64::from(chunk.length);
        }
        let mut part = Self {
            content,
            came: 0,
            path,
            target,
            file,
            places,
            by_digest,
        };
        if before > 0 {
            part.look_at_what_is_here();
        }
        Ok(part)
    }

    /// What cannot be read is not here.
    fn look_at_what_is_here(&mut self) {
        for (chunk, place) in self.content.chunks.iter().zip(&mut self.places) {
            let mut bytes = vec![0; chunk.length as usize];
            let read = self.file.read_exact_at(&mut bytes, place.0);
            if read.is_ok() && Digest::of(&bytes) == chunk.digest {
                place.1 = true;
                self.came += u64::from(chunk.length);
            }
        }
    }

    /// Takes a chunk wherever it is missing; says how many bytes of the file that were. The digest is that of the bytes.
    pub(super) fn take(&mut self, digest: Digest, bytes: &[u8]) -> Result<u64, FetchError> {
        let Some(numbers) = self.by_digest.get(&digest) else {
            return Ok(0);
        };
        let mut taken = 0;
        for number in numbers {
            let (at, is_here) = &mut self.places[*number];
            // What the index calls by this digest has this length; if it says otherwise, the file is not whole in the end.
            let length = self.content.chunks[*number].length as usize;
            if *is_here || bytes.len() != length {
                continue;
            }
            let written = self.file.write_all_at(bytes, *at);
            written.map_err(disk("write", &self.path))?;
            *is_here = true;
            taken += bytes.len() as u64;
        }
        self.came += taken;
        Ok(taken)
    }

    /// The chunks that are not here.
    pub(super) fn missing(&self) -> Vec<ChunkPlace> {
        let all = self.content.chunks.iter().zip(&self.places);
        let missing = all.filter(|(_, (_, is_here))| !is_here);
        missing.map(|(chunk, _)| *chunk).collect()
    }

    /// The same as runs of the file, each of chunks that follow one another.
    pub(super) fn missing_runs(&self) -> Vec<MissingRun> {
        let mut runs: Vec<MissingRun> = Vec::new();
        let all = self.content.chunks.iter().zip(&self.places);
        for (chunk, (at, _)) in all.filter(|(_, (_, is_here))| !is_here) {
            let length = u64::from(chunk.length);
            match runs.last_mut() {
                Some(run) if run.first + run.count == *at && run.count < RUN_BYTES_MAX => {
                    run.count += length;
                    run.chunks.push(*chunk);
                }
                _ => runs.push(MissingRun {
                    first: *at,
                    count: length,
                    chunks: vec![*chunk],
                }),
            }
        }
        runs
    }

    /// Whether nothing is missing.
    pub(super) fn is_complete(&self) -> bool {
        self.came == self.content.length
    }

    /// Gives the file its name, durably, if it is what was published.
    pub(super) async fn keep(&self) -> Result<bool, FetchError> {
        let (path, target) = (self.path.clone(), self.target.clone());
        let content = self.content.content;
        let keeping = tokio::task::spawn_blocking(move || keep(&path, &target, content));
        // A look that broke has found nothing.
        keeping.await.unwrap_or(Ok(false))
    }

    /// What it is called until it is whole.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves nothing of it.
    pub(super) fn remove(&self) {
        // What cannot be removed now goes when downloads that nothing lists are deleted.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn keep(path: &Path, target: &Path, content: Digest) -> Result<bool, FetchError> {
    let found = digest_of(path).map_err(disk("read", path))?;
    if found != content {
        return Ok(false);
    }
    sync(path)?;
    std::fs::rename(path, target).map_err(disk("rename", path))?;
    sync(target.parent().unwrap_or(Path::new(".")))?;
    Ok(true)
}

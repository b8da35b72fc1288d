//! Large files from what lies here: the artifacts of earlier versions are cut as the publisher has cut the new file, and only what none of
//! them has is fetched, as ranges of packs. Whatever is wrong with chunks, the whole file is fetched by its digest.

use super::FetchError;
use super::download::{Download, TRIES_MAX, is_refused, pause};
use super::forms::is_gzip;
use super::part::ChunkedPart;
use super::sources::{FetchPace, FetchSource, TOO_SLOW};
use chunks::{
    CHUNKED_BYTES_MIN, ChunkCutter, ChunkError, ContentForm, PackFile, PackRange, RangeReader,
    is_worth_it, joined,
};
use client::{ClientError, NodeClient, NodeSourceError};
use flate2::read::GzDecoder;
use model::manifest::{Digest, FILE_BYTES_MAX};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Looks for missing chunks in what lies here, the newest first. Each file is read once, for all parts. Blocks.
pub(super) fn gather(parts: &mut [ChunkedPart], folder: &Path) -> Result<(), FetchError> {
    for source in sources(folder) {
        if parts.iter().all(ChunkedPart::is_complete) {
            break;
        }
        gather_from(parts, &source)?;
    }
    Ok(())
}

fn gather_from(parts: &mut [ChunkedPart], source: &Path) -> Result<(), FetchError> {
    let Ok(file) = File::open(source) else {
        return Ok(());
    };
    let file = BufReader::new(file);
    let content: Box<dyn Read> = if is_gzip(source) {
        Box::new(GzDecoder::new(file).take(FILE_BYTES_MAX))
    } else {
        Box::new(file)
    };
    for chunk in ChunkCutter::new(content) {
        let Ok(chunk) = chunk else {
            // Damaged: what could be read of it has been of use.
            return Ok(());
        };
        let digest = Digest::of(&chunk);
        for part in &mut *parts {
            part.take(digest, &chunk)?;
        }
        if parts.iter().all(ChunkedPart::is_complete) {
            return Ok(());
        }
    }
    Ok(())
}

/// Artifacts that are worth to be cut.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let large = |entry: std::fs::DirEntry| -> Option<(SystemTime, PathBuf)> {
        entry.file_name().to_str()?.parse::<Digest>().ok()?;
        let found = entry.metadata().ok()?;
        let is_large = found.is_file() && found.len() >= CHUNKED_BYTES_MIN;
        is_large.then_some((found.modified().ok()?, entry.path()))
    };
    let mut sources: Vec<_> = entries.flatten().filter_map(large).collect();
    sources.sort_unstable_by(|one, other| other.cmp(one));
    sources.into_iter().map(|(_, path)| path).collect()
}

/// Why chunks did not do it.
enum ChunkTrouble {
    /// The server does not answer: what has come is kept for the next try.
    Server(ClientError),
    /// Chunks cannot be used.
    Unusable(String),
    /// The disk.
    Disk(FetchError),
}

impl From<ClientError> for ChunkTrouble {
    fn from(error: ClientError) -> Self {
        if error.is_temporary() {
            Self::Server(error)
        } else {
            Self::Unusable(error.to_string())
        }
    }
}

impl From<ChunkError> for ChunkTrouble {
    fn from(error: ChunkError) -> Self {
        Self::Unusable(error.to_string())
    }
}

impl From<FetchError> for ChunkTrouble {
    fn from(error: FetchError) -> Self {
        Self::Disk(error)
    }
}

/// One file whose missing chunks are fetched.
pub(super) struct ChunkedDownload {
    pub(super) part: ChunkedPart,
    pub(super) packs: Arc<Vec<PackFile>>,
    /// The whole file, for when chunks cannot be used.
    pub(super) whole: Download,
}

/// What was fetched of a file.
#[derive(Default)]
struct Moved {
    bytes: u64,
    requests: usize,
}

impl ChunkedDownload {
    pub(super) async fn run(mut self) -> Result<(), FetchError> {
        let file = self.part.content.file;
        (self.whole.told)(self.part.came.cast_signed());
        let ranges = joined(self.part.missing());
        // What is in an archive lies at other nodes as it is to lie here, and the archive may not.
        let is_alike = self.part.content.form == ContentForm::Plain;
        let at_once = is_alike || matches!(self.whole.sources.now().await, FetchSource::Server);
        if at_once && !is_worth_it(&ranges, self.whole.wanted.size) {
            self.part.remove();
            return self.fetch_whole().await;
        }
        let mut moved = Moved::default();
        match self.bring(&mut moved).await {
            Ok(()) => {
                let (bytes, requests) = (moved.bytes, moved.requests);
                let length = self.part.content.length;
                tracing::info!(%file, bytes, length, requests, "a file was made from chunks: the rest lay here");
                Ok(())
            }
            Err(ChunkTrouble::Disk(error)) => {
                if error.is_no_space() {
                    // The software needs what is left more than half an artifact.
                    self.part.remove();
                }
                Err(error)
            }
            Err(ChunkTrouble::Unusable(reason)) => {
                tracing::warn!(%file, reason, "chunks cannot be used; the whole file is fetched");
                self.part.remove();
                self.fetch_whole().await
            }
            Err(ChunkTrouble::Server(error)) => {
                tracing::warn!(%file, %error, "chunks do not come; the whole file is asked for");
                let part = self.part.path().to_owned();
                self.fetch_whole().await?;
                // What cannot be removed goes with the downloads that nothing lists.
                let _ = std::fs::remove_file(part);
                Ok(())
            }
        }
    }

    async fn fetch_whole(self) -> Result<(), FetchError> {
        let back = self.part.came.cast_signed();
        let differs = (self.part.content.length.cast_signed())
            .saturating_sub(self.whole.wanted.size.cast_signed());
        drop(self.part);
        // Counted as content until now; as much as is told in all comes in the end.
        (self.whole.told)(differs - back);
        self.whole.run().await
    }

    async fn bring(&mut self, moved: &mut Moved) -> Result<(), ChunkTrouble> {
        while !self.part.is_complete() {
            let FetchSource::Node(node) = self.whole.sources.now().await else {
                break;
            };
            match self.read_from_node(&node, moved).await? {
                // It may have the archive itself.
                Err(error) if error.is_missing => {
                    return Err(ChunkTrouble::Unusable(error.to_string()));
                }
                Err(error) => self.whole.sources.failed(&error).await,
                Ok(()) => {}
            }
        }
        let mut tries = 0;
        while !self.part.is_complete() {
            let before = self.part.came;
            match self.read_ranges(moved).await {
                Ok(()) => {}
                Err(ChunkTrouble::Server(source)) => {
                    tries = if self.part.came > before {
                        1
                    } else {
                        tries + 1
                    };
                    if tries >= TRIES_MAX || is_refused(&source) {
                        return Err(ChunkTrouble::Server(source));
                    }
                    tokio::time::sleep(pause(tries)).await;
                }
                Err(other) => return Err(other),
            }
        }
        if self.part.keep().await? {
            return Ok(());
        }
        let reason = "the chunks do not make up what was published".to_owned();
        Err(ChunkTrouble::Unusable(reason))
    }

    /// Reads what is missing where it stands in the file, which lies at another node as it is to lie here. Each chunk is checked.
    async fn read_from_node(
        &mut self,
        node: &NodeClient,
        moved: &mut Moved,
    ) -> Result<Result<(), NodeSourceError>, FetchError> {
        let name = self.part.content.content.to_string();
        for run in self.part.missing_runs() {
            moved.requests += 1;
            let opened = node.artifact(&name, run.first, Some(run.count)).await;
            let mut body = match opened {
                Ok(body) => body,
                Err(error) => return Ok(Err(error)),
            };
            let mut pace = FetchPace::default();
            let mut come = Vec::new();
            let mut chunks = run.chunks.iter().peekable();
            while let Some(next) = chunks.peek() {
                let length = next.length as usize;
                if come.len() >= length {
                    let rest = come.split_off(length);
                    let chunk = std::mem::replace(&mut come, rest);
                    let digest = Digest::of(&chunk);
                    if digest != next.digest {
                        return Ok(Err(
                            node.error(format!("a part of {name} is not what it should be"))
                        ));
                    }
                    let taken = self.part.take(digest, &chunk)?;
                    (self.whole.told)(taken.cast_signed());
                    chunks.next();
                    continue;
                }
                match body.chunk().await {
                    Ok(Some(bytes)) => {
                        moved.bytes += bytes.len() as u64;
                        come.extend_from_slice(&bytes);
                        if pace.is_too_slow(bytes.len()) {
                            return Ok(Err(node.error(TOO_SLOW)));
                        }
                    }
                    Ok(None) => return Ok(Err(node.error(format!("it has less of {name}")))),
                    Err(error) => return Ok(Err(error)),
                }
            }
        }
        Ok(Ok(()))
    }

    async fn read_ranges(&mut self, moved: &mut Moved) -> Result<(), ChunkTrouble> {
        let before = self.part.came;
        for range in joined(self.part.missing()) {
            moved.requests += 1;
            self.read(range, moved).await?;
        }
        if self.part.came == before {
            // Each chunk has come, and has no place in the file.
            let reason = "the index says of one chunk that it has two lengths".to_owned();
            return Err(ChunkTrouble::Unusable(reason));
        }
        Ok(())
    }

    async fn read(&mut self, range: PackRange, moved: &mut Moved) -> Result<(), ChunkTrouble> {
        let Some(pack) = self.packs.get(range.pack as usize) else {
            return Err(ChunkTrouble::Unusable("a pack is not listed".to_owned()));
        };
        let name = pack.digest.to_string();
        let mut body = (self.whole.sources.server())
            .artifact_part(&name, range.first, range.count)
            .await?;
        let mut reader = RangeReader::new(range);
        while !reader.is_done() {
            let Some(bytes) = body.chunk().await? else {
                let reason = format!("the answer for a part of {name} ends too early");
                return Err(ChunkTrouble::Unusable(reason));
            };
            moved.bytes += bytes.len() as u64;
            let mut bytes = bytes.as_ref();
            while let Some((chunk, content)) = reader.next(&mut bytes)? {
                let taken = self.part.take(chunk.digest, &content)?;
                (self.whole.told)(taken.cast_signed());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

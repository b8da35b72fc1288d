//! Artifacts from the server: resumed where they broke off, checked, and there whole or not at all.

use super::chunked::{ChunkedDownload, gather};
use super::forms::{HeldForms, read_index};
use super::part::ChunkedPart;
use super::partial::Partial;
use super::sources::{ASKED_BYTES_MIN, FetchPace, FetchSource, FetchedBundle, Sources, TOO_SLOW};
use super::{FetchError, digest_of, disk, with_suffix};
use crate::error_chain::chain;
use crate::snapshot::FreeRoom;
use chunks::{CHUNKED_BYTES_MIN, ChunkIndex, ContentForm, INDEX_BYTES_MAX, IndexedContent};
use client::{Client, ClientError, NodeClient, NodeSourceError};
use model::manifest::{CHUNKS_FILE, Digest, Manifest};
use rand::RngExt as _;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

/// How many artifacts are fetched at once: enough to fill a line with small files, few enough to be polite.
const PARALLEL: usize = 4;

/// How often in a row an artifact is asked for without a byte of progress.
pub(super) const TRIES_MAX: u32 = 5;

/// The wait after a first failure; doubled after each, and jittered, so that a thousand nodes do not come back at once.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The longest wait between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What must stay free on the disk beyond what is fetched: the journal and the software's own writes go on.
const SPARE_BYTES: u64 = 16 << 20;

/// An artifact that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WantedFile {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

impl WantedFile {
    /// Every file of a bundle.
    pub fn all(manifest: &Manifest) -> Vec<Self> {
        manifest.files.iter().map(Self::from).collect()
    }
}

/// Fetches artifacts into one folder.
#[derive(Clone, Debug)]
pub struct Fetcher {
    client: Arc<Client>,
    folder: PathBuf,
    index: Option<WantedFile>,
    bundle: Option<FetchedBundle>,
}

/// Tells how many bytes have come, or have to come again.
type ByteTeller = Arc<dyn Fn(i64) + Send + Sync>;

impl Fetcher {
    /// A fetcher that keeps artifacts in `folder`, named by their digests.
    pub fn new(client: Arc<Client>, folder: PathBuf) -> Self {
        Self {
            client,
            folder,
            index: None,
            bundle: None,
        }
    }

    /// The same, which asks the server whether this bundle is to be fetched from another node.
    #[must_use]
    pub fn for_bundle(mut self, bundle: FetchedBundle) -> Self {
        self.bundle = Some(bundle);
        self
    }

    /// The same, which makes large files of this bundle from chunks of what lies here where it can. Of an archive that only agents
    /// read, its content may then lie here in its place.
    #[must_use]
    pub fn with_chunks_of(mut self, manifest: &Manifest) -> Self {
        self.index = manifest.file(CHUNKS_FILE).map(WantedFile::from);
        self
    }

    /// Where an artifact is once it is there.
    pub fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join(digest.to_string())
    }

    /// Fetches what is missing, some at a time; tells bytes done and in all as it goes on.
    ///
    /// # Errors
    /// The first that cannot be had; what has come of the others stays for the next time.
    pub async fn fetch(
        &self,
        wanted: &[WantedFile],
        progress: impl Fn(u64, u64) + Send + Sync + 'static,
    ) -> Result<(), FetchError> {
        std::fs::create_dir_all(&self.folder).map_err(disk("make", &self.folder))?;
        let missing = self.missing(wanted, HeldForms::default()).await;
        let bytes = (missing.values()).fold(0, |sum: u64, size| sum.saturating_add(*size));
        let bundle = self.bundle.clone().filter(|_| bytes >= ASKED_BYTES_MIN);
        let sources = Arc::new(Sources::new(Arc::clone(&self.client), bundle));
        let fetched = tokio::select! {
            fetched = self.fetch_from(&sources, wanted, missing, progress) => fetched,
            never = sources.keep() => match never {},
        };
        sources.end().await;
        fetched
    }

    async fn fetch_from(
        &self,
        sources: &Arc<Sources>,
        wanted: &[WantedFile],
        mut missing: BTreeMap<Digest, u64>,
        progress: impl Fn(u64, u64) + Send + Sync + 'static,
    ) -> Result<(), FetchError> {
        let mut index = None;
        if (missing.values()).any(|size| *size >= CHUNKED_BYTES_MIN) {
            index = self.index(sources).await?;
        }
        if let Some(index) = &index {
            let still = missing.into_iter();
            let still: Vec<WantedFile> = still
                .map(|(digest, size)| WantedFile { digest, size })
                .collect();
            missing = self.missing(&still, HeldForms::listed(index)).await;
        }
        let sizes = missing.clone();
        let (chunked, whole) = self.divided(missing, index.as_ref());
        let lengths = chunked.iter().map(|content| content.length);
        let total = lengths.chain(whole.values().copied()).sum();
        // What is missing lies here twice in the end: as an artifact, and copied into its bundle's folder.
        let copies: u64 = wanted.iter().map(|wanted| wanted.size).sum();
        self.check_space(total, copies.max(total))?;
        let done = Arc::new(AtomicU64::new(0));
        let told: ByteTeller = Arc::new(move |more: i64| {
            let before = done.fetch_add(more.cast_unsigned(), Ordering::Relaxed);
            progress(before.wrapping_add_signed(more), total);
        });
        told(0);
        let parts = self.gathered(chunked).await?;
        let packs = Arc::new(index.map(|index| index.packs).unwrap_or_default());
        let mut running = JoinSet::new();
        for (digest, size) in whole {
            let download = self.download(WantedFile { digest, size }, sources, &told);
            begin(&mut running, download.run()).await?;
        }
        for part in parts {
            let digest = part.content.file;
            let size = sizes.get(&digest).copied().unwrap_or(part.content.length);
            let download = ChunkedDownload {
                whole: self.download(WantedFile { digest, size }, sources, &told),
                part,
                packs: packs.clone(),
            };
            begin(&mut running, download.run()).await?;
        }
        while let Some(ended) = running.join_next().await {
            finished(Some(ended))?;
        }
        Ok(())
    }

    fn download(&self, wanted: WantedFile, sources: &Arc<Sources>, told: &ByteTeller) -> Download {
        Download {
            sources: Arc::clone(sources),
            path: self.path(wanted.digest),
            wanted,
            told: told.clone(),
        }
    }

    /// The index of the bundle's chunks, fetched if it is not here; nothing if there is none that can be used.
    async fn index(&self, sources: &Arc<Sources>) -> Result<Option<ChunkIndex>, FetchError> {
        let Some(file) = self.index.filter(|file| file.size <= INDEX_BYTES_MAX) else {
            return Ok(None);
        };
        let path = self.path(file.digest);
        if !self.has(&file) {
            let nobody: ByteTeller = Arc::new(|_| {});
            match self.download(file, sources, &nobody).run().await {
                Err(error) if error.is_no_space() => return Err(error),
                Err(error) => {
                    let reason = chain(&error);
                    tracing::warn!(reason, "chunks are not used: files are fetched whole");
                    return Ok(None);
                }
                Ok(()) => {}
            }
        }
        let reading = tokio::task::spawn_blocking(move || read_index(file, &path));
        Ok(reading.await.unwrap_or_default())
    }

    /// Which files are made from chunks, and which are fetched whole. An archive whose content has no room here, while the archive may have,
    /// is fetched as it is.
    fn divided(
        &self,
        missing: BTreeMap<Digest, u64>,
        index: Option<&ChunkIndex>,
    ) -> (Vec<IndexedContent>, BTreeMap<Digest, u64>) {
        let Some(index) = index else {
            return (Vec::new(), missing);
        };
        let contents = missing.keys().filter_map(|file| index.content(*file));
        let mut chunked: Vec<IndexedContent> = contents.cloned().collect();
        let needed = (chunked.iter()).fold(0, |sum: u64, one| sum.saturating_add(one.length));
        if self.check_space(needed, needed).is_err() {
            tracing::warn!("there is no room for what is in archives; they are fetched whole");
            chunked.retain(|content| content.form == ContentForm::Plain);
        }
        let mut whole = missing;
        for content in &chunked {
            whole.remove(&content.file);
        }
        (chunked, whole)
    }

    /// Begins these files with what lies here of them.
    async fn gathered(
        &self,
        contents: Vec<IndexedContent>,
    ) -> Result<Vec<ChunkedPart>, FetchError> {
        let folder = self.folder.clone();
        let gathering = tokio::task::spawn_blocking(move || {
            let parts = contents
                .into_iter()
                .map(|it| ChunkedPart::open(&folder, it));
            let mut parts: Vec<_> = parts.collect::<Result<_, _>>()?;
            if let Err(error) = gather(&mut parts, &folder) {
                if error.is_no_space() {
                    // The software needs what is left more than half an artifact.
                    parts.iter().for_each(ChunkedPart::remove);
                }
                return Err(error);
            }
            Ok(parts)
        });
        match gathering.await {
            Ok(parts) => parts,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Ok(Vec::new()),
        }
    }

    /// What is not here in any of its forms. Reads what is here, beside the runtime.
    async fn missing(&self, wanted: &[WantedFile], forms: HeldForms) -> BTreeMap<Digest, u64> {
        let (own, wanted) = (self.clone(), wanted.to_vec());
        let all = wanted.clone();
        let looking = tokio::task::spawn_blocking(move || {
            let is_here = |file: &WantedFile| forms.of_file(*file).any(|form| own.has(&form));
            let missing = wanted.iter().filter(|wanted| !is_here(wanted));
            missing.map(|it| (it.digest, it.size)).collect()
        });
        // A look that broke has seen nothing.
        let everything = || all.iter().map(|it| (it.digest, it.size)).collect();
        looking.await.unwrap_or_else(|_| everything())
    }

    /// Whether an artifact is here, and is what its name says: the disk may have lost or changed some of it.
    fn has(&self, wanted: &WantedFile) -> bool {
        let path = self.path(wanted.digest);
        let is_long = std::fs::metadata(&path).is_ok_and(|found| found.len() == wanted.size);
        let is_it = || digest_of(&path).is_ok_and(|found| found == wanted.digest);
        is_long && is_it()
    }

    fn check_space(&self, missing: u64, copies: u64) -> Result<(), FetchError> {
        let Ok(FreeRoom { bytes: free, .. }) = FreeRoom::at(&self.folder) else {
            return Ok(());
        };
        let needed = missing.saturating_add(copies).saturating_add(SPARE_BYTES);
        if needed <= free {
            return Ok(());
        }
        Err(FetchError::NoSpace {
            path: self.folder.clone(),
            missing: format!("{needed} bytes are needed, {free} are free"),
        })
    }
}

/// Begins a download when fewer than so many are under way.
async fn begin(
    running: &mut JoinSet<Result<(), FetchError>>,
    download: impl Future<Output = Result<(), FetchError>> + Send + 'static,
) -> Result<(), FetchError> {
    if running.len() >= PARALLEL {
        finished(running.join_next().await)?;
    }
    running.spawn(download);
    Ok(())
}

fn finished(
    ended: Option<Result<Result<(), FetchError>, tokio::task::JoinError>>,
) -> Result<(), FetchError> {
    match ended {
        Some(Ok(result)) => result,
        Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        _ => Ok(()),
    }
}

/// One artifact on its way.
pub(super) struct Download {
    pub(super) sources: Arc<Sources>,
    pub(super) path: PathBuf,
    pub(super) wanted: WantedFile,
    pub(super) told: ByteTeller,
}

impl Download {
    pub(super) async fn run(self) -> Result<(), FetchError> {
        let digest = self.wanted.digest;
        let part = with_suffix(&self.path, ".part");
        let mut altered_before = false;
        // The nodes that gave some of what has come.
        let mut givers: Vec<Arc<NodeClient>> = Vec::new();
        let mut tries = 0;
        loop {
            let mut partial = Partial::open(&part, self.wanted.size)?;
            let before = partial.length;
            (self.told)(before.cast_signed());
            let result = self.go_on(&mut partial, &mut givers).await;
            let came = partial.length;
            match result {
                Ok(()) if partial.is(self.wanted) => {
                    if let FetchSource::Node(node) = self.sources.now().await
                        && givers.iter().any(|giver| Arc::ptr_eq(giver, &node))
                    {
                        tracing::info!(%digest, node = node.name(), "an artifact came from another node");
                    }
                    return partial.keep(&part, &self.path);
                }
                Ok(()) => {
                    std::fs::remove_file(&part).map_err(disk("remove", &part))?;
                    if altered_before && givers.is_empty() {
                        return Err(FetchError::Altered { digest });
                    }
                    // What was there from before may have been damaged: once more, from the start.
                    altered_before = givers.is_empty();
                    for node in givers.drain(..) {
                        let error =
                            node.error(format!("{digest} is another file with what it gave"));
                        self.sources.failed(&error).await;
                    }
                }
                Err(DownloadTrouble::Disk(error)) => {
                    if error.is_no_space() {
                        // Somebody else has filled the disk: the software needs what is left more than half an artifact.
                        let _ = std::fs::remove_file(&part);
                    }
                    return Err(error);
                }
                Err(DownloadTrouble::Node(error)) => self.sources.failed(&error).await,
                Err(DownloadTrouble::Server(source)) => {
                    tries = if came > before { 1 } else { tries + 1 };
                    if tries >= TRIES_MAX || is_refused(&source) {
                        return Err(FetchError::Server {
                            digest,
                            source: Box::new(source),
                        });
                    }
                    tokio::time::sleep(pause(tries)).await;
                }
            }
            (self.told)(-came.cast_signed());
        }
    }

    /// Appends what comes until the end.
    async fn go_on(
        &self,
        partial: &mut Partial,
        givers: &mut Vec<Arc<NodeClient>>,
    ) -> Result<(), DownloadTrouble> {
        if partial.length == self.wanted.size && self.wanted.size > 0 {
            return Ok(());
        }
        match self.sources.now().await {
            FetchSource::Server => self.go_on_from_server(partial).await,
            FetchSource::Node(node) => {
                givers.push(Arc::clone(&node));
                self.go_on_from_node(&node, partial).await
            }
        }
    }

    async fn go_on_from_server(&self, partial: &mut Partial) -> Result<(), DownloadTrouble> {
        let sha256 = self.wanted.digest.to_string();
        let server = self.sources.server();
        let mut body =
            (server.artifact(&sha256, partial.length).await).map_err(DownloadTrouble::Server)?;
        while let Some(chunk) = body.chunk().await.map_err(DownloadTrouble::Server)? {
            if !self.take(&chunk, partial)? {
                break;
            }
        }
        Ok(())
    }

    async fn go_on_from_node(
        &self,
        node: &NodeClient,
        partial: &mut Partial,
    ) -> Result<(), DownloadTrouble> {
        let sha256 = self.wanted.digest.to_string();
        let mut body =
            (node.artifact(&sha256, partial.length, None).await).map_err(DownloadTrouble::Node)?;
        let mut pace = FetchPace::default();
        while let Some(chunk) = body.chunk().await.map_err(DownloadTrouble::Node)? {
            if !self.take(&chunk, partial)? {
                return Ok(());
            }
            if pace.is_too_slow(chunk.len()) {
                return Err(DownloadTrouble::Node(node.error(TOO_SLOW)));
            }
        }
        if partial.length < self.wanted.size {
            return Err(DownloadTrouble::Node(node.error("it has less of it")));
        }
        Ok(())
    }

    /// Takes what has come; false when there is too much of it.
    fn take(&self, chunk: &[u8], partial: &mut Partial) -> Result<bool, DownloadTrouble> {
        partial.append(chunk).map_err(DownloadTrouble::Disk)?;
        (self.told)(chunk.len() as i64);
        Ok(partial.length <= self.wanted.size)
    }
}

/// The server itself says no. Anything else (a gateway's page, a broken line) may pass.
pub(super) fn is_refused(error: &ClientError) -> bool {
    matches!(error, ClientError::Problem(_)) && !error.is_temporary()
}

enum DownloadTrouble {
    Server(ClientError),
    Node(NodeSourceError),
    Disk(FetchError),
}

/// Half to one and a half of a wait that doubles.
pub(super) fn pause(tries: u32) -> Duration {
    let base = FIRST_PAUSE.saturating_mul(1 << tries.min(8)).min(PAUSE_MAX);
    base.mul_f64(rand::rng().random_range(0.5..1.5))
}

#[cfg(test)]
mod tests;

//! An artifact on its way to a registry, sent in parts while it comes. Until its digest is right it is an upload under way, which nobody
//! sees; one that breaks off is the registry's to forget.

use super::manifest::blob_name;
use super::{ArtifactUpload, Registry, documents};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use model::manifest::Digest;
use oci_client::errors::OciDistributionError;
use std::io;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How much is sent at once: what `oci-client` sends, and every registry takes.
const PART_BYTES: usize = 4 << 20;

/// An artifact on its way.
pub(super) struct RegistryUpload {
    registry: Arc<Registry>,
    digest: Digest,
    /// What no part has yet.
    came: BytesMut,
    size: u64,
    /// None as long as it is no more than a part.
    begun: Option<PartsUnderWay>,
}

/// Parts under way.
struct PartsUnderWay {
    parts: mpsc::Sender<Bytes>,
    work: JoinHandle<Result<String, OciDistributionError>>,
}

impl RegistryUpload {
    pub(super) fn new(registry: Arc<Registry>, digest: Digest) -> Self {
        Self {
            registry,
            digest,
            came: BytesMut::new(),
            size: 0,
            begun: None,
        }
    }

    async fn send_part(&mut self, part: Bytes) -> io::Result<()> {
        let (registry, digest) = (&self.registry, self.digest);
        let begin = || PartsUnderWay::begin(Arc::clone(registry), digest);
        let begun = self.begun.get_or_insert_with(begin);
        if begun.parts.send(part).await.is_ok() {
            return Ok(());
        }
        // Whoever sends has ended, and says why.
        match self.begun.take() {
            Some(begun) => begun.ended(&self.registry).await,
            None => Ok(()),
        }
    }
}

impl PartsUnderWay {
    fn begin(registry: Arc<Registry>, digest: Digest) -> Self {
        let (parts, coming) = mpsc::channel(1);
        let work = tokio::spawn(async move {
            let parts = stream::unfold(coming, |mut coming: mpsc::Receiver<Bytes>| async {
                let part = coming.recv().await?;
                Some((Ok(part), coming))
            });
            let (reference, name) = (registry.reference(documents::TAG), blob_name(digest));
            // The registry gives it its name if this is its digest.
            let pushed = registry
                .client
                .push_blob_stream(&reference, parts, &name, None);
            pushed.await
        });
        Self { parts, work }
    }

    /// Waits until all was sent.
    async fn ended(self, registry: &Registry) -> io::Result<()> {
        drop(self.parts);
        let sent = self.work.await.map_err(io::Error::other)?;
        sent.map(drop).map_err(|error| registry.told(error))
    }
}

#[async_trait]
impl ArtifactUpload for RegistryUpload {
    async fn add(&mut self, data: Bytes) -> io::Result<()> {
        self.came.extend_from_slice(&data);
        self.size += data.len() as u64;
        while self.came.len() > PART_BYTES {
            let part = self.came.split_to(PART_BYTES).freeze();
            self.send_part(part).await?;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> io::Result<()> {
        let rest = self.came.split().freeze();
        if self.begun.is_none() && !rest.is_empty() {
            self.registry.push(self.digest, rest).await?;
        } else {
            self.send_part(rest).await?;
        }
        if let Some(begun) = self.begun.take() {
            begun.ended(&self.registry).await?;
        }
        self.registry.hold_artifact(self.digest, self.size).await
    }
}

impl Drop for RegistryUpload {
    fn drop(&mut self) {
        if let Some(begun) = self.begun.take() {
            // Before the end of the parts could look like the end of the artifact.
            begun.work.abort();
        }
    }
}

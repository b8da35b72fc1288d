//! What is published already that an upgrade can build on: an earlier revision of it, and the upgrade that it starts from.

use crate::connection::explain;
use chunks::{ChunkIndex, INDEX_BYTES_MAX};
use client::{Client, ClientError};
use model::bundle::Upgrade;
use model::ids::{Revision, Version};
use model::manifest::{CHUNKS_FILE, Digest, Manifest};
use std::collections::BTreeSet;

/// One upgrade that is published.
pub(super) struct EarlierUpgrade {
    pub(super) version: Version,
    pub(super) revision: Revision,
    pub(super) manifest: Manifest,
    /// What its large files consist of; nothing where it does not say.
    pub(super) index: ChunkIndex,
    /// The packs of the index that the repository has.
    pub(super) packs: BTreeSet<Digest>,
}

impl EarlierUpgrade {
    /// The manifest as it was before its index of chunks was added.
    pub(super) fn without_chunks(&self) -> Manifest {
        let mut manifest = self.manifest.clone();
        manifest.files.retain(|file| file.path != CHUNKS_FILE);
        manifest
    }
}

/// An earlier revision of the upgrade, then the upgrade that it starts from, as far as they are there.
pub(super) async fn earlier(
    client: &Client,
    upgrade: &Upgrade,
) -> anyhow::Result<Vec<EarlierUpgrade>> {
    let view = client.system().await.map_err(explain)?;
    let mut found = Vec::new();
    for version in [upgrade.version, upgrade.from] {
        let mut listed = view.upgrades.iter();
        let there = listed.find(|there| there.version == version && !there.withdrawn);
        let Some(summary) = there else {
            continue;
        };
        let text = client.manifest(version, summary.revision).await;
        let text = text.map_err(explain)?;
        // The server is not believed: what it says is only used to refer to what it has, and nodes check what comes.
        if Digest::of(text.as_bytes()).to_string() != summary.manifest_sha256 {
            continue;
        }
        let Ok(manifest) = Manifest::parse(&text) else {
            continue;
        };
        let index = index(client, &manifest).await.map_err(explain)?;
        let mut packs = BTreeSet::new();
        for pack in &index.packs {
            let name = pack.digest.to_string();
            if client.has_artifact(&name).await.map_err(explain)? {
                packs.insert(pack.digest);
            }
        }
        found.push(EarlierUpgrade {
            version,
            revision: summary.revision,
            manifest,
            index,
            packs,
        });
    }
    Ok(found)
}

/// A published index; an empty one if there is none that this program can read.
async fn index(client: &Client, manifest: &Manifest) -> Result<ChunkIndex, ClientError> {
    let file = manifest.file(CHUNKS_FILE);
    let Some(file) = file.filter(|file| file.size <= INDEX_BYTES_MAX) else {
        return Ok(ChunkIndex::default());
    };
    let mut body = match client.artifact(&file.sha256.to_string(), 0).await {
        Err(ClientError::Problem(_)) => return Ok(ChunkIndex::default()),
        answer => answer?,
    };
    let mut bytes = Vec::new();
    while let Some(more) = body.chunk().await? {
        bytes.extend_from_slice(&more);
        if bytes.len() as u64 > file.size {
            break;
        }
    }
    if Digest::of(&bytes) != file.sha256 {
        return Ok(ChunkIndex::default());
    }
    Ok(ChunkIndex::parse(&bytes).unwrap_or_default())
}

//! Documents beside the artifacts, all under one tag: its manifest names them, so that whoever reads it sees all of a change or nothing.

use super::super::{DocumentStore, StoredDocument};
use super::manifest::{DOCUMENTS_TYPE, JSON_TYPE, layer, title};
use super::trouble::asked;
use super::{Registry, RegistryArtifacts, manifest};
use async_trait::async_trait;
use bytes::Bytes;
use model::manifest::Digest;
use oci_client::manifest::OciDescriptor;
use std::collections::BTreeMap;
use std::io;

/// The tag of the manifest that names the documents.
pub(super) const TAG: &str = "metadata";

impl Registry {
    /// The documents, by name.
    async fn named(&self) -> io::Result<BTreeMap<String, OciDescriptor>> {
        let manifest = self.manifest(TAG).await?;
        let layers = manifest.map(|manifest| manifest.layers);
        let named = |layer: OciDescriptor| Some((title(&layer)?.to_owned(), layer));
        Ok(layers.into_iter().flatten().filter_map(named).collect())
    }
}

#[async_trait]
impl DocumentStore for RegistryArtifacts {
    async fn documents(&self) -> io::Result<BTreeMap<String, Option<String>>> {
        let named = self.0.named().await?;
        let tagged = |(name, layer): (String, OciDescriptor)| (name, Some(layer.digest));
        Ok(named.into_iter().map(tagged).collect())
    }

    async fn document(&self, name: &str) -> io::Result<Option<StoredDocument>> {
        let Self(registry) = self;
        let Some(layer) = registry.named().await?.remove(name) else {
            return Ok(None);
        };
        let (reference, digest) = (&registry.reference(TAG), layer.digest.as_str());
        // Checked against its digest.
        let pulled = asked(|| async move {
            let mut bytes = Vec::new();
            let pulled = registry.quick.pull_blob(reference, &digest, &mut bytes);
            pulled.await.map(|()| bytes)
        });
        Ok(registry.there(pulled.await)?.map(|bytes| StoredDocument {
            bytes,
            tag: Some(layer.digest),
        }))
    }

    /// What is not listed is gone, too.
    async fn replace(
        &self,
        documents: Vec<(String, Option<Vec<u8>>)>,
        _gone: &[String],
    ) -> io::Result<BTreeMap<String, Option<String>>> {
        let Self(registry) = self;
        let mut there = registry.named().await?;
        let (mut layers, mut tags) = (Vec::new(), BTreeMap::new());
        for (name, bytes) in documents {
            let Some(bytes) = bytes else {
                layers.extend(there.remove(&name));
                continue;
            };
            let bytes = Bytes::from(bytes);
            let digest = Digest::of(&bytes);
            let new = layer(digest, bytes.len() as u64, JSON_TYPE, &name);
            registry.push(digest, bytes).await?;
            tags.insert(name, Some(new.digest.clone()));
            layers.push(new);
        }
        let manifest = manifest::of(DOCUMENTS_TYPE, layers);
        registry.hold(TAG, &manifest).await?;
        Ok(tags)
    }
}

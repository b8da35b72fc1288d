//! What was laid out is what was published: looked at before adapters are loaded and before the software starts. What was edited or
//! deleted is mended from the artifact, and told.

use super::{Bundles, UnusableBundle};
use crate::error_chain::chain;
use crate::fetch::{self, FetchError, Fetcher, HeldForms, WantedFile};
use chunks::CHUNKED_BYTES_MIN;
use model::api::{EventKind, told};
use model::bundle::SoftwareKind;
use model::machine::Place;
use model::manifest::{CHUNKS_FILE, Manifest, ManifestFile};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How many files are named when some were mended.
const NAMED_MAX: usize = 5;

impl Bundles {
    /// Makes the bundle of a place, if it lies here, what was published.
    pub(in crate::node) async fn check_bundle(
        self: &Arc<Self>,
        place: Place,
    ) -> Result<(), UnusableBundle> {
        let Some(manifest) = self.manifest_of(place) else {
            // It is being fetched, or was laid out by nobody.
            return Ok(());
        };
        let manifest = Arc::new(manifest);
        let bundle = self.layout().bundle(place);
        let damaged = self.damaged(&manifest, &bundle).await?;
        if damaged.is_empty() {
            return Ok(());
        }
        let names: Vec<PathBuf> = damaged
            .iter()
            .map(|file| file.path.clone().into())
            .collect();
        self.fetch_again(&manifest, &damaged)
            .await
            .and_then(|()| {
                let damaged: Vec<&ManifestFile> = damaged.iter().collect();
                let artifacts = self.layout().artifacts();
                let forms = HeldForms::of(&manifest, &bundle, &artifacts);
                fetch::mend(&artifacts, &forms, &damaged, &bundle)
            })
            .map_err(|source| UnusableBundle::Unmended {
                place,
                files: named(&names),
                source,
            })?;
        self.tell_mended(place, &names);
        Ok(())
    }

    /// The same with what was unpacked from the archive of its software.
    pub(in crate::node) async fn check_software(
        self: &Arc<Self>,
        place: Place,
    ) -> Result<(), UnusableBundle> {
        self.check_bundle(place).await?;
        let class = self.definition(place)?;
        let Some(source) = &class.software.source else {
            return Ok(());
        };
        if source.kind == SoftwareKind::Folder {
            return Ok(());
        }
        let gzip = source.kind == SoftwareKind::TarGz;
        let archive = self.layout().bundle(place).join(&source.path);
        let target = self.layout().unpacked(place, &source.path);
        let bundles = self.clone();
        let mended = tokio::task::spawn_blocking(move || {
            fetch::mend_unpacked(&bundles.looked, &archive, gzip, &target)
        });
        let mended = mended.await.map_err(UnusableBundle::Broken)?;
        let mended = mended.map_err(|source| UnusableBundle::Archive { place, source })?;
        if !mended.is_empty() {
            self.tell_mended(place, &mended);
        }
        Ok(())
    }

    /// What a bundle that lies here was laid out by.
    fn manifest_of(&self, place: Place) -> Option<Manifest> {
        let kept = std::fs::read_to_string(self.layout().manifest(place)).ok();
        if let Some(manifest) = kept.and_then(|text| Manifest::parse(&text).ok()) {
            return Some(manifest);
        }
        // Edited or deleted itself: what was learned says the same of the newest revision.
        let manifest = self.published_manifest(place)?;
        if let Err(error) = self.keep_manifest(place, &manifest) {
            tracing::warn!(problem = chain(&error), "a manifest is not mended");
        }
        Some(manifest)
    }

    fn published_manifest(&self, place: Place) -> Option<Manifest> {
        let update = self.surroundings.catalog_update().ok()?;
        let newest = update.catalog.newest_place(place.version) == Some(place);
        let published = update.upgrades.get(&place.version).filter(|_| newest)?;
        let laid_out = self.layout().bundle(place).is_dir();
        laid_out.then(|| (*published.manifest).clone())
    }

    async fn damaged(
        self: &Arc<Self>,
        manifest: &Arc<Manifest>,
        bundle: &Path,
    ) -> Result<Vec<ManifestFile>, UnusableBundle> {
        let (bundles, manifest, bundle) = (self.clone(), manifest.clone(), bundle.to_owned());
        let artifacts = self.layout().artifacts();
        let looked = tokio::task::spawn_blocking(move || {
            let forms = HeldForms::of(&manifest, &bundle, &artifacts);
            let damaged = fetch::damaged(&bundles.looked, &manifest, &forms, &bundle);
            damaged.into_iter().cloned().collect()
        });
        looked.await.map_err(UnusableBundle::Broken)
    }

    /// Fetches the artifacts that are not here, or are not what their names say.
    async fn fetch_again(
        &self,
        manifest: &Manifest,
        damaged: &[ManifestFile],
    ) -> Result<(), FetchError> {
        let wanted: Vec<WantedFile> = damaged.iter().map(WantedFile::from).collect();
        let artifacts = self.layout().artifacts();
        let has_chunks = manifest.file(CHUNKS_FILE).is_some();
        for file in &wanted {
            // Most of a large file is of use still.
            let is_of_use = has_chunks && file.size >= CHUNKED_BYTES_MIN;
            let artifact = artifacts.join(file.digest.to_string());
            if !is_of_use && fetch::digest_of(&artifact).ok() != Some(file.digest) {
                // Cut, edited or gone: a length says nothing of what is in it.
                let _ = std::fs::remove_file(&artifact);
            }
        }
        let fetcher = Fetcher::new(self.surroundings.client.clone(), artifacts);
        let fetcher = fetcher.with_chunks_of(manifest);
        fetcher.fetch(&wanted, |_, _| {}).await
    }

    fn tell_mended(&self, place: Place, names: &[PathBuf]) {
        let message = format!(
            "files of version {place} were not what was published and were mended from the artifacts: {}",
            named(names)
        );
        tracing::warn!("{message}");
        self.surroundings
            .tell(EventKind::NodeMended, Some(place.version), told(&message));
    }
}

/// The first few names, and how many more there are.
fn named(names: &[PathBuf]) -> String {
    let first = names.iter().take(NAMED_MAX);
    let mut text: Vec<String> = first.map(|name| name.display().to_string()).collect();
    if names.len() > NAMED_MAX {
        text.push(format!("and {} more", names.len() - NAMED_MAX));
    }
    text.join(", ")
}

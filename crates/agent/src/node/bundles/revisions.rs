//! What each revision says that lies here: what runs is started, judged and stopped by the word of its own bundle, not by that of a newer
//! one, and a transform is that of the revision to which it leads.

use super::{UnusableBundle, read_manifest, read_text};
use crate::layout::Layout;
use model::bundle::{Upgrade, UpgradeFile};
use model::machine::Place;
use model::manifest::{Digest, Manifest, UPGRADE_FILE};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One revision of an upgrade.
#[derive(Clone, Debug)]
pub(super) struct ReadRevision {
    pub(super) manifest: Arc<Manifest>,
    pub(super) upgrade: Arc<Upgrade>,
}

/// Revisions that were read, by place: a bundle never changes.
#[derive(Debug, Default)]
pub(super) struct ReadRevisions(Mutex<BTreeMap<Place, ReadRevision>>);

impl ReadRevisions {
    /// Reads what a bundle says of itself, by the manifest that lies beside it.
    pub(super) fn read(
        &self,
        layout: &Layout,
        place: Place,
    ) -> Result<ReadRevision, UnusableBundle> {
        let mut known = self.0.lock();
        if let Some(revision) = known.get(&place) {
            return Ok(revision.clone());
        }
        known.retain(|other, _| layout.manifest(*other).exists());
        let revision = read(layout, place)?;
        known.insert(place, revision.clone());
        Ok(revision)
    }
}

fn read(layout: &Layout, place: Place) -> Result<ReadRevision, UnusableBundle> {
    let path = layout.bundle(place).join(UPGRADE_FILE);
    let listed = read_manifest(layout.manifest(place))?;
    let upgrade = read_text(&path)?;
    let digest = Some(Digest::of(upgrade.as_bytes()));
    if listed.file(UPGRADE_FILE).map(|file| file.sha256) != digest {
        return Err(UnusableBundle::Changed { path });
    }
    let proved = UpgradeFile::parse(&upgrade).and_then(|file| file.prove_again(&listed.listing()));
    let upgrade = proved.map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let problems = lines.join("; ");
        UnusableBundle::UpgradeFile { path, problems }
    })?;
    Ok(ReadRevision {
        manifest: Arc::new(listed),
        upgrade: Arc::new(upgrade),
    })
}

//! What each revision says that lies here: what runs is started, judged and stopped by the word of its own bundle, not by that of a newer
//! one, and a transform is that of the revision to which it leads.

use super::Node;
use crate::error_chain::chain;
use crate::layout::Layout;
use crate::unpoisoned::Unpoisoned as _;
use adapter::component::Declaration;
use model::bundle::{Class, Shipped, Upgrade, UpgradeFile};
use model::machine::Place;
use model::manifest::{Digest, Manifest, UPGRADE_FILE};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// One revision of an upgrade.
#[derive(Clone, Debug)]
pub(super) struct Revision {
    pub(super) manifest: Arc<Manifest>,
    pub(super) upgrade: Arc<Upgrade>,
}

/// Revisions that were read, by place: a bundle never changes.
#[derive(Debug, Default)]
pub(super) struct Revisions(Mutex<BTreeMap<Place, Revision>>);

impl Revisions {
    /// Reads what a bundle says of itself, by the manifest that lies beside it.
    fn read(&self, layout: &Layout, place: Place) -> Result<Revision, String> {
        let mut known = self.0.lock().unpoisoned();
        if let Some(revision) = known.get(&place) {
            return Ok(revision.clone());
        }
        known.retain(|other, _| layout.manifest(*other).exists());
        let revision = read(layout, place)?;
        known.insert(place, revision.clone());
        Ok(revision)
    }
}

fn read(layout: &Layout, place: Place) -> Result<Revision, String> {
    let text = |path: &Path| {
        std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))
    };
    let (manifest, file) = (
        layout.manifest(place),
        layout.bundle(place).join(UPGRADE_FILE),
    );
    let listed = Manifest::parse(&text(&manifest)?)
        .map_err(|error| format!("{}: {error}", manifest.display()))?;
    let upgrade = text(&file)?;
    let digest = Some(Digest::of(upgrade.as_bytes()));
    if listed.file(UPGRADE_FILE).map(|file| file.sha256) != digest {
        return Err(format!(
            "{} is not what was published: it was changed here",
            file.display()
        ));
    }
    let proved = UpgradeFile::parse(&upgrade).and_then(|file| file.prove_again(&listed.listing()));
    let upgrade = proved.map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        format!("{}: {}", file.display(), lines.join("; "))
    })?;
    Ok(Revision {
        manifest: Arc::new(listed),
        upgrade: Arc::new(upgrade),
    })
}

/// Keeps a bundle's manifest beside it, before the bundle is there.
pub(super) fn keep_manifest(
    layout: &Layout,
    place: Place,
    manifest: &Manifest,
) -> Result<(), String> {
    let path = layout.manifest(place);
    let keep = || -> io::Result<()> {
        std::fs::create_dir_all(layout.version(place))?;
        let fresh = path.with_extension("new");
        std::fs::write(&fresh, manifest.text())?;
        std::fs::File::open(&fresh)?.sync_all()?;
        std::fs::rename(&fresh, &path)
    };
    let kept = keep().map_err(crate::fetch::disk("write", &path));
    kept.map_err(|error| chain(&error))
}

impl Node {
    /// What the node's class is in this bundle, if the bundle says something of it.
    pub(super) fn shipped_class(&self, bundle: Place) -> Result<Option<Arc<Class>>, String> {
        let revision = self.revisions.read(&self.layout, bundle)?;
        let catalog = self.catalog();
        let class = catalog.class_at(bundle.version);
        let mentioned = class.and_then(|class| revision.upgrade.classes.get(&class.name));
        let definition = mentioned.and_then(|class| class.definition.clone());
        Ok(definition.map(Arc::new))
    }

    /// The definition of what runs from a bundle.
    pub(super) fn definition(&self, bundle: Place) -> Result<Arc<Class>, String> {
        self.shipped_class(bundle)?
            .ok_or_else(|| format!("the node's class has no software in version {bundle}"))
    }

    /// The artifacts that a bundle is made of.
    pub(super) fn listed_artifacts(&self, bundle: Place) -> Result<Vec<String>, String> {
        let path = self.layout.manifest(bundle);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let manifest =
            Manifest::parse(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let files = manifest.files.iter();
        Ok(files.map(|file| file.sha256.to_string()).collect())
    }

    /// Whether nodes that run the software of one bundle need no restart for another revision of it.
    pub(super) fn runs_as(&self, new: Place, old: Place) -> Result<bool, String> {
        let (new_class, old_class) = (self.definition(new)?, self.definition(old)?);
        let (new_files, old_files) = (self.files(new)?, self.files(old)?);
        let new = Shipped {
            class: &new_class,
            files: &new_files.0,
            adapters: &new_files.1,
        };
        Ok(new.runs_as(&Shipped {
            class: &old_class,
            files: &old_files.0,
            adapters: &old_files.1,
        }))
    }

    /// A bundle's files, and those of them that adapters consist of.
    fn files(
        &self,
        bundle: Place,
    ) -> Result<(model::bundle::BundleFiles, BTreeSet<String>), String> {
        let revision = self.revisions.read(&self.layout, bundle)?;
        let mut adapters = BTreeSet::new();
        for file in revision.upgrade.adapter_files() {
            adapters.insert(file.to_owned());
            let path = self.layout.bundle(bundle).join(file);
            let text = std::fs::read_to_string(&path)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            if Declaration::is_one(&text)
                && let Ok(declaration) = Declaration::parse(file, &text)
            {
                adapters.insert(declaration.component());
            }
        }
        Ok((revision.manifest.listing(), adapters))
    }
}

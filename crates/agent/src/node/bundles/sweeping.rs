//! Folders that nothing needs any more are deleted.

use super::{Bundles, UnusableBundle, read_manifest};
use crate::error_chain::chain;
use crate::fetch::{CHUNKS_SUFFIX, HeldForms};
use crate::tree::remove;
use model::ids::Version;
use model::machine::Place;
use std::collections::BTreeSet;
use std::path::Path;

/// What the node uses of what lies in its version folders.
pub(in crate::node) struct UsedPlaces<'a> {
    /// The bundles that are held.
    pub(in crate::node) held: &'a [Place],
    /// Whose state `current` leads to.
    pub(in crate::node) state: Option<Place>,
    /// Whose software is to run.
    pub(in crate::node) bundle: Option<Place>,
    /// Whose software runs.
    pub(in crate::node) running: Option<Place>,
    /// The newest version that nobody speaks any more.
    pub(in crate::node) retired_through: Version,
}

impl Bundles {
    /// Deletes folders that nothing needs; what cannot be deleted is tried again next time. Staging goes on meanwhile: the
    /// newest revision of a version that is spoken, or will be, is left alone whether it is held yet or not.
    pub(in crate::node) fn sweep(&self, used: &UsedPlaces<'_>) {
        let catalog = self.traffic.catalog();
        let provided_by = |version| (catalog.class_at(version)).map(|class| class.provided_by);
        let alive =
            (catalog.history().versions()).filter(|version| *version > used.retired_through);
        let mut needed: BTreeSet<Version> = alive.filter_map(provided_by).collect();
        for place in used.held {
            needed.insert(place.version);
            needed.extend(provided_by(place.version));
        }
        let with_state = self.places_on_disk();
        let with_state: Vec<Place> = (with_state.into_iter())
            .filter(|place| std::fs::symlink_metadata(self.layout().state(*place)).is_ok())
            .collect();
        for place in self.places_on_disk() {
            if Some(place) == used.state {
                continue;
            }
            let runs = Some(place) == used.bundle || Some(place) == used.running;
            let retired = place.version <= used.retired_through;
            let superseded = (used.held.iter())
                .any(|other| other.version == place.version && other.revision > place.revision);
            let withdrawn =
                catalog.history().release(place.version).is_none() && !used.held.contains(&place);
            let bundle_goes =
                superseded || withdrawn || retired && !needed.contains(&place.version);
            let bundle_goes = bundle_goes && !runs;
            let state_goes = if retired || withdrawn {
                true
            } else {
                superseded && !is_kept_state(place, used.state, &with_state)
            };
            self.delete_of(place, bundle_goes, state_goes);
        }
        self.prune_artifacts();
    }

    fn delete_of(&self, place: Place, bundle_goes: bool, state_goes: bool) {
        let layout = self.layout();
        let folders = match (bundle_goes, state_goes) {
            (true, true) => vec![layout.version(place)],
            (true, false) => vec![
                layout.bundle(place),
                layout.software(place),
                layout.manifest(place),
            ],
            (false, true) => vec![layout.state(place)],
            (false, false) => Vec::new(),
        };
        folders.iter().for_each(|folder| delete(folder));
    }

    /// Deletes downloads that belong to no bundle that lies here, or is being fetched: its manifest lies here first.
    fn prune_artifacts(&self) {
        let mut listed = BTreeSet::new();
        for place in self.places_on_disk() {
            match self.listed_artifacts(place) {
                Ok(artifacts) => listed.extend(artifacts),
                // Only what is certainly of no use goes. A state without a bundle lists nothing.
                Err(error) if self.layout().bundle(place).exists() => {
                    tracing::warn!(reason = chain(&error), "downloads are kept");
                    return;
                }
                Err(_) => {}
            }
        }
        let Ok(entries) = std::fs::read_dir(self.layout().artifacts()) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let mut endings = [".part", CHUNKS_SUFFIX].into_iter();
            let digest = endings.find_map(|ending| name.strip_suffix(ending));
            let digest = digest.unwrap_or(&name);
            if !listed.contains(digest) {
                delete(&entry.path());
            }
        }
    }

    /// The artifacts that a bundle is made of.
    fn listed_artifacts(&self, bundle: Place) -> Result<Vec<String>, UnusableBundle> {
        let layout = self.layout();
        let manifest = read_manifest(layout.manifest(bundle))?;
        let forms = HeldForms::of(&manifest, &layout.bundle(bundle), &layout.artifacts());
        let files = manifest.files.iter().map(|file| file.sha256);
        let all = files.chain(forms.contents());
        Ok(all.map(|digest| digest.to_string()).collect())
    }
}

fn delete(path: &Path) {
    if let Err(error) = remove(path) {
        tracing::warn!(path = %path.display(), %error, "cannot delete what is not needed any more");
    }
}

/// The state of an older version is kept until that is retired, whichever revision it was made by: the newest that the node has had.
/// What lies ahead of the node's state came from a failed try.
fn is_kept_state(place: Place, current: Option<Place>, with_state: &[Place]) -> bool {
    let older = current.is_some_and(|current| place.version < current.version);
    let newest = (with_state.iter()).rfind(|other| other.version == place.version);
    older && newest == Some(&place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ids::Revision;

    #[test]
    fn the_newest_state_of_an_older_version_is_kept_and_no_other() {
        let place = |version, revision| Place {
            version: Version(version),
            revision: Revision(revision),
        };
        let all = [
            place(1, 1),
            place(2, 1),
            place(2, 3),
            place(3, 1),
            place(3, 2),
            place(4, 1),
        ];
        let kept: Vec<Place> = (all.iter().copied())
            .filter(|it| is_kept_state(*it, Some(place(3, 2)), &all))
            .collect();
        assert_eq!(kept, [place(1, 1), place(2, 3)]);
    }
}

//! What is served follows what is held: ports, adapters, folders.

use crate::node::Node;
use crate::tree::remove;
use model::ids::Version;
use model::machine::Place;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// What the node uses of what lies in its version folders.
pub(super) struct Used {
    /// Whose state `current` leads to.
    pub(super) state: Option<Place>,
    /// Whose software runs.
    pub(super) bundle: Option<Place>,
}

/// Loads the adapters of every version that the node answers, opens their ports, and deletes what nothing needs.
pub(super) async fn align(
    node: &Arc<Node>,
    held: &[Place],
    used: Used,
    retired_through: Version,
) -> Result<(), String> {
    let staged = held
        .iter()
        .map(|place| place.version)
        .max()
        .unwrap_or_default();
    let places = places(node, held);
    for place in places.values() {
        node.check_bundle(*place).await?;
    }
    let (loaded, sessions) = super::super::adapters::load(node, places).await?;
    node.traffic.change(|picture| {
        picture.adapters = Arc::new(picture.adapters.renewed(loaded, sessions));
        let standing = &mut picture.standing;
        standing.staged = staged.max(standing.version);
        standing.retired_through = standing.retired_through.max(retired_through);
    });
    node.observe();
    node.publish_table();
    node.begin_to_observe().await?;
    node.serve_listeners().await?;
    if !node.traffic.picture().hold {
        // An earlier agent may have ended before it let go of everything.
        node.let_go_of_kept().await?;
    }
    sweep(node, held, &used, retired_through);
    Ok(())
}

/// The place of each version on disk: the held one, else the newest that lies there.
fn places(node: &Node, held: &[Place]) -> BTreeMap<Version, Place> {
    let on_disk = node
        .staged_places()
        .into_iter()
        .map(|place| (place.version, place));
    let mut places: BTreeMap<Version, Place> = on_disk.collect();
    places.extend(held.iter().map(|place| (place.version, *place)));
    places
}

/// Deletes folders that nothing needs; what cannot be deleted is tried again next time. Staging goes on meanwhile: the
/// newest revision of a version that is spoken, or will be, is left alone whether it is held yet or not.
fn sweep(node: &Node, held: &[Place], used: &Used, retired_through: Version) {
    let catalog = node.catalog();
    if catalog.lineage().is_none() {
        return;
    }
    let provided_by = |version| (catalog.class_at(version)).map(|class| class.provided_by);
    let alive = (catalog.history().versions()).filter(|version| *version > retired_through);
    let mut needed: BTreeSet<Version> = alive.filter_map(provided_by).collect();
    for place in held {
        needed.insert(place.version);
        needed.extend(provided_by(place.version));
    }
    if let Err(error) = node.adapters.stores().remove_through(retired_through.0) {
        tracing::warn!(%error, "cannot delete what retired adapters remember");
    }
    let running = node.child().map(|child| child.start.serving.bundle);
    let with_state = node.places_on_disk();
    let with_state: Vec<Place> = (with_state.into_iter())
        .filter(|place| std::fs::symlink_metadata(node.layout.state(*place)).is_ok())
        .collect();
    for place in node.places_on_disk() {
        if Some(place) == used.state {
            continue;
        }
        let runs = Some(place) == used.bundle || Some(place) == running;
        let retired = place.version <= retired_through;
        let superseded = (held.iter())
            .any(|other| other.version == place.version && other.revision > place.revision);
        let withdrawn =
            catalog.history().release(place.version).is_none() && !held.contains(&place);
        let bundle_goes = superseded || withdrawn || retired && !needed.contains(&place.version);
        let bundle_goes = bundle_goes && !runs;
        let state_goes = match retired || withdrawn {
            true => true,
            false => superseded && !is_kept_state(place, used.state, &with_state),
        };
        let layout = &node.layout;
        let folders = match (bundle_goes, state_goes) {
            (true, true) => vec![layout.version(place)],
            (true, false) => vec![
                layout.bundle(place),
                layout.software(place),
                layout.manifest(place),
            ],
            (false, true) => vec![layout.state(place)],
            (false, false) => continue,
        };
        folders.iter().for_each(|folder| delete(folder));
    }
    prune_artifacts(node);
}

fn delete(path: &Path) {
    if let Err(error) = remove(path) {
        tracing::warn!(path = %path.display(), %error, "cannot delete what is not needed any more");
    }
}

/// Deletes downloads that belong to no bundle that lies here, or is being fetched: its manifest lies here first.
fn prune_artifacts(node: &Node) {
    let mut listed = BTreeSet::new();
    for place in node.places_on_disk() {
        match node.listed_artifacts(place) {
            Ok(artifacts) => listed.extend(artifacts),
            // Only what is certainly of no use goes. A state without a bundle lists nothing.
            Err(reason) if node.layout.bundle(place).exists() => {
                tracing::warn!(reason, "downloads are kept");
                return;
            }
            Err(_) => {}
        }
    }
    let Ok(entries) = std::fs::read_dir(node.layout.artifacts()) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let digest = name.strip_suffix(".part").unwrap_or(&name);
        if !listed.contains(digest) {
            delete(&entry.path());
        }
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

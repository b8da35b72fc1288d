//! What is served follows what is held: ports, adapters, folders.

use super::state::remove;
use crate::node::Node;
use model::ids::Version;
use model::machine::Place;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Loads the adapters of every version that the node answers, opens their ports, and deletes what nothing needs.
pub(super) async fn align(
    node: &Arc<Node>,
    held: &[Place],
    state: Option<Place>,
    retired_through: Version,
) -> Result<(), String> {
    let staged = held
        .iter()
        .map(|place| place.version)
        .max()
        .unwrap_or_default();
    let places = places(node, held);
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
    sweep(node, held, state, retired_through);
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
fn sweep(node: &Node, held: &[Place], state: Option<Place>, retired_through: Version) {
    let knowledge = node.knowledge();
    if knowledge.lineage().is_none() {
        return;
    }
    let provided_by = |version| (knowledge.class_at(version)).map(|class| class.provided_by);
    let alive = (knowledge.history().versions()).filter(|version| *version > retired_through);
    let mut needed: BTreeSet<Version> = alive.filter_map(provided_by).collect();
    for place in held {
        needed.insert(place.version);
        needed.extend(provided_by(place.version));
    }
    if let Err(error) = node.adapters.stores().remove_through(retired_through.0) {
        tracing::warn!(%error, "cannot delete what retired adapters remember");
    }
    let running = node.child().map(|child| child.start.place);
    for place in node.staged_places() {
        if Some(place) == state || Some(place) == running {
            continue;
        }
        let retired = place.version <= retired_through;
        let superseded = (held.iter())
            .any(|other| other.version == place.version && other.revision > place.revision);
        let withdrawn =
            knowledge.history().release(place.version).is_none() && !held.contains(&place);
        let folder = if superseded || withdrawn || retired && !needed.contains(&place.version) {
            node.layout.version(place)
        } else if retired {
            node.layout.state(place)
        } else {
            continue;
        };
        if let Err(error) = remove(&folder) {
            tracing::warn!(folder = %folder.display(), %error, "cannot delete what is not needed any more");
        }
    }
}

//! What is served follows what is held: ports, adapters, folders.

use crate::error_chain::chain;
use crate::node::Node;
use crate::node::adapters::{AdapterError, ObserveError};
use crate::node::bundles::{Bundles, UnusableBundle, UsedPlaces};
use crate::node::held_listeners::ListenerError;
use model::ids::Version;
use model::machine::Place;
use std::collections::BTreeMap;

/// Why not everything that is held is served.
#[derive(Debug, thiserror::Error)]
pub(super) enum AlignError {
    /// A bundle is not what it should be.
    #[error(transparent)]
    Bundle(#[from] UnusableBundle),
    /// Adapters cannot be loaded.
    #[error(transparent)]
    Adapters(#[from] AdapterError),
    /// They are not told what they must be.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// Ports are not open, or not the software's.
    #[error(transparent)]
    Listeners(#[from] ListenerError),
}

/// Loads the adapters of every version that the node answers, opens their ports, and deletes what nothing needs. Every owner has a part
/// in it.
pub(super) async fn align(node: &Node, used: UsedPlaces<'_>) -> Result<(), AlignError> {
    let traffic = &node.relay.traffic;
    let retired_through = used.retired_through;
    let held = used.held.iter().map(|place| place.version);
    let staged = held.max().unwrap_or_default();
    let places = places(&node.bundles, used.held);
    for place in places.values() {
        node.bundles.check_bundle(*place).await?;
    }
    let (loaded, sessions) = node.adapters.loader.load(places).await?;
    traffic.change(|picture| {
        picture.adapters = std::sync::Arc::new(picture.adapters.renewed(loaded, sessions));
        let standing = &mut picture.standing;
        standing.staged = staged.max(standing.version);
        standing.retired_through = standing.retired_through.max(retired_through);
    });
    node.adapters.observed.observe();
    node.hook_table.publish();
    node.adapters.observed.begin().await?;
    node.listeners.serve_listeners().await?;
    if !traffic.picture().hold {
        // An earlier agent may have ended before it let go of everything.
        node.listeners.let_go_of_kept().await?;
    }
    sweep(node, used);
    Ok(())
}

/// The place of each version on disk: the held one, else the newest that lies there.
fn places(bundles: &Bundles, held: &[Place]) -> BTreeMap<Version, Place> {
    let on_disk = bundles
        .staged_places()
        .into_iter()
        .map(|place| (place.version, place));
    let mut places: BTreeMap<Version, Place> = on_disk.collect();
    places.extend(held.iter().map(|place| (place.version, *place)));
    places
}

fn sweep(node: &Node, mut used: UsedPlaces<'_>) {
    if node.relay.traffic.catalog().lineage().is_none() {
        return;
    }
    let stores = node.adapters.loader.stores();
    if let Err(error) = stores.remove_through(used.retired_through.0) {
        tracing::warn!(error = %chain(&error), "cannot delete what retired adapters remember");
    }
    used.running = node.child.present().map(|child| child.start.serving.bundle);
    node.bundles.sweep(&used);
}

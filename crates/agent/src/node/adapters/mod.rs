//! The adapters of the versions that the node answers, and the dispatch that tells them of the calls of the software's own callers.

mod loader;
mod observed_dispatch;

pub(super) use loader::{AdapterError, AdapterLoader};
pub(super) use observed_dispatch::{ObserveError, ObservedDispatch};

use super::bundles::Bundles;
use super::child::ChildKeeper;
use super::surroundings::Surroundings;
use crate::relay::Relay;
use std::sync::Arc;

/// What there is of adapters.
pub(super) struct NodeAdapters {
    pub(super) loader: Arc<AdapterLoader>,
    pub(super) observed: ObservedDispatch,
}

impl NodeAdapters {
    pub(super) fn new(
        surroundings: &Arc<Surroundings>,
        relay: &Arc<Relay>,
        child: &Arc<ChildKeeper>,
        bundles: &Arc<Bundles>,
    ) -> Self {
        Self {
            loader: AdapterLoader::new(surroundings, &relay.traffic, bundles),
            observed: ObservedDispatch::new(surroundings, relay, child),
        }
    }
}

//! Release: the kept listeners go; the rest follows the picture.

use crate::node::Node;
use model::machine::Place;
use std::sync::Arc;

/// Releases the node at a version: what was held goes on when this has ended.
pub(super) async fn release(node: &Arc<Node>, at: Place) -> Result<(), String> {
    node.end_unavailability(at.version);
    node.let_go_of_kept().await?;
    node.serve_listeners().await
}

//! Release: the kept listeners go; the rest follows the picture.

use crate::node::Node;
use model::ids::Version;
use std::sync::Arc;

/// Releases the node at a version: what was held goes on when this has ended.
pub(super) async fn release(node: &Arc<Node>, at: Version) -> Result<(), String> {
    node.end_unavailability(at);
    node.let_go_of_kept().await?;
    node.serve_listeners().await
}

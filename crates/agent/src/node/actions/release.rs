//! Release: the kept listeners go; the rest follows the picture.

use crate::node::Node;
use std::sync::Arc;

/// Releases the node: what was held goes on when this has ended.
pub(super) async fn release(node: &Arc<Node>) -> Result<(), String> {
    node.release_begins();
    node.let_go_of_kept().await?;
    if let Err(reason) = node.serve_listeners().await {
        // Ports of other versions are no reason to hold callers of this one: the alignment that follows tries again, and says so.
        tracing::warn!(reason, "released without the ports of other versions");
    }
    Ok(())
}

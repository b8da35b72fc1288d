//! Release: the kept listeners go; the rest follows the picture.

use crate::error_chain::chain;
use crate::node::held_calls::HeldCalls;
use crate::node::held_listeners::{HeldListeners, ListenerError};
use std::sync::Arc;

/// Releases the node: what was held goes on when this has ended.
pub(super) async fn release(
    calls: &HeldCalls,
    listeners: &Arc<HeldListeners>,
) -> Result<(), ListenerError> {
    calls.release_begins();
    listeners.let_go_of_kept().await?;
    if let Err(error) = listeners.serve_listeners().await {
        // Ports of other versions are no reason to hold callers of this one: the alignment that follows tries again, and says so.
        let reason = chain(&error);
        tracing::warn!(reason, "released without the ports of other versions");
    }
    Ok(())
}

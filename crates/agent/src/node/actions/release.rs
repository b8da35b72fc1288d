//! Release: the kept listeners go, and with them everything that waited in them; the rest follows the picture.

use super::chain;
use crate::node::Node;
use intercept::holder::KeptListener;
use model::machine::Place;
use std::net::TcpListener;
use std::sync::Arc;

/// Releases the node at a version. The picture says already that calls are not held any more.
pub(super) async fn release(node: &Arc<Node>, at: Place) -> Result<(), String> {
    node.end_unavailability(at.version);
    let ports: Vec<u16> = node
        .knowledge()
        .ports(at.version)
        .values()
        .copied()
        .collect();
    let kept = node
        .holder
        .keep(Vec::new())
        .await
        .map_err(|error| chain(&error))?;
    for listener in kept
        .iter()
        .filter(|listener| ports.contains(&listener.address.port()))
    {
        if !listener.taken {
            take_over_queue(node, listener).await?;
        }
        node.holder
            .drop_listener(listener.listener)
            .await
            .map_err(|error| chain(&error))?;
    }
    let left = node
        .holder
        .keep(Vec::new())
        .await
        .map_err(|error| chain(&error))?;
    node.set_kept(left);
    node.serve_listeners().await
}

/// A listener that the new software did not ask for may hold connections that nobody else would ever accept.
async fn take_over_queue(node: &Arc<Node>, kept: &KeptListener) -> Result<(), String> {
    let descriptor = node
        .holder
        .fetch(kept.listener)
        .await
        .map_err(|error| chain(&error))?;
    let listener = TcpListener::from(descriptor);
    listener
        .set_nonblocking(true)
        .map_err(|error| error.to_string())?;
    while let Ok((connection, peer)) = listener.accept() {
        let local = connection.local_addr().unwrap_or(kept.address);
        node.relay.adopt(connection.into(), None, local, peer);
    }
    Ok(())
}

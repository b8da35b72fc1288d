//! What this node was told to do once for the whole system: done, and told how it ended until the server has heard.

use super::Node;
use super::actions::SoftwareCommands;
use crate::error_chain::chain;
use client::ClientError;
use model::api::{OnceEnded, OnceOrder};
use model::ids::Place;
use model::schedule::NodeCommand;
use std::sync::Arc;
use std::time::Duration;

/// The pause before it is told again.
const TELL_PAUSE: Duration = Duration::from_secs(1);

/// Does what the server orders, one after the other.
pub(super) async fn follow(node: Arc<Node>) {
    let mut orders = node.surroundings.link.once.clone();
    let mut last: Option<OnceOrder> = None;
    loop {
        let order = orders.borrow_and_update().clone();
        if let Some(order) = order.filter(|order| last.as_ref() != Some(order)) {
            tracing::info!(name = order.name, version = %order.version, "does once for the whole system");
            let failed = run(&node, &order).await.err();
            tell(&node, &order, failed).await;
            last = Some(order);
        }
        if orders.changed().await.is_err() {
            return;
        }
    }
}

async fn run(node: &Node, order: &OnceOrder) -> Result<(), String> {
    let place = Place {
        version: order.version,
        revision: order.revision,
    };
    let once = node.bundles.once(place, &order.name);
    let once = once.map_err(|error| chain(&error))?;
    let once = once.ok_or_else(|| {
        format!(
            "revision {} of version {} has no `once.{}`",
            order.revision, order.version, order.name
        )
    })?;
    let command = NodeCommand {
        command: once.command,
        timeout_ms: once.timeout_ms,
        every_ms: 0,
    };
    let ran = SoftwareCommands::of(node)
        .beside("once", place, &command)
        .await;
    match ran {
        None => Err("the software does not run at this node".to_owned()),
        Some(Err(error)) => Err(chain(&error)),
        Some(Ok(_)) => Ok(()),
    }
}

/// Tells how it ended, until the server has heard or wants to hear no more.
async fn tell(node: &Node, order: &OnceOrder, failed: Option<String>) {
    let ended = OnceEnded {
        version: order.version,
        name: order.name.clone(),
        attempt: order.attempt,
        failed,
    };
    let (client, own) = (&node.surroundings.client, node.surroundings.identity.node);
    loop {
        match client.once_ended(own, &ended).await {
            Ok(()) => return,
            Err(ClientError::Problem(problem)) if problem.status < 500 => {
                tracing::debug!(detail = problem.detail, "it is not for this node any more");
                return;
            }
            Err(error) => {
                tracing::debug!(error = %chain(&error), "not told yet how it ended");
                tokio::time::sleep(TELL_PAUSE).await;
            }
        }
    }
}

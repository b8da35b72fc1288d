//! What the machine asks for, done for real. Each action begins by looking at what is already done.

mod align;
mod bound;
mod child;
mod commands;
mod permits;
mod release;
mod state;

use super::Node;
use model::machine::{Action, Outcome};
use std::sync::Arc;

/// Performs one action of the main loop.
pub(super) async fn perform(node: &Arc<Node>, action: Action) -> Outcome {
    match action {
        Action::Align {
            held,
            state,
            bundle,
            retired_through,
            known: _,
        } => {
            let used = align::Used { state, bundle };
            outcome(align::align(node, &held, used, retired_through).await)
        }
        Action::Prepare { to, state } => outcome(state::prepare(node, to, state)),
        Action::AskSchedule {
            chain,
            mend,
            fetching,
        } => permits::ask(node, &chain, mend, fetching).await,
        Action::AcquirePermit(request) => permits::acquire(node, &request).await,
        Action::ConfirmPermit(permit) => permits::confirm(node, permit).await,
        Action::EndPermit {
            permit,
            at,
            blocked,
        } => permits::end(node, permit, at, blocked).await,
        Action::BeforeStop => outcome(commands::before_stop(node).await),
        Action::Drain => drain(node).await,
        Action::KeepListeners => outcome(child::keep_listeners(node).await),
        Action::HoldCalls => hold(node).await,
        Action::StopChild => child::stop(node).await,
        Action::Transform {
            attempt,
            from,
            to,
            path,
        } => {
            tracing::info!(attempt, %from, %to, "transforms the state");
            state::transform(node, from, to, &path).await
        }
        Action::Flip { state } => outcome(state::flip(node, state)),
        Action::StartChild { to } => child::start(node, to).await,
        Action::AfterStart { to } => outcome(commands::after_start(node, to).await),
        Action::Probe { to } => outcome(commands::probe(node, to).await),
        Action::Look { at } => outcome(commands::look(node, at).await),
        Action::Release { .. } => outcome(release::release(node).await),
    }
}

fn outcome(result: Result<(), String>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(reason) => Outcome::Failed { reason },
    }
}

/// New calls are still served; a moment without any is as good as it gets, and under load it may not come.
async fn drain(node: &Arc<Node>) -> Outcome {
    let quiet = node.traffic.quiet(DRAIN_SERVING).await;
    tracing::debug!(quiet, "drained");
    Outcome::Done
}

/// How long the node looks for a moment without calls while it still serves: holding ends the search anyway.
const DRAIN_SERVING: std::time::Duration = std::time::Duration::from_millis(20);

/// Calls are held from before this on: those that run get the time to end.
async fn hold(node: &Arc<Node>) -> Outcome {
    let limit = node.settings().drain_ms;
    if !node
        .traffic
        .quiet(std::time::Duration::from_millis(limit))
        .await
    {
        tracing::warn!(
            calls = node.traffic.running(),
            "calls still run after {limit} ms: they fail as in a crash"
        );
    }
    Outcome::Done
}

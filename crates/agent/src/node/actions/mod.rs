//! What the machine asks for, done for real. Each action begins by looking at what is already done.

mod align;
mod beforehand;
mod bound;
mod child;
mod commands;
mod permits;
mod release;
mod transform_state;

use super::Node;
use super::bundles::UsedPlaces;
use super::rendering::{RenderError, Rendering};
use super::state_directory::{StateDirectory, StateDirectoryError};
use crate::error_chain::chain;
use crate::relay::LiveTraffic;
use child::ChildStop;
pub(in crate::node) use commands::SoftwareCommands;
use model::machine::{Action, Outcome, Place, Serving};
use permits::Leave;
use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};
use transform_state::StateTransform;

/// How long the node looks for a moment without calls while it still serves: holding ends the search anyway.
const DRAIN_SERVING: Duration = Duration::from_millis(20);

/// Performs one action of the main loop.
pub(super) async fn perform(node: &Node, action: Action) -> Outcome {
    let meters = &node.surroundings.link.meters;
    match action {
        Action::Align {
            held,
            state,
            bundle,
            retired_through,
            known: _,
        } => {
            let used = UsedPlaces {
                held: &held,
                state,
                bundle,
                running: None,
                retired_through,
            };
            outcome(align::align(node, used).await)
        }
        Action::Prepare { to, state } => outcome(prepare(&node.rendering, &node.state, to, state)),
        Action::AskSchedule {
            chain,
            mend,
            fetching,
        } => Leave::of(node).ask(&chain, mend, fetching).await,
        Action::ConfirmPermit(permit) => Leave::of(node).confirm(permit).await,
        Action::EndPermit {
            permit,
            at,
            blocked,
        } => Leave::of(node).end(permit, at, blocked).await,
        Action::BeforeStop => outcome(SoftwareCommands::of(node).before_stop().await),
        Action::Drain => drain(&node.relay.traffic).await,
        Action::KeepListeners => match node.child.present() {
            Some(_) => outcome(node.listeners.keep_own().await),
            None => Outcome::Done,
        },
        Action::HoldCalls => hold(&node.relay.traffic).await,
        Action::StopChild => ChildStop::of(node).run().await,
        Action::Transform {
            attempt,
            from,
            to,
            path,
        } => {
            tracing::info!(attempt, %from, %to, "transforms the state");
            let begun = Instant::now();
            let transformed = StateTransform::of(node).run(from, to, &path).await;
            meters.note_transform(begun.elapsed());
            transformed
        }
        Action::Flip { state } => outcome(node.state.flip(state)),
        Action::StartChild { to } => {
            meters.note_start();
            child::start(node, to).await
        }
        Action::AfterStart { to } => outcome(SoftwareCommands::of(node).after_start(to).await),
        Action::Probe { to } => outcome(SoftwareCommands::of(node).probe(to).await),
        Action::Look { at } => outcome(SoftwareCommands::of(node).look(at).await),
        Action::Release { .. } => {
            outcome(release::release(&node.held_calls, &node.listeners).await)
        }
    }
}

fn outcome<E: Error>(result: Result<(), E>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(error) => Outcome::Failed {
            reason: chain(&error),
        },
    }
}

/// Why there is no first state.
#[derive(Debug, thiserror::Error)]
enum PrepareError {
    /// It is not clear what it is to be.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// It cannot be made.
    #[error(transparent)]
    State(#[from] StateDirectoryError),
}

/// Makes the first state, as the software's upgrade file wants it.
fn prepare(
    rendering: &Rendering,
    state: &StateDirectory,
    to: Serving,
    place: Place,
) -> Result<(), PrepareError> {
    let rendered = rendering.render(to)?;
    let adopted = rendered.adopt.as_deref().map(Path::new);
    Ok(state.prepare(place, adopted, rendered.user.as_deref())?)
}

/// New calls are still served; a moment without any is as good as it gets, and under load it may not come.
async fn drain(traffic: &LiveTraffic) -> Outcome {
    let quiet = traffic.quiet(DRAIN_SERVING).await;
    tracing::debug!(quiet, "drained");
    Outcome::Done
}

/// Calls are held from before this on: those that run get the time to end.
async fn hold(traffic: &LiveTraffic) -> Outcome {
    let limit = traffic.settings().drain_ms;
    if !traffic.quiet(Duration::from_millis(limit)).await {
        tracing::warn!(
            calls = traffic.running(),
            "calls still run after {limit} ms: they fail as in a crash"
        );
    }
    Outcome::Done
}

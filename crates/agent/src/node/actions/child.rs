//! Starting and stopping the software.

use crate::error_chain::chain;
use crate::node::Node;
use crate::node::child::{Running, Start};
use intercept::holder::ChildSpec;
use model::machine::{Outcome, Serving};
use std::sync::Arc;
use std::time::Duration;

/// How long the kernel may take to empty a cgroup after everything in it was killed.
const KILL_LIMIT: Duration = Duration::from_secs(30);

/// Lets the holder duplicate the child's listeners, so that the kernel goes on queueing.
pub(super) async fn keep_listeners(node: &Arc<Node>) -> Result<(), String> {
    match node.child() {
        Some(_) => node.keep_own().await,
        None => Ok(()),
    }
}

/// How long the hooks have to give away what they accepted before they were told to leave the queues alone: a hand-over takes
/// some microseconds.
const HAND_OVER_LIMIT: Duration = Duration::from_millis(5);

/// How long the software's listeners look empty before it is asked to end. An agent that is killed in between leaves software that
/// serves on, and must not find nobody.
const UNASKED_LIMIT: Duration = Duration::from_millis(250);

/// Stops the child: signal, grace, kill, all of it by the holder. Answers when nothing of it is left.
pub(super) async fn stop(node: &Arc<Node>) -> Outcome {
    if let Some(child) = node.child() {
        node.set_stopping(UNASKED_LIMIT);
        tokio::time::sleep(HAND_OVER_LIMIT).await;
        let ended = end(node, &child).await;
        node.set_stopping(Duration::ZERO);
        if let Err(reason) = ended {
            return Outcome::Failed { reason };
        }
    }
    // It may have been killed while no agent ran.
    match node.take_killed() {
        Some(what) => Outcome::Killed { what },
        None => Outcome::Done,
    }
}

async fn end(node: &Arc<Node>, child: &Running) -> Result<(), String> {
    let manner = child.start.stop;
    let asked = node
        .holder
        .stop(manner.signal, manner.to_all, manner.grace())
        .await;
    // A child that ends by itself between the look and the signal is what is wanted.
    if let Err(error) = asked {
        tracing::debug!(%error, "cannot stop the child");
    }
    // From here on the holder ends it, whatever becomes of this agent.
    let limit = manner.grace().saturating_add(KILL_LIMIT);
    node.set_stopping(limit);
    if node.child_gone(child.start.generation, limit).await {
        return Ok(());
    }
    Err("the software cannot be killed: a process of it hangs in the kernel".to_owned())
}

/// Sees to it that the software of `to` runs.
pub(super) async fn start(node: &Arc<Node>, to: Serving) -> Outcome {
    if let Some(child) = node.child() {
        // Any other software was stopped before: what runs is this, perhaps under an older number.
        if child.start.serving != Serving::default() {
            return Outcome::Started {
                generation: child.start.generation,
            };
        }
        if let Outcome::Failed { reason } = stop(node).await {
            return Outcome::Failed { reason };
        }
    }
    match launch(node, to).await {
        Ok(generation) => Outcome::Started { generation },
        Err(reason) => Outcome::Failed { reason },
    }
}

async fn launch(node: &Arc<Node>, to: Serving) -> Result<u64, String> {
    node.check_software(to.bundle).await?;
    let class = node.definition(to.bundle)?;
    let rendered = node.render(to)?;
    node.check_current()?;
    if !node.probing() {
        // During an upgrade calls are held, and the addresses are known since the version was staged.
        node.until_known().await;
    }
    let key = &node.identity.agent_key;
    key.renew().map_err(|error| {
        format!(
            "cannot write {}: {error}",
            node.layout.agent_key().display()
        )
    })?;
    node.publish_table();
    let start = Start {
        generation: node.next_generation()?,
        serving: to,
        loads_before: node.library_loads(),
        stop: Node::stop_manner(&class),
    };
    let spec = ChildSpec {
        generation: start.generation,
        environment: node.child_environment(&rendered),
        command: rendered.command,
        directory: rendered.directory,
        user: rendered.user,
        output: node.layout.output().display().to_string(),
        refuse_io_uring: rendered.refuse_io_uring,
        no_new_privileges: rendered.no_new_privileges,
    };
    node.prepare_shared_files(spec.user.as_deref())?;
    node.child_starts(start);
    match node.holder.start_told(spec).await {
        Ok((pid, interception)) => {
            tracing::info!(pid, version = %to.version, bundle = %to.bundle, "the software runs");
            node.child_runs(pid, interception);
            Ok(start.generation)
        }
        Err(error) => {
            node.child_ended(start.generation);
            Err(format!("the software cannot be started: {}", chain(&error)))
        }
    }
}

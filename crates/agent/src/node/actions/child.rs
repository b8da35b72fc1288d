//! Starting and stopping the software.

use crate::error_chain::chain;
use crate::holder_client::HolderClient;
use crate::holder_client::HolderClientError;
use crate::node::Node;
use crate::node::bundles::UnusableBundle;
use crate::node::child::{ChildKeeper, ChildStart, KnownChild, StopManner};
use crate::node::hook_table::HookTable;
use crate::node::rendering::RenderError;
use crate::node::state_directory::StateDirectoryError;
use intercept::holder::ChildSpec;
use model::machine::{Outcome, Serving};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// How long the kernel may take to empty a cgroup after everything in it was killed.
const KILL_LIMIT: Duration = Duration::from_secs(30);

/// How long the hooks have to give away what they accepted before they were told to leave the queues alone: a hand-over takes
/// some microseconds.
const HAND_OVER_LIMIT: Duration = Duration::from_millis(5);

/// How long the software's listeners look empty before it is asked to end. An agent that is killed in between leaves software that
/// serves on, and must not find nobody.
const UNASKED_LIMIT: Duration = Duration::from_millis(250);

/// The software cannot be killed.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the software cannot be killed: a process of it hangs in the kernel")]
struct Unkillable;

/// What stopping the software needs of the node.
pub(super) struct ChildStop<'n> {
    child: &'n ChildKeeper,
    holder: &'n HolderClient,
    hook_table: &'n HookTable,
}

impl<'n> ChildStop<'n> {
    pub(super) fn of(node: &'n Node) -> Self {
        Self {
            child: &node.child,
            holder: &node.surroundings.holder,
            hook_table: &node.hook_table,
        }
    }

    /// Stops the child: signal, grace, kill, all of it by the holder. Answers when nothing of it is left.
    pub(super) async fn run(&self) -> Outcome {
        if let Some(child) = self.child.present() {
            self.hook_table.set_stopping(UNASKED_LIMIT);
            tokio::time::sleep(HAND_OVER_LIMIT).await;
            let ended = self.end(&child).await;
            self.hook_table.set_stopping(Duration::ZERO);
            if let Err(error) = ended {
                return Outcome::Failed {
                    reason: error.to_string(),
                };
            }
        }
        // It may have been killed while no agent ran.
        match self.child.take_killed() {
            Some(what) => Outcome::Killed { what },
            None => Outcome::Done,
        }
    }

    async fn end(&self, child: &KnownChild) -> Result<(), Unkillable> {
        let manner = child.start.stop;
        let asked = (self.holder).stop(manner.signal, manner.to_all, manner.grace());
        // A child that ends by itself between the look and the signal is what is wanted.
        if let Err(error) = asked.await {
            tracing::debug!(%error, "cannot stop the child");
        }
        // From here on the holder ends it, whatever becomes of this agent.
        let limit = manner.grace().saturating_add(KILL_LIMIT);
        self.hook_table.set_stopping(limit);
        if self.child.gone(child.start.generation, limit).await {
            Ok(())
        } else {
            Err(Unkillable)
        }
    }
}

/// Why the software was not started.
#[derive(Debug, thiserror::Error)]
enum StartError {
    /// Its bundle is not what it should be.
    #[error(transparent)]
    Bundle(#[from] UnusableBundle),
    /// It is not clear how.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// It would not find its state.
    #[error(transparent)]
    State(#[from] StateDirectoryError),
    /// Its hooks would not know the agent.
    #[error("cannot write {path}")]
    Key {
        /// Where the key lies.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The holder cannot start it.
    #[error("the software cannot be started")]
    Holder(#[source] HolderClientError),
}

/// Sees to it that the software of `to` runs.
pub(super) async fn start(node: &Node, to: Serving) -> Outcome {
    if let Some(child) = node.child.present() {
        // Any other software was stopped before: what runs is this, perhaps under an older number.
        if child.start.serving != Serving::default() {
            return Outcome::Started {
                generation: child.start.generation,
            };
        }
        if let Outcome::Failed { reason } = ChildStop::of(node).run().await {
            return Outcome::Failed { reason };
        }
    }
    match launch(node, to).await {
        Ok(generation) => Outcome::Started { generation },
        Err(error) => Outcome::Failed {
            reason: chain(&error),
        },
    }
}

/// Starts the software: nearly every owner has a part in it.
async fn launch(node: &Node, to: Serving) -> Result<u64, StartError> {
    node.bundles.check_software(to.bundle).await?;
    let class = node.bundles.definition(to.bundle)?;
    let rendered = node.rendering.render(to)?;
    node.state.check_current()?;
    if !node.hook_table.is_probing() {
        // During an upgrade calls are held, and the addresses are known since the version was staged.
        node.membership.until_known().await;
    }
    let surroundings = &node.surroundings;
    let key = &surroundings.identity.agent_key;
    key.renew().map_err(|source| StartError::Key {
        path: surroundings.layout.agent_key(),
        source,
    })?;
    node.hook_table.publish();
    let start = ChildStart {
        generation: node.child.next_generation(),
        serving: to,
        loads_before: node.inspection.library_loads(),
        stop: StopManner::of(&class),
        variables: Some(surroundings.config.variables.clone()),
        root: Some(surroundings.layout.root().to_owned()),
    };
    let generation = start.generation;
    let spec = ChildSpec {
        generation,
        environment: node.rendering.child_environment(&rendered),
        command: rendered.command,
        directory: rendered.directory,
        user: rendered.user,
        output: surroundings.layout.output().display().to_string(),
        refuse_io_uring: rendered.refuse_io_uring,
        no_new_privileges: rendered.no_new_privileges,
        signs: true,
    };
    node.rendering.prepare_shared_files(spec.user.as_deref())?;
    node.child.starts(start);
    match surroundings.holder.start_told(spec).await {
        Ok((pid, interception)) => {
            tracing::info!(pid, version = %to.version, bundle = %to.bundle, "the software runs");
            node.child.runs(pid, interception);
            Ok(generation)
        }
        Err(error) => {
            node.child.ended(generation);
            Err(StartError::Holder(error))
        }
    }
}

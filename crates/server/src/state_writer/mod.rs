//! The one task that changes the state: commands are decided in order on a working copy, a batch of them becomes one
//! commit, and only what is durable is shown and answered.

mod heard;
mod task;
#[cfg(test)]
mod tests;

use crate::config::ServerConfig;
use crate::meters::ServerMeters;
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::repository::RepositoryFolder;
use crate::rules::{CertifiedAsker, ClassMeasurements, Order, SERVER};
use crate::state::SystemState;
use crate::udb::Udb;
use heard::HeardNodes;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use serde_json::Value;
use std::sync::Arc;
use task::Task;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// How many commands wait at most; more wait in their connections.
const QUEUE_MAX: usize = 1024;

/// How many commands become one commit at most: bounds how long the first of them waits.
const BATCH_MAX: usize = 128;

/// How often a decision is made anew because another server was faster.
const CONFLICTS_MAX: u32 = 24;

/// The longest pause before a decision is made anew; a random part of it is taken, so that servers do not meet again and again.
const CONFLICT_PAUSE_MS_MAX: u64 = 20;

/// A command with whoever waits for its answer.
#[derive(Debug)]
struct PendingOrder {
    command: Order,
    author: String,
    /// Who that is, where it was proven.
    proven: Option<String>,
    /// The idempotency key and the request's fingerprint.
    key: Option<(String, String)>,
    /// Whose key and role must still count.
    asker: Option<CertifiedAsker>,
    answer: oneshot::Sender<Result<Value, RequestRefusal>>,
}

/// What readers see: always a state that is durable.
#[derive(Debug)]
struct DurableState {
    state: RwLock<SystemState>,
    /// The view in which what some node is told changed last.
    told: watch::Sender<u64>,
    event: watch::Sender<u64>,
    /// Why the last commit failed; none when it did not.
    trouble: Mutex<Option<String>>,
    /// What conditions of schedules look at, as it was measured last.
    measured: RwLock<ClassMeasurements>,
    /// What is counted for those who watch.
    meters: Arc<ServerMeters>,
    /// The number of the members' list, and of what those wait for that want to be known.
    members: watch::Sender<(u64, u64)>,
}

/// The handle to the state writer.
#[derive(Clone, Debug)]
pub(crate) struct StateWriter {
    requests: mpsc::Sender<PendingOrder>,
    shared: Arc<DurableState>,
}

impl StateWriter {
    /// Starts the task, which ends when every handle is gone. Whoever starts it watches it: nothing can be changed without it.
    pub(crate) fn start(
        state: SystemState,
        udb: Arc<dyn Udb>,
        repository: RepositoryFolder,
        config: &ServerConfig,
    ) -> (Self, JoinHandle<()>) {
        let shared = Arc::new(DurableState {
            told: watch::Sender::new(state.told.last),
            event: watch::Sender::new(state.last_event),
            members: watch::Sender::new((state.members.at, state.members.acks)),
            state: RwLock::new(state.clone()),
            trouble: Mutex::default(),
            measured: RwLock::default(),
            meters: Arc::default(),
        });
        let (requests, queue) = mpsc::channel(QUEUE_MAX);
        let task = Task {
            working: state,
            shared: Arc::clone(&shared),
            udb,
            repository,
            config: config.clone(),
            meters: Arc::clone(&shared.meters),
            damaged: false,
            heard: HeardNodes::new(config.reachable_ms),
        };
        let task = tokio::spawn(task.run(queue));
        (Self { requests, shared }, task)
    }

    /// Has a command decided and made durable; answers with its reply. Only the server's own code calls itself [`SERVER`] here.
    pub(crate) async fn ask(
        &self,
        command: Order,
        author: String,
        key: Option<(String, String)>,
    ) -> Result<Value, RequestRefusal> {
        let proven = (author == SERVER).then(|| author.clone());
        self.ask_for(command, (author, proven), key, None).await
    }

    /// The same under the name of an author, and what proves it; for somebody with a certificate, whose key and role must still count when it is decided.
    pub(crate) async fn ask_for(
        &self,
        command: Order,
        (author, proven): (String, Option<String>),
        key: Option<(String, String)>,
        asker: Option<CertifiedAsker>,
    ) -> Result<Value, RequestRefusal> {
        let (answer, answered) = oneshot::channel();
        let request = PendingOrder {
            command,
            author,
            proven,
            key,
            asker,
            answer,
        };
        let ended = |()| {
            refuse(
                Kind::DATABASE_UNAVAILABLE,
                "The server is shutting down; ask again.",
            )
        };
        self.requests.send(request).await.map_err(|_| ended(()))?;
        answered.await.map_err(|_| ended(()))?
    }

    /// The durable state.
    pub(crate) fn state(&self) -> RwLockReadGuard<'_, SystemState> {
        read(&self.shared.state)
    }

    /// Has decisions go by what was measured.
    pub(crate) fn note_measured(&self, measured: ClassMeasurements) {
        *self.shared.measured.write() = measured;
    }

    /// What is counted for those who watch.
    pub(crate) fn meters(&self) -> Arc<ServerMeters> {
        Arc::clone(&self.shared.meters)
    }

    /// Why nothing can be stored now, if that is so.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.shared.trouble.lock().clone()
    }

    /// Changes when some node has to be told something else.
    pub(crate) fn told(&self) -> watch::Receiver<u64> {
        self.shared.told.subscribe()
    }

    /// What changes with the members' list and with who knows it.
    pub(crate) fn members(&self) -> watch::Receiver<(u64, u64)> {
        self.shared.members.subscribe()
    }

    /// The number of the last event, to wait for the next.
    pub(crate) fn last_event(&self) -> watch::Receiver<u64> {
        self.shared.event.subscribe()
    }
}

/// A poisoned lock only says that a reader panicked; the state is whole.
fn read(state: &RwLock<SystemState>) -> RwLockReadGuard<'_, SystemState> {
    state.read()
}

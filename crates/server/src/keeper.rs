//! The one task that changes the state: commands are decided in order on a working copy, a batch of them becomes one
//! commit, and only what is durable is shown and answered.

use crate::config::Config;
use crate::problem::{Kind, Refusal, refuse};
use crate::rules::{Command, Context, decide};
use crate::state::State;
use crate::udb::{Change, Commit, KeyRecord, Udb, UdbError};
use model::bundle::Upgrade;
use model::ids::{Revision, Version};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, RwLock, RwLockReadGuard};
use tokio::sync::{mpsc, oneshot, watch};

/// How many commands wait at most; more wait in their connections.
const QUEUE_MAX: usize = 1024;

/// How many commands become one commit at most: bounds how long the first of them waits.
const BATCH_MAX: usize = 128;

/// How often a decision is made anew because another server was faster.
const CONFLICTS_MAX: usize = 8;

/// A command with whoever waits for its answer.
#[derive(Debug)]
struct Request {
    command: Command,
    author: String,
    /// The idempotency key and the request's fingerprint.
    key: Option<(String, String)>,
    answer: oneshot::Sender<Result<Value, Refusal>>,
}

/// What readers see: always a state that is durable.
#[derive(Debug)]
struct Shared {
    state: RwLock<State>,
    view: watch::Sender<u64>,
    event: watch::Sender<u64>,
}

/// The handle to the keeper.
#[derive(Clone, Debug)]
pub(crate) struct Keeper {
    requests: mpsc::Sender<Request>,
    shared: Arc<Shared>,
}

impl Keeper {
    /// Starts the task; it ends when every handle is gone.
    pub(crate) fn start(state: State, udb: Arc<dyn Udb>, config: &Config) -> Self {
        let shared = Arc::new(Shared {
            view: watch::Sender::new(state.view),
            event: watch::Sender::new(state.last_event),
            state: RwLock::new(state.clone()),
        });
        let (requests, queue) = mpsc::channel(QUEUE_MAX);
        let task = Task {
            working: state,
            shared: Arc::clone(&shared),
            udb,
            config: config.clone(),
            damaged: false,
        };
        tokio::spawn(task.run(queue));
        Self { requests, shared }
    }

    /// Has a command decided and made durable; answers with its reply.
    pub(crate) async fn ask(
        &self,
        command: Command,
        author: String,
        key: Option<(String, String)>,
    ) -> Result<Value, Refusal> {
        let (answer, answered) = oneshot::channel();
        let request = Request {
            command,
            author,
            key,
            answer,
        };
        let ended = |_| {
            refuse(
                Kind::DATABASE_UNAVAILABLE,
                "The server is shutting down; ask again.",
            )
        };
        self.requests.send(request).await.map_err(|_| ended(()))?;
        answered.await.map_err(|_| ended(()))?
    }

    /// The durable state.
    pub(crate) fn state(&self) -> RwLockReadGuard<'_, State> {
        read(&self.shared.state)
    }

    /// The view's number, to wait for its change.
    pub(crate) fn view(&self) -> watch::Receiver<u64> {
        self.shared.view.subscribe()
    }

    /// The number of the last event, to wait for the next.
    pub(crate) fn last_event(&self) -> watch::Receiver<u64> {
        self.shared.event.subscribe()
    }
}

/// A poisoned lock only says that a reader panicked; the state is whole.
fn read(state: &RwLock<State>) -> RwLockReadGuard<'_, State> {
    state
        .read()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

struct Task {
    working: State,
    shared: Arc<Shared>,
    udb: Arc<dyn Udb>,
    config: Config,
    /// The last commit failed: what the database holds is not known.
    damaged: bool,
}

/// What a batch has come to, before it is durable.
#[derive(Default)]
struct Outcome {
    changes: Vec<Change>,
    replies: Vec<Result<Value, Refusal>>,
}

impl Task {
    async fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while queue.recv_many(&mut batch, BATCH_MAX).await > 0 {
            let replies = match self.settle(&batch).await {
                Ok(replies) => replies,
                Err(error) => {
                    tracing::error!(%error, "the upgrade database refuses a commit");
                    self.damaged = true;
                    vec![Err(unavailable(&error)); batch.len()]
                }
            };
            for (request, reply) in batch.drain(..).zip(replies) {
                // Whoever asked may have gone; the change stands.
                let _ = request.answer.send(reply);
            }
        }
    }

    /// Decides a batch and makes it durable; decides again when another server was faster.
    async fn settle(&mut self, batch: &[Request]) -> Result<Vec<Result<Value, Refusal>>, UdbError> {
        for _ in 0..CONFLICTS_MAX {
            if self.damaged {
                self.reload().await?;
            }
            let outcome = self.decide(batch);
            match self.commit(&outcome.changes).await {
                Ok(()) => return Ok(outcome.replies),
                Err(UdbError::Conflict) => self.damaged = true,
                Err(error) => return Err(error),
            }
        }
        Err(UdbError::Conflict)
    }

    fn decide(&mut self, batch: &[Request]) -> Outcome {
        let mut outcome = Outcome::default();
        for request in batch {
            let reply = self.decide_one(request, &mut outcome.changes);
            outcome.replies.push(reply);
        }
        outcome
    }

    fn decide_one(
        &mut self,
        request: &Request,
        changes: &mut Vec<Change>,
    ) -> Result<Value, Refusal> {
        if let Some(reply) = self.remembered(request)? {
            return Ok(reply);
        }
        let context = Context {
            now_ms: self.config.clock.now_ms(),
            author: request.author.clone(),
            reachable_ms: self.config.reachable_ms,
            permit_ttl_ms: self.config.permit_ttl_ms,
            random: rand::random(),
        };
        let (draft, reply) = decide(&self.working, &context, &request.command)?;
        let mut decided = draft.changes;
        if let (Some((key, fingerprint)), false) = (&request.key, decided.is_empty()) {
            decided.push(Change::Key(KeyRecord {
                key: key.clone(),
                fingerprint: fingerprint.clone(),
                reply: reply.clone(),
                at_ms: context.now_ms,
            }));
        }
        self.working.apply(&decided);
        changes.append(&mut decided);
        Ok(reply)
    }

    /// The answer given before under the same key.
    fn remembered(&self, request: &Request) -> Result<Option<Value>, Refusal> {
        let Some((key, fingerprint)) = &request.key else {
            return Ok(None);
        };
        match self.working.keys.get(key) {
            None => Ok(None),
            Some(record) if record.fingerprint == *fingerprint => Ok(Some(record.reply.clone())),
            Some(_) => Err(refuse(
                Kind::IDEMPOTENCY_KEY_REUSED,
                "This Idempotency-Key was used for another request; make a new key for each change.",
            )),
        }
    }

    /// Makes changes durable and then visible.
    async fn commit(&mut self, changes: &[Change]) -> Result<(), UdbError> {
        if changes.is_empty() {
            return Ok(());
        }
        if changes.iter().any(Change::is_visible) {
            self.working.view += 1;
        }
        let durable: Vec<Change> = changes
            .iter()
            .filter(|change| change.is_durable())
            .cloned()
            .collect();
        if !durable.is_empty() {
            let expected = self.working.generation;
            self.working.generation += 1;
            let commit = Commit {
                expected,
                generation: self.working.generation,
                view: self.working.view,
                changes: durable,
            };
            if let Err(error) = self.udb.commit(commit).await {
                self.working.generation = expected;
                self.damaged = true;
                return Err(error);
            }
        }
        self.show(changes);
        Ok(())
    }

    fn show(&self, changes: &[Change]) {
        {
            let mut state = self
                .shared
                .state
                .write()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            state.apply(changes);
            state.view = self.working.view;
            state.generation = self.working.generation;
        }
        self.announce();
    }

    fn announce(&self) {
        let moved = |to: u64| move |at: &mut u64| std::mem::replace(at, to) != to;
        self.shared.view.send_if_modified(moved(self.working.view));
        self.shared
            .event
            .send_if_modified(moved(self.working.last_event));
    }

    /// Finds out what the database holds: what is shown, or more.
    async fn reload(&mut self) -> Result<(), UdbError> {
        let shown = read(&self.shared.state).clone();
        if self.udb.generation().await? == shown.generation {
            self.working = shown;
            self.damaged = false;
            return Ok(());
        }
        let mut known = proved(&self.working);
        known.extend(proved(&shown));
        let stored = self.udb.load().await?;
        let now_ms = self.config.clock.now_ms();
        let restored = State::restore(
            stored,
            |summary| known.get(&(summary.version, summary.revision)).cloned(),
            now_ms,
        );
        let state = restored.map_err(|version| {
            UdbError::Failed(format!(
                "version {version} was published elsewhere; restart this server"
            ))
        })?;
        *self
            .shared
            .state
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = state.clone();
        self.working = state;
        self.damaged = false;
        self.announce();
        Ok(())
    }
}

fn proved(state: &State) -> BTreeMap<(Version, Revision), Arc<Upgrade>> {
    let revisions = state.revisions.iter();
    revisions
        .map(|(number, published)| (*number, Arc::clone(&published.upgrade)))
        .collect()
}

fn unavailable(error: &UdbError) -> Refusal {
    match error {
        UdbError::Full => refuse(
            Kind::STORAGE_FULL,
            "The disk of the upgrade database is full; make room and ask again. Nothing was changed.",
        ),
        error => refuse(
            Kind::DATABASE_UNAVAILABLE,
            format!("{error}; ask again later."),
        ),
    }
}

//! The task itself: decide a batch, make it durable, show it, answer; and find out what holds when that failed.

use super::heard::HeardNodes;
use super::{BATCH_MAX, CONFLICT_PAUSE_MS_MAX, CONFLICTS_MAX, DurableState, PendingOrder, read};
use crate::config::ServerConfig;
use crate::meters::ServerMeters;
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::recovery::{ProvedUpgrades, recover};
use crate::repository::{RepositoryFolder, RepositoryTexts};
use crate::rules::{DecisionContext, decide, still_counts};
use crate::state::SystemState;
use crate::udb::{Change, ChangeSet, KeyRecord, LoggedCommit, MissedCommits, Udb, UdbError};
use parking_lot::RwLockWriteGuard;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

pub(super) struct Task {
    pub(super) working: SystemState,
    pub(super) shared: Arc<DurableState>,
    pub(super) udb: Arc<dyn Udb>,
    pub(super) repository: RepositoryFolder,
    pub(super) config: ServerConfig,
    /// What is counted for those who watch.
    pub(super) meters: Arc<ServerMeters>,
    /// The last commit failed: what the database holds is not known.
    pub(super) damaged: bool,
    /// Of whom other servers are still to be told that they were heard.
    pub(super) heard: HeardNodes,
}

/// What a batch has come to, before it is durable.
#[derive(Default)]
struct BatchOutcome {
    changes: Vec<Change>,
    replies: Vec<Result<Value, RequestRefusal>>,
}

impl Task {
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<PendingOrder>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while queue.recv_many(&mut batch, BATCH_MAX).await > 0 {
            let begun = Instant::now();
            let settled = self.settle(&batch).await;
            self.meters.note_batch(batch.len(), begun.elapsed());
            let replies = match settled {
                Ok(replies) => {
                    self.look_whether_trouble_is_over().await;
                    replies
                }
                Err(error) => {
                    if self.note_trouble(Some(error.to_string())) {
                        tracing::error!(%error, "the upgrade database refuses a commit");
                    }
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
    async fn settle(
        &mut self,
        batch: &[PendingOrder],
    ) -> Result<Vec<Result<Value, RequestRefusal>>, UdbError> {
        for turn in 0..CONFLICTS_MAX {
            if self.damaged {
                pause_before(turn).await;
                self.catch_up().await?;
            }
            let outcome = self.decide(batch);
            // No commit tells here whether this was decided on what holds now.
            let durable = self.durable(&outcome.changes);
            let unproved = durable.is_empty() && self.udb.is_shared();
            if unproved && self.catch_up().await? {
                continue;
            }
            match self.commit(&outcome.changes, durable).await {
                Ok(()) => return Ok(outcome.replies),
                Err(UdbError::Conflict) => self.damaged = true,
                Err(error) => return Err(error),
            }
        }
        Err(UdbError::Conflict)
    }

    fn decide(&mut self, batch: &[PendingOrder]) -> BatchOutcome {
        let mut outcome = BatchOutcome::default();
        for request in batch {
            let reply = self.decide_one(request, &mut outcome.changes);
            outcome.replies.push(reply);
        }
        outcome
    }

    fn decide_one(
        &mut self,
        request: &PendingOrder,
        changes: &mut Vec<Change>,
    ) -> Result<Value, RequestRefusal> {
        if let Some(asker) = &request.asker {
            still_counts(&self.working, asker)?;
        }
        if let Some(reply) = self.remembered(request)? {
            return Ok(reply);
        }
        let context = DecisionContext {
            measured: self.shared.measured.read().clone(),
            now_ms: self.config.clock.now_ms(),
            author: request.author.clone(),
            proven: request.proven.clone(),
            reachable_ms: self.config.reachable_ms,
            permit_ttl_ms: self.config.permit_ttl_ms,
            certificate_ms: self.config.certificate_ms,
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
    fn remembered(&self, request: &PendingOrder) -> Result<Option<Value>, RequestRefusal> {
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

    /// What of these changes is committed. A server that is alone keeps in memory who was heard; others are told of it together.
    fn durable(&self, changes: &[Change]) -> Vec<Change> {
        let is_shared = self.udb.is_shared();
        let stored = changes.iter().filter(|change| match change {
            Change::NodeHeard(_) => false,
            change => is_shared || change.is_durable(),
        });
        let mut durable: Vec<Change> = stored.cloned().collect();
        if is_shared {
            durable.extend(self.heard.due(&self.working, Instant::now()));
        }
        durable
    }

    /// Makes changes durable and then visible.
    async fn commit(&mut self, changes: &[Change], durable: Vec<Change>) -> Result<(), UdbError> {
        if changes.iter().any(Change::is_visible) {
            self.working.view += 1;
        }
        if !durable.is_empty() {
            let tells = durable
                .iter()
                .any(|change| matches!(change, Change::Heard(_) | Change::NodeHeard(_)));
            self.store(durable).await?;
            if tells {
                self.heard.clear();
            }
        } else if changes.is_empty() {
            return Ok(());
        }
        if self.udb.is_shared() {
            self.note_heard(changes);
        }
        self.meters.note_changes(changes);
        self.show(changes);
        Ok(())
    }

    /// Notes who was heard without a commit.
    fn note_heard(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::NodeHeard(fact) => self.heard.note(fact.node, Instant::now()),
                Change::Node(fact) | Change::NodeQuietly(fact) => self.heard.was_told(fact.node),
                _ => {}
            }
        }
    }

    async fn store(&mut self, changes: Vec<Change>) -> Result<(), UdbError> {
        let expected = self.working.generation;
        self.working.generation += 1;
        let commit = ChangeSet {
            expected,
            generation: self.working.generation,
            view: self.working.view,
            changes,
        };
        let begun = Instant::now();
        let committed = self.udb.commit(commit).await;
        self.meters.note_commit(&committed, begun.elapsed());
        if let Err(error) = committed {
            self.working.generation = expected;
            self.damaged = true;
            return Err(error);
        }
        if self.note_trouble(None) {
            tracing::info!("the upgrade database stores what changes again");
        }
        Ok(())
    }

    /// Stores nothing, to see whether things can be stored again: trouble that is over is told no more, though nothing changes.
    async fn look_whether_trouble_is_over(&mut self) {
        let is_told = self.shared.trouble.lock().is_some();
        if is_told && !self.damaged && self.store(Vec::new()).await.is_ok() {
            self.show(&[]);
        }
    }

    /// Notes why nothing can be stored, and says whether that is new.
    fn note_trouble(&self, why: Option<String>) -> bool {
        moved(why)(&mut self.shared.trouble.lock())
    }

    fn show(&self, changes: &[Change]) {
        if changes.iter().any(Change::counts_all_anew) {
            // Counting takes time in a large system: readers get what was counted already.
            let next = self.working.clone();
            let before = std::mem::replace(&mut *self.shown(), next);
            drop(before);
        } else {
            let mut state = self.shown();
            state.apply(changes);
            state.view = self.working.view;
            state.generation = self.working.generation;
        }
        self.announce();
    }

    /// The state that readers see, to change it.
    fn shown(&self) -> RwLockWriteGuard<'_, SystemState> {
        self.shared.state.write()
    }

    fn announce(&self) {
        let members = (self.working.members.at, self.working.members.acks);
        self.shared
            .told
            .send_if_modified(moved(self.working.told.last));
        self.shared
            .event
            .send_if_modified(moved(self.working.last_event));
        self.shared.members.send_if_modified(moved(members));
    }

    /// Finds out what the database holds: what is shown, or more; says whether it is more. What was decided and is not durable
    /// is forgotten.
    async fn catch_up(&mut self) -> Result<bool, UdbError> {
        let generation = read(&self.shared.state).generation;
        match self.udb.since(generation).await? {
            MissedCommits::Nothing => {
                if self.damaged {
                    self.working = read(&self.shared.state).clone();
                    self.damaged = false;
                }
                return Ok(false);
            }
            MissedCommits::Commits(commits) => self.take(&commits),
            MissedCommits::Everything => self.reload().await?,
        }
        self.damaged = false;
        self.announce();
        Ok(true)
    }

    /// Shows what other servers have committed.
    fn take(&mut self, commits: &[LoggedCommit]) {
        {
            let mut state = self.shown();
            commits.iter().for_each(|commit| state.take(commit));
        }
        self.working = read(&self.shared.state).clone();
    }

    /// Reads everything anew.
    async fn reload(&mut self) -> Result<(), UdbError> {
        let mut known = proved(&self.working);
        known.extend(proved(&read(&self.shared.state)));
        let stored = self.udb.load().await?;
        let now_ms = self.config.clock.now_ms();
        let texts = RepositoryTexts {
            repository: &self.repository,
            udb: &*self.udb,
        };
        let recovered = recover(stored, &texts, known, now_ms).await;
        let state = recovered.map_err(|error| {
            UdbError::Failed(format!(
                "another server has published, and {error}; see that all servers share one repository"
            ))
        })?;
        *self.shown() = state.clone();
        self.working = state;
        Ok(())
    }
}

/// Waits a moment before a decision is made anew, longer from turn to turn.
async fn pause_before(turn: u32) {
    if turn > 1 {
        let longest = CONFLICT_PAUSE_MS_MAX.min(1 << turn.min(16));
        let pause_ms = rand::random::<u64>() % longest;
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    }
}

/// Puts a value in the place of another, and says whether that differed.
fn moved<T: PartialEq>(to: T) -> impl FnOnce(&mut T) -> bool {
    |at| {
        let differs = *at != to;
        *at = to;
        differs
    }
}

fn proved(state: &SystemState) -> ProvedUpgrades {
    let revisions = state.revisions.iter();
    revisions
        .map(|(number, published)| (*number, Arc::clone(&published.upgrade)))
        .collect()
}

fn unavailable(error: &UdbError) -> RequestRefusal {
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

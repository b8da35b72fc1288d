//! The main loop: feeds the node machine and performs what it asks, strictly in order.

use super::fault::Fault;
use super::held_upgrades::{self, HeldUpgrades};
use super::report;
use super::staging::Staging;
use super::{CatalogUpdate, Node, actions};
use crate::holder_client::{HolderNotice, HolderNotices};
use crate::journal::{Journal, JournalFileError};
use crate::relay::{ArrivingConnection, ConnectionEnds};
use model::api::{Disagreement, NodeReport, NodeStatus, Phase, told};
use model::machine::{
    Action, Input, NodeMachine, Note, Outcome, Output, Plan, Record, StageOutcome, StageRequest,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How often counters and progress are reported when nothing else happens.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// How often a full disk is looked at again for a record that waits.
const ROOM_INTERVAL: Duration = Duration::from_secs(1);

/// Why the main loop ended.
#[derive(Debug)]
pub(super) enum LoopEnded {
    /// The agent was asked to go; the software runs on.
    Asked,
    /// The holder has gone, or a newer agent has taken the node.
    HolderGone,
    /// The server has given the node another number.
    Renumbered,
    /// The journal cannot be written: nothing may go on.
    Journal(JournalFileError),
}

/// Where the node stands, and what it does just now.
pub(super) struct MainLoop {
    node: Arc<Node>,
    machine: NodeMachine,
    journal: Journal,
    report: watch::Sender<Option<NodeReport>>,
    fault: Fault,
    /// What the last look found wrong with the child's interception.
    suspected: Option<String>,
    action: Option<JoinHandle<Outcome>>,
    staging: Option<JoinHandle<StageOutcome>>,
    held: HeldUpgrades,
    /// What was told last of what the server does not have.
    disagreement: Option<Disagreement>,
}

/// What woke the loop.
enum LoopNews {
    Machine(Input),
    Catalog,
    Holder(Option<HolderNotice>),
    Report,
    Renumbered,
    Asked,
}

impl MainLoop {
    /// A loop that does nothing yet.
    pub(super) fn new(
        node: Arc<Node>,
        machine: NodeMachine,
        journal: Journal,
        report: watch::Sender<Option<NodeReport>>,
    ) -> Self {
        Self {
            node,
            machine,
            journal,
            report,
            fault: Fault::from_environment(),
            suspected: None,
            held: HeldUpgrades::default(),
            disagreement: None,
            action: None,
            staging: None,
        }
    }

    /// Runs until the agent is asked to go.
    pub(super) async fn run(
        mut self,
        first: Vec<Output>,
        mut notices: HolderNotices,
        mut updates: watch::Receiver<Option<Arc<CatalogUpdate>>>,
        mut stop: watch::Receiver<bool>,
    ) -> LoopEnded {
        let mut outputs = first;
        let mut renumbered = self.node.surroundings.link.renumbered.clone();
        let mut report = tokio::time::interval(REPORT_INTERVAL);
        report.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            if let Err(error) = self.perform(outputs).await {
                return LoopEnded::Journal(error);
            }
            self.publish_report();
            let wake = self.sleep();
            let news = tokio::select! {
                outcome = finished(&mut self.action) => {
                    self.fault.acted();
                    LoopNews::Machine(Input::Done(outcome))
                }
                outcome = finished(&mut self.staging) => LoopNews::Machine(Input::StageDone(outcome)),
                notice = notices.recv() => LoopNews::Holder(notice),
                // Whoever learns may have broken down: the agent's start watches that.
                Ok(()) = updates.changed() => LoopNews::Catalog,
                () = wake => LoopNews::Machine(Input::Tick),
                () = self.node.membership.align_wanted.notified() => LoopNews::Machine(Input::Align),
                _ = report.tick() => LoopNews::Report,
                Ok(()) = renumbered.changed() => LoopNews::Renumbered,
                _ = stop.changed() => LoopNews::Asked,
            };
            outputs = match news {
                LoopNews::Machine(input) => self.step(input),
                LoopNews::Catalog => self.follow(updates.borrow_and_update().clone()),
                LoopNews::Holder(Some(notice)) => self.notice(notice),
                LoopNews::Holder(None) => return LoopEnded::HolderGone,
                LoopNews::Report => self.look_around(),
                LoopNews::Renumbered => return LoopEnded::Renumbered,
                LoopNews::Asked => return LoopEnded::Asked,
            };
        }
    }

    fn step(&mut self, input: Input) -> Vec<Output> {
        self.machine
            .step(self.node.surroundings.clock.now_ms(), input)
    }

    async fn sleep_until(at_ms: Option<u64>, now_ms: u64) {
        match at_ms {
            Some(at_ms) => {
                tokio::time::sleep(Duration::from_millis(at_ms.saturating_sub(now_ms).max(1))).await
            }
            None => std::future::pending().await,
        }
    }

    fn sleep(&self) -> impl Future<Output = ()> + use<> {
        Self::sleep_until(
            self.machine.wake_at_ms(),
            self.node.surroundings.clock.now_ms(),
        )
    }

    fn follow(&mut self, update: Option<Arc<CatalogUpdate>>) -> Vec<Output> {
        let Some(update) = update else {
            return Vec::new();
        };
        self.node.take_in(&update);
        let plan = Plan::of(&update.view, Some(self.node.surroundings.join_version));
        self.step(Input::Plan(plan))
    }

    fn notice(&mut self, notice: HolderNotice) -> Vec<Output> {
        match notice {
            HolderNotice::HandedOver {
                reason,
                local,
                peer,
                connection,
            } => {
                self.node.relay.adopt(ArrivingConnection {
                    connection,
                    handed_over: Some(reason),
                    ends: ConnectionEnds { local, peer },
                });
                Vec::new()
            }
            HolderNotice::Lost { peer } => {
                tracing::debug!(%peer, "no descriptor is left for a connection");
                self.node.inspection.note_scarcity();
                Vec::new()
            }
            HolderNotice::Listening(address) => {
                self.node.child.listens(address);
                Vec::new()
            }
            HolderNotice::Kept(kept) => {
                self.node.listeners.set_kept(kept);
                Vec::new()
            }
            HolderNotice::ChildExited(exit) => {
                let mut how = describe_exit(&exit, &self.node.surroundings.config.name);
                if let Some(why) = self.node.inspection.never_reached(exit.generation) {
                    how = format!("{how}; {why}");
                }
                self.node.child.note_killed(&exit);
                self.node.child.ended(exit.generation);
                self.step(Input::ChildExited {
                    generation: exit.generation,
                    how,
                })
            }
        }
    }

    /// Looks for what nobody tells: another setting of the kernel, a child that the library does not reach.
    fn look_around(&mut self) -> Vec<Output> {
        self.node.hook_table.follow_kernel_settings();
        self.node.hook_table.follow_forgetting();
        self.tell_disagreement();
        self.node.inspection.look_at_software();
        // A listener that was kept listens from bind on, before the hook sees listen: only what stays so is believed.
        let seen = self.node.inspection.unreachable_program();
        let before = std::mem::replace(&mut self.suspected, seen.clone());
        match seen {
            Some(reason) if before.as_ref() == Some(&reason) => {
                self.node.child.declare_unfit(reason.clone());
                self.step(Input::Unfit { reason })
            }
            _ => Vec::new(),
        }
    }

    /// Tells once what the server does not have as it lies here, and that it has it again.
    fn tell_disagreement(&mut self) {
        let now = self.node.surroundings.link.disagreement.borrow().clone();
        if now == self.disagreement {
            return;
        }
        let (kind, message) = held_upgrades::event(now.as_ref());
        tracing::warn!("{message}");
        let version = now.as_ref().map(|found| found.version);
        (self.node.surroundings).tell(kind, version, told(&message));
        self.disagreement = now;
    }

    async fn perform(&mut self, outputs: Vec<Output>) -> Result<(), JournalFileError> {
        for output in outputs {
            match output {
                Output::Journal(record) => {
                    self.record(&record).await?;
                    tracing::info!(record = record.kind(), "recorded");
                    self.fault.recorded(&record);
                }
                Output::Traffic(traffic) => {
                    self.node.listeners.let_go_before(&traffic).await;
                    self.node.held_calls.apply(traffic);
                }
                Output::Tell(note) => self.tell(note),
                Output::Do(action) => {
                    if matches!(action, Action::AskSchedule { .. }) {
                        self.look_at_journal_room()?;
                    }
                    self.begin(action);
                }
                Output::Stage(request) => self.stage(request),
            }
        }
        self.compact()
    }

    /// Makes a record durable; on a full disk waits for room, and says so.
    async fn record(&mut self, record: &Record) -> Result<(), JournalFileError> {
        loop {
            match self.journal.append(record) {
                Err(error @ JournalFileError::NoSpace { .. }) => {
                    tracing::warn!(%error, "waits");
                    self.report_reason(&error.to_string());
                    tokio::time::sleep(ROOM_INTERVAL).await;
                }
                other => return other,
            }
        }
    }

    /// An upgrade begins only where its records have room.
    fn look_at_journal_room(&mut self) -> Result<(), JournalFileError> {
        let problem = match self.journal.reserve() {
            Ok(()) => None,
            Err(error @ JournalFileError::NoSpace { .. }) => Some(error.to_string()),
            Err(error) => return Err(error),
        };
        self.node.state.space.note_journal(problem);
        Ok(())
    }

    fn compact(&mut self) -> Result<(), JournalFileError> {
        if !self.journal.wants_compaction() {
            return Ok(());
        }
        let Some(records) = self.machine.snapshot() else {
            return Ok(());
        };
        match self.journal.compact(&records) {
            Err(error @ JournalFileError::NoSpace { .. }) => {
                tracing::warn!(%error, "the journal stays long until there is room");
                Ok(())
            }
            other => other,
        }
    }

    fn begin(&mut self, action: Action) {
        tracing::debug!(?action, "begins");
        self.node.state.note_in_force(self.machine.state_in_force());
        let node = self.node.clone();
        self.action = Some(tokio::spawn(async move {
            actions::perform(&node, action).await
        }));
    }

    fn stage(&mut self, request: StageRequest) {
        let staging = Staging {
            surroundings: self.node.surroundings.clone(),
            bundles: self.node.bundles.clone(),
            adapters: self.node.adapters.loader.clone(),
        };
        self.staging = Some(tokio::spawn(async move { staging.run(request).await }));
    }

    fn tell(&self, note: Note) {
        tracing::info!(kind = note.kind.name(), "{}", note.message);
        (self.node.surroundings).tell(note.kind, note.version, told(&note.message));
    }

    /// Reports a reason that the machine does not know.
    fn report_reason(&mut self, reason: &str) {
        let mut status = self.machine.status(self.node.surroundings.progress.now());
        status.reason = Some(reason.to_owned());
        self.publish(status);
    }

    fn publish_report(&mut self) {
        self.publish(self.machine.status(self.node.surroundings.progress.now()));
    }

    fn publish(&mut self, status: NodeStatus) {
        let version = Some(status.version);
        for news in self.node.relay.tally.remarks.news() {
            (self.node.surroundings).tell(news.kind, version, told(&news.text));
        }
        let retry_acknowledged = self.machine.retry_acknowledged();
        let report = NodeReport {
            records: self.journal.total(),
            holds: self.held.of(&self.node.surroundings.layout, &self.machine),
            permit: self.machine.permit(),
            ..report::report(&self.node, status, retry_acknowledged)
        };
        self.report.send_if_modified(|present| {
            let urgent = present
                .as_ref()
                .is_none_or(|present| is_news(present, &report));
            *present = Some(report);
            urgent
        });
    }
}

/// Whether a report is worth a sync of its own: counters and connections wait for the next.
fn is_news(before: &NodeReport, after: &NodeReport) -> bool {
    !is_the_same_standing(&before.status, &after.status)
        || before.remarks.len() != after.remarks.len()
        || before.holds != after.holds
        || before.permit != after.permit
        || before.endpoints != after.endpoints
        || before.retired_acknowledged != after.retired_acknowledged
        || before.retry_acknowledged != after.retry_acknowledged
}

/// Whether a node stands where it stood; who it waits for changes with every step of the others, and can wait too.
fn is_the_same_standing(before: &NodeStatus, after: &NodeStatus) -> bool {
    let (mut was, mut is) = (before.clone(), after.clone());
    for status in [&mut was, &mut is] {
        if status.phase == Phase::Staged {
            status.reason = status.reason.take().map(|_| String::new());
            status.until_ms = None;
        }
    }
    was == is
}

/// Waits for a task, if there is one; a panic in it counts as a failure of what it did.
async fn finished<T: Panicked>(task: &mut Option<JoinHandle<T>>) -> T {
    let Some(handle) = task else {
        return std::future::pending().await;
    };
    let outcome = handle
        .await
        .unwrap_or_else(|error| T::panicked(error.to_string()));
    *task = None;
    outcome
}

/// An outcome that can say "the task itself broke".
trait Panicked {
    fn panicked(reason: String) -> Self;
}

impl Panicked for Outcome {
    fn panicked(reason: String) -> Self {
        Self::Failed { reason }
    }
}

impl Panicked for StageOutcome {
    fn panicked(reason: String) -> Self {
        Self::Failed { reason }
    }
}

fn describe_exit(exit: &intercept::holder::ChildExit, node: &str) -> String {
    match (exit.code, exit.signal) {
        (Some(code), _) => {
            format!("the software ended with exit code {code}; see `upstart logs {node}`")
        }
        (None, Some(signal)) => {
            format!("the software was killed by signal {signal}; see `upstart logs {node}`")
        }
        (None, None) => format!("the software ended; see `upstart logs {node}`"),
    }
}

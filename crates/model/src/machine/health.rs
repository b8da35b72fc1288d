//! Whether the software that a failed upgrade went back to serves: looked at until it does.

use super::node::{ChildLife, MachineState, NodeMachine};
use super::{Note, Output};
use crate::api::{ChildState, EventKind};

/// How long after its start software that does not answer yet only counts as starting.
const STARTING_MS: u64 = 10_000;

/// The pause between two looks at software that has just been started.
const LOOK_SOON_MS: u64 = 1_000;

/// The pause between two looks at software that does not answer: often enough that a status is not long out of date, seldom
/// enough to be no load.
const LOOK_AGAIN_MS: u64 = 5_000;

/// What was found of the old software.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum OldHealth {
    /// Nothing yet.
    #[default]
    Unknown,
    /// Its probe has succeeded.
    Healthy,
    /// Its probe has failed.
    Silent {
        /// How.
        how: String,
    },
}

impl NodeMachine {
    pub(super) fn look_is_due(&self, now_ms: u64, up: bool) -> bool {
        up && now_ms >= self.look_at_ms && self.wants_look()
    }

    /// When the old software is looked at next.
    pub(super) fn next_look_ms(&self) -> Option<u64> {
        let up = matches!(self.child, ChildLife::Running { .. });
        (up && self.wants_look()).then_some(self.look_at_ms)
    }

    fn wants_look(&self) -> bool {
        let blocked = matches!(self.state, MachineState::Blocked { .. });
        blocked && self.halted.is_none() && self.old_health != OldHealth::Healthy
    }

    /// A look has ended.
    pub(super) fn looked(
        &mut self,
        now_ms: u64,
        done: bool,
        reason: String,
        out: &mut Vec<Output>,
    ) {
        let (ChildLife::Running { since_ms, .. }, true) = (self.child, self.wants_look()) else {
            return;
        };
        let starting = now_ms.saturating_sub(since_ms) < STARTING_MS;
        if !done && starting && self.old_health == OldHealth::Unknown {
            self.look_at_ms = now_ms.saturating_add(LOOK_SOON_MS);
            return;
        }
        self.found_old(now_ms, done, &reason, out);
    }

    /// Takes in whether the old software serves, and tells it when that is news.
    pub(super) fn found_old(
        &mut self,
        now_ms: u64,
        done: bool,
        reason: &str,
        out: &mut Vec<Output>,
    ) {
        self.look_at_ms = now_ms.saturating_add(LOOK_AGAIN_MS);
        let was_silent = matches!(self.old_health, OldHealth::Silent { .. });
        self.old_health = if done {
            OldHealth::Healthy
        } else {
            OldHealth::Silent {
                how: reason.to_owned(),
            }
        };
        if done || !was_silent {
            let kind = if done {
                EventKind::ChildHealthy
            } else {
                EventKind::ChildSilent
            };
            out.extend(self.old_finding().map(|message| {
                Output::Tell(Note {
                    kind,
                    version: self.settled.as_ref().map(|settled| settled.version),
                    message,
                })
            }));
        }
    }

    /// What a blocked node says of the software that it went back to.
    pub(super) fn old_finding(&self) -> Option<String> {
        let settled = self.settled.as_ref().filter(|settled| settled.software)?;
        let version = settled.version;
        Some(match (self.child, &self.old_health) {
            (ChildLife::Running { .. }, OldHealth::Healthy) => {
                format!("version {version} runs and is healthy")
            }
            (ChildLife::Running { .. }, OldHealth::Silent { how }) => {
                format!("version {version} runs but does not answer: {how}")
            }
            (ChildLife::Running { .. }, OldHealth::Unknown) => {
                format!("version {version} runs and has not answered yet")
            }
            (ChildLife::Crashed, _) => {
                let how = self.child_backoff.reason.as_deref().unwrap_or("it ended");
                format!("version {version} does not run: {how}")
            }
            (ChildLife::Unknown | ChildLife::Stopped, _) => {
                format!("version {version} is about to be started")
            }
        })
    }

    /// The state of the software of a blocked node that runs.
    pub(super) fn old_child_state(&self) -> ChildState {
        match self.old_health {
            OldHealth::Unknown => ChildState::Starting,
            OldHealth::Healthy => ChildState::Running,
            OldHealth::Silent { .. } => ChildState::Silent,
        }
    }
}

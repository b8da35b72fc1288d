//! What a schedule wants known at the node before it goes: whether its software is idle, which role it has, and that it hands that over.

use super::commands::{CommandError, SoftwareCommands};
use crate::error_chain::chain;
use crate::node::Node;
use crate::node::bundles::Bundles;
use crate::node::surroundings::Surroundings;
use model::api::WaitCode;
use model::machine::{Outcome, Place};
use model::schedule::{LiveRole, NodeCommand, ROLE_BYTES_MAX, Schedule};
use std::time::{Duration, Instant};

/// How often it is looked whether a role has been handed over.
const ROLE_LOOK: Duration = Duration::from_millis(300);

/// What asks the software before the server is asked.
#[derive(Clone, Copy)]
pub(super) struct Beforehand<'n> {
    commands: SoftwareCommands<'n>,
    surroundings: &'n Surroundings,
    bundles: &'n Bundles,
}

/// What the software has said.
pub(super) struct SoftwareSays {
    /// Its role, where the schedule asks for that; empty where no software runs.
    pub(super) role: Option<String>,
    /// It is not asked more often.
    every_ms: u64,
    /// To where, by which schedule.
    to: Place,
    schedule: Option<Schedule>,
}

impl SoftwareSays {
    /// A wait lasts at least until the software may be asked again.
    pub(super) fn pace(&self, answered: Outcome) -> Outcome {
        match answered {
            Outcome::Waits {
                reason,
                kind,
                until_ms,
                ask_again_ms,
            } => Outcome::Waits {
                reason,
                kind,
                until_ms,
                ask_again_ms: ask_again_ms.map(|pause_ms| pause_ms.max(self.every_ms)),
            },
            answered => answered,
        }
    }

    /// The order to hand over a role that goes last, where it has one.
    fn hands_over(&self) -> Option<(&LiveRole, &NodeCommand)> {
        let rule = self.schedule.as_ref()?.role.as_ref()?;
        let role = self.role.as_ref()?;
        let hand_over = rule.hand_over.as_ref()?;
        rule.last.contains(role).then_some((rule, hand_over))
    }
}

impl<'n> Beforehand<'n> {
    pub(super) fn of(node: &'n Node) -> Self {
        Self {
            commands: SoftwareCommands::of(node),
            surroundings: &node.surroundings,
            bundles: &node.bundles,
        }
    }

    /// Asks the software what the schedule of a place wants to know.
    ///
    /// # Errors
    /// The wait of a node that is not idle, or does not tell its role.
    pub(super) async fn ask(&self, to: Place) -> Result<SoftwareSays, Outcome> {
        let schedule = self.bundles.schedule(to).ok().flatten();
        let mut says = SoftwareSays {
            role: None,
            every_ms: 0,
            to,
            schedule,
        };
        let Some(schedule) = &says.schedule else {
            return Ok(says);
        };
        let attributes = &self.surroundings.config.attributes;
        let now_ms = self.surroundings.clock.now_ms();
        if let Some(idle) = &schedule.idle
            && schedule.waits_for_idleness(attributes, now_ms)
        {
            says.every_ms = idle.every_ms;
            if let Some(Err(error)) = self.commands.beside("idle", to, idle).await {
                let reason = format!("waits until it is idle: {}", chain(&error));
                return Err(waits(WaitCode::Idle, reason, idle.every_ms));
            }
        }
        if let Some(role) = &schedule.role {
            says.every_ms = says.every_ms.max(role.ask.every_ms);
            let told = self.role(to, role).await.map_err(|why| {
                let reason = format!("does not tell which role it has: {why}");
                waits(WaitCode::Role, reason, role.ask.every_ms)
            })?;
            says.role = Some(told);
        }
        Ok(says)
    }

    /// The role of the software; empty where none runs.
    async fn role(&self, to: Place, rule: &LiveRole) -> Result<String, String> {
        let Some(told) = self.commands.beside("role", to, &rule.ask).await else {
            return Ok(String::new());
        };
        let told = told.map_err(|error| chain(&error))?;
        let role = told.lines().map(str::trim).rfind(|line| !line.is_empty());
        match role {
            Some(role) if role.len() <= ROLE_BYTES_MAX => Ok(role.to_owned()),
            Some(_) => Err(format!(
                "the last line that `role` prints is longer than {ROLE_BYTES_MAX} bytes"
            )),
            None => Err("`role` printed nothing".to_owned()),
        }
    }

    /// Has the software hand over a role that goes last, and waits until it has.
    ///
    /// # Errors
    /// Why it has it still.
    pub(super) async fn hand_over(&self, says: &SoftwareSays) -> Result<(), String> {
        let Some((rule, hand_over)) = says.hands_over() else {
            return Ok(());
        };
        let limit = Duration::from_millis(hand_over.timeout_ms);
        let begun = Instant::now();
        let asked = self.commands.beside("role.hand_over", says.to, hand_over);
        let Some(done) = asked.await else {
            return Ok(());
        };
        done.map_err(|error: CommandError| {
            format!("does not hand over its role: {}", chain(&error))
        })?;
        loop {
            let now = self.role(says.to, rule).await;
            if now.as_ref().is_ok_and(|role| !rule.last.contains(role)) {
                return Ok(());
            }
            if begun.elapsed() > limit {
                let has = now.map_or_else(|why| why, |role| format!("it is still {role}"));
                let limit_ms = limit.as_millis();
                return Err(format!(
                    "does not hand over its role within {limit_ms} ms: {has}"
                ));
            }
            tokio::time::sleep(ROLE_LOOK).await;
        }
    }
}

fn waits(code: WaitCode, reason: String, ask_again_ms: u64) -> Outcome {
    Outcome::Waits {
        reason,
        kind: code.name().to_owned(),
        until_ms: None,
        ask_again_ms: Some(ask_again_ms),
    }
}

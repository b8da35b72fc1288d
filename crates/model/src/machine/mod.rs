//! The node's life as a pure machine: facts and outcomes go in, records and actions come out; no I/O, no clock.
//!
//! The shell (the agent) feeds [`NodeMachine::step`] and performs the [`Output`]s strictly in order: a
//! [`Output::Journal`] is durable before the next output begins, a [`Output::Traffic`] is in force before it. At most
//! one [`Action`] of the main loop runs at a time and is answered with [`Input::Done`]; beside it at most one staging
//! ([`Output::Stage`]) runs and is answered with [`Input::StageDone`]. Between steps the shell sleeps until
//! [`NodeMachine::wake_at_ms`] and then gives [`Input::Tick`].
//!
//! Every change that must survive a crash is a [`Record`], and one function applies a record to the machine, live and
//! at recovery: a recovered machine stands where the first action after the last record begins. Every action is
//! therefore idempotent: it begins by looking at what is already done.

mod advance;
mod ahead;
mod backoff;
mod decision;
mod departure;
mod health;
mod input;
mod mending;
mod node;
mod notes;
mod output;
mod plan;
mod record;
mod recovery;
mod staging;
mod status;
#[cfg(test)]
mod tests;
mod traffic;

pub use crate::ids::Place;
pub use input::{Input, Outcome, StageOutcome};
pub use node::{NodeMachine, TRANSFORM_ATTEMPTS_MAX};
pub use output::{Action, Note, Output, StageRequest, Traffic};
pub use plan::{Plan, Planned};
pub use record::{ProbeMode, Record, Serving, Settled, Step, Work};
pub use recovery::RecoverError;

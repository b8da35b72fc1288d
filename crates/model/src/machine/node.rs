//! The machine itself: its state, and how news changes it.

use super::{Input, Output, Plan, Record, Traffic};
use crate::api::{NodeStatus, Progress};

/// The most attempts at a transform, crashes of the agent included; then the node flips back.
pub const TRANSFORM_ATTEMPTS_MAX: u32 = 5;

/// One node's life.
#[derive(Clone, Debug, Default)]
pub struct NodeMachine {
    plan: Option<Plan>,
}

impl NodeMachine {
    /// The machine after these records (none: a node that has not joined), and what to do first. Give the cached plan when there is one.
    pub fn recover(
        now_ms: u64,
        records: &[Record],
        plan: Option<Plan>,
    ) -> (NodeMachine, Vec<Output>) {
        let _ = (now_ms, records);
        (NodeMachine { plan }, Vec::new())
    }

    /// Takes in one piece of news at `now_ms` (any clock that does not go back) and answers what to do.
    pub fn step(&mut self, now_ms: u64, input: Input) -> Vec<Output> {
        let _ = now_ms;
        if let Input::Plan(plan) = input {
            self.plan = Some(plan);
        }
        Vec::new()
    }

    /// How traffic is to be treated now.
    pub fn traffic(&self) -> Traffic {
        Traffic::default()
    }

    /// When [`Input::Tick`] is due, if nothing else happens before.
    pub fn wake_at_ms(&self) -> Option<u64> {
        None
    }

    /// Where the node stands, for people and schedules; `progress` is the shell's.
    pub fn status(&self, progress: Option<Progress>) -> NodeStatus {
        NodeStatus {
            progress,
            ..NodeStatus::default()
        }
    }

    /// The shortest journal that recovers to the same machine: for compaction.
    pub fn snapshot(&self) -> Vec<Record> {
        Vec::new()
    }
}

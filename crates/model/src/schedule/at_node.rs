//! Commands that are run at a node before it begins: whether it is idle, which role it has just now, and to hand that over.

use super::{Facts, Opinion, Schedule, ScheduleError, WaitReason, wait};
use crate::expression::{Allowed, Template};
use crate::fleet::SomeNodes;
use serde::{Deserialize, Serialize};

/// How long a command may take when nothing else is said, milliseconds.
const TIMEOUT_MS: u64 = 10_000;

/// How long one may take at most: the node begins nothing else meanwhile, and its permit lasts a minute.
const TIMEOUT_MS_MAX: u64 = 40_000;

/// How often a node that waits runs them when nothing else is said, milliseconds.
const EVERY_MS: u64 = 5_000;

/// The longest name of a role, in bytes.
pub const ROLE_BYTES_MAX: usize = 64;

/// A program that is run beside the software, as its user and in its environment, with a time limit.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeCommand {
    /// The program and its arguments; never empty, no shell.
    pub command: Vec<Template>,
    /// How long it may take, milliseconds.
    pub timeout_ms: u64,
    /// How often a node that waits runs it, milliseconds.
    pub every_ms: u64,
}

impl Eq for NodeCommand {}

/// Nodes with some roles go last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveRole {
    /// Says the node's role: the last line that it prints.
    pub ask: NodeCommand,
    /// Who has one of these goes after the others of its group.
    pub last: Vec<String>,
    /// Has the software give that role to another node; run before the node stops.
    pub hand_over: Option<NodeCommand>,
}

/// Who has a role that goes last waits for the others of its group.
pub(super) fn leaders_last(schedule: &Schedule, facts: &Facts<'_>) -> Opinion {
    let group = facts.seat().and_then(|seat| seat.group.as_deref());
    let Some((rule, group)) = schedule.role.as_ref().zip(group) else {
        return Opinion::Go;
    };
    let Some(role) = &facts.asking.role else {
        return wait(WaitReason::RoleUnknown);
    };
    let goes_last = |role: &str| rule.last.iter().any(|last| last == role);
    if !goes_last(role) {
        return Opinion::Go;
    }
    let oldest = facts.oldest();
    let members = facts.fleet.members(facts.version, group);
    let mut of = 0;
    let mut before: Vec<&str> = Vec::new();
    for node in members {
        of += 1;
        let is_later = node.role.as_deref().is_some_and(goes_last);
        if node.name != facts.asking.name && !is_later && !node.is_at(facts.version, oldest) {
            before.push(&node.name);
        }
    }
    if before.is_empty() {
        return Opinion::Go;
    }
    let names = before.iter().map(|name| (*name).to_owned());
    wait(WaitReason::Role {
        role: role.to_string(),
        goal: facts.goal(),
        nodes: SomeNodes::told(before.len(), of, names),
    })
}

/// A command as it stands in an upgrade file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenCommand {
    command: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    every_ms: Option<u64>,
}

/// `role` as it stands in an upgrade file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenRole {
    command: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    every_ms: Option<u64>,
    last: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hand_over: Option<WrittenCommand>,
}

impl WrittenCommand {
    pub(super) fn read(self, key: &str) -> Result<NodeCommand, ScheduleError> {
        let timeout_ms = self.timeout_ms.unwrap_or(TIMEOUT_MS);
        if !(1..=TIMEOUT_MS_MAX).contains(&timeout_ms) {
            return Err(ScheduleError::Timeout {
                key: key.to_owned(),
                max_ms: TIMEOUT_MS_MAX,
            });
        }
        if self.command.first().is_none_or(String::is_empty) {
            return Err(ScheduleError::NoCommand(key.to_owned()));
        }
        let words = self.command.iter().map(|word| {
            let compiled = Template::compile(key, word, &Allowed::BESIDE);
            compiled.map_err(|error| ScheduleError::Condition(error.to_string()))
        });
        Ok(NodeCommand {
            command: words.collect::<Result<_, _>>()?,
            timeout_ms,
            every_ms: self.every_ms.unwrap_or(EVERY_MS).max(1),
        })
    }
}

impl From<NodeCommand> for WrittenCommand {
    fn from(command: NodeCommand) -> Self {
        let words = command.command.iter();
        Self {
            command: words.map(|word| word.source().to_owned()).collect(),
            timeout_ms: Some(command.timeout_ms),
            every_ms: Some(command.every_ms),
        }
    }
}

impl WrittenRole {
    pub(super) fn read(self) -> Result<LiveRole, ScheduleError> {
        let is_role =
            |name: &String| !name.is_empty() && name.len() <= ROLE_BYTES_MAX && name.trim() == name;
        if self.last.is_empty() || !self.last.iter().all(is_role) {
            return Err(ScheduleError::Roles);
        }
        let ask = WrittenCommand {
            command: self.command,
            timeout_ms: self.timeout_ms,
            every_ms: self.every_ms,
        };
        let hand_over = self.hand_over.map(|it| it.read("role.hand_over"));
        Ok(LiveRole {
            ask: ask.read("role")?,
            last: self.last,
            hand_over: hand_over.transpose()?,
        })
    }
}

impl From<LiveRole> for WrittenRole {
    fn from(role: LiveRole) -> Self {
        let ask = WrittenCommand::from(role.ask);
        Self {
            command: ask.command,
            timeout_ms: ask.timeout_ms,
            every_ms: ask.every_ms,
            last: role.last,
            hand_over: role.hand_over.map(WrittenCommand::from),
        }
    }
}

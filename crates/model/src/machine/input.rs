//! What the shell tells the machine.

use super::plan::Plan;
use super::record::Step;
use crate::ids::{PermitId, Version};

/// One piece of news.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// What the repository and the database say now; given at start from the cache too.
    Plan(Plan),
    /// More can be served than when it was aligned last: the node has become known.
    Align,
    /// The main loop's action ended.
    Done(Outcome),
    /// The staging ended.
    StageDone(StageOutcome),
    /// A child ended and its cgroup is empty.
    ChildExited {
        /// Which start.
        generation: u64,
        /// How, for people.
        how: String,
    },
    /// The child cannot be intercepted (a program that the library does not reach): it must not run. May be repeated.
    Unfit {
        /// What was noticed, for people.
        reason: String,
    },
}

/// How an action of the main loop ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// As wished.
    Done,
    /// The child is stopped, but what was left of it when its grace was over had to be killed.
    Killed {
        /// What, for people: "had to be killed, ...".
        what: String,
    },
    /// The child runs.
    Started {
        /// Which start.
        generation: u64,
    },
    /// The server gives leave.
    Permit {
        /// Its number.
        permit: PermitId,
        /// How far in one: the chain's first, or a later one when the node catches up; the version of what runs for its revision.
        to: Version,
    },
    /// The node is to wait.
    Waits {
        /// Why, for people.
        reason: String,
        /// What kind of reason it is: while it stays the same, who and how many changes without being news.
        kind: String,
        /// Until when, by the server's clock, when that is known.
        until_ms: Option<u64>,
        /// How soon it is worth asking again, in milliseconds; as often as usual when nobody says.
        ask_again_ms: Option<u64>,
    },
    /// The permit has expired, or could not be confirmed.
    Refused {
        /// Why, for people.
        reason: String,
    },
    /// The disk is full: not the upgrade's fault.
    NoSpace {
        /// What is missing, for people.
        reason: String,
    },
    /// It did not work.
    Failed {
        /// Why, for people.
        reason: String,
    },
}

/// How a staging ended.
#[derive(Clone, Debug, PartialEq)]
pub enum StageOutcome {
    /// Everything is there and verified.
    Staged(Step),
    /// Not yet: it is tried again later.
    Failed {
        /// Why, for people.
        reason: String,
    },
}

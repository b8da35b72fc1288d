//! What the machine asks of the shell.

use super::record::{Record, Serving, Step};
use crate::api::EventKind;
use crate::ids::{PermitId, Place, Revision, Version};

/// One thing for the shell to do; performed strictly in the order given.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Append to the journal and make it durable before anything that follows.
    Journal(Record),
    /// Put these flags into force (the member table, the agent's gate) before anything that follows.
    Traffic(Traffic),
    /// Begin this action on the main loop. Always the last output of a step; answered by [`super::Input::Done`].
    Do(Action),
    /// Begin staging, beside the main loop; answered by [`super::Input::StageDone`].
    Stage(StageRequest),
    /// Tell people (an event for the history).
    Tell(Note),
}

/// How traffic is treated; a pure function of the machine's state, so that a recovered agent sets it right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Calls to the software through the agent are held (bounded).
    pub hold_calls: bool,
    /// Every accepted connection but the agent's own goes to the holder until the release.
    pub probing: bool,
    /// The software's connects to members answer ECONNREFUSED.
    pub refuse_members: bool,
    /// The version of the software that runs, or is to run next: what its labels say. Zero before the node joins.
    pub serving_version: Version,
}

/// An event for the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// `node.settled`, `node.blocked`, `child.crashed`, ...
    pub kind: EventKind,
    /// The version it is about.
    pub version: Option<Version>,
    /// One line for people.
    pub message: String,
}

/// Fetch what is missing of this version, verify it, unpack it, compile its adapters, at
/// `<data>/versions/<version>.<revision>`; nothing is served by it yet. Idempotent, resumable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageRequest {
    /// The version.
    pub version: Version,
    /// The revision that the repository lists.
    pub revision: Revision,
    /// The node joins at this version: its whole release (software of every earlier upgrade that is still in force) is needed.
    pub join: bool,
    /// The bundle whose software runs, to compare a revision of it with.
    pub running: Option<Place>,
}

/// Something for the shell's main loop. Each begins by looking at what is already done, and may be asked for again.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Make what is served equal to this: ports and adapters of every held version are open and loaded, those of others
    /// are dropped; folders of versions that are neither held nor in use (`state`, `bundle`) are deleted.
    Align {
        /// Every version that is staged or settled, in order.
        held: Vec<Place>,
        /// Whose state `current` leads to; `None` before the node has joined.
        state: Option<Place>,
        /// Whose software runs; `None` before the node has joined.
        bundle: Option<Place>,
        /// Every version up to this one is retired: its old state goes.
        retired_through: Version,
        /// What the repository says is known: without it no port can be computed and no adapter found.
        known: bool,
    },
    /// Prepare the first start: an empty or adopted state directory, and `current` leading to it. Answer `Done`.
    Prepare {
        /// The version at which the node joins, and its software.
        to: Serving,
        /// Where its state goes.
        state: Place,
    },
    /// Ask the server for leave to the first of these versions, or further in one; where that waits, or there is none, to the
    /// revision. Answer `Permit` or `Waits`.
    AskSchedule {
        /// The staged versions from here on, in order.
        chain: Vec<Place>,
        /// A staged revision of what runs, with other software.
        mend: Option<Place>,
        /// The version behind them that is being fetched now: a node that was away may wait for it, to go further at once.
        fetching: Option<Version>,
    },
    /// Confirm the permit, trying until it expires. Answer `Done`, or `Refused`. A permit that is confirmed already is confirmed.
    ConfirmPermit(PermitId),
    /// Run the command `before_stop`. With no child, nothing. Answer `Done` or `Failed`.
    BeforeStop,
    /// Let running adapter operations finish while new calls are still served; bounded. Answer `Done`.
    Drain,
    /// Let the holder duplicate the child's listeners. With no child, nothing more than is kept. Answer `Done` or `Failed`.
    KeepListeners,
    /// Calls are held from before this ([`Traffic::hold_calls`]): abort what still runs, freeze adapter state. Answer `Done`.
    HoldCalls,
    /// Stop the child; `Done`, or `Killed`, only when its cgroup is empty.
    StopChild,
    /// Kill what an earlier attempt left, delete its copy, snapshot the state, transform the copy step by step, make it
    /// durable. Answer `Done`, `Failed` or `NoSpace`.
    Transform {
        /// Counts from 1.
        attempt: u32,
        /// The state to copy.
        from: Place,
        /// Where the new state goes.
        to: Place,
        /// The versions on the way, `to`'s last; those whose upgrade names no transform for the class only pass. None for a revision
        /// of what runs: its state is that version's already.
        path: Vec<Step>,
    },
    /// Let `current` lead to the state of this place, by one rename, durable. Answer `Done` or `Failed`.
    Flip {
        /// Whose state.
        state: Place,
    },
    /// See to it that the child runs: adopt whatever runs in the cgroup (the machine has had any other software stopped
    /// before), else start this version's.
    /// Answer `Started` or `Failed`.
    StartChild {
        /// Which software.
        to: Serving,
    },
    /// Run the command `after_start`. Answer `Done`, or `Failed` (at once when the child ends).
    AfterStart {
        /// Whose.
        to: Serving,
    },
    /// Probe until healthy or the time limit. Answer `Done`, or `Failed` (at once when it cannot become healthy any more).
    Probe {
        /// Whose probe.
        to: Serving,
    },
    /// Ask the probe's question once of software that runs and is called. Answer `Done`, or `Failed` with what was found.
    Look {
        /// Whose probe.
        at: Serving,
    },
    /// Release at this version: unfreeze adapter state, give back held connections, drop duplicates of listeners, report. Answer `Done` or `Failed`.
    Release {
        /// The version that the node serves from now on.
        at: Version,
    },
    /// Tell the server that the permit is no longer needed, once it knows what the node runs now: whoever waits
    /// for the permit judges by that. Answer `Done` (also when the server does not know the permit) or `Failed`.
    EndPermit {
        /// The node is blocked: others of its class must not begin before they can see it.
        blocked: bool,
        /// Which permit.
        permit: PermitId,
        /// What the node runs.
        at: Serving,
    },
}

//! What the journal holds: one record before each part of an upgrade that cannot be taken back for free.

use crate::ids::{PermitId, Place, Revision, Version};
use serde::{Deserialize, Serialize};

/// The software of a bundle, at the version that it serves: later than the bundle's where a class takes numbers without a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serving {
    /// The version.
    pub version: Version,
    /// Whose software, and whose word on how it is started, judged and stopped.
    pub bundle: Place,
}

/// What a version brings to this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// The node's class is not mentioned: it takes the new number without a restart.
    Number,
    /// New software, or new state, or both: the child is stopped and the new one started.
    Restart,
    /// The class is removed: the child is stopped and none is started.
    Remove,
}

/// When the health of a version's software is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeMode {
    /// Before the release, with members out of reach: a failure flips back.
    #[default]
    Alone,
    /// After the release, among its peers: a failure only restarts the child and is reported.
    Joined,
}

/// A staged version, as far as the machine needs to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The version.
    pub version: Version,
    /// The revision that is staged.
    pub revision: Revision,
    /// The version that its upgrade starts from; zero for the first.
    pub from: Version,
    /// What it brings to this node.
    pub work: Work,
    /// When its software's health is judged.
    pub probe: ProbeMode,
    /// The bundle with the software: an older one where the class takes the number without a restart.
    pub bundle: Place,
    /// A revision of what runs, with the same software and lifecycle: it is in force as soon as it is staged. Any other is tried
    /// like an upgrade.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub as_running: bool,
}

impl Step {
    /// Where it lies below `<data>/versions`.
    pub fn place(&self) -> Place {
        Place {
            version: self.version,
            revision: self.revision,
        }
    }
}

/// The version that a node has settled at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// The version.
    pub version: Version,
    /// The revision that is in force: of what runs, it has been tried here.
    pub revision: Revision,
    /// The bundle whose software runs. Only an upgrade or a revision that has been tried, or has the same software, changes it.
    pub bundle: Place,
    /// Whose state directory `<data>/current` leads to: older than `version` where numbers were taken without a restart.
    pub state: Place,
    /// The class has software at this version; false after [`Work::Remove`].
    pub software: bool,
    /// When its health is judged.
    pub probe: ProbeMode,
}

impl Settled {
    /// What runs.
    pub fn serving(&self) -> Serving {
        Serving {
            version: self.version,
            bundle: self.bundle,
        }
    }
}

/// A journal record. `recovery` has the action that comes after each: it is done again where a crash has interrupted it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// The version at which a node without state joins is fetched; its state directory is prepared and its software started.
    Joining {
        /// The version.
        step: Step,
    },
    /// A version is staged; or, with `returned`, the upgrade that had begun was given up at no cost, or a blocked node tries again.
    Staged {
        /// The version.
        step: Step,
        /// Why the node is back here.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        returned: Option<String>,
        /// The operator's `retry` count that has been acted on.
        #[serde(default)]
        retry: u64,
    },
    /// A staged version was withdrawn, or an old one retired: its adapters and ports go.
    Unstaged {
        /// The version.
        version: Version,
    },
    /// The node leaves its version, or tries a revision of what it runs.
    Stopping {
        /// Where it goes.
        to: Place,
        /// The leave to be unavailable, when the schedule asks for one.
        permit: Option<PermitId>,
    },
    /// The child is stopped; the state is being copied and transformed.
    Transforming {
        /// From 1; at most [`super::TRANSFORM_ATTEMPTS_MAX`].
        attempt: u32,
        /// What of the old software had to be killed, and may have left its state unfinished.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        killed: Option<String>,
    },
    /// The new state is complete on disk.
    Committed,
    /// `current` leads to the new state; the new software is started and probed.
    Probing,
    /// The old state and software come back.
    FlippingBack {
        /// Why.
        reason: String,
    },
    /// The point of no return: the node is at this version.
    Settled(Settled),
    /// Back at the old version until a revision, a withdrawal or a retry.
    Blocked {
        /// The version or revision that failed.
        on: Place,
        /// Why.
        reason: String,
        /// The operator's `retry` count before this block.
        #[serde(default)]
        retry: u64,
    },
    /// What follows `Settled`, `Blocked` or a returned `Staged` is done: released, permit ended.
    Released,
}

impl Record {
    /// The names of all kinds of record, for tests that stop the agent at each.
    pub const KINDS: [&str; 11] = [
        "joining",
        "staged",
        "unstaged",
        "stopping",
        "transforming",
        "committed",
        "probing",
        "flipping_back",
        "settled",
        "blocked",
        "released",
    ];

    /// The record's name, one of [`Record::KINDS`].
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Joining { .. } => "joining",
            Self::Staged { .. } => "staged",
            Self::Unstaged { .. } => "unstaged",
            Self::Stopping { .. } => "stopping",
            Self::Transforming { .. } => "transforming",
            Self::Committed => "committed",
            Self::Probing => "probing",
            Self::FlippingBack { .. } => "flipping_back",
            Self::Settled(_) => "settled",
            Self::Blocked { .. } => "blocked",
            Self::Released => "released",
        }
    }
}

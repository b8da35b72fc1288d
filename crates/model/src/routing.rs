//! Who serves a connection: the software, a chain of adapters, or nobody. Pure; asked for every foreign connection.

use crate::ids::Version;
use serde::{Deserialize, Serialize};

/// Which of an upgrade's two adapters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Serves callers still at the version before.
    Past,
    /// Serves callers already at the version that the upgrade leads to.
    Future,
}

/// One adapter of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Step {
    /// The upgrade that it belongs to, by the version that this leads to.
    pub upgrade: Version,
    /// Which of its adapters.
    pub direction: Direction,
}

/// Who serves a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// The software itself.
    Direct,
    /// These adapters, the one nearest to the caller first, then the software.
    Chain(Vec<Step>),
    /// Nobody: this step's upgrade refuses such callers on purpose.
    Refused(Step),
    /// Nobody yet: the node has not staged the caller's version.
    NotStaged,
    /// Nobody any more: reset and count.
    Retired,
    /// Nobody: that version was withdrawn, so no node can be at it.
    Withdrawn,
    /// Nobody: the service is not there at the caller's or at the node's version.
    NoSuchService,
}

/// Where a node stands, as far as routing goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The version that its software runs at.
    pub version: Version,
    /// The highest version that it has staged; at least `version`.
    pub staged: Version,
    /// Every version up to this one is retired (or being retired).
    pub retired_through: Version,
}

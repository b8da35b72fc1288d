//! Why a node waits, as data; [`Display`](std::fmt::Display) has the words.

use crate::api::NodeFact;
use crate::ids::{Revision, Version};
use std::fmt;

/// Why a part of a schedule lets a node wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// The version was withdrawn.
    Withdrawn(Version),
    /// The server does not list the version.
    NotPublished(Version),
    /// Somebody has paused the system.
    Paused {
        /// Who.
        author: String,
        /// Why, if that was said.
        reason: String,
    },
    /// It has failed at nodes of the class.
    Blocked {
        /// What has failed.
        goal: UpgradeGoal,
        /// Where.
        nodes: NodeNames,
    },
    /// Somebody who is reachable could not answer callers at the version yet.
    NotStaged {
        /// The version.
        version: Version,
        /// Who.
        nodes: NodeNames,
    },
    /// Nodes of classes that come first are not there yet.
    NotYetAt {
        /// The classes that come first.
        classes: Vec<String>,
        /// Where they are to be.
        goal: UpgradeGoal,
        /// Who is not.
        nodes: NodeNames,
    },
    /// Nodes of classes that come first are there, and have not shown that they are healthy.
    NotYetHealthy {
        /// The classes that come first.
        classes: Vec<String>,
        /// Where they are.
        goal: UpgradeGoal,
        /// Who has not.
        nodes: NodeNames,
    },
    /// Others have settled too recently.
    Soaks {
        /// Whose nodes: a class, or several.
        who: String,
        /// Where they have settled.
        goal: UpgradeGoal,
        /// For how long they must have.
        soak_ms: u64,
    },
    /// A person has to say yes.
    NotApproved(UpgradeGoal),
    /// The server has not told this node's facts yet.
    NotKnown,
    /// As many are unavailable as may be.
    Limit {
        /// How many may be.
        max_unavailable: u32,
        /// In which group.
        group: String,
        /// Who is.
        nodes: NodeNames,
    },
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Withdrawn(version) => write!(f, "version {version} was withdrawn"),
            Self::NotPublished(version) => write!(f, "version {version} is not published"),
            Self::Paused { author, reason } if reason.is_empty() => write!(f, "paused by {author}"),
            Self::Paused { author, reason } => write!(f, "paused by {author}: {reason}"),
            Self::Blocked { goal, nodes } => write!(
                f,
                "{goal} has failed and is blocked at {nodes}; next: `upstart retry` there, or `upstart publish DIR --revise`"
            ),
            Self::NotStaged { version, nodes } => {
                write!(
                    f,
                    "not every node has staged version {version} yet: {nodes}"
                )
            }
            Self::NotYetAt {
                classes,
                goal,
                nodes,
            } => write!(
                f,
                "comes after {}; not yet at {goal}: {nodes}",
                classes.join(", ")
            ),
            Self::NotYetHealthy {
                classes,
                goal,
                nodes,
            } => write!(
                f,
                "comes after {}; not yet healthy at {goal}: {nodes}",
                classes.join(", ")
            ),
            Self::Soaks { who, goal, soak_ms } => {
                write!(
                    f,
                    "soaks: {who} settled at {goal} less than {soak_ms} ms ago"
                )
            }
            Self::NotApproved(goal) => {
                if goal.revision.is_some() {
                    write!(f, "{goal} ")?;
                }
                write!(f, "waits for approval: `upstart approve {}`", goal.version)
            }
            Self::NotKnown => f.write_str("the server does not know this node yet"),
            Self::Limit {
                max_unavailable,
                group,
                nodes,
            } => write!(
                f,
                "at most {max_unavailable} of {group} may be unavailable at once: {nodes}"
            ),
        }
    }
}

/// Where a node would go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpgradeGoal {
    /// The version.
    pub version: Version,
    /// Its revision, where the node is at the version already.
    pub revision: Option<Revision>,
}

impl fmt::Display for UpgradeGoal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(revision) = self.revision {
            write!(f, "revision {revision} of ")?;
        }
        write!(f, "version {}", self.version)
    }
}

/// The most names in one reason; the rest is counted.
const NAMES_MAX: usize = 5;

/// Nodes by name: `a, b, c and 4 more`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeNames(Vec<String>);

impl<'a> FromIterator<&'a NodeFact> for NodeNames {
    fn from_iter<I: IntoIterator<Item = &'a NodeFact>>(nodes: I) -> Self {
        let mut all: Vec<String> = nodes.into_iter().map(|fact| fact.name.clone()).collect();
        all.sort_unstable();
        Self(all)
    }
}

impl fmt::Display for NodeNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.len().min(NAMES_MAX);
        f.write_str(&self.0[..shown].join(", "))?;
        match self.0.len() - shown {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

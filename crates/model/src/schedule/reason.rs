//! Why a node waits, as data; [`Display`](std::fmt::Display) has the words.

use super::ZONE_ATTRIBUTE;
use crate::api::WaitCode;
use crate::fleet::SomeNodes;
use crate::ids::{Revision, Version};
use std::fmt;

/// Why a part of a schedule lets a node wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// The version was withdrawn.
    Withdrawn(Version),
    /// The server does not list the version.
    NotPublished(Version),
    /// A newer revision of it is published.
    NotNewest {
        /// The version.
        version: Version,
        /// The revision that was asked for.
        revision: Revision,
        /// The newest one.
        newest: Revision,
    },
    /// A version further ahead, which the others of its class run, is about to be there.
    Fetches(Version),
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
        nodes: SomeNodes,
    },
    /// Somebody who is reachable could not answer callers at the version yet.
    NotStaged {
        /// The version.
        version: Version,
        /// Who.
        nodes: SomeNodes,
    },
    /// Nodes of classes that come first are not there yet.
    NotYetAt {
        /// The classes that come first.
        classes: Vec<String>,
        /// Where they are to be.
        goal: UpgradeGoal,
        /// Who is not.
        nodes: SomeNodes,
    },
    /// Nodes of classes that come first are there, and have not shown that they are healthy.
    NotYetHealthy {
        /// The classes that come first.
        classes: Vec<String>,
        /// Where they are.
        goal: UpgradeGoal,
        /// Who has not.
        nodes: SomeNodes,
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
    /// Nodes of the class are there, and their software is not well: the soak time begins when it is.
    Failing {
        /// Where they are.
        goal: UpgradeGoal,
        /// Who.
        nodes: SomeNodes,
    },
    /// As many are unavailable as may be.
    Limit {
        /// How many may be.
        max_unavailable: usize,
        /// In which group.
        group: String,
        /// Who is.
        nodes: SomeNodes,
    },
    /// Nodes of a wave that comes first are not there yet, or have not shown that they are healthy.
    Wave {
        /// Which, counted from 1.
        wave: usize,
        /// Where they are to be.
        goal: UpgradeGoal,
        /// Who is not.
        nodes: SomeNodes,
    },
    /// A condition of its schedule does not hold.
    GoIf {
        /// As it is written.
        condition: String,
        /// The values of what it names.
        seen: String,
    },
    /// A condition of its schedule needs what is not known.
    GoIfUnknown {
        /// As it is written.
        condition: String,
        /// What is not known, and why.
        why: String,
    },
    /// It has a role that goes last, and others of its group are not there yet.
    Role {
        /// Which role.
        role: String,
        /// Where they are to be.
        goal: UpgradeGoal,
        /// Who is not.
        nodes: SomeNodes,
    },
    /// It does not say which role it has.
    RoleUnknown,
    /// What is done once for the whole system is not done yet.
    Once {
        /// At which version.
        version: Version,
        /// Its name.
        name: String,
    },
    /// No window is open.
    NoWindow {
        /// When nodes may begin again, on the clock of the window's zone.
        opens: String,
    },
    /// Nobody begins for a while.
    Frozen {
        /// Why.
        reason: String,
        /// When that is over, on the clock of the freeze's zone.
        ends: String,
    },
    /// The times at which it may begin are those of its site's zone, and it does not say which that is.
    NoZone {
        /// What its attribute says; none where it has none.
        found: Option<String>,
    },
}

impl WaitReason {
    /// What kind of reason it is, for programs.
    pub fn code(&self) -> WaitCode {
        match self {
            Self::Withdrawn(_) => WaitCode::Withdrawn,
            Self::NotPublished(_) => WaitCode::NotPublished,
            Self::NotNewest { .. } => WaitCode::NotNewest,
            Self::Fetches(_) => WaitCode::Fetches,
            Self::Paused { .. } => WaitCode::Paused,
            Self::Blocked { .. } => WaitCode::Blocked,
            Self::NotStaged { .. } => WaitCode::NotStaged,
            Self::NotYetAt { .. } => WaitCode::NotYetAt,
            Self::NotYetHealthy { .. } => WaitCode::NotYetHealthy,
            Self::Soaks { .. } => WaitCode::Soaks,
            Self::NotApproved(_) => WaitCode::NotApproved,
            Self::Failing { .. } => WaitCode::Failing,
            Self::Limit { .. } => WaitCode::Limit,
            Self::Wave { .. } => WaitCode::Wave,
            Self::Role { .. } | Self::RoleUnknown => WaitCode::Role,
            Self::Once { .. } => WaitCode::Once,
            Self::GoIf { .. } => WaitCode::GoIf,
            Self::GoIfUnknown { .. } => WaitCode::GoIfUnknown,
            Self::NoWindow { .. } => WaitCode::NoWindow,
            Self::Frozen { .. } => WaitCode::Frozen,
            Self::NoZone { .. } => WaitCode::NoZone,
        }
    }

    /// The nodes that it is about, where it counts some.
    pub fn nodes(&self) -> Option<&SomeNodes> {
        match self {
            Self::Blocked { nodes, .. }
            | Self::NotStaged { nodes, .. }
            | Self::NotYetAt { nodes, .. }
            | Self::NotYetHealthy { nodes, .. }
            | Self::Failing { nodes, .. }
            | Self::Limit { nodes, .. }
            | Self::Role { nodes, .. }
            | Self::Wave { nodes, .. } => Some(nodes),
            Self::Withdrawn(_)
            | Self::NotPublished(_)
            | Self::NotNewest { .. }
            | Self::Fetches(_)
            | Self::Paused { .. }
            | Self::Soaks { .. }
            | Self::NotApproved(_)
            | Self::RoleUnknown
            | Self::Once { .. }
            | Self::GoIf { .. }
            | Self::GoIfUnknown { .. }
            | Self::NoWindow { .. }
            | Self::Frozen { .. }
            | Self::NoZone { .. } => None,
        }
    }
}

impl WaitReason {
    /// Whether it holds for this node while others of its group may go: they pass it, and it has no place before them.
    pub fn is_the_nodes_own(&self) -> bool {
        matches!(
            self,
            Self::Wave { .. }
                | Self::Role { .. }
                | Self::RoleUnknown
                | Self::NoWindow { .. }
                | Self::Frozen { .. }
                | Self::NoZone { .. }
        )
    }

    /// The words for what people have done to the version or the system.
    fn of_the_plan(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Withdrawn(version) => write!(f, "version {version} was withdrawn"),
            Self::NotPublished(version) => write!(f, "version {version} is not published"),
            Self::Fetches(version) => write!(
                f,
                "makes version {version} ready, which the others of its class run"
            ),
            Self::NotNewest {
                version,
                revision,
                newest,
            } => write!(
                f,
                "revision {newest} of version {version} is the newest, not {revision}"
            ),
            Self::Once { version, name } => write!(
                f,
                "waits until `once.{name}` of version {version} is done, which begins when every node is there"
            ),
            Self::Paused { author, reason } if reason.is_empty() => write!(f, "paused by {author}"),
            Self::Paused { author, reason } => write!(f, "paused by {author}: {reason}"),
            _ => Ok(()),
        }
    }

    /// The words for nodes that come first.
    fn of_the_order(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYetAt {
                classes,
                goal,
                nodes,
            } => write!(
                f,
                "waits for {} to settle at {goal}; not yet: {nodes}",
                classes.join(", ")
            ),
            Self::Wave { wave, goal, nodes } => write!(
                f,
                "waits for wave {wave} to be settled and healthy at {goal}; not yet: {nodes}"
            ),
            Self::Role { role, goal, nodes } => write!(
                f,
                "is {role} and goes after the others of its group; not yet at {goal}: {nodes}"
            ),
            Self::RoleUnknown => f.write_str(
                "does not say which role it has, as its schedule's `role` wants: replace its agent by a newer one"
            ),
            Self::NotYetHealthy {
                classes,
                goal,
                nodes,
            } => write!(
                f,
                "waits for {} to be healthy at {goal}; not yet: {nodes}",
                classes.join(", ")
            ),
            _ => Ok(()),
        }
    }

    /// The words for what the calendar says.
    fn of_the_calendar(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWindow { opens } => write!(f, "waits for the window that opens {opens}"),
            Self::Frozen { reason, ends } => {
                write!(f, "frozen: {reason}; until {ends}")
            }
            Self::NoZone { found: Some(found) } => write!(
                f,
                "its attribute `{ZONE_ATTRIBUTE}` says `{found}`, which is no zone; the schedule's times are those of its site: give its agent `--attribute {ZONE_ATTRIBUTE}=Europe/Berlin` or the like"
            ),
            Self::NoZone { found: None } => write!(
                f,
                "has no attribute `{ZONE_ATTRIBUTE}`; the schedule's times are those of its site: give its agent `--attribute {ZONE_ATTRIBUTE}=Europe/Berlin` or the like"
            ),
            _ => Ok(()),
        }
    }
}

/// The command that lets blocked nodes try again, ready to copy where it is one node.
fn retry_of(nodes: &str) -> String {
    if nodes.contains(' ') {
        "`upstart retry NODE` for each".to_owned()
    } else {
        format!("`upstart retry {nodes}`")
    }
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Withdrawn(_)
            | Self::NotPublished(_)
            | Self::NotNewest { .. }
            | Self::Fetches(_)
            | Self::Once { .. }
            | Self::Paused { .. } => self.of_the_plan(f),
            Self::NoWindow { .. } | Self::Frozen { .. } | Self::NoZone { .. } => {
                self.of_the_calendar(f)
            }
            Self::Blocked { goal, nodes } => write!(
                f,
                "{goal} has failed and is blocked at {nodes}; next: {}, or `upstart publish DIR --revise`",
                retry_of(&nodes.to_string())
            ),
            Self::NotStaged { version, nodes } => {
                write!(
                    f,
                    "not every node has staged version {version} yet: {nodes}"
                )
            }
            Self::NotYetAt { .. }
            | Self::NotYetHealthy { .. }
            | Self::Wave { .. }
            | Self::Role { .. }
            | Self::RoleUnknown => self.of_the_order(f),
            Self::Soaks { who, goal, soak_ms } => {
                write!(
                    f,
                    "waits for the soak time: {who} settled at {goal} less than {soak_ms} ms ago"
                )
            }
            Self::GoIf { condition, seen } => {
                write!(f, "waits until `go_if` holds: {condition} ({seen})")
            }
            Self::GoIfUnknown { condition, why } => {
                write!(
                    f,
                    "it is not known whether `go_if` holds: {condition}: {why}"
                )
            }
            Self::NotApproved(goal) => {
                if goal.revision.is_some() {
                    write!(f, "{goal} ")?;
                }
                write!(f, "waits for approval: `upstart approve {}`", goal.version)
            }
            Self::Failing { goal, nodes } => write!(
                f,
                "waits to begin the soak time: at {goal} the software has crashed or does not answer at {nodes}"
            ),
            Self::Limit {
                max_unavailable,
                group,
                nodes,
            } => write!(
                f,
                "at most {max_unavailable} of {group} may be unavailable at once: {}",
                if nodes.is_empty() {
                    "others have waited longer".to_owned()
                } else {
                    nodes.to_string()
                }
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

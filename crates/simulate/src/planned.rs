//! A node as a plan needs to know it: what `upstart plan --save` writes.

use crate::TimeDistribution;
use model::api::{ChildState, NodeFact, Phase};
use model::expression::NodeScope;
use model::fleet::{ClassSeats, CountedNode};
use model::ids::{Place, Revision, Version};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How often a node asks where nothing says it.
const POLL_MS_ASSUMED: u64 = 1_000;

/// A node. What is left out is as it is with a node that is well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedNode {
    /// Its name.
    pub name: String,
    /// Its class at enrolment.
    pub class: String,
    /// Its attributes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// The version at which it has settled.
    pub version: Version,
    /// The highest version whose callers it answers; its own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged: Option<Version>,
    /// Whose software it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<Place>,
    /// What it has tried, and is back from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_on: Option<Place>,
    /// It is on its way there already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaving_for: Option<Version>,
    /// Its software.
    #[serde(default = "running", skip_serializing_if = "is_running")]
    pub child: ChildState,
    /// It was heard within the reachability time.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub reachable: bool,
    /// Since when it is where it is without a crash.
    #[serde(default)]
    pub steady_since_ms: u64,
    /// How often it asks.
    #[serde(default = "poll_ms_assumed")]
    pub poll_ms: u64,
}

/// How long nodes were unavailable, by class.
pub type Unavailability = BTreeMap<String, TimeDistribution>;

fn running() -> ChildState {
    ChildState::Running
}

fn is_running(child: &ChildState) -> bool {
    *child == ChildState::Running
}

fn yes() -> bool {
    true
}

fn poll_ms_assumed() -> u64 {
    POLL_MS_ASSUMED
}

impl PlannedNode {
    /// A node that is well, at this version.
    pub fn well(name: impl Into<String>, class: impl Into<String>, version: Version) -> Self {
        Self {
            name: name.into(),
            class: class.into(),
            attributes: BTreeMap::new(),
            version,
            staged: None,
            bundle: None,
            blocked_on: None,
            leaving_for: None,
            child: ChildState::Running,
            reachable: true,
            steady_since_ms: 0,
            poll_ms: POLL_MS_ASSUMED,
        }
    }

    /// A node as a server tells it; none where it has not joined yet, so that nobody waits for what it does.
    pub fn of(fact: &NodeFact) -> Option<Self> {
        let status = &fact.report.status;
        if status.version == Version(0) || status.phase == Phase::Joining {
            return None;
        }
        let tried = status.target.filter(|_| status.phase == Phase::Blocked);
        let is_away = matches!(
            status.phase,
            Phase::Stopping
                | Phase::Transforming
                | Phase::Committed
                | Phase::Probing
                | Phase::FlippingBack
        );
        Some(Self {
            name: fact.name.clone(),
            class: fact.class.clone(),
            attributes: fact.attributes.clone(),
            version: status.version,
            staged: Some(status.staged).filter(|staged| *staged > status.version),
            bundle: status.bundle,
            blocked_on: tried.map(|version| Place {
                version,
                revision: status.tried_revision(),
            }),
            leaving_for: status.target.filter(|_| is_away),
            // What is starting is soon well, or has crashed and says so.
            child: match status.child {
                ChildState::Starting => ChildState::Running,
                child => child,
            },
            reachable: fact.reachable,
            steady_since_ms: fact.steady_since_ms,
            poll_ms: match fact.report.poll_ms {
                0 => POLL_MS_ASSUMED,
                poll_ms => poll_ms,
            },
        })
    }

    /// As expressions and histories see it.
    pub fn scope(&self) -> NodeScope {
        NodeScope {
            name: self.name.clone(),
            class: self.class.clone(),
            attributes: self.attributes.clone(),
        }
    }

    /// As schedules count it.
    pub(crate) fn counted(&self, seats: Arc<ClassSeats>) -> CountedNode {
        CountedNode {
            name: Arc::from(self.name.as_str()),
            seats,
            version: self.version,
            staged: self.staged.unwrap_or(self.version).max(self.version),
            bundle: self.bundle,
            blocked_on: self.blocked_on,
            child: self.child,
            reachable: self.reachable,
            joined: true,
            steady_since_ms: self.steady_since_ms,
            has_permit: self.leaving_for.is_some(),
            role: None,
        }
    }

    /// Whether it has tried this version in the newest revision, and is back.
    pub(crate) fn is_blocked_on(&self, version: Version, newest: Revision) -> bool {
        let tried = self.blocked_on;
        tried.is_some_and(|tried| tried.version == version && tried.revision >= newest)
    }
}

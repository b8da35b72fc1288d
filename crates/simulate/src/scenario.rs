//! What is simulated: a history whose last upgrade is to be planned, the nodes, what people have said, and how long things take.

use crate::{PlannedNode, TimeDistribution, Unavailability};
use model::api::{Approval, Pause, UpgradeSummary};
use model::ids::{Revision, Version};
use model::release::History;
use model::schedule::{MetricGauge, Wave};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Every upgrade, the one that is planned last.
    pub history: Arc<History>,
    /// The published upgrades as the server lists them. One that is not listed is planned as if it were published at the start.
    pub listed: Vec<UpgradeSummary>,
    /// What people have approved.
    pub approvals: Vec<Approval>,
    /// Set while the system is paused.
    pub paused: Option<Pause>,
    /// Every version up to this one is retired.
    pub retired_through: Version,
    /// The nodes.
    pub nodes: Vec<PlannedNode>,
    /// How long a node is unavailable while it upgrades, by its class at enrolment.
    pub unavailable: Unavailability,
    /// The same for classes that are not in there.
    pub otherwise_unavailable: TimeDistribution,
    /// How long a node takes to stage a version.
    pub staging: TimeDistribution,
    /// What the queries of schedules will give. Of a class that is not in there, `go_if` is taken to hold, and `stop_if` not to.
    pub forecast: MetricForecast,
    /// When the upgrade is published.
    pub start_ms: u64,
}

/// The end of the year 9999: no calendar goes further.
const START_MS_MAX: u64 = 253_402_300_799_999;

/// What the queries of a class's schedule will give, from which moment on.
pub type MetricForecast = BTreeMap<String, BTreeMap<u64, BTreeMap<String, MetricGauge>>>;

/// A wave that takes no node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EmptyWave {
    /// The class.
    pub class: String,
    /// Which wave, counted from 1.
    pub wave: usize,
    /// The wave before it that takes every node that it could take, in any fleet; absent where these nodes are too few, or other ones.
    pub taken_by: Option<usize>,
}

/// Why nothing can be said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// There is nobody.
    #[error("the fleet has no node that has joined; there is nothing to plan")]
    NoNodes,
    /// There is nothing to go to.
    #[error("there is no upgrade to plan")]
    NoUpgrade,
    /// A node's class is in no upgrade.
    #[error("node {node} is of class `{class}`, which no upgrade has")]
    UnknownClass {
        /// The node.
        node: String,
        /// Its class.
        class: String,
    },
    /// Two nodes have one name.
    #[error("two nodes are called {0}")]
    Twice(String),
    /// A node is beyond the version that is planned.
    #[error("node {node} is at version {version} already, which comes after version {planned}")]
    Beyond {
        /// The node.
        node: String,
        /// Its version.
        version: Version,
        /// The version that is planned.
        planned: Version,
    },
    /// The version that is planned is retired.
    #[error("versions up to {retired} are retired, and version {planned} is planned")]
    Retired {
        /// Through which version.
        retired: Version,
        /// The version that is planned.
        planned: Version,
    },
    /// Nobody plans for such a time.
    #[error("the plan begins beyond the year 9999")]
    TooLate,
    /// A node is at a version that the history does not have.
    #[error("node {node} is at version {version}, which is not among the upgrades")]
    UnknownVersion {
        /// The node.
        node: String,
        /// Its version.
        version: Version,
    },
}

/// Whether a wave takes every node that another could take, whoever there is.
fn takes_all_of(wave: &Wave, other: &Wave) -> bool {
    let is_as_large = match (wave.share, other.share) {
        (None, _) => true,
        (Some(share), Some(other)) => share >= other,
        (Some(_), None) => false,
    };
    is_as_large && (wave.nodes.is_none() || wave.nodes == other.nodes)
}

impl Scenario {
    /// How long a node of this class is unavailable while it upgrades.
    pub fn unavailable(&self, class: &str) -> &TimeDistribution {
        let own = self.unavailable.get(class);
        own.unwrap_or(&self.otherwise_unavailable)
    }

    /// How many nodes of a wave go before it is over, where that is limited.
    pub(crate) fn at_most(
        &self,
        version: Version,
        class: &str,
        wave: Option<usize>,
    ) -> Option<u32> {
        let class = self.history.release(version)?.classes.get(class)?;
        class.schedule.waves.get(wave?)?.at_most
    }

    /// The waves of the version that is planned which none of the nodes that go there belongs to.
    pub(crate) fn empty_waves(
        &self,
        counts: &BTreeMap<(Version, Arc<str>, Option<usize>), usize>,
    ) -> Vec<EmptyWave> {
        let newest = self.history.newest();
        let release = self.history.release(newest);
        let classes = release.iter().flat_map(|release| release.classes.values());
        let empty = classes.flat_map(|class| {
            let name: Arc<str> = Arc::from(class.name.as_str());
            let goes = counts
                .keys()
                .any(|(version, other, _)| *version == newest && *other == name);
            let waves = class.schedule.waves.iter().enumerate();
            let empty = waves.filter(move |(number, _)| {
                goes && !counts.contains_key(&(newest, Arc::clone(&name), Some(*number)))
            });
            empty.map(|(number, wave)| {
                let mut before = class.schedule.waves[..number].iter();
                EmptyWave {
                    class: class.name.clone(),
                    wave: number + 1,
                    taken_by: before
                        .position(|other| takes_all_of(other, wave))
                        .map(|at| at + 1),
                }
            })
        });
        empty.collect()
    }

    /// Whether it can be simulated.
    ///
    /// # Errors
    /// The first thing that stands against it.
    pub fn check(&self) -> Result<(), ScenarioError> {
        let newest = self.history.newest();
        let release = self.history.release(newest);
        if release.is_none() {
            return Err(ScenarioError::NoUpgrade);
        }
        if self.nodes.is_empty() {
            return Err(ScenarioError::NoNodes);
        }
        if self.start_ms > START_MS_MAX {
            return Err(ScenarioError::TooLate);
        }
        if self.retired_through >= newest {
            return Err(ScenarioError::Retired {
                retired: self.retired_through,
                planned: newest,
            });
        }
        let releases = self.history.versions();
        let releases = releases.filter_map(|version| self.history.release(version));
        let classes: BTreeSet<&str> = releases
            .flat_map(|release| release.classes.keys().map(String::as_str))
            .collect();
        let mut names = BTreeSet::new();
        for node in &self.nodes {
            if !classes.contains(node.class.as_str()) {
                return Err(ScenarioError::UnknownClass {
                    node: node.name.clone(),
                    class: node.class.clone(),
                });
            }
            if node.version > newest {
                return Err(ScenarioError::Beyond {
                    node: node.name.clone(),
                    version: node.version,
                    planned: newest,
                });
            }
            if self.history.release(node.version).is_none() {
                return Err(ScenarioError::UnknownVersion {
                    node: node.name.clone(),
                    version: node.version,
                });
            }
            if !names.insert(node.name.as_str()) {
                return Err(ScenarioError::Twice(node.name.clone()));
            }
        }
        Ok(())
    }

    /// The conditions that nobody can foresee, with their classes.
    pub fn taken_for_granted(&self) -> Vec<String> {
        let newest = self.history.release(self.history.newest());
        let classes = newest.iter().flat_map(|release| release.classes.values());
        let unforeseen = classes.filter(|class| !self.forecast.contains_key(&class.name));
        let told = unforeseen.flat_map(|class| {
            let gates = &class.schedule.gates;
            let go = gates.go_if.as_ref();
            let stop = gates.stop_if.as_ref();
            let go = go.map(|it| format!("`go_if` of {} holds: {}", class.name, it.source()));
            let stop = stop
                .map(|it| format!("`stop_if` of {} does not hold: {}", class.name, it.source()));
            let idle = class.schedule.idle.as_ref();
            let idle = idle.map(|_| format!("nodes of {} are idle", class.name));
            let role = class.schedule.role.as_ref();
            let role = role.map(|_| format!("no node of {} has a role that goes last", class.name));
            [go, stop, idle, role].into_iter().flatten()
        });
        told.collect()
    }

    /// Every version that is not withdrawn, as it is listed.
    pub(crate) fn summaries(&self) -> BTreeMap<Version, UpgradeSummary> {
        let all = self.history.versions().map(|version| {
            let mut listed = self.listed.iter();
            let listed = listed.find(|listed| listed.version == version);
            let summary = listed.cloned().unwrap_or_else(|| UpgradeSummary {
                version,
                from: self
                    .history
                    .release(version)
                    .map_or(Version(0), |release| release.from),
                revision: Revision(1),
                manifest_sha256: String::new(),
                description: String::new(),
                withdrawn: false,
                published_at_ms: self.start_ms,
                author: String::new(),
            });
            (version, summary)
        });
        all.collect()
    }
}

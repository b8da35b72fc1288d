//! Who is simulated: every node of a small fleet; of a large one, nodes that stand for others that are like them.
//!
//! Nodes of one group of a schedule belong together, since they wait for each other. Groups with equal nodes are alike, and only some of
//! them are simulated: what every node of the fleet will take is drawn, the groups are put in the order of that, and every so-manieth
//! stands for its neighbours. Those that take longest stand for themselves, in all and in each wave, since the next wave and the next class
//! wait for them. Of a group that is itself large every so-manieth node is simulated, with room for as many fewer.

mod alike;
mod choice;

use crate::{PlannedNode, Scenario};
use alike::Population;
use model::fleet::ClassSeats;
use model::ids::Version;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is added to a draw for each version, so that a node that takes several is not slow at each: the golden ratio spreads best.
const BETWEEN_VERSIONS: f64 = 0.618_033_988_749_894_9;

/// A node that is simulated.
#[derive(Clone, Debug)]
pub struct Actor {
    /// Its place among the scenario's nodes.
    pub node: usize,
    /// How many nodes it stands for, itself included.
    pub weight: f64,
    /// Its classes.
    pub(crate) seats: Arc<ClassSeats>,
    /// Where in the distribution lies how long it is unavailable.
    pub(crate) away_at: f64,
    /// Where in the distribution lies how long it takes to stage.
    pub(crate) stages_at: f64,
    /// When in each pause it asks.
    pub(crate) asks_at: f64,
}

/// Those who are simulated in one course.
#[derive(Clone, Debug, Default)]
pub struct Cast {
    /// Who.
    pub actors: Vec<Actor>,
    /// How many of a large group may be unavailable where only a part of it is simulated; with its class.
    pub(crate) rooms: BTreeMap<(Version, Arc<str>), (Arc<str>, u32)>,
    /// The same for waves of which so many go.
    pub(crate) at_most: BTreeMap<(Version, Arc<str>, usize), u32>,
    /// For how many groups one that is simulated stands, on average.
    pub(crate) groups_each: f64,
}

impl Actor {
    /// How long it is unavailable on its way to a version.
    pub(crate) fn away_ms(&self, scenario: &Scenario, class: &str, to: Version) -> u64 {
        let at = (self.away_at + BETWEEN_VERSIONS * f64::from(to.0)).fract();
        scenario.unavailable(class).quantile_ms(at)
    }
}

/// Every node's draws in one course.
#[derive(Clone, Debug)]
pub(crate) struct Draws {
    away: Vec<f64>,
    rest: Vec<(f64, f64)>,
}

impl Draws {
    fn of(nodes: usize, seed: u64, course: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed ^ course.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let away = (0..nodes).map(|_| random.random::<f64>()).collect();
        let rest = (0..nodes).map(|_| (random.random::<f64>(), random.random::<f64>()));
        Self {
            away,
            rest: rest.collect(),
        }
    }
}

/// A fleet, looked at once for all courses.
pub(crate) struct Casting<'a> {
    scenario: &'a Scenario,
    population: Population,
    /// So many nodes are simulated at once; all where there are no more.
    nodes_max: usize,
}

impl<'a> Casting<'a> {
    pub(crate) fn of(scenario: &'a Scenario, nodes_max: usize) -> Self {
        Self {
            scenario,
            population: Population::of(scenario),
            nodes_max,
        }
    }

    /// How many nodes of each class and wave at each version there are.
    pub(crate) fn population(&self) -> &Population {
        &self.population
    }

    /// Who plays in this course.
    pub(crate) fn cast(&self, seed: u64, course: u64) -> Cast {
        let draws = Draws::of(self.scenario.nodes.len(), seed, course);
        if self.scenario.nodes.len() <= self.nodes_max {
            let all = (0..self.scenario.nodes.len()).map(|node| self.actor(&draws, node, 1.0));
            return Cast {
                actors: all.collect(),
                groups_each: 1.0,
                ..Cast::default()
            };
        }
        choice::chosen(self, &draws)
    }

    fn actor(&self, draws: &Draws, node: usize, weight: f64) -> Actor {
        let (stages_at, asks_at) = draws.rest[node];
        Actor {
            node,
            weight,
            seats: Arc::clone(&self.population.seats[node]),
            away_at: draws.away[node],
            stages_at,
            asks_at,
        }
    }

    fn node(&self, node: usize) -> &PlannedNode {
        &self.scenario.nodes[node]
    }

    /// How long a node will be unavailable on its way to the newest version.
    fn away_ms(&self, draws: &Draws, node: usize) -> u64 {
        let to = self.scenario.history.newest();
        let at = (draws.away[node] + BETWEEN_VERSIONS * f64::from(to.0)).fract();
        let class = &self.node(node).class;
        self.scenario.unavailable(class).quantile_ms(at)
    }
}

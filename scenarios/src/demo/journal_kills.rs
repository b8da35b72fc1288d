//! Kills agents: each is started with one point of the journal at which it kills itself, and anew with the next.

use super::store::Store;
use super::summary::KillPoints;
use super::system::DemoSystem;
use super::watcher::Watcher;
use harness::NodeOptions;
use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, VecDeque};
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::time::Duration;

/// The pause between two looks for dead agents.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

const SIGKILL: i32 = 9;

/// In the order in which a node comes through them, when the first upgrade fails its probe and its revision succeeds.
/// What no upgrade has come to yet stays armed until one does.
const ORDER: [&str; 11] = [
    "joining",
    "staged",
    "stopping",
    "transforming",
    "committed",
    "probing",
    "flipping_back",
    "blocked",
    "released",
    "settled",
    "unstaged",
];

/// What only a node comes to that has tried a version in vain.
const WAY_BACK: [&str; 2] = ["flipping_back", "blocked"];

#[derive(Debug, Default)]
struct Plan {
    /// The points that are still to come, by node.
    ahead: BTreeMap<String, VecDeque<String>>,
    /// The point that each node's present agent dies at.
    armed: BTreeMap<String, String>,
    hit: usize,
    total: usize,
}

/// Who kills agents where.
#[derive(Clone, Debug)]
pub struct JournalKills {
    plan: Arc<Mutex<Plan>>,
}

impl JournalKills {
    /// Deals every point of every class to the class' nodes in turn, beginning with one that the seed chooses.
    pub fn new(nodes: &[NodeOptions], seed: u64) -> Self {
        let mut classes: BTreeMap<&str, Vec<&NodeOptions>> = BTreeMap::new();
        for node in nodes {
            classes.entry(&node.class).or_default().push(node);
        }
        let mut plan = Plan::default();
        for of_class in classes.values() {
            let first = usize::try_from(seed % of_class.len() as u64).unwrap_or(0);
            for (number, kind) in ORDER.iter().enumerate() {
                for (place, when) in ["before", "after"].into_iter().enumerate() {
                    let node = of_class[(first + number * 2 + place) % of_class.len()];
                    plan.ahead
                        .entry(node.name.clone())
                        .or_default()
                        .push_back(format!("{kind}:{when}"));
                    plan.total += 1;
                }
            }
        }
        Self {
            plan: Arc::new(Mutex::new(plan)),
        }
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock()
    }

    /// The next point for this node's agent.
    pub fn next(&self, node: &str) -> Option<String> {
        let mut plan = self.plan();
        let next = plan.ahead.get_mut(node)?.pop_front();
        match &next {
            Some(point) => plan.armed.insert(node.to_owned(), point.clone()),
            None => plan.armed.remove(node),
        };
        next
    }

    /// Takes back the points of the way back that this node will not come to: another node of its class is blocked, and holds it. Says
    /// whether its agent waits for one of them.
    pub fn excuse(&self, node: &str) -> bool {
        let is_back = |point: &String| WAY_BACK.iter().any(|kind| point.starts_with(kind));
        let mut plan = self.plan();
        let armed = plan.armed.get(node).is_some_and(is_back);
        if armed {
            plan.armed.remove(node);
        }
        let ahead = plan.ahead.entry(node.to_owned()).or_default();
        let before = ahead.len();
        ahead.retain(|point| !is_back(point));
        let taken = before - ahead.len() + usize::from(armed);
        plan.total -= taken;
        armed
    }

    /// How far it has come.
    pub fn points(&self) -> KillPoints {
        let plan = self.plan();
        KillPoints {
            hit: plan.hit,
            total: plan.total,
        }
    }

    /// What has not been reached, for messages.
    pub fn left(&self) -> Vec<String> {
        let plan = self.plan();
        let armed = plan
            .armed
            .iter()
            .map(|(node, point)| format!("{node} at {point}"));
        let ahead = plan.ahead.iter().filter(|(_, points)| !points.is_empty());
        armed
            .chain(ahead.map(|(node, points)| format!("then {node} at {points:?}")))
            .collect()
    }

    /// Restarts agents that were killed, each with its next point, until the watcher ends.
    pub fn begin(&self, store: &Store) {
        let work = self.clone().restart(
            store.system.clone(),
            store.watcher.clone(),
            store.nodes.clone(),
        );
        tokio::spawn(work);
    }

    async fn restart(self, system: DemoSystem, watcher: Watcher, nodes: Vec<NodeOptions>) {
        while !watcher.is_over() {
            for node in &nodes {
                let Some(status) = system.processes.ended(&node.name) else {
                    continue;
                };
                watcher.connections_may_break(&node.name);
                let armed = self.plan().armed.remove(&node.name);
                match (status.signal(), armed) {
                    (Some(SIGKILL), Some(point)) => {
                        self.plan().hit += 1;
                        watcher.say(&format!("the agent of {} was killed at {point}", node.name));
                    }
                    (_, armed) => {
                        watcher.say(&format!("the agent of {} ended with {status}", node.name));
                        if let Some(point) = armed {
                            self.plan()
                                .ahead
                                .entry(node.name.clone())
                                .or_default()
                                .push_front(point);
                        }
                    }
                }
                if status.success() {
                    continue;
                }
                if let Err(error) = system.start_agent(node, self.next(&node.name).as_deref()) {
                    watcher.say(&format!("{error:#}"));
                }
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::machine::Record;
    use std::collections::BTreeSet;

    fn nodes() -> Vec<NodeOptions> {
        [("a", 2), ("b", 3)]
            .into_iter()
            .flat_map(|(class, count)| {
                (0..count).map(move |number| NodeOptions::of(&format!("{class}-{number}"), class))
            })
            .collect()
    }

    #[test]
    fn every_point_comes_once_in_every_class_whatever_the_seed() {
        for seed in 0..5 {
            let kills = JournalKills::new(&nodes(), seed);
            let mut seen: BTreeMap<char, Vec<String>> = BTreeMap::new();
            for node in nodes() {
                while let Some(point) = kills.next(&node.name) {
                    seen.entry(node.name.chars().next().expect("a name"))
                        .or_default()
                        .push(point);
                }
            }
            for points in seen.values() {
                assert_eq!(points.len(), Record::KINDS.len() * 2);
                assert_eq!(points.iter().collect::<BTreeSet<_>>().len(), points.len());
            }
            assert_eq!(kills.points().total, 2 * 2 * Record::KINDS.len());
        }
    }

    #[test]
    fn the_order_names_every_record() {
        assert_eq!(BTreeSet::from(ORDER), BTreeSet::from(Record::KINDS));
    }
}

//! The agents' counters over the whole run: what an agent had counted before it was killed still counts.

use super::summary::{CrossVersionCalls, Directions};
use model::api::NodeFact;
use std::collections::BTreeMap;

/// Counters by name and node.
#[derive(Clone, Debug, Default)]
pub struct Tallies {
    counted: BTreeMap<String, BTreeMap<String, Count>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    /// What agents counted that are no more.
    before: u64,
    /// What the present one says.
    now: u64,
}

/// The most versions that calls can cross in the demo, with room.
const STEPS_MAX: usize = 9;

impl Tallies {
    /// Takes in a node's report.
    pub fn add(&mut self, fact: &NodeFact) {
        let serves = !fact.report.endpoints.is_empty();
        for (name, value) in &fact.report.counters {
            if name.starts_with(UNAVAILABLE) && !serves {
                continue;
            }
            let count = self
                .counted
                .entry(name.clone())
                .or_default()
                .entry(fact.name.clone())
                .or_default();
            if *value < count.now {
                count.before += count.now;
            }
            count.now = *value;
        }
    }

    /// The sum over all nodes.
    pub fn sum(&self, name: &str) -> u64 {
        let nodes = self
            .counted
            .get(name)
            .into_iter()
            .flat_map(BTreeMap::values);
        nodes.map(|count| count.before + count.now).sum()
    }

    /// Calls that one node's adapters served.
    pub fn crossed_at(&self, node: &str) -> u64 {
        let across =
            |name: &str| name.starts_with("calls.past.") || name.starts_with("calls.future.");
        let counters = self.counted.iter().filter(|(name, _)| across(name));
        counters
            .filter_map(|(_, nodes)| nodes.get(node))
            .map(|count| count.before + count.now)
            .sum()
    }

    /// Calls that adapters served.
    pub fn crossed(&self) -> CrossVersionCalls {
        let all = |direction: &str| {
            (1..=STEPS_MAX)
                .map(|steps| self.sum(&format!("calls.{direction}.{steps}")))
                .sum()
        };
        CrossVersionCalls {
            past: all("past"),
            future: all("future"),
            two_steps: Directions {
                past: self.sum("calls.past.2"),
                future: self.sum("calls.future.2"),
            },
        }
    }

    /// For how long calls were held, once for each version of each node that serves anything.
    pub fn unavailable_ms(&self) -> Vec<u64> {
        let held = self
            .counted
            .iter()
            .filter(|(name, _)| name.starts_with(UNAVAILABLE));
        held.flat_map(|(_, nodes)| nodes.values().map(|count| count.before + count.now))
            .collect()
    }
}

/// The counters of how long calls were held, by version.
const UNAVAILABLE: &str = "unavailable_ms.";

#[cfg(test)]
mod tests {
    use super::*;
    use model::api::{Endpoint, NodeReport};
    use model::ids::{NodeId, Version};
    use std::net::IpAddr;

    fn fact(past: u64, held: u64) -> NodeFact {
        let endpoint = Endpoint {
            version: Version(1),
            service: "front".into(),
            address: IpAddr::from([127, 0, 0, 1]),
            port: 1,
        };
        let counters = [("calls.past.2", past), ("unavailable_ms.2", held)];
        NodeFact {
            node: NodeId(1),
            name: "a".into(),
            class: "gateway".into(),
            report: NodeReport {
                endpoints: vec![endpoint],
                counters: counters
                    .map(|(name, value)| (name.to_owned(), value))
                    .into(),
                ..NodeReport::default()
            },
            reachable: true,
            ..NodeFact::default()
        }
    }

    #[test]
    fn what_a_killed_agent_counted_still_counts() {
        let mut tallies = Tallies::default();
        for (past, held) in [(5, 0), (7, 100), (2, 0), (3, 0)] {
            tallies.add(&fact(past, held));
        }
        assert_eq!(tallies.crossed().two_steps.past, 10);
        assert_eq!(tallies.crossed().past, 10);
        assert_eq!(tallies.unavailable_ms(), vec![100]);
    }
}

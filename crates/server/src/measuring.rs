//! What conditions of schedules need measured, measured again and again while their upgrades are under way.

use crate::http::App;
use crate::prometheus::{NodeValues, Prometheus};
use crate::rules::ClassMeasurements;
use crate::state::SystemState;
use crate::udb::StoppedClass;
use model::api::NodeFact;
use model::ids::{NodeId, Revision, Version};
use model::schedule::{CallGauges, ClassGauges, MetricGauge};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// How long the calls are counted that conditions see.
const CALLS_MS: u64 = 60_000;

/// How often what nodes have counted is kept, to be compared with later.
const KEPT_EVERY_MS: u64 = 10_000;

/// A class on its way to a version, whose schedule has conditions.
#[derive(Clone, Debug)]
struct GatedClass {
    version: Version,
    revision: Revision,
    class: Arc<str>,
    metrics: BTreeMap<String, String>,
    /// Its nodes, and whether each is there.
    nodes: Vec<(Arc<NodeFact>, bool)>,
}

/// The calls that nodes had counted some times ago.
#[derive(Debug, Default)]
struct CallCounts(VecDeque<(u64, HashMap<NodeId, CallGauges>)>);

/// Measures until the server ends. Each server does, for its own decisions: nothing of it is stored, and nothing waits for it.
pub(crate) async fn measure(app: App) {
    let prometheus = app.config.prometheus.as_ref().map(Prometheus::new);
    let prometheus = prometheus.map(|made| made.map(Arc::new));
    let mut calls = CallCounts::default();
    let mut tick = interval(Duration::from_millis(app.config.measure_ms.max(1)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let gated = gated(&app.state_writer.state());
        if gated.is_empty() {
            calls.0.clear();
            app.state_writer.note_measured(ClassMeasurements::default());
            continue;
        }
        let now_ms = app.config.clock.now_ms();
        let mut values = values(prometheus.as_ref(), &gated).await;
        let measured = gated.iter().map(|class| {
            let metrics = class.metrics.iter().map(|(name, query)| {
                let found = values.get(query).cloned();
                let found = found.unwrap_or_else(|| Err("it was not asked for".to_owned()));
                let gauge = match found {
                    Ok(values) => means(class, &values),
                    Err(why) => MetricGauge::Unknown(why),
                };
                (name.clone(), gauge)
            });
            let gauges = ClassGauges {
                at_ms: now_ms,
                revision: class.revision,
                calls: calls.within(now_ms, class),
                metrics: metrics.collect(),
            };
            let at = StoppedClass {
                version: class.version,
                class: class.class.to_string(),
            };
            (at, gauges)
        });
        let measured: ClassMeasurements = Arc::new(measured.collect());
        values.clear();
        calls.note(now_ms, &gated);
        app.state_writer.note_measured(measured);
    }
}

/// What each query gives, asked all at once: one that is not answered keeps no other waiting.
async fn values(
    prometheus: Option<&Result<Arc<Prometheus>, String>>,
    gated: &[GatedClass],
) -> HashMap<String, Result<Arc<NodeValues>, String>> {
    let queries = gated.iter().flat_map(|class| class.metrics.values());
    let queries: BTreeSet<String> = queries.cloned().collect();
    let none = "the server knows no Prometheus: start it with `--prometheus URL`";
    let prometheus = match prometheus {
        None => Err(none.to_owned()),
        Some(made) => made.clone(),
    };
    let prometheus = match prometheus {
        Ok(prometheus) => prometheus,
        Err(why) => {
            let all = queries.into_iter();
            return all.map(|query| (query, Err(why.clone()))).collect();
        }
    };
    let mut asking = JoinSet::new();
    for query in queries {
        let prometheus = Arc::clone(&prometheus);
        asking.spawn(async move {
            let values = prometheus.values(&query).await.map(Arc::new);
            (query, values)
        });
    }
    asking.join_all().await.into_iter().collect()
}

/// Each class whose schedule has conditions, and that has nodes which are not there yet.
fn gated(state: &SystemState) -> Vec<GatedClass> {
    let mut gated = Vec::new();
    for version in state.history.versions() {
        let Some(release) = state.history.release(version) else {
            continue;
        };
        let revision = state.newest_revision(version);
        let revision = revision.map_or(Revision(0), |published| published.summary.revision);
        for class in release.classes.values() {
            let gates = &class.schedule.gates;
            let Some(tally) = state.fleet.class(version, &class.name) else {
                continue;
            };
            if !gates.are_there() || tally.counts(revision).behind == 0 {
                continue;
            }
            // Where everybody is at the version, it is the revision that some are not at.
            let oldest = match tally.counts(Revision(0)).behind {
                0 => revision,
                _ => Revision(0),
            };
            gated.push(GatedClass {
                version,
                revision,
                class: Arc::from(class.name.as_str()),
                metrics: gates.metrics.clone(),
                nodes: nodes_of(state, version, &class.name, oldest),
            });
        }
    }
    gated
}

fn nodes_of(
    state: &SystemState,
    version: Version,
    class: &str,
    oldest: Revision,
) -> Vec<(Arc<NodeFact>, bool)> {
    let nodes = state.nodes.values().filter_map(|fact| {
        let counted = state.fleet.node(fact.node)?;
        let seat = counted.seats.get(&version)?;
        (&*seat.class == class).then(|| (Arc::clone(fact), counted.is_at(version, oldest)))
    });
    nodes.collect()
}

/// What the values of nodes say of a class: the means over those of its nodes that are there, and over the others.
fn means(class: &GatedClass, values: &NodeValues) -> MetricGauge {
    let (mut new, mut old) = ((0.0, 0.0), (0.0, 0.0));
    for (fact, is_there) in &class.nodes {
        if let Some(value) = values.get(&fact.name) {
            let side = if *is_there { &mut new } else { &mut old };
            *side = (side.0 + value, side.1 + 1.0);
        }
    }
    let mean = |(sum, count): (f64, f64)| (count > 0.0).then(|| sum / count);
    if new.1 + old.1 == 0.0 {
        return MetricGauge::Unknown(format!(
            "the query gives no value of a node of {}",
            class.class
        ));
    }
    MetricGauge::Known {
        new: mean(new),
        old: mean(old),
    }
}

/// What a node has counted since its agent started.
fn counted(fact: &NodeFact) -> CallGauges {
    let counters = &fact.report.counters;
    let refused = counters.get("refused").copied().unwrap_or(0);
    let across = counters
        .iter()
        .filter(|(name, _)| name.starts_with("calls.past.") || name.starts_with("calls.future."));
    CallGauges {
        calls: across.map(|(_, number)| number).sum::<u64>() + refused,
        refused,
    }
}

impl CallCounts {
    /// Keeps what nodes say now, and drops what is older than is looked at.
    fn note(&mut self, now_ms: u64, gated: &[GatedClass]) {
        let last_ms = self.0.back().map(|(at_ms, _)| *at_ms);
        // A clock that was set back makes what was kept before worthless.
        if last_ms.is_some_and(|last_ms| last_ms > now_ms) {
            self.0.clear();
        } else if last_ms.is_some_and(|last_ms| now_ms < last_ms.saturating_add(KEPT_EVERY_MS)) {
            return;
        }
        let nodes = gated.iter().flat_map(|class| &class.nodes);
        let counts = nodes.map(|(fact, _)| (fact.node, counted(fact)));
        self.0.push_back((now_ms, counts.collect()));
        let is_old = |at_ms: u64| at_ms.saturating_add(CALLS_MS) <= now_ms;
        while self.0.get(1).is_some_and(|(at_ms, _)| is_old(*at_ms)) {
            self.0.pop_front();
        }
    }

    /// What those of a class that are there have counted within the last minute or a little more; none before it was watched for that long. The
    /// counts of an agent that was started meanwhile begin anew.
    fn within(&self, now_ms: u64, class: &GatedClass) -> Option<CallGauges> {
        let (first_ms, before) = self.0.front()?;
        if first_ms.saturating_add(CALLS_MS) > now_ms {
            return None;
        }
        let mut all = CallGauges::default();
        let there = class.nodes.iter().filter(|(_, is_there)| *is_there);
        for (fact, _) in there {
            let is = counted(fact);
            let was = before.get(&fact.node).copied().unwrap_or_default();
            let was = if was.calls > is.calls || was.refused > is.refused {
                CallGauges::default()
            } else {
                was
            };
            all.calls += is.calls - was.calls;
            all.refused += is.refused - was.refused;
        }
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::api::NodeReport;

    fn node(number: u32, counters: &[(&str, u64)]) -> Arc<NodeFact> {
        let counters = counters.iter();
        let counters = counters.map(|(name, count)| ((*name).to_owned(), *count));
        Arc::new(NodeFact {
            node: NodeId(number),
            name: format!("n{number}"),
            report: NodeReport {
                counters: counters.collect(),
                ..NodeReport::default()
            },
            ..NodeFact::default()
        })
    }

    fn class(nodes: Vec<(Arc<NodeFact>, bool)>) -> GatedClass {
        GatedClass {
            version: Version(2),
            revision: Revision(1),
            class: Arc::from("web"),
            metrics: BTreeMap::new(),
            nodes,
        }
    }

    #[test]
    fn calls_are_those_of_the_last_minute_at_nodes_that_are_there() {
        let mut calls = CallCounts::default();
        let at = |past: u64, refused: u64| {
            let old = node(2, &[("calls.past.1", 9 * past), ("refused", 9)]);
            let new = [
                ("calls.past.1", past),
                ("calls.direct", 1_000),
                ("refused", refused),
            ];
            class(vec![(node(1, &new), true), (old, false)])
        };
        let start_ms = 1_000_000;
        for turn in 0..6 {
            let now_ms = start_ms + turn * KEPT_EVERY_MS;
            let seen = at(100 * turn, turn);
            assert_eq!(
                calls.within(now_ms, &seen),
                None,
                "not watched for long enough"
            );
            calls.note(now_ms, &[seen]);
        }
        let minute_ms = start_ms + CALLS_MS;
        let within = calls.within(minute_ms, &at(600, 6)).expect("a minute");
        assert_eq!((within.calls, within.refused), (606, 6));
        calls.note(minute_ms, &[at(600, 6)]);
        calls.note(minute_ms + KEPT_EVERY_MS, &[at(700, 7)]);
        // The first of them is older than a minute now.
        let later_ms = minute_ms + 2 * KEPT_EVERY_MS;
        let within = calls.within(later_ms, &at(800, 7)).expect("a minute");
        assert_eq!((within.calls, within.refused), (706, 6));
        // An agent that was started anew counts from the beginning.
        let within = calls.within(later_ms, &at(5, 0)).expect("a minute");
        assert_eq!((within.calls, within.refused), (5, 0));
        // A clock that was set back.
        calls.note(start_ms, &[at(5, 0)]);
        assert_eq!(calls.within(start_ms, &at(5, 0)), None);
    }

    #[test]
    fn means_are_over_nodes_that_are_there_and_over_the_others() {
        let three = class(vec![
            (node(1, &[]), true),
            (node(2, &[]), false),
            (node(3, &[]), false),
        ]);
        let values = |all: &[(&str, f64)]| {
            let all = all.iter().map(|(name, value)| ((*name).to_owned(), *value));
            means(&three, &all.collect())
        };
        let known = MetricGauge::Known {
            new: Some(0.5),
            old: Some(2.0),
        };
        assert_eq!(
            values(&[("n1", 0.5), ("n2", 1.0), ("n3", 3.0), ("x", 9.0)]),
            known
        );
        let one = MetricGauge::Known {
            new: None,
            old: Some(1.0),
        };
        assert_eq!(values(&[("n2", 1.0)]), one);
        assert!(
            matches!(values(&[("x", 1.0)]), MetricGauge::Unknown(why) if why.contains("no value of a node of web"))
        );
    }
}

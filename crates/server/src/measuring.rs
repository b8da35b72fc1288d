//! What conditions of schedules need measured, measured again and again while their upgrades are under way.

use crate::http::App;
use crate::prometheus::{NodeValues, Prometheus};
use crate::rules::Order;
use crate::state::SystemState;
use crate::udb::MeasuredClass;
use model::api::NodeFact;
use model::ids::{NodeId, Revision, Version};
use model::schedule::{CallGauges, ClassGauges, MetricGauge};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// How long the calls are counted that conditions see.
const CALLS_MS: u64 = 60_000;

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

/// The calls that nodes have counted, a while ago and now.
#[derive(Debug, Default)]
struct CallCounts(VecDeque<(u64, HashMap<NodeId, CallGauges>)>);

/// Measures until the server ends; of several servers over one database one does.
pub(crate) async fn measure(app: App) {
    let prometheus = app.config.prometheus.as_ref().map(Prometheus::new);
    let mut calls = CallCounts::default();
    let mut tick = interval(Duration::from_millis(app.config.measure_ms.max(1)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let gated = gated(&app.state_writer.state());
        if gated.is_empty() {
            calls.0.clear();
            continue;
        }
        let turn = app.udb.alone(Box::pin(async {
            let now_ms = app.config.clock.now_ms();
            calls.note(now_ms, &gated);
            let mut measured = Vec::new();
            for class in &gated {
                let mut gauges = ClassGauges {
                    at_ms: now_ms,
                    revision: class.revision,
                    calls: calls.within(now_ms, class),
                    metrics: BTreeMap::new(),
                };
                for (name, query) in &class.metrics {
                    let gauge = gauge(prometheus.as_ref(), class, query).await;
                    gauges.metrics.insert(name.clone(), gauge);
                }
                measured.push(MeasuredClass {
                    version: class.version,
                    class: class.class.to_string(),
                    gauges,
                });
            }
            let order = Order::Measured(measured);
            let noted = app.state_writer.ask(order, "server".to_owned(), None).await;
            if let Err(refusal) = noted {
                tracing::debug!(detail = refusal.detail, "what was measured is not noted");
            }
        }));
        if let Err(error) = turn.await {
            tracing::debug!(%error, "nothing is measured while the database cannot be used");
        }
    }
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

/// What a query gives of a class: the means over those of its nodes that are there, and over the others.
async fn gauge(
    prometheus: Option<&Result<Prometheus, String>>,
    class: &GatedClass,
    query: &str,
) -> MetricGauge {
    match prometheus {
        None => MetricGauge::Unknown(
            "the server knows no Prometheus: start it with `--prometheus URL`".to_owned(),
        ),
        Some(Err(why)) => MetricGauge::Unknown(why.clone()),
        Some(Ok(prometheus)) => match prometheus.values(query).await {
            Ok(values) => means(class, &values),
            Err(why) => MetricGauge::Unknown(why),
        },
    }
}

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
    /// Notes what nodes say now, and drops what is older than is looked at.
    fn note(&mut self, now_ms: u64, gated: &[GatedClass]) {
        let nodes = gated.iter().flat_map(|class| &class.nodes);
        let counts = nodes.map(|(fact, _)| (fact.node, counted(fact)));
        self.0.push_back((now_ms, counts.collect()));
        let is_old = |at_ms: u64| at_ms.saturating_add(CALLS_MS) <= now_ms;
        while self.0.get(1).is_some_and(|(at_ms, _)| is_old(*at_ms)) {
            self.0.pop_front();
        }
    }

    /// What those of a class that are there have counted within the last minute; none before it was watched for that long. The counts of an
    /// agent that was started meanwhile begin anew.
    fn within(&self, now_ms: u64, class: &GatedClass) -> Option<CallGauges> {
        let (first_ms, before) = self.0.front()?;
        let (_, now) = self.0.back()?;
        if first_ms.saturating_add(CALLS_MS) > now_ms {
            return None;
        }
        let mut all = CallGauges::default();
        let there = class.nodes.iter().filter(|(_, is_there)| *is_there);
        for (fact, _) in there {
            let is = now.get(&fact.node).copied().unwrap_or_default();
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

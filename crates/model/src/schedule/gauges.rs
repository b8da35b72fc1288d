//! What conditions of schedules look at: how a class is on its way to a version, counted, and measured a moment ago.

use super::gates::Gates;
use crate::expression::GaugeScope;
use crate::fleet::ClassCounts;
use crate::ids::Revision;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What was measured longer ago than this is not known any more: four times as long as it takes to measure anew.
pub const GAUGES_KEPT_MS: u64 = 60_000;

/// What was measured of a class on its way to a version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClassGauges {
    /// When, by the server's clock.
    pub at_ms: u64,
    /// On the way to which revision of the version.
    pub revision: Revision,
    /// What its nodes that are there have done with calls across versions within the last minute; none before a minute is known.
    pub calls: Option<CallGauges>,
    /// What the queries of its schedule have given, by their names.
    pub metrics: BTreeMap<String, MetricGauge>,
}

/// Calls across versions within the last minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CallGauges {
    /// All of them.
    pub calls: u64,
    /// Those that adapters have refused.
    pub refused: u64,
}

/// What a query has given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MetricGauge {
    /// The means over nodes.
    Known {
        /// Of nodes that are there; none where the query knows none of them.
        new: Option<f64>,
        /// Of nodes that are not there yet.
        old: Option<f64>,
    },
    /// It has given nothing that can be used, and why.
    Unknown(String),
}

/// A class, counted and measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct GaugedClass<'a> {
    pub(super) counts: ClassCounts,
    pub(super) gauges: Option<&'a ClassGauges>,
}

impl<'a> GaugedClass<'a> {
    /// With what was measured, where that is of this revision and not long ago.
    pub(super) fn of(
        counts: ClassCounts,
        gauges: Option<&'a ClassGauges>,
        revision: Revision,
        now_ms: u64,
    ) -> Self {
        let is_of_now = |gauges: &&ClassGauges| {
            gauges.revision == revision && gauges.at_ms.saturating_add(GAUGES_KEPT_MS) > now_ms
        };
        Self {
            counts,
            gauges: gauges.filter(is_of_now),
        }
    }

    /// As expressions see it. Before anybody is there, nothing is new: what is measured there is what is measured at the others.
    pub(super) fn scope(&self) -> GaugeScope {
        let counts = &self.counts;
        let calls = self.gauges.and_then(|gauges| gauges.calls);
        let calls = calls.map(|found| [("calls", found.calls), ("refused", found.refused)]);
        let metrics = self.gauges.iter().flat_map(|gauges| &gauges.metrics);
        let metrics = metrics.map(|(name, gauge)| {
            let (new, old) = match gauge {
                MetricGauge::Known { new, old } => (*new, *old),
                MetricGauge::Unknown(_) => (None, None),
            };
            let new = if counts.settled == 0 {
                new.or(old)
            } else {
                new
            };
            let sides = [("new", new), ("old", old)];
            let known = sides
                .into_iter()
                .filter_map(|(side, value)| Some((side, value?)));
            (name.clone(), known.collect())
        });
        let nodes = [
            ("settled", counts.settled),
            ("behind", counts.behind),
            ("blocked", counts.blocked),
            ("crashed", counts.crashed),
            ("unreachable", counts.unreachable),
        ];
        let nodes = nodes.into_iter().map(|(word, count)| (word, count as u64));
        let counts = nodes.chain(calls.into_iter().flatten());
        GaugeScope {
            counts: counts.map(|(word, count)| (word, count as f64)).collect(),
            metrics: metrics.collect(),
        }
    }

    /// Why something that is named cannot be known.
    pub(super) fn trouble(&self, gates: &Gates, names: impl Fn(&str) -> bool) -> String {
        let Some(gauges) = self.gauges else {
            return "nothing was measured within the last minute".to_owned();
        };
        for name in gates.metrics.keys().filter(|name| names(name)) {
            match gauges.metrics.get(name) {
                Some(MetricGauge::Unknown(why)) => return format!("`metrics.{name}`: {why}"),
                Some(MetricGauge::Known {
                    new: Some(_),
                    old: Some(_),
                }) => {}
                Some(MetricGauge::Known { new: None, .. }) if self.counts.settled > 0 => {
                    return format!("`metrics.{name}` has no value of a node that is there");
                }
                Some(MetricGauge::Known { old: None, .. }) => {
                    return format!(
                        "`metrics.{name}` has no value of a node that is not there yet"
                    );
                }
                Some(MetricGauge::Known { .. }) => {}
                None => return format!("`metrics.{name}` was not measured yet"),
            }
        }
        "its calls were not watched for a whole minute yet".to_owned()
    }
}

/// The values of everything that is named, for people.
pub(super) fn seen(scope: &GaugeScope, names: impl Fn(&str) -> bool) -> String {
    let mut text = String::new();
    let counts = scope.counts.iter();
    let counts = counts.map(|(word, count)| ((*word).to_owned(), *count));
    let metrics = scope.metrics.iter().filter(|(name, _)| names(name));
    let metrics = metrics.flat_map(|(name, sides)| {
        let sides = sides.iter();
        sides.map(move |(side, value)| (format!("{name}.{side}"), *value))
    });
    let words = counts.filter(|(word, _)| names(word));
    for (word, value) in words.chain(metrics) {
        let comma = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{comma}{word} {}", rounded(value));
    }
    text
}

/// Four digits: more is noise.
fn rounded(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-3..1e6).contains(&size) {
        return format!("{value:.3e}");
    }
    let digits = if size >= 1_000.0 { 0 } else { 4 };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

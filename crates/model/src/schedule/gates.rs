//! `go_if` and `stop_if`: conditions over how a class does on its way to a version.

use super::gauges::{CallGauges, ClassGauges, GaugedClass, MetricGauge, seen};
use super::{Facts, Opinion, Schedule, ScheduleError, WaitReason, wait};
use crate::expression::{Allowed, Expression};
use crate::fleet::{ClassCounts, ClassTally};
use crate::ids::Revision;
use std::collections::BTreeMap;

/// The most metrics of a class: each is a query every few seconds.
const METRICS_MAX: usize = 20;

/// The longest query, in bytes.
const QUERY_BYTES_MAX: usize = 4096;

/// The conditions of a schedule, and what they need to be measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gates {
    /// Nodes begin only while it holds.
    pub go_if: Option<Condition>,
    /// The system is paused as soon as it holds.
    pub stop_if: Option<Condition>,
    /// Queries to Prometheus, by the names that conditions know them by.
    pub metrics: BTreeMap<String, String>,
}

/// A CEL expression over what is counted and measured of a class.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition(Expression);

impl Eq for Condition {}

/// What a condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GateJudgement {
    /// It holds.
    Holds {
        /// The values of what it names.
        seen: String,
    },
    /// It does not.
    HoldsNot {
        /// The values of what it names.
        seen: String,
    },
    /// It needs what is not known.
    Unknown {
        /// What that is, and why it is not known.
        why: String,
    },
}

impl Condition {
    /// The expression as it is written.
    pub fn source(&self) -> &str {
        self.0.source()
    }

    fn judge(&self, gates: &Gates, class: &GaugedClass<'_>) -> GateJudgement {
        let scope = class.scope();
        let names = |word: &str| self.0.names(word);
        match self.0.truth_of_gauges(&scope) {
            Ok(Some(true)) => GateJudgement::Holds {
                seen: seen(&scope, names),
            },
            Ok(Some(false)) => GateJudgement::HoldsNot {
                seen: seen(&scope, names),
            },
            Ok(None) => GateJudgement::Unknown {
                why: class.trouble(gates, names),
            },
            Err(error) => GateJudgement::Unknown {
                why: error.to_string(),
            },
        }
    }
}

impl Gates {
    /// Whether anything is to be measured for them.
    pub fn are_there(&self) -> bool {
        self.go_if.is_some() || self.stop_if.is_some()
    }

    /// What `stop_if` says of a class on its way to a version whose newest revision is this one; none where there is no such condition.
    pub fn stops(
        &self,
        class: &ClassTally,
        gauges: Option<&ClassGauges>,
        revision: Revision,
        now_ms: u64,
    ) -> Option<GateJudgement> {
        let condition = self.stop_if.as_ref()?;
        let counts = class.counts(Revision(0));
        let class = GaugedClass::of(counts, gauges, revision, now_ms);
        Some(condition.judge(self, &class))
    }

    /// The conditions, compiled, of a schedule as it is written.
    pub(super) fn compiled(
        go_if: Option<&str>,
        stop_if: Option<&str>,
        metrics: BTreeMap<String, String>,
    ) -> Result<Self, ScheduleError> {
        if metrics.len() > METRICS_MAX {
            return Err(ScheduleError::Metrics(METRICS_MAX));
        }
        for (name, query) in &metrics {
            let first = name.bytes().next();
            let is_word =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            if !first.is_some_and(|byte| byte.is_ascii_lowercase()) || !name.bytes().all(is_word) {
                return Err(ScheduleError::MetricName(name.clone()));
            }
            if query.trim().is_empty() || query.len() > QUERY_BYTES_MAX {
                return Err(ScheduleError::Query {
                    name: name.clone(),
                    bytes_max: QUERY_BYTES_MAX,
                });
            }
        }
        let example = example(&metrics);
        let compiled = |key: &str, source: &str| {
            let compiled = Expression::compile(key, source, &Allowed::GAUGES);
            let refused = |error: String| ScheduleError::Condition(error);
            let compiled = compiled.map_err(|error| refused(error.to_string()))?;
            let counts = ClassCounts::default();
            let class = GaugedClass {
                counts,
                gauges: Some(&example),
            };
            // With everything known it gives a truth, or never does.
            match compiled.truth_of_gauges(&class.scope()) {
                Ok(Some(_)) => Ok(Condition(compiled)),
                Ok(None) => Err(ScheduleError::UnknownMetric {
                    key: key.to_owned(),
                    condition: source.to_owned(),
                }),
                Err(error) => Err(refused(error.to_string())),
            }
        };
        let go_if = go_if.map(|source| compiled("go_if", source)).transpose()?;
        let stop_if = stop_if
            .map(|source| compiled("stop_if", source))
            .transpose()?;
        if go_if.is_none() && stop_if.is_none() && !metrics.is_empty() {
            return Err(ScheduleError::MetricsForNothing);
        }
        let gates = Self {
            go_if,
            stop_if,
            metrics,
        };
        match gates.unused() {
            Some(name) => Err(ScheduleError::UnusedMetric(name.to_owned())),
            None => Ok(gates),
        }
    }

    /// A metric that no condition names.
    fn unused(&self) -> Option<&str> {
        let conditions = || self.go_if.iter().chain(&self.stop_if);
        let is_unused = |name: &&String| !conditions().any(|condition| condition.0.names(name));
        self.metrics.keys().find(is_unused).map(String::as_str)
    }
}

/// Everything known, for a look at whether a condition makes sense.
fn example(metrics: &BTreeMap<String, String>) -> ClassGauges {
    let known = MetricGauge::Known {
        new: Some(1.0),
        old: Some(1.0),
    };
    ClassGauges {
        calls: Some(CallGauges::default()),
        metrics: metrics
            .keys()
            .map(|name| (name.clone(), known.clone()))
            .collect(),
        ..ClassGauges::default()
    }
}

/// Nobody begins while it does not hold, or cannot be told.
pub(super) fn may_go(schedule: &Schedule, facts: &Facts<'_>) -> Opinion {
    let Some(condition) = &schedule.gates.go_if else {
        return Opinion::Go;
    };
    let seat = facts.seat();
    let tally = seat.and_then(|seat| facts.fleet.class(facts.version, &seat.class));
    let counts = tally.map_or_else(Default::default, |tally| tally.counts(facts.oldest()));
    let class = GaugedClass::of(counts, facts.gauges, facts.revision, facts.now_ms);
    match condition.judge(&schedule.gates, &class) {
        GateJudgement::Holds { .. } => Opinion::Go,
        GateJudgement::HoldsNot { seen } => wait(WaitReason::GoIf {
            condition: condition.source().to_owned(),
            seen,
        }),
        GateJudgement::Unknown { why } => wait(WaitReason::GoIfUnknown {
            condition: condition.source().to_owned(),
            why,
        }),
    }
}

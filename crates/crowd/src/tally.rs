//! What the crowd measures: how long answers take, how many come, and what goes wrong.

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Neighbouring buckets differ by so much: a quantile is at most this share too high.
const STEP: f64 = 1.02;

/// So many buckets reach from a microsecond to ten minutes.
const BUCKETS: usize = 1024;

/// The most kinds of errors that are told apart.
const ERRORS_TOLD: usize = 20;

/// Durations, counted by buckets.
pub(crate) struct Durations(Vec<AtomicU64>);

impl Default for Durations {
    fn default() -> Self {
        Self((0..BUCKETS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Durations {
    pub(crate) fn note(&self, took: Duration) {
        let us = (took.as_micros() as f64).max(1.0);
        let bucket = (us.ln() / STEP.ln()).ceil() as usize;
        self.0[bucket.min(BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
    }

    fn clear(&self) {
        for bucket in &self.0 {
            bucket.store(0, Ordering::Relaxed);
        }
    }

    fn figures(&self) -> DurationFigures {
        let counts: Vec<u64> = (self.0.iter())
            .map(|bucket| bucket.load(Ordering::Relaxed))
            .collect();
        DurationFigures {
            count: counts.iter().sum(),
            p50_ms: quantile(&counts, 0.5),
            p99_ms: quantile(&counts, 0.99),
            max_ms: quantile(&counts, 1.0),
        }
    }
}

/// The upper end of the bucket in which this share of all is reached, in milliseconds.
fn quantile(counts: &[u64], share: f64) -> f64 {
    let all: u64 = counts.iter().sum();
    let wanted = (all as f64 * share).ceil().max(1.0) as u64;
    let mut seen = 0;
    let reached = counts.iter().position(|count| {
        seen += count;
        seen >= wanted
    });
    reached.map_or(0.0, |bucket| STEP.powi(bucket as i32) / 1_000.0)
}

/// How long one kind of request took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DurationFigures {
    /// How many were answered.
    pub count: u64,
    /// Half of them took no longer.
    pub p50_ms: f64,
    /// 99 of 100 took no longer.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// Everything that is measured.
#[derive(Default)]
pub(crate) struct CrowdTally {
    pub(crate) reports: Durations,
    pub(crate) verdicts: Durations,
    pub(crate) permits: Durations,
    pub(crate) fleet_queries: Durations,
    /// How much later than it wanted to a node came to ask: the generator's own part.
    pub(crate) late: Durations,
    /// Connections that were opened.
    pub(crate) opened: AtomicU64,
    /// Nodes that have settled at another version.
    pub(crate) upgraded: AtomicU64,
    errors: Mutex<BTreeMap<String, u64>>,
}

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CrowdFigures {
    /// Reports: from the wish to report, opening a connection included, until the answer is read.
    pub reports: DurationFigures,
    /// Whether a node may go.
    pub verdicts: DurationFigures,
    /// Permits confirmed and ended.
    pub permits: DurationFigures,
    /// What people ask of the whole system.
    pub fleet_queries: DurationFigures,
    /// How much later than it wanted to a node came to ask: where this is much, the generator is the limit.
    pub late: DurationFigures,
    /// Connections that were opened.
    pub opened: u64,
    /// Nodes that have settled at another version.
    pub upgraded: u64,
    /// What went wrong, by what was said.
    pub errors: BTreeMap<String, u64>,
}

impl CrowdTally {
    /// Counts what went wrong.
    pub(crate) fn failed(&self, what: &str, error: &anyhow::Error) {
        let mut errors = self.errors.lock();
        let said = format!("{what}: {error:#}");
        let key = if errors.len() < ERRORS_TOLD || errors.contains_key(&said) {
            said
        } else {
            "others".to_owned()
        };
        *errors.entry(key).or_default() += 1;
    }

    /// Begins anew.
    pub(crate) fn clear(&self) {
        let all = [
            &self.reports,
            &self.verdicts,
            &self.permits,
            &self.fleet_queries,
            &self.late,
        ];
        all.into_iter().for_each(Durations::clear);
        self.opened.store(0, Ordering::Relaxed);
        self.upgraded.store(0, Ordering::Relaxed);
        self.errors.lock().clear();
    }

    pub(crate) fn figures(&self) -> CrowdFigures {
        CrowdFigures {
            reports: self.reports.figures(),
            verdicts: self.verdicts.figures(),
            permits: self.permits.figures(),
            fleet_queries: self.fleet_queries.figures(),
            late: self.late.figures(),
            opened: self.opened.load(Ordering::Relaxed),
            upgraded: self.upgraded.load(Ordering::Relaxed),
            errors: self.errors.lock().clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_a_little_above_what_was_noted() {
        let tally = CrowdTally::default();
        for ms in 1..=1_000 {
            tally.reports.note(Duration::from_millis(ms));
        }
        let found = tally.figures().reports;
        assert_eq!(found.count, 1_000);
        for (found, is) in [
            (found.p50_ms, 500.0),
            (found.p99_ms, 990.0),
            (found.max_ms, 1_000.0),
        ] {
            assert!((is..is * STEP).contains(&found), "{found} for {is}");
        }
        tally.clear();
        assert_eq!(tally.figures(), CrowdFigures::default());
    }

    #[test]
    fn like_errors_are_counted_together_and_too_many_kinds_are_one() {
        let tally = CrowdTally::default();
        for at in 0..ERRORS_TOLD + 5 {
            tally.failed("report", &anyhow::anyhow!("{at}"));
            tally.failed("report", &anyhow::anyhow!("0"));
        }
        let errors = tally.figures().errors;
        assert_eq!(errors["report: 0"], ERRORS_TOLD as u64 + 6);
        assert_eq!(errors["others"], 5);
    }
}

//! Rates become ratios, ratios become medians: the report as JSON and as a table.

use crate::bench::figures::{median, quantile, rounded};
use crate::bench::stage;
use serde::Serialize;
use std::collections::BTreeMap;

/// What every other contender is compared with.
pub(super) const DIRECT: &str = "direct";

/// The rates of one workload: for each contender one a round.
pub(super) type Rates = BTreeMap<String, Vec<f64>>;

/// The whole report.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The machine that it was measured on.
    pub(super) machine: String,
    /// What `net.ipv4.tcp_fastopen` was.
    pub(super) tcp_fastopen: u32,
    /// How many rounds.
    pub(super) rounds: usize,
    /// One row a workload.
    pub(super) rows: Vec<Row>,
}

/// One workload.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    /// Its name.
    pub(super) workload: String,
    /// Throughput under Upstart relative to direct: the median over the rounds' own ratios.
    pub(super) ratio_upstart: Option<f64>,
    /// The same through two Envoys.
    pub(super) ratio_envoy: Option<f64>,
    /// The same through two HAProxies.
    pub(super) ratio_haproxy: Option<f64>,
    /// How far the rounds lie apart: the upper minus the lower quartile of `ratio_upstart`.
    pub(super) spread: f64,
    /// The median rate of direct connections, requests a second.
    #[serde(skip)]
    pub(super) direct: f64,
}

impl Row {
    /// A row from the rates of all rounds.
    pub(super) fn new(workload: &str, rates: &Rates) -> Self {
        let ratios = |contender: &str| -> Option<Vec<f64>> {
            let pairs = rates.get(contender)?.iter().zip(rates.get(DIRECT)?);
            Some(pairs.map(|(rate, direct)| rate / direct).collect())
        };
        let ratio = |contender| ratios(contender).map(|ratios| rounded(median(&ratios)));
        let spread = ratios("upstart").map_or(0.0, |ratios| {
            rounded(quantile(&ratios, 0.75) - quantile(&ratios, 0.25))
        });
        Self {
            workload: workload.to_owned(),
            ratio_upstart: ratio("upstart"),
            ratio_envoy: ratio("envoy"),
            ratio_haproxy: ratio("haproxy"),
            spread,
            direct: rates.get(DIRECT).map_or(0.0, |rates| median(rates)),
        }
    }
}

impl stage::Report for Report {
    fn table(&self) -> String {
        let mut text = format!(
            "\nThroughput relative to direct connections, medians of {} rounds, on {}, \
             net.ipv4.tcp_fastopen={}.\n\n\
             | workload | direct, per second | Upstart | Envoy twice | HAProxy twice | spread |\n\
             |---|---|---|---|---|---|\n",
            self.rounds, self.machine, self.tcp_fastopen
        );
        for row in &self.rows {
            let cells = [row.ratio_upstart, row.ratio_envoy, row.ratio_haproxy].map(cell);
            let [upstart, envoy, haproxy] = cells;
            let (name, direct, spread) = (&row.workload, row.direct, row.spread);
            text.push_str(&format!(
                "| {name} | {direct:.0} | {upstart} | {envoy} | {haproxy} | {spread:.2} |\n"
            ));
        }
        text
    }
}

fn cell(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_round_before_their_median() {
        let rates = Rates::from([
            (DIRECT.to_owned(), vec![100.0, 200.0, 400.0]),
            ("upstart".to_owned(), vec![90.0, 200.0, 380.0]),
        ]);
        let row = Row::new("w", &rates);
        assert_eq!(row.ratio_upstart, Some(0.95));
        assert_eq!(row.spread, 0.05);
        assert_eq!(row.ratio_envoy, None);
    }
}

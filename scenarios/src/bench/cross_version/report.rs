//! Measurements become medians: the report as JSON and as tables.

use crate::bench::figures::{median, rounded};
use crate::bench::stage;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// No hop.
pub(in crate::bench) const DIRECT: &str = "direct";
/// A node's agent with a lens of one step.
pub(super) const LENS1: &str = "lens1";
/// A node's agent with a chain of three lenses.
pub(super) const LENS3: &str = "lens3";
/// One nginx that translates nothing.
pub(super) const NGINX: &str = "nginx";
/// One Envoy that translates nothing.
pub(super) const ENVOY: &str = "envoy";
/// One Envoy that translates by script.
pub(in crate::bench) const ENVOY_LUA: &str = "envoy_lua";

/// Every hop, in the order of the tables, as people call it.
const HOPS: [(&str, &str); 5] = [
    (LENS1, "lens"),
    (LENS3, "three lenses"),
    (NGINX, "nginx"),
    (ENVOY, "Envoy"),
    (ENVOY_LUA, "Envoy, Lua"),
];

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Measured {
    /// Calls a second.
    pub(in crate::bench) rate: f64,
    /// Calls for each second of processor time of the hop; none where there is no hop.
    pub(in crate::bench) per_core: Option<f64>,
    /// Median latency, microseconds.
    pub(in crate::bench) p50_us: f64,
    /// 99th percentile of the latency, microseconds.
    pub(in crate::bench) p99_us: f64,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rate,
            per_core,
            p50_us,
            p99_us,
        } = self;
        let per_core = per_core.map_or(String::new(), |rate| format!(", {rate:.0} per core"));
        write!(
            f,
            "{rate:.0}/s{per_core}, p50 {p50_us:.0} us, p99 {p99_us:.0} us"
        )
    }
}

/// The measurements of one workload: for each contender one a round.
pub(super) type Samples = BTreeMap<&'static str, Vec<Measured>>;

/// The whole report.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The machine that it was measured on.
    pub(super) machine: String,
    /// How many rounds.
    pub(super) rounds: usize,
    /// One row a workload.
    pub(super) rows: Vec<Row>,
}

/// One workload; medians over the rounds. Rates are what came through with load, hop and server on the same machine.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    /// Its name.
    pub(super) workload: String,
    direct_rps: Option<f64>,
    lens1_rps: Option<f64>,
    lens3_rps: Option<f64>,
    nginx_rps: Option<f64>,
    envoy_rps: Option<f64>,
    envoy_lua_rps: Option<f64>,
    /// Calls for each second of processor time that the hop's processes used.
    per_core_rps: BTreeMap<&'static str, f64>,
    /// Latency beyond that of direct calls of the same round, in microseconds.
    added_us: BTreeMap<&'static str, Added>,
}

/// Quantiles of added latency, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(in crate::bench) struct Added {
    pub(in crate::bench) p50: f64,
    pub(in crate::bench) p99: f64,
}

impl Row {
    /// A row from the measurements of all rounds.
    pub(super) fn new(workload: &str, samples: &Samples) -> Self {
        let of = |contender: &str, value: fn(&Measured) -> Option<f64>| {
            let values: Option<Vec<f64>> = samples.get(contender)?.iter().map(value).collect();
            values.map(|values| median(&values).round())
        };
        let rate = |contender| of(contender, |measured| Some(measured.rate));
        let per_core = |contender| of(contender, |measured| measured.per_core);
        let hops = || HOPS.iter().map(|(hop, _)| *hop);
        Self {
            workload: workload.to_owned(),
            direct_rps: rate(DIRECT),
            lens1_rps: rate(LENS1),
            lens3_rps: rate(LENS3),
            nginx_rps: rate(NGINX),
            envoy_rps: rate(ENVOY),
            envoy_lua_rps: rate(ENVOY_LUA),
            per_core_rps: hops()
                .filter_map(|hop| Some((hop, per_core(hop)?)))
                .collect(),
            added_us: hops()
                .filter_map(|hop| Some((hop, added(samples.get(DIRECT)?, samples.get(hop)?))))
                .collect(),
        }
    }

    fn rate(&self, hop: &str) -> Option<f64> {
        match hop {
            LENS1 => self.lens1_rps,
            LENS3 => self.lens3_rps,
            NGINX => self.nginx_rps,
            ENVOY => self.envoy_rps,
            _ => self.envoy_lua_rps,
        }
    }
}

/// The differences within each round, then their medians.
pub(in crate::bench) fn added(direct: &[Measured], hop: &[Measured]) -> Added {
    let differences = |value: fn(&Measured) -> f64| {
        let pairs = direct.iter().zip(hop);
        let all: Vec<f64> = pairs
            .map(|(direct, hop)| value(hop) - value(direct))
            .collect();
        rounded(median(&all))
    };
    Added {
        p50: differences(|measured| measured.p50_us),
        p99: differences(|measured| measured.p99_us),
    }
}

impl stage::Report for Report {
    fn table(&self) -> String {
        let mut text = format!(
            "\nMedians of {} rounds, on {}.\n",
            self.rounds, self.machine
        );
        let whole =
            |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.0}"));
        text.push_str(&heading(
            "calls for each second of the hop's processor time",
            &[],
        ));
        for row in &self.rows {
            let cells = HOPS.map(|(hop, _)| whole(row.per_core_rps.get(hop).copied()));
            text.push_str(&format!("| {} | {} |\n", row.workload, cells.join(" | ")));
        }
        text.push_str(&heading("added latency, p50 / p99, microseconds", &[]));
        for row in &self.rows {
            let cells = HOPS.map(|(hop, _)| {
                row.added_us.get(hop).map_or("-".to_owned(), |us| {
                    format!("{:.0} / {:.0}", us.p50, us.p99)
                })
            });
            text.push_str(&format!("| {} | {} |\n", row.workload, cells.join(" | ")));
        }
        text.push_str(&heading("calls a second", &["direct"]));
        for row in &self.rows {
            let cells = HOPS.map(|(hop, _)| whole(row.rate(hop)));
            let (name, direct) = (&row.workload, whole(row.direct_rps));
            text.push_str(&format!("| {name} | {direct} | {} |\n", cells.join(" | ")));
        }
        text
    }
}

fn heading(what: &str, more: &[&str]) -> String {
    let names: Vec<&str> = more
        .iter()
        .copied()
        .chain(HOPS.map(|(_, name)| name))
        .collect();
    format!(
        "\n| {what} | {} |\n|---{}|\n",
        names.join(" | "),
        "|---".repeat(names.len())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(rate: f64, p50_us: f64) -> Measured {
        Measured {
            rate,
            per_core: Some(rate * 2.0),
            p50_us,
            p99_us: 2.0 * p50_us,
        }
    }

    #[test]
    fn latency_is_compared_within_a_round() {
        let samples = Samples::from([
            (
                DIRECT,
                vec![
                    measured(9.0, 10.0),
                    measured(5.0, 20.0),
                    measured(1.0, 90.0),
                ],
            ),
            (
                LENS1,
                vec![
                    measured(4.0, 14.0),
                    measured(2.0, 26.0),
                    measured(1.0, 95.0),
                ],
            ),
        ]);
        let row = Row::new("w", &samples);
        assert_eq!((row.direct_rps, row.lens1_rps), (Some(5.0), Some(2.0)));
        assert_eq!(row.per_core_rps.get(LENS1), Some(&4.0));
        let added = row.added_us.get(LENS1).expect("a lens");
        assert_eq!((added.p50, added.p99), (5.0, 10.0));
        assert_eq!(row.nginx_rps, None);
    }
}

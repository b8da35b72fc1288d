//! What is measured: how many connections send which messages, and what the load program prints.

use super::contenders::Contender;
use super::report::Measured;
use crate::bench::stage::words;
use anyhow::{Context, bail};
use serde::Deserialize;

/// A workload: kept connections, a message each way for each call.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Workload {
    /// Its name.
    pub(in crate::bench) name: &'static str,
    connections: u32,
    /// The message's size, as it stands in paths.
    size: &'static str,
}

/// Every workload, in the order of the report.
pub(in crate::bench) const WORKLOADS: [Workload; 4] = [
    workload("1 connection, 200 B", 1, "small"),
    workload("1 connection, 4 KiB", 1, "large"),
    workload("50 connections, 200 B", 50, "small"),
    workload("50 connections, 4 KiB", 50, "large"),
];

/// A workload of messages of a size.
pub(in crate::bench) const fn workload(
    name: &'static str,
    connections: u32,
    size: &'static str,
) -> Workload {
    Workload {
        name,
        connections,
        size,
    }
}

/// The script of `wrk` that sends a message.
pub(in crate::bench) fn script(body: &str) -> String {
    include_str!("load.lua").replace("BODY", body)
}

impl Workload {
    /// The command line that loads a contender for so many seconds.
    pub(in crate::bench) fn command(&self, contender: &Contender, seconds: u64) -> Vec<String> {
        let (connections, seconds) = (self.connections.to_string(), format!("{seconds}s"));
        let (script, url) = (contender.script(self.size), contender.url(self.size));
        words(&[
            "wrk",
            "-t",
            "1",
            "-c",
            &connections,
            "-d",
            &seconds,
            "-s",
            &script,
            &url,
        ])
    }
}

#[derive(Deserialize)]
struct Printed {
    requests: f64,
    duration_us: f64,
    p50_us: f64,
    p99_us: f64,
    errors: u64,
}

/// What the load program printed. Any error that it saw is an error of the measurement.
pub(in crate::bench) fn measured(
    printed: &str,
    processor_seconds: f64,
) -> anyhow::Result<Measured> {
    let line = printed.lines().find(|line| line.starts_with('{'));
    let line = line.with_context(|| format!("the load program printed no figures: {printed}"))?;
    let figures: Printed = serde_json::from_str(line)?;
    if figures.errors > 0 || figures.requests == 0.0 {
        bail!("wrk met errors: {printed}");
    }
    Ok(Measured {
        rate: figures.requests / figures.duration_us * 1e6,
        per_core: (processor_seconds > 0.0).then(|| figures.requests / processor_seconds),
        p50_us: figures.p50_us,
        p99_us: figures.p99_us,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_what_the_load_program_prints() {
        let printed = "Running 2s test\n{\"requests\":3000,\"duration_us\":2000000,\"p50_us\":30,\"p99_us\":90,\"errors\":0}\n";
        let measured_here = measured(printed, 0.5).expect("figures");
        assert_eq!(measured_here.rate, 1500.0);
        assert_eq!(measured_here.per_core, Some(6000.0));
        let failed = printed.replace("\"errors\":0", "\"errors\":1");
        assert!(measured(&failed, 0.5).is_err());
        assert!(measured("", 0.5).is_err());
    }
}

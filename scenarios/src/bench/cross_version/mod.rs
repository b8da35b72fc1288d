//! Calls between versions: what a lens costs beside proxies that translate nothing, and beside one that translates by script.
//!
//! Each contender is one hop between the same load program and the same server. Load, hop and server share the machine,
//! so a rate says little about the hop: it is also divided by the processor time that the hop's own processes used.

pub(super) mod contenders;
pub(super) mod forms;
mod hops;
mod meter;
pub(super) mod report;
pub(super) mod upgrades;
pub(super) mod workloads;

use super::Measuring;
use super::figures::machine;
use super::stage::{Stage, perform};
use anyhow::Context;
use contenders::Contender;
use report::{Measured, Report, Row, Samples};
use std::process::ExitCode;
use std::time::Duration;
use workloads::{WORKLOADS, Workload};

/// How long each contender is loaded before it counts, in seconds: connections, caches and just-in-time compilers settle.
pub(super) const WARM_UP_SECONDS: u64 = 1;

/// Between two measurements, so that what the one before has left (closing connections) does not count.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

pub(super) fn run(options: &Measuring) -> anyhow::Result<ExitCode> {
    perform(options, |stage| measure_all(options, stage))
}

fn measure_all(options: &Measuring, stage: &Stage<'_>) -> anyhow::Result<Report> {
    let contenders = contenders::start(options, stage)?;
    for contender in &contenders {
        contender
            .check()
            .with_context(|| format!("{} does not do what is measured", contender.name))?;
    }
    let workloads = WORKLOADS
        .iter()
        .filter(|workload| workload.name.contains(&options.only));
    let mut rows = Vec::new();
    for workload in workloads {
        eprintln!("{}", workload.name);
        let samples = measure(workload, &contenders, options)?;
        rows.push(Row::new(workload.name, &samples));
    }
    Ok(Report {
        machine: machine(),
        rounds: options.rounds,
        rows,
    })
}

/// All rounds of one workload; who comes first changes from round to round.
fn measure(
    workload: &Workload,
    contenders: &[Contender],
    options: &Measuring,
) -> anyhow::Result<Samples> {
    for contender in contenders {
        one(workload, contender, WARM_UP_SECONDS)?;
    }
    let mut samples = Samples::new();
    for round in 0..options.rounds {
        for turn in 0..contenders.len() {
            let contender = &contenders[(round + turn) % contenders.len()];
            std::thread::sleep(PAUSE);
            let measured = one(workload, contender, options.seconds)?;
            eprintln!(
                "  round {} of {}: {} {measured}",
                round + 1,
                options.rounds,
                contender.name
            );
            samples.entry(contender.name).or_default().push(measured);
        }
    }
    Ok(samples)
}

/// Loads a contender once.
pub(super) fn one(
    workload: &Workload,
    contender: &Contender,
    seconds: u64,
) -> anyhow::Result<Measured> {
    let command = workload.command(contender, seconds);
    let before = contender.hop.seconds()?;
    let printed = contender.runner.run(&command);
    let processor_seconds = contender.hop.seconds()? - before;
    printed
        .and_then(|printed| workloads::measured(&printed, processor_seconds))
        .with_context(|| format!("{} with {}", workload.name, contender.name))
}

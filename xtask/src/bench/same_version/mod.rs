//! Connections between nodes of one version: what interception leaves of the direct throughput.

mod contenders;
mod nginx;
mod report;
mod sidecars;
mod workloads;

use super::Measuring;
use super::figures::machine;
use super::stage::{Stage, perform};
use anyhow::Context;
use contenders::Contender;
use report::{Rates, Report, Row};
use std::process::ExitCode;
use workloads::{WORKLOADS, Workload};

/// The rate that is assumed before the first measurement, requests a second.
const FIRST_RATE: f64 = 10_000.0;

/// How long the measurement takes that only finds the rate, in seconds.
const WARM_UP_SECONDS: u64 = 1;

pub(super) fn run(options: &Measuring) -> anyhow::Result<ExitCode> {
    perform(options, |stage| measure_all(options, stage))
}

fn measure_all(options: &Measuring, stage: &Stage<'_>) -> anyhow::Result<Report> {
    let contenders = contenders(options, stage)?;
    let workloads = WORKLOADS
        .iter()
        .filter(|workload| workload.name.contains(&options.only));
    let mut rows = Vec::new();
    for workload in workloads {
        eprintln!("{}", workload.name);
        let rates = measure(workload, &contenders, options)?;
        rows.push(Row::new(workload.name, &rates));
    }
    Ok(Report {
        machine: machine(),
        rounds: options.rounds,
        rows,
    })
}

fn contenders(options: &Measuring, stage: &Stage<'_>) -> anyhow::Result<Vec<Contender>> {
    let direct = contenders::direct(stage)?;
    let mut all = vec![direct.clone()];
    if options.wants("upstart") {
        let binary = stage.upstart(options)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        all.push(runtime.block_on(contenders::upstart(stage, binary))?);
    }
    if options.wants("envoy") {
        all.push(contenders::envoy(stage, &direct)?);
    }
    if options.wants("haproxy") {
        all.push(contenders::haproxy(stage, &direct)?);
    }
    Ok(all)
}

/// All rounds of one workload; who comes first changes from round to round.
fn measure(
    workload: &Workload,
    contenders: &[Contender],
    options: &Measuring,
) -> anyhow::Result<Rates> {
    let mut latest = Vec::new();
    for contender in contenders {
        latest.push(one(workload, contender, WARM_UP_SECONDS, FIRST_RATE)?);
    }
    let mut rates = Rates::new();
    for round in 0..options.rounds {
        for turn in 0..contenders.len() {
            let index = (round + turn) % contenders.len();
            let contender = &contenders[index];
            let rate = one(workload, contender, options.seconds, latest[index])?;
            latest[index] = rate;
            eprintln!(
                "  round {} of {}: {} {rate:.0}/s",
                round + 1,
                options.rounds,
                contender.name
            );
            rates.entry(contender.name.clone()).or_default().push(rate);
        }
    }
    Ok(rates)
}

fn one(workload: &Workload, contender: &Contender, seconds: u64, rate: f64) -> anyhow::Result<f64> {
    let command = workload.load.command(contender.ports, seconds, rate);
    let measured = contender
        .runner
        .run(&command)
        .and_then(|printed| workload.load.rate(&printed));
    measured.with_context(|| format!("{} with {}", workload.name, contender.name))
}

//! Connections between nodes of one version: what interception leaves of the direct throughput.

mod contenders;
mod nginx;
mod report;
mod sidecars;
mod workloads;

use super::Measuring;
use super::figures::machine;
use super::stage::{Stage, perform};
use crate::demo::hosts::Hosts;
use crate::demo::place::Place;
use anyhow::{Context, ensure};
use clap::Args;
use contenders::Contender;
use network::{Namespace, unavailable};
use report::{Rates, Report, Row};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use workloads::{WORKLOADS, Workload};

/// Arguments of `cargo xtask bench same-version`.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    measuring: Measuring,
    /// What `net.ipv4.tcp_fastopen` is while it measures: 3 is what the manual recommends, 1 the kernel's default
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    tcp_fastopen: u32,
}

/// The rate that is assumed before the first measurement, requests a second.
const FIRST_RATE: f64 = 10_000.0;

/// How long the measurement takes that only finds the rate, in seconds.
const WARM_UP_SECONDS: u64 = 1;

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    perform(&options.measuring, |stage| measure_all(options, stage))
}

fn measure_all(options: &Options, stage: &Stage<'_>) -> anyhow::Result<Report> {
    let Options {
        measuring: options,
        tcp_fastopen,
    } = options;
    // A build may need the network, which there is none of afterwards.
    let binary = (options.wants("upstart"))
        .then(|| stage.upstart(options))
        .transpose()?;
    let (hosts, tcp_fastopen) = surroundings(*tcp_fastopen)?;
    let place = &Place {
        hosts: Arc::new(hosts),
        ..stage.place.clone()
    };
    let contenders = contenders(options, &Stage { place, ..*stage }, binary)?;
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
        tcp_fastopen,
        rounds: options.rounds,
        rows,
    })
}

/// How many closed connections wait for stragglers, which there are none of within one host. Each holds a port of the caller's for a
/// minute where the caller has closed first, and a connection per request has used all ports up within seconds.
const CLOSED_KEPT: (&str, &str) = ("net/ipv4/tcp_max_tw_buckets", "1024");

/// The address of everything: not loopback's, where labels need no cookies, which no node of a real system has.
const HOST: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

/// Moves this thread, and what it starts from now on, into a network namespace with this setting and an address of its own.
/// Without root it is loopback, with the machine's setting. Returns where everything is, and what is set.
fn surroundings(wanted: u32) -> anyhow::Result<(Hosts, u32)> {
    const SETTING: &str = "net/ipv4/tcp_fastopen";
    ensure!(
        wanted & 1 == 1,
        "labels need the bit of value 1: give 1 or 3"
    );
    if let Some(why) = unavailable() {
        let text = std::fs::read_to_string(format!("/proc/sys/{SETTING}"))?;
        let found = text.trim().parse()?;
        if found != wanted {
            eprintln!(
                "net.ipv4.tcp_fastopen stays {found} ({why}); set it to {wanted} yourself to measure with that"
            );
        }
        return Ok((Hosts::loopback(), found));
    }
    let namespace = Namespace::new()?;
    namespace.add_own_address(HOST.into())?;
    namespace.set(SETTING, &wanted.to_string())?;
    namespace.set(CLOSED_KEPT.0, CLOSED_KEPT.1)?;
    namespace.enter()?;
    Ok((Hosts::here(HOST.into()), wanted))
}

fn contenders(
    options: &Measuring,
    stage: &Stage<'_>,
    upstart: Option<PathBuf>,
) -> anyhow::Result<Vec<Contender>> {
    let direct = contenders::direct(stage)?;
    let mut all = vec![direct.clone()];
    if let Some(binary) = upstart {
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
    let command = workload.load.command(contender.at, seconds, rate);
    let measured = contender
        .runner
        .run(&command)
        .and_then(|printed| workload.load.rate(&printed));
    measured.with_context(|| format!("{} with {}", workload.name, contender.name))
}

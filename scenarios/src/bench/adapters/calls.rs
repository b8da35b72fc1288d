//! Calls through adapters of every kind that rename one member, in chains of one, two and four, beside the same calls made directly and
//! through an Envoy whose Lua filter does the same once.

use super::projects::LANGUAGES;
use crate::bench::Measuring;
use crate::bench::cross_version::contenders::{self, Contender};
use crate::bench::cross_version::report::{Added, ENVOY_LUA, Measured, added};
use crate::bench::cross_version::upgrades::Adapters;
use crate::bench::cross_version::workloads::{Workload, workload};
use crate::bench::cross_version::{PAUSE, WARM_UP_SECONDS, one};
use crate::bench::figures::median;
use crate::bench::stage::Stage;
use crate::demo::place::Place;
use crate::demo::processes::Processes;
use anyhow::Context;
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;

/// A lens, as the report calls it.
const LENS: &str = "lens";

/// The load makers: a class, and how many adapters are between it and the server.
const CALLERS: [(&str, usize); 3] = [("one", 1), ("two", 2), ("four", 4)];

/// With many connections no large messages: a chain of scripts would need minutes for as few as are under way at once.
const WORKLOADS: [Workload; 5] = [
    workload("1 connection, 200 B", 1, "small"),
    workload("1 connection, 4 KiB", 1, "large"),
    workload("1 connection, 64 KiB", 1, "huge"),
    workload("50 connections, 200 B", 50, "small"),
    workload("50 connections, 4 KiB", 50, "large"),
];

/// One workload through one kind of adapter; medians over the rounds.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) workload: String,
    /// `lens`, a language, or `envoy_lua`.
    pub(super) adapter: &'static str,
    /// How many adapters are in the chain.
    pub(super) chain: usize,
    /// For each second of processor time of the process with the adapters.
    pub(super) calls_per_s: f64,
    /// What came through, with load, adapters and server on one machine.
    pub(super) throughput_per_s: f64,
    /// Beyond direct calls of the same round, in microseconds.
    pub(super) added_us: Added,
}

/// Measures all that is wanted.
pub(super) fn measure(options: &Measuring, stage: &Stage<'_>) -> anyhow::Result<Vec<Row>> {
    let workloads: Vec<&Workload> = (WORKLOADS.iter())
        .filter(|workload| workload.name.contains(&options.only))
        .collect();
    let mut rows = Vec::new();
    if workloads.is_empty() {
        return Ok(rows);
    }
    let direct = contenders::direct(stage)?;
    let port = stage.place.base + 1;
    if options.wants(ENVOY_LUA) {
        let envoy = contenders::envoy_lua(stage, &direct, port)?;
        envoy.check().context("Envoy does not what is measured")?;
        rows.extend(all(ENVOY_LUA, &[(1, envoy)], &direct, &workloads, options)?);
    }
    let upstart = stage.upstart(options)?;
    if options.wants(LENS) {
        rows.extend(kind(
            LENS,
            &Adapters::Lens,
            &upstart,
            &direct,
            &workloads,
            options,
            stage,
        )?);
    }
    for language in LANGUAGES {
        if options.wants(language.name) {
            let adapters = language.build(stage, &upstart)?;
            rows.extend(kind(
                language.name,
                &adapters,
                &upstart,
                &direct,
                &workloads,
                options,
                stage,
            )?);
        }
    }
    Ok(rows)
}

/// Starts a system with adapters of a kind, measures it, and ends it.
fn kind(
    name: &'static str,
    adapters: &Adapters,
    upstart: &Path,
    direct: &Contender,
    workloads: &[&Workload],
    options: &Measuring,
    stage: &Stage<'_>,
) -> anyhow::Result<Vec<Row>> {
    let place = Place::beside(stage.place, name)?;
    let processes = Arc::new(Processes::default());
    let inner = Stage {
        workspace: stage.workspace,
        place: &place,
        processes: &processes,
    };
    let measured = contenders::nodes(
        &inner,
        upstart.to_owned(),
        direct,
        place.base,
        adapters,
        &CALLERS,
    )
    .and_then(|chains| {
        for (chain, contender) in &chains {
            let checked = contender.check();
            checked
                .with_context(|| format!("{name}: a chain of {chain} does not what is measured"))?;
        }
        all(name, &chains, direct, workloads, options)
    });
    processes.end_all(&place.root);
    measured
}

/// All workloads through these chains.
fn all(
    name: &'static str,
    chains: &[(usize, Contender)],
    direct: &Contender,
    workloads: &[&Workload],
    options: &Measuring,
) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for workload in workloads {
        eprintln!("{name}: {}", workload.name);
        let contenders: Vec<&Contender> = std::iter::once(direct)
            .chain(chains.iter().map(|(_, contender)| contender))
            .collect();
        let samples = rounds(workload, &contenders, options)?;
        let Some((of_direct, of_chains)) = samples.split_first() else {
            continue;
        };
        for ((chain, _), samples) in chains.iter().zip(of_chains) {
            rows.push(row(workload, name, *chain, of_direct, samples));
        }
    }
    Ok(rows)
}

/// Every contender once a round; who comes first changes from round to round.
fn rounds(
    workload: &Workload,
    contenders: &[&Contender],
    options: &Measuring,
) -> anyhow::Result<Vec<Vec<Measured>>> {
    for contender in contenders {
        one(workload, contender, WARM_UP_SECONDS)?;
    }
    let mut samples = vec![Vec::new(); contenders.len()];
    for round in 0..options.rounds {
        for turn in 0..contenders.len() {
            let index = (round + turn) % contenders.len();
            std::thread::sleep(PAUSE);
            samples[index].push(one(workload, contenders[index], options.seconds)?);
        }
    }
    Ok(samples)
}

fn row(
    workload: &Workload,
    adapter: &'static str,
    chain: usize,
    direct: &[Measured],
    samples: &[Measured],
) -> Row {
    let of = |value: fn(&Measured) -> f64| {
        let values: Vec<f64> = samples.iter().map(value).collect();
        median(&values).round()
    };
    let row = Row {
        workload: workload.name.to_owned(),
        adapter,
        chain,
        calls_per_s: of(|measured| measured.per_core.unwrap_or_default()),
        throughput_per_s: of(|measured| measured.rate),
        added_us: added(direct, samples),
    };
    let Added { p50, p99 } = row.added_us;
    eprintln!(
        "  chain of {chain}: {} a second and core, {p50:.0} us more, p99 {p99:.0}",
        row.calls_per_s
    );
    row
}

//! Connections between nodes of one version: what interception leaves of the direct throughput.

use super::SameVersion;
use super::contenders::{Contender, Stage, envoy_environment};
use super::report::{Rates, Report, Row, machine};
use super::workloads::{WORKLOADS, Workload};
use crate::demo::place::Place;
use crate::demo::processes::Processes;
use crate::test::install;
use crate::workspace::{Profile, Workspace};
use anyhow::Context;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// The rate that is assumed before the first measurement, requests a second.
const FIRST_RATE: f64 = 10_000.0;

/// The exit code of a shell's child that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// How long the measurement takes that only finds the rate, in seconds.
const WARM_UP_SECONDS: u64 = 1;

pub(super) fn run(options: &SameVersion) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::find()?;
    install::programs(&workspace)?;
    let place = place()?;
    let processes = Arc::new(Processes::default());
    end_on_signals(&processes, &place);
    let result = measure_all(
        options,
        &workspace,
        &Stage {
            place: &place,
            processes: &processes,
        },
    );
    processes.end_all(&place.root);
    let report = result.with_context(|| format!("see the logs in {}", place.root.display()))?;
    std::fs::remove_dir_all(&place.root)?;
    eprint!("{}", report.table());
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    Ok(ExitCode::SUCCESS)
}

/// Leaves nothing running behind when it is interrupted.
fn end_on_signals(processes: &Arc<Processes>, place: &Place) {
    let (processes, root) = (Arc::clone(processes), place.root.clone());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            let Ok(mut terminate) = signal(SignalKind::terminate()) else {
                return;
            };
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            processes.end_all(&root);
            eprintln!(
                "interrupted; what was measured is lost, the logs are in {}",
                root.display()
            );
            std::process::exit(INTERRUPTED);
        });
    });
}

/// A directory and ports of the benchmark's own.
fn place() -> anyhow::Result<Place> {
    let found = Place::new()?;
    let root = std::env::temp_dir().join(format!("upstart-bench-{}", std::process::id()));
    std::fs::rename(&found.root, &root)?;
    Ok(Place { root, ..found })
}

fn measure_all(
    options: &SameVersion,
    workspace: &Workspace,
    stage: &Stage<'_>,
) -> anyhow::Result<Report> {
    let contenders = contenders(options, workspace, stage)?;
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

fn contenders(
    options: &SameVersion,
    workspace: &Workspace,
    stage: &Stage<'_>,
) -> anyhow::Result<Vec<Contender>> {
    let is_wanted = |name: &str| {
        options.contenders.is_empty() || options.contenders.iter().any(|wanted| wanted == name)
    };
    let direct = stage.direct()?;
    let mut contenders = vec![direct.clone()];
    if is_wanted("upstart") {
        let binary = match (&options.program, options.dev) {
            (Some(program), _) => std::path::absolute(program)?,
            (None, true) => workspace.build(Profile::Dev)?,
            (None, false) => workspace.build(Profile::Release)?,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        contenders.push(runtime.block_on(stage.upstart(binary))?);
    }
    if is_wanted("envoy") {
        let environment = envoy_environment(install::python_environment(workspace))?;
        contenders.push(stage.envoy(&direct, &environment)?);
    }
    if is_wanted("haproxy") {
        contenders.push(stage.haproxy(&direct)?);
    }
    Ok(contenders)
}

/// All rounds of one workload; who comes first changes from round to round.
fn measure(
    workload: &Workload,
    contenders: &[Contender],
    options: &SameVersion,
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

//! How many nodes a server serves: real server processes over both databases, nodes with real identities over mutual TLS, and an upgrade
//! that rolls through all groups the whole time.

mod crowd;
mod gauge;
mod row;
mod upgrades;

use super::figures::{machine, rounded};
use super::stage::{end_on_signals, place};
use crate::demo::processes::Processes;
use anyhow::Context;
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use xtask::workspace::{Profile, Workspace};

/// Arguments of `cargo xtask bench server`.
#[derive(Clone, Debug, Args)]
pub(super) struct Options {
    /// Print the result as one line of JSON on stdout
    #[arg(long)]
    json: bool,
    /// How many nodes, one measurement after the other
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000, 100_000])]
    nodes: Vec<u32>,
    /// How long each measurement takes, in minutes
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Over which databases
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Database::Sqlite, Database::Postgres])]
    database: Vec<Database>,
    /// How often each node reports, in seconds
    #[arg(long, default_value_t = 30.0)]
    report_seconds: f64,
    /// How many connections are open at once, at most
    #[arg(long, default_value_t = 15_000)]
    connections: usize,
    /// Measure what `cargo xtask demo` runs, not a release build
    #[arg(long)]
    dev: bool,
    /// Measure the programs in this folder, and build nothing
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

impl Options {
    /// The programs, built if they are to be: in one go with what was built before, so that each library is built once.
    fn programs(&self) -> anyhow::Result<Programs> {
        let built = |names: &[&str], profile| Workspace::find()?.build_packages(names, profile);
        let folder = match (&self.programs, self.dev) {
            (Some(folder), _) => std::path::absolute(folder)?,
            (None, true) => built(&["upstart", "preload", "scenarios", "crowd"], Profile::Dev)?,
            (None, false) => built(&["upstart", "preload", "crowd"], Profile::Release)?,
        };
        Ok(Programs {
            upstart: folder.join("upstart"),
            crowd: folder.join("crowd"),
        })
    }
}

/// Where the server keeps what it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Database {
    /// In the server's own process
    Sqlite,
    /// A PostgreSQL of its own
    Postgres,
}

/// The report.
#[derive(Debug, Serialize)]
struct Report {
    machine: String,
    /// Built for release.
    is_release: bool,
    rows: Vec<row::Row>,
}

/// The programs that run.
#[derive(Clone, Debug)]
struct Programs {
    upstart: PathBuf,
    crowd: PathBuf,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let programs = options.programs()?;
    let place = place("bench")?;
    let processes = Arc::new(Processes::default());
    end_on_signals(&processes, &place);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let mut report = Report {
        machine: machine(),
        is_release: !options.dev && options.programs.is_none(),
        rows: Vec::new(),
    };
    for database in &options.database {
        for nodes in &options.nodes {
            let scene = row::Scene {
                options,
                place: &place,
                processes: &processes,
                programs: &programs,
                database: *database,
                nodes: *nodes,
            };
            let measured = runtime.block_on(scene.measure());
            if measured.is_err() {
                processes.end_all(&place.root);
            }
            let row =
                measured.with_context(|| format!("see the logs in {}", place.root.display()))?;
            eprint!("{}", table(std::slice::from_ref(&row)));
            report.rows.push(row);
        }
    }
    processes.end_all(&place.root);
    std::fs::remove_dir_all(&place.root)?;
    eprintln!("{}", report.machine);
    eprint!("{}", table(&report.rows));
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    Ok(ExitCode::SUCCESS)
}

fn table(rows: &[row::Row]) -> String {
    let mut text = String::from(
        "| database | nodes | reports/s | errors | server, cores | database, cores | µs for each report | MiB | \
         report p99, ms | verdict p99, ms | query p99, ms | all know, s |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let name = row.database.to_possible_value();
        let all_know = row
            .all_know_s
            .map_or_else(|| "not yet".to_owned(), |s| s.to_string());
        text += &format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {all_know} |\n",
            name.as_ref().map_or("", |name| name.get_name()),
            row.nodes,
            row.reports_per_s,
            row.errors,
            row.cpu_cores.server,
            row.cpu_cores.database,
            row.server_us_per_report,
            row.rss_mib,
            row.p99_ms.report,
            row.p99_ms.verdict,
            row.p99_ms.fleet_query,
        );
        if row.generator.is_the_limit {
            text += &format!(
                "The generator was the limit: nodes came {} ms late (p99); it took {} cores, and the server {}.\n",
                row.generator.late_p99_ms, row.generator.cpu_cores, row.cpu_cores.server
            );
        }
    }
    text
}

/// As reports show numbers.
fn shown(value: f64) -> f64 {
    rounded(value)
}

//! What adapters cost: calls through those of every kind, sessions whose large messages pass untouched, beside a relay that does nothing
//! but move bytes, and what an idle connection takes.

mod calls;
mod idle;
mod projects;
mod relays;
mod throughput;

use super::Measuring;
use super::figures::{machine, rounded};
use super::stage::{self, Stage, perform};
use calls::Row;
use clap::Args;
use serde::Serialize;
use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

/// Arguments of `cargo xtask bench adapters`. It measures every language with three chains: fewer and shorter rounds than elsewhere
/// keep it within ten minutes.
#[derive(Debug, Args)]
#[command(mut_arg("rounds", |argument| argument.default_value("3")), mut_arg("seconds", |argument| argument.default_value("1")))]
pub(super) struct Options {
    #[command(flatten)]
    measuring: Measuring,
    /// How long a message is that passes a session, in MiB
    #[arg(long, default_value_t = 4)]
    mebibytes: usize,
}

/// What is measured beside workloads of calls, as `--only` names it.
const SESSION: &str = "session";
const IDLE: &str = "idle";

/// The report.
#[derive(Debug, Serialize)]
struct Report {
    machine: String,
    rounds: usize,
    rows: Vec<Row>,
    #[serde(flatten)]
    passed: Option<Passed>,
    #[serde(flatten)]
    idle: Option<Idle>,
}

#[derive(Debug, Serialize)]
struct Passed {
    /// How much passes a session whose adapter lets large messages pass.
    session_gb_per_s: f64,
    /// How much passes a plain relay that splices.
    splice_gb_per_s: f64,
}

#[derive(Debug, Serialize)]
struct Idle {
    /// The larger of the two below.
    kib_per_idle_connection: f64,
    kib_per_idle_session: f64,
    kib_per_idle_lens_connection: f64,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    perform(&options.measuring, |stage| measure(options, stage))
}

fn measure(options: &Options, stage: &Stage<'_>) -> anyhow::Result<Report> {
    let measuring = &options.measuring;
    let wants = |what: &str| what.contains(&measuring.only) && measuring.contenders.is_empty();
    let passed = wants(SESSION).then(|| {
        let duration = Duration::from_secs(measuring.seconds);
        throughput::measure(measuring.rounds, duration, options.mebibytes << 20)
    });
    let passed = passed.transpose()?.map(|passed| Passed {
        session_gb_per_s: rounded(passed.session),
        splice_gb_per_s: rounded(passed.splice),
    });
    let idle = wants(IDLE).then(idle::measure).transpose()?;
    let idle = idle.map(|idle| Idle {
        kib_per_idle_connection: rounded(idle.session.max(idle.lens)),
        kib_per_idle_session: rounded(idle.session),
        kib_per_idle_lens_connection: rounded(idle.lens),
    });
    Ok(Report {
        machine: machine(),
        rounds: measuring.rounds,
        rows: calls::measure(measuring, stage)?,
        passed,
        idle,
    })
}

impl stage::Report for Report {
    fn table(&self) -> String {
        let mut text = format!(
            "\nMedians of {} rounds, on {}.\n\n",
            self.rounds, self.machine
        );
        text.push_str(
            "| calls | adapter | chain | for each second of its processor time | a second | added p50 / p99, microseconds |\n",
        );
        text.push_str("|---|---|---|---|---|---|\n");
        for row in &self.rows {
            // A string takes everything.
            let _ = writeln!(
                text,
                "| {} | {} | {} | {:.0} | {:.0} | {:.0} / {:.0} |",
                row.workload,
                row.adapter,
                row.chain,
                row.calls_per_s,
                row.throughput_per_s,
                row.added_us.p50,
                row.added_us.p99
            );
        }
        if let Some(passed) = &self.passed {
            let (session, splice) = (passed.session_gb_per_s, passed.splice_gb_per_s);
            let _ = writeln!(
                text,
                "\nSession {session:.2} GB/s, splice relay {splice:.2} GB/s ({:.2}).",
                session / splice
            );
        }
        if let Some(idle) = &self.idle {
            let _ = writeln!(
                text,
                "\nIdle session {:.1} KiB, idle connection through a lens {:.1} KiB.",
                idle.kib_per_idle_session, idle.kib_per_idle_lens_connection
            );
        }
        text
    }
}

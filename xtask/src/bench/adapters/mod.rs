//! What adapters cost: sessions whose large messages pass untouched, beside a relay that does nothing but move bytes, and
//! what an idle connection takes.

mod idle;
mod relays;
mod throughput;

use super::figures::{machine, rounded};
use clap::Args;
use serde::Serialize;
use std::process::ExitCode;
use std::time::Duration;

/// Arguments of `cargo xtask bench adapters`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Print the result as one line of JSON on stdout
    #[arg(long)]
    json: bool,
    /// How many rounds; each measures the session and the relay once, in turn
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// How long one measurement takes, in seconds
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// How long a message is that passes, in MiB
    #[arg(long, default_value_t = 4)]
    mebibytes: usize,
}

/// The report.
#[derive(Debug, Serialize)]
struct Report {
    machine: String,
    rounds: usize,
    /// How much passes a session whose adapter lets large messages pass.
    session_gb_per_s: f64,
    /// How much passes a plain relay that splices.
    splice_gb_per_s: f64,
    /// The larger of the two below.
    kib_per_idle_connection: f64,
    kib_per_idle_session: f64,
    kib_per_idle_lens_connection: f64,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let duration = Duration::from_secs(options.seconds);
    let message_bytes = options.mebibytes << 20;
    let passed = throughput::measure(options.rounds, duration, message_bytes)?;
    let idle = idle::measure()?;
    let report = Report {
        machine: machine(),
        rounds: options.rounds,
        session_gb_per_s: rounded(passed.session),
        splice_gb_per_s: rounded(passed.splice),
        kib_per_idle_connection: rounded(idle.session.max(idle.lens)),
        kib_per_idle_session: rounded(idle.session),
        kib_per_idle_lens_connection: rounded(idle.lens),
    };
    eprintln!(
        "session {:.2} GB/s, splice relay {:.2} GB/s ({:.2}); idle session {:.1} KiB, idle connection through a lens {:.1} KiB",
        report.session_gb_per_s,
        report.splice_gb_per_s,
        report.session_gb_per_s / report.splice_gb_per_s,
        report.kib_per_idle_session,
        report.kib_per_idle_lens_connection,
    );
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    Ok(ExitCode::SUCCESS)
}

//! `cargo xtask faults`: things broken on purpose in whole systems under load, and what comes of it.
//!
//! Each fault has a system of its own: real processes, real disks, real damage. It ends well when all nodes serve again at the
//! version that they should, by themselves or after the command that a message states; when no acknowledged write is lost and no
//! answer wrong; and when every message that it looks at is true.

mod clocks;
mod copies;
mod damage;
mod disks;
mod load;
mod power;
mod report;
mod revisions;
mod scene;
mod servers;
mod stopped;
mod twice;

use crate::queue;
use anyhow::bail;
use clap::Args;
use load::Verdict;
use report::{Report, Row};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;
use xtask::workspace::{Profile, Workspace};

/// Arguments of `cargo xtask faults`.
#[derive(Debug, Args)]
pub struct Options {
    /// Only faults whose name contains one of these
    #[arg(long, value_name = "TEXT", value_delimiter = ',')]
    only: Vec<String>,
    /// Only the half that the tests include
    #[arg(long)]
    quick: bool,
    /// List the faults and do nothing
    #[arg(long)]
    list: bool,
    /// Print the result as one line of JSON on stdout
    #[arg(long)]
    json: bool,
    /// How many faults are tried at once
    #[arg(long, default_value_t = 2, value_name = "N")]
    jobs: usize,
}

/// How a system came out of a fault.
enum Recovery {
    /// Nobody had to do anything.
    ByItself,
    /// Somebody did what a message said: this.
    After(&'static str),
}

/// What can be broken.
struct Fault {
    /// What is broken, and when.
    name: String,
    /// It is of the half that the tests include.
    quick: bool,
    run: Box<dyn Fn() -> Ended + Send + Sync>,
}

/// How it ended; what did not come to pass panics.
type Ended = (Recovery, Verdict);

impl Fault {
    fn new(name: impl Into<String>, run: impl Fn() -> Ended + Send + Sync + 'static) -> Self {
        Self {
            name: name.into(),
            quick: false,
            run: Box::new(run),
        }
    }

    /// It is of the half that the tests include.
    fn quick(mut self) -> Self {
        self.quick = true;
        self
    }
}

/// Every fault.
fn all() -> Vec<Fault> {
    let groups = [
        power::faults(),
        stopped::faults(),
        disks::faults(),
        damage::faults(),
        copies::faults(),
        twice::faults(),
        clocks::faults(),
        servers::faults(),
        revisions::faults(),
    ];
    groups.into_iter().flatten().collect()
}

/// Tries the faults.
///
/// # Errors
/// When the product cannot be built, or no fault is chosen.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut chosen = all();
    chosen.retain(|fault| {
        let named =
            options.only.is_empty() || options.only.iter().any(|it| fault.name.contains(it));
        named && (!options.quick || fault.quick)
    });
    if chosen.is_empty() {
        bail!("there is no such fault; `cargo xtask faults --list` says which there are");
    }
    if options.list {
        chosen.iter().for_each(|fault| println!("{}", fault.name));
        return Ok(ExitCode::SUCCESS);
    }
    Workspace::find()?.build(Profile::Dev)?;
    let began = Instant::now();
    let report = Report {
        rows: rows(&chosen, options.jobs),
        seconds: began.elapsed().as_secs(),
    };
    if options.json {
        eprint!("{}", report.table())
    } else {
        print!("{}", report.table())
    }
    if options.json {
        println!("{}", report.json()?);
    }
    Ok(ExitCode::from(u8::from(!report.passed())))
}

fn rows(faults: &[Fault], jobs: usize) -> Vec<Row> {
    // A thread of its own for each: some faults give it mounts of its own.
    let work = |fault: &Fault| {
        let row = std::thread::scope(|scope| scope.spawn(|| attempt(fault)).join());
        row.unwrap_or_else(|_| unreachable!("panics are caught"))
    };
    queue::in_order(faults, jobs, work, |ended, row: &Row| {
        eprintln!("{ended:>3} of {}  {}", faults.len(), row.line());
    })
}

fn attempt(fault: &Fault) -> Row {
    let began = Instant::now();
    let ended = catch_unwind(AssertUnwindSafe(|| (fault.run)()));
    let seconds = began.elapsed().as_secs_f64();
    let name = fault.name.clone();
    match ended {
        Ok((recovery, verdict)) => Row::ended(name, &recovery, verdict, seconds),
        Err(panic) => Row::stuck(name, words(panic.as_ref()), seconds),
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "it panicked without words".to_owned())
}

//! `cargo xtask matrix`: real programs, each tried bare and under Upstart, as its users would run it.
//!
//! The programs are described in matrix/programs; matrix/README.md says how to add one. Each row has a folder, ports, an upgrade
//! server and agents of its own, so that rows do not disturb one another, and several can be tried at once.

mod install;
mod load;
mod programs;
mod report;
mod row;
mod stage;
mod system;

use crate::bench::stage::{end_on_signals, place};
use crate::demo::processes::Processes;
use crate::queue;
use anyhow::bail;
use clap::Args;
use programs::Program;
use report::Report;
use row::Row;
use stage::Stage;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;
use xtask::workspace::{Profile, Workspace};

/// Arguments of `cargo xtask matrix`.
#[derive(Debug, Args)]
pub struct Options {
    /// Try only these programs
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        conflicts_with = "quick"
    )]
    only: Vec<String>,
    /// Try the choice that the tests include: nothing is installed for it, and it takes at most a quarter of an hour
    #[arg(long)]
    quick: bool,
    /// List the programs and do nothing
    #[arg(long)]
    list: bool,
    /// Print the result as one line of JSON on stdout
    #[arg(long)]
    json: bool,
    /// Write docs/reference/compatibility.md from this run; with --only the rows of these programs are renewed
    #[arg(long, conflicts_with_all = ["quick", "bare"])]
    write_docs: bool,
    /// Try the programs bare only, and print what they say: for those who add one
    #[arg(long)]
    bare: bool,
    /// How many programs are tried at once
    #[arg(long, default_value_t = 2, value_name = "N")]
    jobs: usize,
}

/// What all rows share.
struct Run<'a> {
    workspace: &'a Workspace,
    processes: Arc<Processes>,
    root: PathBuf,
    /// The product; none where programs are tried bare only.
    upstart: Option<PathBuf>,
    began: Instant,
}

/// Tries the programs.
///
/// # Errors
/// When something that all of them need is missing.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::find()?;
    let all = programs::all(&workspace.root().join("matrix/programs"))?;
    let chosen = choose(&all, options)?;
    if options.list {
        print!("{}", report::list(&chosen));
        return Ok(ExitCode::SUCCESS);
    }
    if !options.quick {
        install::everything(&workspace, &chosen)?;
    }
    let upstart = if options.bare {
        None
    } else {
        Some(workspace.build(Profile::Dev)?)
    };
    let place = place("matrix")?;
    let processes = Arc::new(Processes::default());
    end_on_signals(&processes, &place);
    let run = Run {
        workspace: &workspace,
        processes,
        root: place.root.clone(),
        upstart,
        began: Instant::now(),
    };
    let report = Report {
        rows: run.rows(&chosen, options.jobs),
        seconds: run.began.elapsed().as_secs(),
    };
    run.processes.end_all(&place.root);
    if options.json {
        eprint!("{}", report.table())
    } else {
        print!("{}", report.table())
    }
    if report.passed() == report.rows.len() {
        std::fs::remove_dir_all(&place.root)?;
    } else {
        eprintln!("the logs are in {}", place.root.display());
    }
    if options.write_docs {
        let path = workspace.root().join("docs/reference/compatibility.md");
        let page = if options.only.is_empty() {
            report.page(&all)
        } else {
            report.renewed(&std::fs::read_to_string(&path)?, &all)
        };
        std::fs::write(path, page)?;
    }
    if options.json {
        println!("{}", report.json()?);
    }
    Ok(ExitCode::from(u8::from(
        report.passed() != report.rows.len(),
    )))
}

fn choose(all: &[Program], options: &Options) -> anyhow::Result<Vec<Program>> {
    for name in &options.only {
        if !all.iter().any(|program| program.name == *name) {
            bail!("there is no program `{name}`; `cargo xtask matrix --list` says which there are");
        }
    }
    let is_chosen = |program: &&Program| {
        (options.only.is_empty() || options.only.contains(&program.name))
            && (!options.quick || program.quick)
    };
    Ok(all.iter().filter(is_chosen).cloned().collect())
}

impl Run<'_> {
    /// Tries every program, several at once, and gives the rows in the programs' order.
    fn rows(&self, programs: &[Program], jobs: usize) -> Vec<Row> {
        let work = |program: &Program| self.row(program);
        queue::in_order(programs, jobs, work, |ended, row: &Row| {
            self.say(&row.program, &format!("{ended} of {} done", programs.len()));
        })
    }

    fn say(&self, name: &str, what: &str) {
        let seconds = self.began.elapsed().as_secs();
        eprintln!("{:>3}:{:02}  {name}: {what}", seconds / 60, seconds % 60);
    }

    fn row(&self, program: &Program) -> Row {
        let row = self.attempt(program);
        if row.passed() {
            self.say(&program.name, "passed");
        } else {
            self.say(&program.name, "FAILED");
        }
        if !row.passed() || self.upstart.is_none() {
            let why: String = row.why.iter().map(|why| format!("{why}\n")).collect();
            eprint!("{}", report::indented(&format!("{why}{}", row.evidence)));
        }
        row
    }

    fn attempt(&self, program: &Program) -> Row {
        if program.root && !rustix::process::geteuid().is_root() {
            return Row::hopeless(program, "it works for root only".to_owned());
        }
        if let Some(why) = install::lacks(self.workspace, program) {
            return Row::hopeless(program, why);
        }
        let upstart: Option<&Path> = self.upstart.as_deref();
        match Stage::set(self.workspace, program, &self.processes, &self.root) {
            Ok(stage) => row::attempt(&stage, upstart, &|what| self.say(&program.name, what)),
            Err(error) => Row::hopeless(program, format!("{error:#}")),
        }
    }
}

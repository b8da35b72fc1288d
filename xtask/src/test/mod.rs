//! `cargo xtask test`: everything that must hold before a change is good, in the order in which it fails fastest.
//!
//! Installs what it needs first; `.ci/run` calls nothing else. Ends with one line `N passed, N failed, N skipped`.

mod deny;
mod tally;

use crate::workspace::{Workspace, run};
use crate::{install, scenarios};
use anyhow::Context;
use clap::Args;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::process::{ExitCode, Stdio};
use std::time::Instant;
use tally::Tally;

/// Arguments of the chaos runs that every test run includes, with their seed.
const CHAOS: [&str; 2] = ["--chaos", "1"];

/// How many of a failed demo's last lines the sum repeats.
const LAST_WORDS: usize = 12;

/// Arguments of `cargo xtask test`.
#[derive(Debug, Args)]
pub struct Options {
    /// Leave out the matrix, the faults and the demos: the usual one, the chaos run and those on test networks
    #[arg(long)]
    no_demo: bool,
    /// Only install what the tests need
    #[arg(long)]
    install_only: bool,
}

/// One step: its name and what it does; what it counted goes into the tally.
struct Step {
    name: &'static str,
    work: fn(&Workspace, &mut Tally) -> anyhow::Result<()>,
    is_demo: bool,
}

const STEPS: [Step; 21] = [
    Step {
        name: "format",
        work: format,
        is_demo: false,
    },
    Step {
        name: "clippy",
        work: clippy,
        is_demo: false,
    },
    Step {
        name: "deny",
        work: deny::check,
        is_demo: false,
    },
    Step {
        name: "tests",
        work: tests,
        is_demo: false,
    },
    Step {
        name: "doc-tests",
        work: doc_tests,
        is_demo: false,
    },
    Step {
        name: "examples",
        work: examples,
        is_demo: false,
    },
    Step {
        name: "docs",
        work: docs,
        is_demo: false,
    },
    Step {
        name: "matrix",
        work: matrix,
        is_demo: true,
    },
    Step {
        name: "faults",
        work: faults,
        is_demo: true,
    },
    Step {
        name: "demo",
        work: demo,
        is_demo: true,
    },
    Step {
        name: "demo postgres",
        work: demo_postgres,
        is_demo: true,
    },
    Step {
        name: "demo registry",
        work: demo_registry,
        is_demo: true,
    },
    Step {
        name: "demo json-server",
        work: demo_json_server,
        is_demo: true,
    },
    Step {
        name: "demo color-flavor",
        work: |workspace, tally| color_flavor(workspace, tally, "demo color-flavor", &[]),
        is_demo: true,
    },
    Step {
        name: "chaos color-flavor",
        work: |workspace, tally| color_flavor(workspace, tally, "chaos color-flavor", &CHAOS),
        is_demo: true,
    },
    Step {
        name: "demo redis-cluster",
        work: |workspace, tally| redis_cluster(workspace, tally, "demo redis-cluster", &[]),
        is_demo: true,
    },
    Step {
        name: "chaos redis-cluster",
        work: |workspace, tally| redis_cluster(workspace, tally, "chaos redis-cluster", &CHAOS),
        is_demo: true,
    },
    Step {
        name: "chaos",
        work: chaos,
        is_demo: true,
    },
    Step {
        name: "lossy",
        work: |workspace, tally| on_network(workspace, tally, "lossy"),
        is_demo: true,
    },
    Step {
        name: "partition",
        work: |workspace, tally| on_network(workspace, tally, "partition"),
        is_demo: true,
    },
    Step {
        name: "nat",
        work: |workspace, tally| on_network(workspace, tally, "nat"),
        is_demo: true,
    },
];

/// Installs, runs every step even when one fails, and sums up.
///
/// # Errors
/// When what is needed cannot be installed.
pub fn run_all(options: &Options) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::find()?;
    install::everything(&workspace)?;
    if options.install_only {
        return Ok(ExitCode::SUCCESS);
    }
    let mut tally = Tally::default();
    for step in STEPS
        .iter()
        .filter(|step| !(step.is_demo && options.no_demo))
    {
        take(step, &workspace, &mut tally);
    }
    eprintln!();
    for line in tally.remarks() {
        eprintln!("{line}");
    }
    println!("{}", tally.summary());
    Ok(if tally.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn take(step: &Step, workspace: &Workspace, tally: &mut Tally) {
    eprintln!("\n==> {}", step.name);
    let began = Instant::now();
    match (step.work)(workspace, tally) {
        Ok(()) => eprintln!(
            "<== {} done in {:.0} s",
            step.name,
            began.elapsed().as_secs_f64()
        ),
        Err(error) => {
            eprintln!("<== {} FAILED: {error:#}", step.name);
            tally.fail(step.name, &format!("{error:#}"));
        }
    }
}

fn format(workspace: &Workspace, tally: &mut Tally) -> anyhow::Result<()> {
    run(&mut workspace.cargo(["fmt", "--all", "--check"])).context("run `cargo fmt --all`")?;
    tally.pass();
    Ok(())
}

fn clippy(workspace: &Workspace, tally: &mut Tally) -> anyhow::Result<()> {
    let arguments = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "--deny=warnings",
    ];
    run(&mut workspace.cargo(arguments))?;
    tally.pass();
    Ok(())
}

/// Every test of the workspace. The binaries and the library are built first: end-to-end tests and those of the documentation run them.
fn tests(workspace: &Workspace, tally: &mut Tally) -> anyhow::Result<()> {
    scenarios::build(workspace)?;
    let report = workspace.target("nextest/default/junit.xml");
    // A report of an earlier run must not be counted when this one does not get that far.
    let _ = std::fs::remove_file(&report);
    let mut command = workspace.cargo(["nextest", "run", "--workspace", "--no-fail-fast"]);
    let outcome = run(install::with_tools(workspace, &mut command));
    let counted = std::fs::read_to_string(&report)
        .context("nextest wrote no report: the tests do not build")
        .map(|text| tally.add_junit(&text));
    match (outcome, counted) {
        (Ok(()), counted) => counted,
        // The failed tests are in the tally already.
        (Err(_), Ok(())) if tally.failed > 0 => Ok(()),
        (Err(error), _) => Err(error),
    }
}

fn doc_tests(workspace: &Workspace, tally: &mut Tally) -> anyhow::Result<()> {
    run(&mut workspace.cargo(["test", "--workspace", "--doc", "--quiet"]))?;
    tally.pass();
    Ok(())
}

/// The examples' own tests: that their versions really do not understand each other.
fn examples(workspace: &Workspace, tally: &mut Tally) -> anyhow::Result<()> {
    for example in std::fs::read_dir(workspace.root().join("examples"))? {
        let tests = example?.path().join("tests");
        if tests.is_dir() {
            let mut command = workspace.command("python3");
            run(command
                .args(["-m", "unittest", "discover", "-s"])
                .arg(tests))?;
            tally.pass();
        }
    }
    Ok(())
}

/// The documentation's site. What its pages show was run by the tests.
fn docs(workspace: &Workspace, tally: &mut Tally) -> anyhow::Result<()> {
    crate::docs::site::build(workspace)?;
    tally.pass();
    Ok(())
}

/// The quick choice of real programs.
fn matrix(workspace: &Workspace, tally: &mut Tally) -> anyhow::Result<()> {
    xtask(workspace, &["matrix", "--quick", "--json"])?;
    tally.pass();
    Ok(())
}

fn faults(workspace: &Workspace, tally: &mut Tally) -> anyhow::Result<()> {
    xtask(workspace, &["faults", "--quick", "--json"])?;
    tally.pass();
    Ok(())
}

fn demo(workspace: &Workspace, tally: &mut Tally) -> anyhow::Result<()> {
    xtask(workspace, &["demo", "--json"])?;
    tally.pass();
    Ok(())
}

/// Servers over one database, in its short form; without PostgreSQL this cannot run.
fn demo_postgres(workspace: &Workspace, tally: &mut Tally) -> anyhow::Result<()> {
    if !install::has_postgres() {
        tally.skip("demo postgres", "PostgreSQL 15 is not installed");
        return Ok(());
    }
    let arguments = ["demo", "--database", "postgres", "--short", "--json"];
    xtask(workspace, &arguments)?;
    tally.pass();
    Ok(())
}

/// Servers whose artifacts are in an OCI registry, in its short form; without docker-registry this cannot run.
fn demo_registry(workspace: &Workspace, tally: &mut Tally) -> anyhow::Result<()> {
    if !install::has_registry() {
        tally.skip("demo registry", "docker-registry is not installed");
        return Ok(());
    }
    let arguments = ["demo", "--registry", "oci", "--short", "--json"];
    xtask(workspace, &arguments)?;
    tally.pass();
    Ok(())
}

/// Where npm is missing this cannot run; the example's own test says so in the same case.
fn demo_json_server(workspace: &Workspace, tally: &mut Tally) -> anyhow::Result<()> {
    if !install::has_json_server(workspace) {
        tally.skip(
            "demo json-server",
            "its packages could not be installed from npm",
        );
        return Ok(());
    }
    xtask(workspace, &["demo", "--example", "json-server", "--json"])?;
    tally.pass();
    Ok(())
}

/// Where its adapter cannot be built this cannot run.
fn color_flavor(
    workspace: &Workspace,
    tally: &mut Tally,
    name: &'static str,
    more: &[&str],
) -> anyhow::Result<()> {
    if !install::has_rust_target(workspace)? {
        tally.skip(name, install::NO_RUST_TARGET);
        return Ok(());
    }
    let mut arguments = vec!["demo", "--example", "color-flavor", "--json"];
    arguments.extend(more);
    xtask(workspace, &arguments)?;
    tally.pass();
    Ok(())
}

/// Where there are no network namespaces this cannot run, nor where its software could not be built or its adapter cannot be.
fn redis_cluster(
    workspace: &Workspace,
    tally: &mut Tally,
    name: &'static str,
    more: &[&str],
) -> anyhow::Result<()> {
    if let Some(why) = scenarios::lacks_networks(workspace) {
        tally.skip(name, &why);
        return Ok(());
    }
    if let Some(why) = install::lacks_redis_cluster(workspace) {
        tally.skip(name, why);
        return Ok(());
    }
    let mut arguments = vec!["demo", "--example", "redis-cluster", "--json"];
    arguments.extend(more);
    xtask(workspace, &arguments)?;
    tally.pass();
    Ok(())
}

fn chaos(workspace: &Workspace, tally: &mut Tally) -> anyhow::Result<()> {
    let [flag, seed] = CHAOS;
    xtask(workspace, &["demo", flag, seed, "--json"])?;
    tally.pass();
    Ok(())
}

/// The demo on a test network of this kind, in its short form.
fn on_network(workspace: &Workspace, tally: &mut Tally, kind: &str) -> anyhow::Result<()> {
    if let Some(why) = scenarios::lacks_networks(workspace) {
        tally.skip(kind, &why);
        return Ok(());
    }
    xtask(workspace, &["demo", "--network", kind, "--short", "--json"])?;
    tally.pass();
    Ok(())
}

/// This program again, as a person would call it. What it says last of a failure is said again in the sum.
fn xtask(workspace: &Workspace, arguments: &[&str]) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("cannot tell where xtask is")?;
    let mut command = workspace.command(program);
    let command = install::with_tools(workspace, command.args(arguments));
    let shown = format!("cargo xtask {}", arguments.join(" "));
    let mut child = command
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{shown}`"))?;
    let said = child.stderr.take().context("it has no standard error")?;
    let mut last = VecDeque::new();
    for line in BufReader::new(said).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        eprintln!("{line}");
        last.push_back(line);
        if last.len() > LAST_WORDS {
            last.pop_front();
        }
    }
    let status = child.wait()?;
    anyhow::ensure!(
        status.success(),
        "`{shown}` ended with {status}; it said last:\n  {}",
        Vec::from(last).join("\n  ")
    );
    Ok(())
}

//! Demos, benchmarks, faults and the matrix: programs of the crate `scenarios`, which links the whole product. They are built here with
//! cargo's own progress in sight, and then take this process's place.

use crate::workspace::{Profile, Workspace};
use anyhow::Context as _;
use clap::Args;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// What the scenario is told.
#[derive(Debug, Args)]
pub struct Options {
    /// As `--help` says, which is the scenario's own
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// The scenarios.
pub const NAMES: [&str; 4] = ["demo", "bench", "matrix", "faults"];

/// Builds the program of the scenarios, and Upstart for it; says where it is.
///
/// # Errors
/// When they do not build.
pub fn build(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let folder = workspace.build_packages(&["upstart", "preload", "scenarios"], Profile::Dev)?;
    Ok(folder.join("scenarios"))
}

/// Why no test networks can be made here, if so; asks the program, which must have been built.
pub fn lacks_networks(workspace: &Workspace) -> Option<String> {
    let asked = workspace
        .command(program(workspace))
        .arg("networks")
        .output();
    match asked {
        Ok(answer) if answer.status.success() => None,
        Ok(answer) => Some(String::from_utf8_lossy(&answer.stdout).trim().to_owned()),
        Err(error) => Some(format!("the scenarios cannot be run: {error}")),
    }
}

fn program(workspace: &Workspace) -> PathBuf {
    workspace.target("debug").join("scenarios")
}

/// Builds and runs one.
///
/// # Errors
/// When it does not build, or cannot be run.
pub fn run(name: &str, options: &Options) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::find()?;
    if !program(&workspace).exists() {
        eprintln!(
            "`cargo xtask {name}` needs Upstart itself. It is built once now, which takes about 13 minutes on two processors; cargo shows how far it is."
        );
    }
    let program = build(&workspace)?;
    let mut scenario = workspace.command(&program);
    let failed = scenario.arg(name).args(&options.arguments).exec();
    Err(failed).with_context(|| format!("cannot run {}", program.display()))
}

//! Installs what the chosen rows need and nothing else; what is there already is left alone.

use super::programs::Program;
use anyhow::Context;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use xtask::install::{as_root, lacking};
use xtask::workspace::{Workspace, run};

/// Debian packages start their services unless this file says no. It is put there for the installation only, and only where there is none.
const APT: &str = r#"
set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\nexit 101\n' > $policy
    chmod 755 $policy
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet
apt-get install --quiet --yes --no-install-recommends "$@"
"#;

/// What the rows are called with, and what makes Python's environment.
const ALWAYS: [&str; 3] = ["curl", "python3", "python3-venv"];

/// Where Python's packages lie.
pub(super) fn python(workspace: &Workspace) -> PathBuf {
    workspace.target("matrix/python")
}

/// Where npm's packages lie.
pub(super) fn npm(workspace: &Workspace) -> PathBuf {
    workspace.target("matrix/npm")
}

/// Installs what these programs need.
///
/// # Errors
/// When something cannot be had.
pub(super) fn everything(workspace: &Workspace, programs: &[Program]) -> anyhow::Result<()> {
    let union = |list: fn(&Program) -> &Vec<String>| -> Vec<String> {
        let names: BTreeSet<&String> = programs.iter().flat_map(list).collect();
        names.into_iter().cloned().collect()
    };
    let mut packages = union(|program| &program.debian);
    packages.extend(ALWAYS.map(str::to_owned));
    debian(workspace, &packages)?;
    pypi(workspace, &union(|program| &program.pypi))?;
    npm_packages(workspace, &union(|program| &program.npm))
}

/// Why a program cannot be tried without installing something; none where everything is there.
pub(super) fn lacks(workspace: &Workspace, program: &Program) -> Option<String> {
    let mut missing = lacking(&program.debian);
    let noted = |folder: PathBuf| notes(&folder);
    let python = noted(python(workspace));
    let node = noted(npm(workspace));
    missing.extend(program.pypi.iter().filter(|name| !python.contains(*name)));
    missing.extend(program.npm.iter().filter(|name| !node.contains(*name)));
    (!missing.is_empty()).then(|| {
        let names: Vec<&str> = missing.into_iter().map(String::as_str).collect();
        format!("not installed: {}", names.join(" "))
    })
}

fn debian(workspace: &Workspace, packages: &[String]) -> anyhow::Result<()> {
    let missing = lacking(packages);
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("installing {} Debian packages", missing.len());
    let mut command = as_root(workspace, &["sh", "-c", APT, "apt"]);
    run(command
        .args(missing)
        .stdin(Stdio::null())
        .stdout(Stdio::null()))
}

/// What was installed into a folder of packages: a name a line.
fn notes(folder: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(folder.join("installed")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Installs what is not noted, and notes it.
fn install(
    folder: &Path,
    packages: &[String],
    by: impl FnOnce(&[&String]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut noted = notes(folder);
    let missing: Vec<&String> = packages
        .iter()
        .filter(|name| !noted.contains(*name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("installing {missing:?}");
    by(&missing)?;
    noted.extend(missing.into_iter().cloned());
    let lines: Vec<String> = noted.into_iter().collect();
    std::fs::write(folder.join("installed"), lines.join("\n")).context("cannot note it")
}

fn pypi(workspace: &Workspace, packages: &[String]) -> anyhow::Result<()> {
    let folder = python(workspace);
    install(&folder, packages, |missing| {
        if !folder.join("bin/pip").exists() {
            let mut venv = workspace.command(interpreter());
            run(venv.args(["-m", "venv"]).arg(&folder))?;
        }
        let mut pip = workspace.command(folder.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check"]);
        run(pip.arg("--no-input").args(missing))
    })
}

fn npm_packages(workspace: &Workspace, packages: &[String]) -> anyhow::Result<()> {
    let folder = npm(workspace);
    install(&folder, packages, |missing| {
        std::fs::create_dir_all(&folder)?;
        let mut npm = workspace.command("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]);
        run(npm.arg(&folder).args(missing))
    })
}

/// Debian's own interpreter where it is there: a version manager's shim would be tried instead of Python.
pub(super) fn interpreter() -> &'static str {
    if Path::new("/usr/bin/python3").exists() {
        "/usr/bin/python3"
    } else {
        "python3"
    }
}

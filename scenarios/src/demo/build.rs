//! Builds the program and the preloaded library, in the profile of the tests.

use super::place::{Place, repository};
use anyhow::{Context, bail};
use std::path::PathBuf;
use std::process::Command;

/// Builds what a run needs, copies it into the run's directory (so that a build meanwhile changes nothing for the run) and
/// gives the program's path; the library lies beside it.
pub fn build(place: &Place) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args([
            "build",
            "--quiet",
            "--package",
            "upstart",
            "--package",
            "preload",
        ])
        .current_dir(repository())
        .status()
        .context("cannot run cargo build")?;
    if !status.success() {
        bail!("the build failed");
    }
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| repository().join("target"), PathBuf::from);
    let programs = place.folder("programs")?;
    for name in ["upstart", "libupstart_preload.so"] {
        let built = target.join("debug").join(name);
        std::fs::copy(&built, programs.join(name))
            .with_context(|| format!("cannot copy {}", built.display()))?;
    }
    Ok(place.program())
}

//! What an idle connection takes in the process that serves it: the own test of the crate `serve` says, run here with what the
//! release is built with.

use anyhow::{Context, bail};
use std::process::Command;
use xtask::workspace::Workspace;

/// KiB for each connection.
pub(super) struct Idle {
    pub(super) session: f64,
    pub(super) lens: f64,
}

/// Runs the test and reads what it says.
pub(super) fn measure() -> anyhow::Result<Idle> {
    let workspace = Workspace::find()?;
    let mut command = Command::new("cargo");
    command
        .args(["test", "--workspace", "--test", "idle", "--", "--nocapture"])
        .args(["--test-threads", "1"])
        .current_dir(&workspace.metadata.workspace_root);
    let output = command.output().context("cargo cannot be run")?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!(
            "the test of idle connections failed:\n{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(Idle {
        session: figure(&said, "sessions")?,
        lens: figure(&said, "through_a_lens")?,
    })
}

/// The figure in the line of a test whose name contains this: `NAME: 8000 connections, 12.3 KiB each`.
fn figure(said: &str, test: &str) -> anyhow::Result<f64> {
    let mut lines = said.lines().filter(|line| line.contains(test));
    let number = lines.find_map(|line| {
        let (_, rest) = line.split_once("connections, ")?;
        rest.strip_suffix(" KiB each")?.parse().ok()
    });
    number.with_context(|| format!("no figure of a test with `{test}` in its name in:\n{said}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_and_what_was_skipped_is_none() {
        let said = "test x ... many_sessions: 8000 connections, 12.5 KiB each\nok\n";
        assert_eq!(figure(said, "sessions").expect("there"), 12.5);
        let skipped = "SKIPPED: many_sessions: needs 16200 descriptors (ulimit -n)\n";
        assert!(figure(skipped, "sessions").is_err());
    }
}

//! Callers from outside while something happens: `matrix/client.py load`, started, ended, and judged.

use super::install;
use super::stage::{NODE, Stage};
use anyhow::{Context, bail};
use serde::Deserialize;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The callers.
pub(super) struct Load {
    child: Child,
}

/// What they counted.
#[derive(Debug, Deserialize)]
pub(super) struct Counts {
    pub(super) calls: u64,
    pub(super) failed: u64,
    pub(super) resets: u64,
    /// How many there were; each had at most one connection at a time.
    pub(super) callers: u64,
    pub(super) slowest_ms: u64,
    /// The first things that went wrong.
    pub(super) errors: Vec<String>,
    /// What the last answers said of the version, if they say.
    pub(super) versions: Vec<String>,
}

impl Load {
    /// Starts them against a port of the row's; the state's folder may occur in what they say.
    pub(super) fn start(stage: &Stage<'_>, how: u16, state: &Path) -> anyhow::Result<Self> {
        let file = stage.root.join("load.json");
        std::fs::write(&file, serde_json::to_string(&stage.program.load)?)?;
        let child = Command::new(install::interpreter())
            .arg(stage.workspace.root().join("matrix/client.py"))
            .arg("load")
            .arg(file)
            .args(["127.0.0.1", &stage.port(how).to_string()])
            .envs(stage.environment(how))
            .env("STATE", state)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .context("cannot start the callers")?;
        Ok(Self { child })
    }

    /// Ends them.
    pub(super) fn finish(mut self) -> anyhow::Result<Counts> {
        // Its end is what they wait for.
        drop(self.child.stdin.take());
        let output = self.child.wait_with_output()?;
        if !output.status.success() {
            bail!("the callers ended with {}", output.status);
        }
        serde_json::from_slice(&output.stdout).context("the callers counted nothing")
    }
}

impl Counts {
    /// What is wrong with them, when this version should have answered last.
    pub(super) fn complaints(&self, version: u32, slowest_s: u64) -> Vec<String> {
        let mut found = Vec::new();
        if self.slowest_ms > slowest_s * 1000 {
            found.push(format!("a call took {} s", self.slowest_ms / 1000));
        }
        if self.failed > 0 {
            found.push(format!("{} of {} calls failed", self.failed, self.calls));
        }
        if self.resets > self.callers {
            found.push(format!(
                "{} resets of {} connections",
                self.resets, self.callers
            ));
        }
        if self.calls < 2 * self.callers {
            found.push(format!("only {} calls", self.calls));
        }
        if self
            .versions
            .iter()
            .any(|seen| *seen != version.to_string())
        {
            found.push(format!(
                "version {version} should have answered last, it was {}",
                self.versions.join(" and ")
            ));
        }
        if !found.is_empty() {
            found.extend(self.errors.iter().cloned());
        }
        found
    }
}

/// Callers against the node.
pub(super) fn against_node(stage: &Stage<'_>, state: &Path) -> anyhow::Result<Load> {
    Load::start(stage, NODE, state)
}

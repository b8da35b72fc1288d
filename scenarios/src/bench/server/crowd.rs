//! The process with the nodes: started, told, heard.

use super::Programs;
use anyhow::{Context, bail};
use crowd::{CrowdFigures, CrowdSays};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// A process with nodes in it; it ends with this.
pub(super) struct CrowdProcess {
    child: Child,
    orders: ChildStdin,
    says: Lines<BufReader<ChildStdout>>,
}

impl CrowdProcess {
    /// Starts it with these arguments; what it has to say besides goes into a file.
    pub(super) fn start(
        programs: &Programs,
        arguments: &[String],
        log: &Path,
    ) -> anyhow::Result<Self> {
        let log = std::fs::File::create(log)?;
        let mut child = Command::new(&programs.crowd)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", programs.crowd.display()))?;
        let orders = child.stdin.take().context("it has a stdin")?;
        let says = child.stdout.take().context("it has a stdout")?;
        Ok(Self {
            child,
            orders,
            says: BufReader::new(says).lines(),
        })
    }

    /// Its process.
    pub(super) fn pid(&self) -> anyhow::Result<u32> {
        self.child.id().context("the crowd has ended")
    }

    /// What it says next; none where that takes longer.
    pub(super) async fn next(&mut self, limit: Duration) -> anyhow::Result<Option<CrowdSays>> {
        let Ok(line) = timeout(limit, self.says.next_line()).await else {
            return Ok(None);
        };
        match line? {
            Some(line) => Ok(Some(serde_json::from_str(&line)?)),
            None => bail!("the crowd has ended; see its log"),
        }
    }

    /// Waits until it says something.
    pub(super) async fn until<T>(
        &mut self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(CrowdSays) -> Option<T>,
    ) -> anyhow::Result<T> {
        let waited = timeout(limit, async {
            loop {
                let said = self.next(limit).await?;
                if let Some(found) = said.and_then(&wanted) {
                    return anyhow::Ok(found);
                }
            }
        });
        waited
            .await
            .with_context(|| format!("waited {} s in vain until {what}", limit.as_secs()))?
    }

    /// Measures from now on.
    pub(super) async fn measure(&mut self) -> anyhow::Result<()> {
        Ok(self.orders.write_all(b"measure\n").await?)
    }

    /// What was measured.
    pub(super) async fn measured(&mut self) -> anyhow::Result<CrowdFigures> {
        self.orders.write_all(b"end\n").await?;
        let limit = Duration::from_secs(30);
        let figures = self.until(
            "the crowd tells what it has measured",
            limit,
            |said| match said {
                CrowdSays::Measured(figures) => Some(*figures),
                _ => None,
            },
        );
        figures.await
    }
}

//! When all is over: reads every history, asks the store for every key, and lets the checker judge.

use super::ask;
use super::check::{Observed, Verdict};
use super::forms::{self, Outcome, Record};
use super::history::{self, Fault};
use super::summary::{Calls, Summary};
use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// How often a final read is tried.
const TRIES: u32 = 5;

/// What is known in the end.
#[derive(Debug)]
pub struct Judged {
    /// The checker's findings.
    pub verdict: Verdict,
    /// Connections that broke.
    pub resets: Vec<Fault>,
    /// Connections that were refused.
    pub refusals: Vec<Fault>,
}

impl Judged {
    /// The summary, but for what the system itself tells.
    pub fn summary(&self, example: &'static str, nodes: usize, versions: Vec<u32>) -> Summary {
        let counts = self.verdict.calls;
        Summary {
            example,
            nodes,
            versions,
            calls: Calls {
                total: counts.total,
                ok: counts.ok,
                refused: counts.refused,
                reset_retried: self.resets.len() as u64,
                failed: counts.failed,
                wrong: counts.wrong,
            },
            writes_acknowledged: self.verdict.writes_acknowledged,
            connections_refused: self.refusals.len() as u64,
            acknowledged_writes_lost: self.verdict.acknowledged_writes_lost,
            ..Summary::default()
        }
    }
}

/// Reads all files of `folder`, then asks what every key holds now.
pub fn judge(
    folder: &Path,
    holds: impl Fn(&str) -> anyhow::Result<Option<Record>>,
) -> anyhow::Result<Judged> {
    let mut observed = Observed::default();
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let path = entry?.path();
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let lines = history::parse(&text)
            .map_err(|error| anyhow::anyhow!("{}, {error}", path.display()))?;
        observed.add(lines);
    }
    let mut last = BTreeMap::new();
    for key in observed.keys() {
        if let Some(record) = holds(key)? {
            last.insert(key.to_owned(), record);
        }
    }
    let (resets, refusals) = (observed.resets.clone(), observed.refusals.clone());
    Ok(Judged {
        verdict: observed.judge(&last),
        resets,
        refusals,
    })
}

/// What the store's gateway at this address says that a key holds, to a caller at this version.
pub fn final_read(version: u32, key: &str, gateway: &str) -> anyhow::Result<Option<Record>> {
    let path = match version {
        1 => format!("/keys/{key}"),
        2 => format!("/items?name={key}"),
        _ => format!("/store/{key}"),
    };
    let mut problem = String::new();
    for _ in 0..TRIES {
        match ask::get(gateway, &path) {
            Ok((status, body)) => match forms::read(version, key, status, &body) {
                Outcome::Found(record) => return Ok(Some(record)),
                Outcome::Missing => return Ok(None),
                other => problem = format!("{other:?}: {status} {body}"),
            },
            Err(error) => problem = format!("{error:#}"),
        }
    }
    bail!("the last read of {key} at {gateway} failed: {problem}")
}

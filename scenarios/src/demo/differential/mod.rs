//! The differential test of example 3: the same requests go to a real json-server of the callers' version, and through the
//! adapter to a real one of the other version. Every answer must be equal, or explicitly refused.

mod adapter;
mod requests;
mod servers;
mod table;
#[cfg(test)]
mod tests;
mod wire;

use self::adapter::Adapter;
use self::requests::Request;
use self::servers::{Server, Versions};
use self::wire::Answer;
use anyhow::Context;
use call::Direction;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

pub use table::{readme, write_readme};

/// What is looked at after a write: everything that can be stored.
const STATE: [&str; 4] = ["/posts", "/comments", "/tags", "/profile"];

/// How one request was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Both answers are the same.
    Equal,
    /// The adapter refused, for this reason.
    Refused(String),
    /// They differ, and nobody said so.
    Different(String),
}

/// One request and its verdict.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The request.
    pub request: Request,
    /// How it was judged.
    pub verdict: Verdict,
}

/// The counts of one direction, as the demo's summary has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All requests.
    pub requests: usize,
    /// Answered equally.
    pub equal: usize,
    /// Refused.
    pub refused: usize,
    /// Answered otherwise; none is right.
    pub different: usize,
}

/// What both directions gave.
#[derive(Debug, Default)]
pub struct Report {
    /// Old callers, new software.
    pub past: Vec<Judged>,
    /// New callers, old software.
    pub future: Vec<Judged>,
}

/// The counts of both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Both {
    /// Old callers, new software.
    pub past: Counts,
    /// New callers, old software.
    pub future: Counts,
}

impl Report {
    /// The counts of both directions.
    pub fn counts(&self) -> Both {
        let count = |all: &[Judged]| {
            let of =
                |wanted: fn(&Verdict) -> bool| all.iter().filter(|j| wanted(&j.verdict)).count();
            Counts {
                requests: all.len(),
                equal: of(|verdict| *verdict == Verdict::Equal),
                refused: of(|verdict| matches!(verdict, Verdict::Refused(_))),
                different: of(|verdict| matches!(verdict, Verdict::Different(_))),
            }
        };
        Both {
            past: count(&self.past),
            future: count(&self.future),
        }
    }

    /// Everything that is not as it must be.
    pub fn shortcomings(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (name, judged, percent) in [("past", &self.past, 70), ("future", &self.future, 60)] {
            for judged in judged {
                if let Verdict::Different(how) = &judged.verdict {
                    found.push(format!("{name}: {}: {how}", judged.request));
                }
            }
            let equal = judged
                .iter()
                .filter(|j| j.verdict == Verdict::Equal)
                .count();
            if judged.len() < 150 || equal * 100 < judged.len() * percent {
                let all = judged.len();
                found.push(format!(
                    "{name}: {equal} of {all} requests are equal, not {percent} %"
                ));
            }
        }
        let mut equal: BTreeMap<&str, bool> = BTreeMap::new();
        for judged in self.past.iter().chain(&self.future) {
            *equal.entry(&judged.request.feature).or_default() |= judged.verdict == Verdict::Equal;
        }
        for (feature, equal) in equal {
            if !equal && !["Full text", "_like"].contains(&feature) {
                found.push(format!("no request of `{feature}` is equal"));
            }
        }
        found
    }
}

/// Runs both directions; `modules` is where `setup.py` installed, `folder` an empty one for data and logs.
///
/// # Errors
/// When a server does not start or a connection to it fails.
pub fn run(example: &Path, modules: &Path, folder: &Path) -> anyhow::Result<Report> {
    let versions = Versions::prepare(example, modules, folder)?;
    let [old, new] = [versions.start(1, "a")?, versions.start(2, "a")?];
    let lens = example.join("v2/lens.toml");
    let past = direction(example, &lens, Direction::Past, &old, &new);
    let future = direction(example, &lens, Direction::Future, &new, &old);
    Ok(Report {
        past: past?,
        future: future?,
    })
}

fn direction(
    example: &Path,
    lens: &Path,
    direction: Direction,
    own: &Server,
    other: &Server,
) -> anyhow::Result<Vec<Judged>> {
    let name = if direction == Direction::Past {
        "old"
    } else {
        "new"
    };
    let file = example.join(format!("tests/{name}.txt"));
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}", file.display()))?;
    let requests = requests::parse(&text)?;
    let adapter = Adapter::start(lens, direction, other.port)?;
    let mut judged = Vec::with_capacity(requests.len());
    for request in requests {
        let verdict = judge(&request, own, other, &adapter)
            .with_context(|| format!("{}: {request}", direction.name()))?;
        if request.writes() {
            own.reset()?;
            other.reset()?;
        }
        judged.push(Judged { request, verdict });
    }
    Ok(judged)
}

/// Asks both, and after a write looks at everything: an equal one must have done the same, a refused one nothing.
fn judge(
    request: &Request,
    own: &Server,
    other: &Server,
    adapter: &Adapter,
) -> anyhow::Result<Verdict> {
    let state = |port: u16| -> anyhow::Result<Vec<Answer>> {
        let ask = |path: &&str| wire::ask(port, &Request::get(path));
        STATE.iter().map(ask).collect()
    };
    let before = if request.writes() {
        state(other.port)?
    } else {
        Vec::new()
    };
    let wanted = wire::ask(own.port, request)?;
    let refused = adapter.refused();
    let got = wire::ask(adapter.port, request)?;
    let reason = (adapter.refused() > refused).then(|| adapter.reason());
    let difference = wanted.difference(&got);
    if let (Some(reason), Some(_)) = (&reason, &difference) {
        if request.writes() && state(other.port)? != before {
            let how = format!("refused ({reason}), but something was written");
            return Ok(Verdict::Different(how));
        }
        return Ok(Verdict::Refused(reason.clone()));
    }
    if let Some(how) = difference {
        return Ok(Verdict::Different(how));
    }
    if request.writes() {
        for (path, (wanted, got)) in STATE
            .iter()
            .zip(state(own.port)?.iter().zip(&state(adapter.port)?))
        {
            if let Some(how) = wanted.difference(got) {
                return Ok(Verdict::Different(format!("afterwards {path}: {how}")));
            }
        }
    }
    Ok(Verdict::Equal)
}

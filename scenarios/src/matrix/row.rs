//! One program, tried: bare, as a node, through an upgrade, through upgrades that fail.

use super::load::{self, Counts, Load};
use super::programs::Program;
use super::stage::{BARE, NODE, Stage};
use super::system::{Fate, MatrixSystem};
use anyhow::{Context, bail};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long callers call before and after what happens.
const AROUND: Duration = Duration::from_millis(1000);

/// How much of a difference is shown.
const DIFFERENCES_MAX: usize = 12;

/// What came of it. A column is none where it makes no sense for this program.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Row {
    pub(super) program: String,
    pub(super) starts: Option<bool>,
    pub(super) same_as_bare: Option<bool>,
    pub(super) upgrade: Option<bool>,
    pub(super) flip_back: Option<bool>,
    pub(super) calls: u64,
    pub(super) failed: u64,
    pub(super) resets: u64,
    /// What went wrong, and why a column is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) why: Vec<String>,
    /// The slowest call of all, those held through an upgrade included.
    #[serde(skip)]
    pub(super) slowest_ms: u64,
    #[serde(skip)]
    pub(super) seconds: u64,
    /// The program's version, as it says it.
    #[serde(skip)]
    pub(super) version: String,
    #[serde(skip)]
    pub(super) evidence: String,
}

impl Row {
    /// Whether everything that was tried went well.
    pub(super) fn passed(&self) -> bool {
        let columns = [self.starts, self.same_as_bare, self.upgrade, self.flip_back];
        self.starts == Some(true) && !columns.contains(&Some(false)) && self.failed == 0
    }

    /// A row of which nothing could be tried.
    pub(super) fn hopeless(program: &Program, why: String) -> Self {
        let mut row = Self {
            program: program.name.clone(),
            starts: Some(false),
            same_as_bare: Some(false),
            upgrade: Some(false),
            flip_back: Some(false),
            why: vec![why],
            ..Self::default()
        };
        row.leave_out(program);
        row
    }

    fn leave_out(&mut self, program: &Program) {
        for (name, column) in [
            ("same_as_bare", &mut self.same_as_bare),
            ("upgrade", &mut self.upgrade),
            ("flip_back", &mut self.flip_back),
        ] {
            if let Some(why) = program.without(name) {
                *column = None;
                self.why.push(format!("{name}: {why}"));
            }
        }
    }

    fn add(&mut self, counts: &Counts) {
        self.calls += counts.calls;
        self.failed += counts.failed;
        self.resets += counts.resets;
        self.slowest_ms = self.slowest_ms.max(counts.slowest_ms);
    }
}

/// Tries a program; with no product, only bare.
pub(super) fn attempt(stage: &Stage<'_>, upstart: Option<&Path>, say: &dyn Fn(&str)) -> Row {
    let began = Instant::now();
    let mut row = Row::hopeless(stage.program, String::new());
    row.why.retain(|why| !why.is_empty());
    row.version = version(stage);
    say("bare");
    let bare = bare(stage, upstart.is_none().then_some(&mut row));
    let left = stage.clear();
    if let Err(error) = &bare
        && !left.is_empty()
    {
        row.evidence += &format!("killed: {left:?} ({error:#})\n");
    }
    match (bare, upstart) {
        (Err(error), _) => {
            row.why.push(format!("bare: {error:#}"));
            row.evidence += &format!("--- bare\n{}\n", stage.tail("bare.log"));
        }
        (Ok(_), None) => {
            row.starts = Some(true);
            (row.same_as_bare, row.upgrade, row.flip_back) = (None, None, None);
        }
        (Ok(conversation), Some(upstart)) => {
            under_upstart(stage, upstart, &conversation, &mut row, say);
        }
    }
    row.seconds = began.elapsed().as_secs();
    row
}

fn version(stage: &Stage<'_>) -> String {
    let said = stage.run(BARE, &stage.root, &stage.program.version);
    let said = said.unwrap_or_default();
    said.lines().next().unwrap_or_default().trim().to_owned()
}

/// Runs the program bare and talks to it twice: what it said must be the same.
fn bare(stage: &Stage<'_>, measured: Option<&mut Row>) -> anyhow::Result<String> {
    let state = stage.root.join("bare");
    std::fs::create_dir_all(&state)?;
    stage.bare_origins()?;
    start_bare(stage, &state, BARE, 1)?;
    let mut said = Vec::new();
    for _ in 0..2 {
        let text = stage.run(BARE, &state, &stage.program.converse)?;
        said.push(stage.plain(BARE, &state, &text));
    }
    if let Some(difference) = difference(&said[0], &said[1]) {
        bail!("a second conversation differs, mask it:\n{difference}");
    }
    if let Some(row) = measured {
        row.evidence = said[0].clone();
        call_bare(stage, &state, BARE, 1, row)?;
        stage.stop("bare", Duration::from_secs(stage.program.stop_grace_s));
        stage.clear();
        stage.bare_origins()?;
        // Elsewhere, since the port is not free at once for everybody; its state is what the first one left.
        start_bare(stage, &state, NODE, 2).context("version 2")?;
        call_bare(stage, &state, NODE, 2, row).context("version 2")?;
    }
    stage.stop("bare", Duration::from_secs(stage.program.stop_grace_s));
    Ok(said.swap_remove(0))
}

/// Callers who call the bare program: what they say while it is upgraded must be right.
fn call_bare(
    stage: &Stage<'_>,
    state: &Path,
    how: u16,
    version: u32,
    row: &mut Row,
) -> anyhow::Result<()> {
    let callers = Load::start(stage, how, state)?;
    std::thread::sleep(AROUND);
    let counts = callers.finish()?;
    row.add(&counts);
    let complaints = counts.complaints(version, stage.program.slowest_s);
    anyhow::ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
    Ok(())
}

fn is_gone(stage: &Stage<'_>) -> bool {
    !stage.program.forks && !stage.runs("bare")
}

/// Starts the program and waits until it is well.
fn start_bare(stage: &Stage<'_>, state: &Path, how: u16, version: u32) -> anyhow::Result<()> {
    let software = stage.root.join("software");
    let script = stage.root.join("bare.sh");
    let exports = format!(
        "export VERSION={version} SOFTWARE='{0}' BUILT='{0}/built' STATE=\"$PWD\"\nset -e\n",
        software.display()
    );
    let body = format!("{exports}{}", stage.program.start);
    std::fs::write(&script, stage.script(how, &body))?;
    let mut words: Vec<&str> = Vec::new();
    if let Some(user) = stage.user() {
        let chown = Command::new("chown").arg(user).arg(state).status()?;
        anyhow::ensure!(chown.success(), "there is no user `{user}`");
        words.extend([
            "setpriv",
            "--reuid",
            user,
            "--regid",
            user,
            "--clear-groups",
        ]);
    }
    words.push("sh");
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg(script).current_dir(state);
    stage.start("bare", &mut command)?;
    let patience = Duration::from_secs(stage.program.patience_s);
    stage.until("the program to be well", patience, || {
        !is_gone(stage) && stage.is_well(how, state)
    })
}

fn under_upstart(
    stage: &Stage<'_>,
    upstart: &Path,
    conversation: &str,
    row: &mut Row,
    say: &dyn Fn(&str),
) {
    say("start");
    let mut system = MatrixSystem::new(stage, upstart);
    if let Err(error) = system.start() {
        row.why.push(format!("it does not start: {error:#}"));
        row.evidence += &system.evidence();
        system.stop();
        return;
    }
    row.starts = Some(true);
    say("conversations");
    if row.same_as_bare.is_some() {
        let found = same(&system, conversation);
        settle(row, "same_as_bare", found, &system);
    }
    if row.upgrade.is_some() {
        say("upgrade");
        let found = through(&mut system, Fate::Serves, conversation, row);
        settle(row, "upgrade", found, &system);
    }
    if row.flip_back.is_some() {
        say("flip back");
        let found = back(&mut system, conversation, row);
        settle(row, "flip_back", found, &system);
    }
    say("stop");
    let left = system.stop();
    if !left.is_empty() {
        row.starts = Some(false);
        row.why
            .push(format!("left running after `upstart stop`: {left:?}"));
    }
}

/// Notes a column.
fn settle(row: &mut Row, column: &str, found: anyhow::Result<()>, system: &MatrixSystem<'_>) {
    let is_good = found.is_ok();
    match column {
        "same_as_bare" => row.same_as_bare = Some(is_good),
        "upgrade" => row.upgrade = Some(is_good),
        _ => row.flip_back = Some(is_good),
    }
    if let Err(error) = found {
        row.why.push(format!("{column}: {error:#}"));
        row.evidence += &format!("=== {column}\n{}", system.evidence());
    }
}

/// The same conversation from outside and from a member.
fn same(system: &MatrixSystem<'_>, bare: &str) -> anyhow::Result<()> {
    let stage = system.stage;
    let state: PathBuf = system.state();
    let outside = stage.run(NODE, &state, &stage.program.converse)?;
    let member = system.run_at_member(&stage.program.converse)?;
    for (whose, text) in [("outside", outside), ("a member", member)] {
        if let Some(found) = difference(bare, &stage.plain(NODE, &state, &text)) {
            bail!(
                "what a caller from {whose} was told differs (- bare, + under Upstart):\n{found}"
            );
        }
    }
    Ok(())
}

/// An upgrade under load.
fn through(
    system: &mut MatrixSystem<'_>,
    fate: Fate,
    conversation: &str,
    row: &mut Row,
) -> anyhow::Result<()> {
    let stage = system.stage;
    let callers = load::against_node(stage, &system.state())?;
    std::thread::sleep(AROUND);
    let upgraded = system.upgrade(fate);
    std::thread::sleep(AROUND);
    let counts = callers.finish()?;
    row.add(&counts);
    let mut complaints = counts.complaints(system.serving(), stage.program.slowest_s);
    if let Err(error) = upgraded {
        complaints.insert(0, format!("{error:#}"));
    } else if row.same_as_bare == Some(true)
        && let Err(error) = same(system, conversation)
    {
        complaints.push(format!("afterwards {error:#}"));
    }
    anyhow::ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
    Ok(())
}

/// Upgrades that fail: one whose software listens and never becomes healthy, one whose software ends.
fn back(system: &mut MatrixSystem<'_>, conversation: &str, row: &mut Row) -> anyhow::Result<()> {
    through(system, Fate::NeverHealthy, conversation, row)
        .context("the new version listens and never becomes healthy")?;
    through(system, Fate::Ends, conversation, row).context("the new version ends at once")
}

/// What differs, as lines; none when nothing does.
fn difference(expected: &str, actual: &str) -> Option<String> {
    if expected == actual {
        return None;
    }
    let [one, other] = [expected, actual].map(|text| text.lines().collect::<Vec<_>>());
    let same = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
    let rest = one[same..].iter().rev().zip(other[same..].iter().rev());
    let end = rest.take_while(|(a, b)| a == b).count();
    let shown = |mark: &str, lines: &[&str]| -> Vec<String> {
        let lines = &lines[same..lines.len() - end];
        let lines = lines.iter().take(DIFFERENCES_MAX);
        lines.map(|line| format!("  {mark} {line}")).collect()
    };
    let mut all = vec![format!("  after {same} equal lines")];
    all.extend(shown("-", &one));
    all.extend(shown("+", &other));
    Some(all.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_shown_without_what_is_the_same() {
        assert_eq!(difference("a\nb\n", "a\nb\n"), None);
        let shown = difference("a\nb\nc\n", "a\nx\ny\nc\n").expect("they differ");
        assert_eq!(shown, "  after 1 equal lines\n  - b\n  + x\n  + y");
    }

    #[test]
    fn a_row_passes_without_columns_that_make_no_sense() {
        let mut row = Row {
            starts: Some(true),
            same_as_bare: Some(true),
            ..Row::default()
        };
        assert!(row.passed());
        row.failed = 1;
        assert!(!row.passed());
        row.failed = 0;
        row.upgrade = Some(false);
        assert!(!row.passed());
    }
}

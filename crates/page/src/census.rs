//! The nodes, counted for the page: one walk over all of them, which the server makes now and then, however many look.

use crate::waits::{WaitKind, part_of, wait_kinds, without_numbers};
use model::api::{ChildState, NodeFact, Phase};
use model::ids::Version;
use std::collections::{BTreeMap, HashMap};

/// How many names stand for all of their kind.
const NAMES_MAX: usize = 5;

/// How many kinds of reasons, failures and counters are told at most: the most frequent ones.
const KINDS_MAX: usize = 20;

/// How far back the pace of an upgrade is measured.
const PACE_MS: u64 = 600_000;

/// In how many parts the time is cut in which nodes have settled at a version.
const PARTS: usize = 48;

/// So many nodes make a pace: fewer say nothing about the others. In a small fleet half of it does.
const PACE_NODES: std::ops::RangeInclusive<u64> = 2..=5;

/// A pace is measured for so long at least: several nodes that settle at once say nothing about the others either.
const PACE_MS_MIN: u64 = 60_000;

/// Some nodes: how many, and the names of a few.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedCount {
    /// How many.
    pub count: u64,
    /// The first few by name.
    pub names: Vec<String>,
}

impl NamedCount {
    /// One more; whether its name is the first now.
    fn add(&mut self, name: &str) -> bool {
        self.count += 1;
        let at = self.names.partition_point(|other| other.as_str() <= name);
        if at < NAMES_MAX {
            self.names.insert(at, name.to_owned());
            self.names.truncate(NAMES_MAX);
        }
        at == 0
    }
}

/// The nodes of one class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassCensus {
    /// All of them.
    pub nodes: u64,
    /// Those that the server has not heard for too long, whatever phase they told last.
    pub unheard: u64,
    /// Those whose software has ended by itself, or does not answer.
    pub failing: u64,
    /// By what they do.
    pub phases: BTreeMap<Phase, u64>,
    /// By the version at which they have settled; zero for those that have not started yet.
    pub versions: BTreeMap<Version, u64>,
}

/// A kind of reason for which nodes wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitTally {
    /// Which.
    pub kind: WaitKind,
    /// Who.
    pub nodes: NamedCount,
    /// What the first of them says of it.
    pub example: String,
    /// Before this moment none of them goes on, where a moment ends this kind of wait.
    pub until_ms: Option<u64>,
}

/// Something that went wrong, in the words of those who tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureTally {
    /// What they do now.
    pub what: &'static str,
    /// Where.
    pub nodes: NamedCount,
    /// What one of them says.
    pub example: String,
}

/// How far the nodes are on the way to one version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CourseCensus {
    /// Those that have settled at it or at a later one.
    pub there: u64,
    /// Those of the others that are heard and not blocked: the pace is theirs.
    pub moving: u64,
    /// Those of the moving that go no further before somebody does something: they wait for an approval, or for a node that is blocked.
    pub held_up: u64,
    /// Those of the others that are blocked.
    pub blocked: u64,
    /// Those of the others that are not heard.
    pub unheard: u64,
    /// Those that have settled at it within the time in which the pace is measured.
    pub recent: u64,
    /// How long that time is.
    pub pace_ms: u64,
    /// When the first and the last of those that are at this very version settled there.
    pub settled_ms: Option<(u64, u64)>,
    /// How many of them had settled at the end of each part of the time until `curve_end_ms`.
    pub curve: Vec<u64>,
    /// To which moment the curve goes: until now, as long as somebody is missing.
    pub curve_end_ms: u64,
}

impl CourseCensus {
    /// How long the others take at the pace at which nodes have settled lately; none where too few have.
    #[must_use]
    pub fn rest_ms(&self) -> Option<u64> {
        let known = self.recent >= self.pace_nodes() && self.moving > 0;
        let known = known && self.pace_ms >= PACE_MS_MIN && self.held_up == 0;
        known.then(|| self.moving.saturating_mul(self.pace_ms) / self.recent)
    }
}

impl CourseCensus {
    /// Why nobody can say how long the others take.
    pub(crate) fn why_no_rest(&self, is_paused: bool) -> String {
        let nodes = self.pace_nodes();
        if is_paused {
            "the system is paused".to_owned()
        } else if self.held_up > 0 {
            format!("{} of them wait for somebody to do something", self.held_up)
        } else if self.recent < nodes {
            format!("fewer than {nodes} have settled at this version in the last ten minutes")
        } else {
            "the pace has been measured for less than a minute".to_owned()
        }
    }

    /// How many nodes make a pace here.
    fn pace_nodes(&self) -> u64 {
        let all = self.there + self.moving + self.blocked + self.unheard;
        all.div_ceil(2)
            .clamp(*PACE_NODES.start(), *PACE_NODES.end())
    }
}

/// Calls between versions, of all nodes since their agents' first starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallCensus {
    /// Of callers at older versions.
    pub past: u64,
    /// Of callers at later versions.
    pub future: u64,
    /// Those that have failed.
    pub failed: u64,
    /// Those that an adapter has refused.
    pub refused: u64,
    /// The same by why, the most frequent first.
    pub refusals: Vec<(String, u64)>,
    /// Connections that were reset, by why.
    pub resets: Vec<(String, u64)>,
}

/// The nodes, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetCensus {
    /// When.
    pub at_ms: u64,
    /// How many there are.
    pub nodes: u64,
    /// By class.
    pub classes: BTreeMap<String, ClassCensus>,
    /// By the version at which they have settled, with a few names.
    pub versions: BTreeMap<Version, NamedCount>,
    /// The way to each version at which a node is, or to which one goes.
    pub courses: BTreeMap<Version, CourseCensus>,
    /// Why nodes wait, the most frequent reason first. A node may have several.
    pub waits: Vec<WaitTally>,
    /// How many nodes wait.
    pub waiting: u64,
    /// What has failed.
    pub failures: Vec<FailureTally>,
    /// What nodes say of calls that go wrong.
    pub remarks: Vec<FailureTally>,
    /// Calls between versions.
    pub calls: CallCensus,
    /// Open connections in agents by their label's version: how many, and at which nodes.
    pub connections: BTreeMap<Version, (u64, NamedCount)>,
    /// Who has not said yet that the versions are reset that are being retired.
    pub unacknowledged: NamedCount,
}

impl FleetCensus {
    /// Counts nodes, each with the class that it has at its version, at a time, while versions up to one are being retired.
    pub fn of<'a>(
        nodes: impl Iterator<Item = (&'a NodeFact, &'a str)> + Clone,
        retiring: Version,
        now_ms: u64,
    ) -> Self {
        let mut counting = Counting::default();
        for (fact, class) in nodes.clone() {
            counting.node(fact, class, retiring);
        }
        let held_up = std::mem::take(&mut counting.held_up);
        let mut census = counting.ended(now_ms);
        let settled = settled_times(nodes.clone());
        for version in settled.keys() {
            census.courses.entry(*version).or_default();
        }
        let mut standings: BTreeMap<Version, SettledTally> = BTreeMap::new();
        for (fact, _) in nodes {
            let status = &fact.report.status;
            let here = standings.entry(status.version).or_default();
            here.all += 1;
            here.unheard += u64::from(!fact.reachable);
            here.blocked += u64::from(fact.reachable && status.phase == Phase::Blocked);
        }
        for (version, course) in &mut census.courses {
            course.count(*version, &standings);
            course.held_up = held_up.range(..=*version).map(|(_, nodes)| nodes).sum();
            if let Some(times) = settled.get(version) {
                course.settle(times, now_ms);
            }
        }
        census
    }

    /// How many nodes have settled at a version or beyond, and of how many; of one class, where that is named.
    #[must_use]
    pub fn there(&self, class: Option<&str>, version: Version) -> (u64, u64) {
        match class {
            None => {
                let beyond = self.versions.range(version..);
                (beyond.map(|(_, nodes)| nodes.count).sum(), self.nodes)
            }
            Some(class) => self.classes.get(class).map_or((0, 0), |class| {
                let beyond = class.versions.range(version..);
                (beyond.map(|(_, nodes)| *nodes).sum(), class.nodes)
            }),
        }
    }

    /// The name of the most frequent reason to wait, where there is one.
    #[must_use]
    pub fn first_wait(&self) -> Option<&WaitTally> {
        self.waits.first()
    }
}

/// The nodes that have settled at one version.
#[derive(Default)]
struct SettledTally {
    all: u64,
    unheard: u64,
    /// And heard.
    blocked: u64,
}

/// What is counted on the way.
#[derive(Default)]
struct Counting<'a> {
    census: FleetCensus,
    waits: HashMap<WaitKind, WaitTally>,
    /// The kinds of each text: those who wait for room in one group say the same.
    kinds: HashMap<&'a str, Vec<WaitKind>>,
    failures: HashMap<(&'static str, String), FailureTally>,
    remarks: HashMap<String, FailureTally>,
    counters: HashMap<&'a str, u64>,
    /// Those that go no further before somebody does something, by where they would go next.
    held_up: BTreeMap<Version, u64>,
}

impl<'a> Counting<'a> {
    fn node(&mut self, fact: &'a NodeFact, class: &str, retiring: Version) {
        let status = &fact.report.status;
        let census = &mut self.census;
        census.nodes += 1;
        if !census.classes.contains_key(class) {
            let empty = ClassCensus::default();
            census.classes.insert(class.to_owned(), empty);
        }
        if let Some(counted) = census.classes.get_mut(class) {
            counted.nodes += 1;
            counted.unheard += u64::from(!fact.reachable);
            counted.failing += u64::from(is_failing(fact));
            *counted.phases.entry(status.phase).or_default() += 1;
            *counted.versions.entry(status.version).or_default() += 1;
        }
        let here = census.versions.entry(status.version).or_default();
        here.add(&fact.name);
        for version in [Some(status.version), status.target].into_iter().flatten() {
            if version > Version(0) && !census.courses.contains_key(&version) {
                census.courses.insert(version, CourseCensus::default());
            }
        }
        for (version, count) in &fact.report.connections {
            let (sum, nodes) = census.connections.entry(*version).or_default();
            *sum += count;
            nodes.add(&fact.name);
        }
        if fact.report.retired_acknowledged < retiring {
            census.unacknowledged.add(&fact.name);
        }
        self.why(fact);
        for (name, number) in &fact.report.counters {
            if ["calls.", "refused", "reset."]
                .iter()
                .any(|told| name.starts_with(told))
            {
                let sum = self.counters.entry(name).or_default();
                *sum = sum.saturating_add(*number);
            }
        }
    }

    /// Why it waits, what has failed, what it remarks.
    fn why(&mut self, fact: &'a NodeFact) {
        let status = &fact.report.status;
        let reason = status.reason.as_deref().unwrap_or_default();
        let failed = failed(fact);
        if status.phase == Phase::Staged && !reason.is_empty() && failed.is_none() {
            self.census.waiting += 1;
            let kinds = self.kinds.entry(reason);
            let kinds = kinds.or_insert_with(|| wait_kinds(reason));
            let target = status
                .target
                .filter(|_| fact.reachable && kinds.iter().any(WaitKind::waits_for_somebody));
            if let Some(target) = target {
                *self.held_up.entry(target).or_default() += 1;
            }
            for kind in kinds {
                if !self.waits.contains_key(kind) {
                    let tally = WaitTally {
                        kind: kind.clone(),
                        nodes: NamedCount::default(),
                        example: String::new(),
                        until_ms: None,
                    };
                    self.waits.insert(kind.clone(), tally);
                }
                let Some(tally) = self.waits.get_mut(kind) else {
                    continue;
                };
                if tally.nodes.add(&fact.name) {
                    tally.example = part_of(kind, reason).to_owned();
                }
                let until = [tally.until_ms, status.until_ms];
                let until = until.into_iter().flatten().min();
                tally.until_ms = until.filter(|_| kind.has_moment());
            }
        }
        if let Some(what) = failed {
            let kind = (what, without_numbers(reason));
            let tally = self.failures.entry(kind);
            let tally = tally.or_insert_with(|| FailureTally {
                what,
                nodes: NamedCount::default(),
                example: String::new(),
            });
            if tally.nodes.add(&fact.name) {
                tally.example = reason.to_owned();
            }
        }
        for remark in &fact.report.remarks {
            let tally = self.remarks.entry(without_numbers(remark));
            let tally = tally.or_insert_with(|| FailureTally {
                what: "",
                nodes: NamedCount::default(),
                example: String::new(),
            });
            if tally.nodes.add(&fact.name) {
                tally.example.clone_from(remark);
            }
        }
    }

    fn ended(self, now_ms: u64) -> FleetCensus {
        let mut census = self.census;
        census.at_ms = now_ms;
        census.calls = calls(&self.counters);
        let mut waits: Vec<WaitTally> = self.waits.into_values().collect();
        waits.sort_by(|a, b| (b.nodes.count, &a.kind).cmp(&(a.nodes.count, &b.kind)));
        waits.truncate(KINDS_MAX);
        census.waits = waits;
        census.failures = ranked(self.failures.into_values().collect());
        census.remarks = ranked(self.remarks.into_values().collect());
        census
    }
}

fn ranked(mut tallies: Vec<FailureTally>) -> Vec<FailureTally> {
    tallies.sort_by(|a, b| (b.nodes.count, &a.example).cmp(&(a.nodes.count, &b.example)));
    tallies.truncate(KINDS_MAX);
    tallies
}

/// What is wrong with a node, in a word; nothing where all is well.
fn failed(fact: &NodeFact) -> Option<&'static str> {
    match (fact.report.status.phase, fact.report.status.child) {
        (Phase::Blocked, _) => Some("blocked"),
        (Phase::FlippingBack, _) => Some("flipping back"),
        _ if !fact.reachable => None,
        (_, ChildState::Crashed) => Some("crashed"),
        (_, ChildState::Silent) => Some("not answering"),
        _ => None,
    }
}

fn is_failing(fact: &NodeFact) -> bool {
    fact.reachable
        && matches!(
            fact.report.status.child,
            ChildState::Crashed | ChildState::Silent
        )
}

fn calls(counters: &HashMap<&str, u64>) -> CallCensus {
    let sum = |prefix: &str| {
        let some = counters.iter().filter(|(name, _)| name.starts_with(prefix));
        some.map(|(_, number)| *number).sum()
    };
    let ranked = |prefix: &str| {
        let some = counters.iter().filter_map(|(name, number)| {
            let why = name.strip_prefix(prefix)?;
            (*number > 0).then(|| (why.to_owned(), *number))
        });
        let mut some: Vec<(String, u64)> = some.collect();
        some.sort_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
        some.truncate(KINDS_MAX);
        some
    };
    CallCensus {
        past: sum("calls.past"),
        future: sum("calls.future"),
        failed: counters.get("calls.failed").copied().unwrap_or(0),
        refused: counters.get("refused").copied().unwrap_or(0),
        refusals: ranked("refused."),
        resets: ranked("reset."),
    }
}

/// When the nodes of each version settled there, in order.
fn settled_times<'a>(
    nodes: impl Iterator<Item = (&'a NodeFact, &'a str)>,
) -> BTreeMap<Version, Vec<u64>> {
    let mut times: BTreeMap<Version, Vec<u64>> = BTreeMap::new();
    for (fact, _) in nodes {
        let status = &fact.report.status;
        if status.version > Version(0) && fact.settled_at_ms > 0 {
            let here = times.entry(status.version).or_default();
            here.push(fact.settled_at_ms);
        }
    }
    times.values_mut().for_each(|times| times.sort_unstable());
    times
}

impl CourseCensus {
    fn settle(&mut self, times: &[u64], now_ms: u64) {
        let (Some(first), Some(last)) = (times.first(), times.last()) else {
            return;
        };
        let begin = now_ms.saturating_sub(PACE_MS).max(*first);
        self.pace_ms = now_ms.saturating_sub(begin);
        self.recent = (times.len() - times.partition_point(|at| *at < begin)) as u64;
        self.settled_ms = Some((*first, *last));
        let is_over = self.moving + self.blocked + self.unheard == 0;
        self.curve_end_ms = if is_over { *last } else { now_ms.max(*last) };
        let whole = self.curve_end_ms - first;
        if whole == 0 {
            return;
        }
        let ends = (1..=PARTS as u64).map(|part| first + whole * part / PARTS as u64);
        self.curve = ends
            .map(|end| times.partition_point(|at| *at <= end) as u64)
            .collect();
    }

    fn count(&mut self, version: Version, standings: &BTreeMap<Version, SettledTally>) {
        self.there = standings.range(version..).map(|(_, at)| at.all).sum();
        for behind in standings.range(..version).map(|(_, at)| at) {
            self.unheard += behind.unheard;
            self.blocked += behind.blocked;
            self.moving += behind.all - behind.unheard - behind.blocked;
        }
    }
}

#[cfg(test)]
mod tests;

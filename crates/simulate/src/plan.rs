//! What several courses have in common: what will probably happen to whom, and when.

mod spread;

use crate::cast::Casting;
use crate::{Course, EmptyWave, Scenario, ScenarioError};
use model::api::WaitCode;
use model::ids::Version;
use serde::Serialize;
use spread::{ClassCourse, ClassKey, class_courses, percentile};
use std::collections::BTreeMap;

pub use spread::PlanSpread;

/// How to plan.
#[derive(Clone, Copy, Debug)]
pub struct PlanSettings {
    /// What the random numbers begin with.
    pub seed: u64,
    /// How many courses are played.
    pub courses: u32,
    /// A larger fleet is not simulated node for node.
    pub nodes_max: usize,
}

impl Default for PlanSettings {
    fn default() -> Self {
        Self {
            seed: 1,
            courses: 20,
            nodes_max: 2_000,
        }
    }
}

/// What will happen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UpgradePlan {
    /// The version that is planned.
    pub version: Version,
    /// When it begins.
    pub start_ms: u64,
    /// How many nodes the fleet has.
    pub nodes: usize,
    /// How many of them were simulated in each course.
    pub simulated: usize,
    /// How many courses were played.
    pub courses: u32,
    /// With which random numbers.
    pub seed: u64,
    /// When the last node has settled that does so, after the start; absent where none does.
    pub end_ms: Option<PlanSpread>,
    /// How many nodes never get there.
    pub never: f64,
    /// How many of these ask, and are told to wait for ever; the others are away, blocked, or have no place there.
    pub held_up: f64,
    /// The first node that cannot move, and why.
    pub stuck: Option<StuckNode>,
    /// What happens to each class, and to each wave of it.
    pub classes: Vec<ClassPlan>,
    /// The waves that take none of these nodes.
    pub empty_waves: Vec<EmptyWave>,
    /// What nobody can foresee, and is taken to be so.
    pub taken_for_granted: Vec<String>,
    /// What nodes wait for, the longest first.
    pub waits: Vec<PlannedWaits>,
}

/// What happens to a class at a version, or to a wave of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassPlan {
    /// The version.
    pub version: Version,
    /// The class.
    pub class: String,
    /// The wave, counted from 1; absent where nothing is in waves, and for those that are in none.
    pub wave: Option<usize>,
    /// How many nodes go there.
    pub nodes: usize,
    /// When the first begins, after the start.
    pub first_ms: Option<PlanSpread>,
    /// When half have settled.
    pub half_ms: Option<PlanSpread>,
    /// When all have.
    pub all_ms: Option<PlanSpread>,
    /// How many are unavailable at once at most.
    pub unavailable_max: u64,
}

/// By version, then by which class begins first; a class by its waves, and those who are in none at last.
fn put_in_order(classes: &mut [ClassPlan]) {
    let mut first: BTreeMap<(Version, String), u64> = BTreeMap::new();
    for row in &*classes {
        let began_ms = row.first_ms.map_or(u64::MAX, |first| first.p50_ms);
        let of_class = first.entry((row.version, row.class.clone()));
        let of_class = of_class.or_insert(u64::MAX);
        *of_class = began_ms.min(*of_class);
    }
    classes.sort_by_key(|row| {
        let of_class = (row.version, row.class.clone());
        let began_ms = first.get(&of_class).copied();
        (
            row.version,
            began_ms,
            of_class.1,
            row.wave.unwrap_or(usize::MAX),
        )
    });
}

/// How long nodes wait for something.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedWaits {
    /// The code of the reason.
    pub reason: &'static str,
    /// The sum over all nodes, in the median course.
    pub node_ms: u64,
}

/// A node that does not get there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StuckNode {
    /// Its name.
    pub node: String,
    /// The version to which it does not get.
    pub version: Version,
    /// Why.
    pub why: String,
}

/// Plays the courses, and says what they have in common.
///
/// # Errors
/// When there is nothing to plan, or the fleet does not fit the history.
pub fn plan(scenario: &Scenario, settings: &PlanSettings) -> Result<UpgradePlan, ScenarioError> {
    scenario.check()?;
    let casting = Casting::of(scenario, settings.nodes_max.max(1));
    let mut ends = Vec::new();
    let (mut never, mut held_up) = (Vec::new(), Vec::new());
    let mut waited: BTreeMap<WaitCode, Vec<f64>> = BTreeMap::new();
    let mut classes: BTreeMap<_, Vec<ClassCourse>> = BTreeMap::new();
    let (mut stuck, mut simulated) = (None, 0);
    let courses = settings.courses.max(1);
    for number in 0..courses {
        let cast = casting.cast(settings.seed, u64::from(number));
        let course = Course::play(scenario, &cast);
        simulated = simulated.max(cast.actors.len());
        let end = course.steps.iter().map(|step| step.settled_ms).max();
        ends.extend(end.map(|end| end.saturating_sub(scenario.start_ms)));
        let weight = |actor: &usize| cast.actors[*actor].weight;
        // A sum of nothing is -0.0.
        let waits = course.left.keys().map(weight).sum::<f64>() + 0.0;
        held_up.push(waits);
        never.push(waits + course.out.keys().map(weight).sum::<f64>() + 0.0);
        for (code, ms) in &course.waited_ms {
            waited.entry(*code).or_default().push(*ms);
        }
        for (key, one) in class_courses(scenario, &cast, &course) {
            classes.entry(key).or_default().push(one);
        }
        if stuck.is_none() {
            stuck = first_stuck(scenario, &cast, &course);
        }
    }
    let counted = casting.population().waves.iter();
    let waves = limited(scenario, counted.map(|(key, nodes)| (key.clone(), *nodes)));
    let classes = waves.iter().map(|(key, nodes)| {
        let courses = classes.remove(key).unwrap_or_default();
        spread::class_plan(key, *nodes, &courses)
    });
    let mut classes: Vec<ClassPlan> = classes.collect();
    put_in_order(&mut classes);
    Ok(UpgradePlan {
        version: scenario.history.newest(),
        start_ms: scenario.start_ms,
        nodes: scenario.nodes.len(),
        simulated,
        courses,
        seed: settings.seed,
        end_ms: PlanSpread::of(ends),
        never: percentile(&mut never, 0.5),
        held_up: percentile(&mut held_up, 0.5),
        stuck,
        classes,
        empty_waves: scenario.empty_waves(&waves),
        taken_for_granted: scenario.taken_for_granted(),
        waits: ranked(waited, courses),
    })
}

/// How many nodes go with each wave: of one that takes so many at most, the others go with the rest of the class.
fn limited(
    scenario: &Scenario,
    waves: impl Iterator<Item = (ClassKey, usize)>,
) -> BTreeMap<ClassKey, usize> {
    let mut counts: BTreeMap<ClassKey, usize> = BTreeMap::new();
    for ((version, class, wave), nodes) in waves {
        let limit = scenario.at_most(version, &class, wave);
        let with_it = limit.map_or(nodes, |limit| nodes.min(limit as usize));
        if nodes > with_it {
            let rest = (version, std::sync::Arc::clone(&class), None);
            *counts.entry(rest).or_default() += nodes - with_it;
        }
        *counts.entry((version, class, wave)).or_default() += with_it;
    }
    counts
}

/// The reasons, that for which nodes wait longest first; a course in which nobody waited for one counts, too.
fn ranked(waited: BTreeMap<WaitCode, Vec<f64>>, courses: u32) -> Vec<PlannedWaits> {
    let all = waited.into_iter().map(|(code, mut each)| {
        each.resize(courses as usize, 0.0);
        PlannedWaits {
            reason: code.name(),
            node_ms: percentile(&mut each, 0.5) as u64,
        }
    });
    let mut all: Vec<PlannedWaits> = all.filter(|wait| wait.node_ms > 0).collect();
    all.sort_by_key(|wait| (std::cmp::Reverse(wait.node_ms), wait.reason));
    all
}

/// Who holds up the others: a node that cannot even ask, else the first that waits for a person or for nothing that will happen.
fn first_stuck(scenario: &Scenario, cast: &crate::Cast, course: &Course) -> Option<StuckNode> {
    let name = |actor: usize| scenario.nodes[cast.actors[actor].node].name.clone();
    let newest = scenario.history.newest();
    if let Some((actor, why)) = course.out.iter().min_by_key(|(actor, _)| name(**actor)) {
        return Some(StuckNode {
            node: name(*actor),
            version: newest,
            why: why.clone(),
        });
    }
    let for_somebody = |reasons: &[model::schedule::WaitReason]| {
        let for_others = reasons.iter().filter(|reason| reason.nodes().is_some());
        for_others.count()
    };
    let left = course.left.iter();
    let first = left.min_by_key(|(actor, (_, reasons))| (for_somebody(reasons), name(**actor)))?;
    let (actor, (version, reasons)) = first;
    // What passes by itself holds nobody up for ever.
    let passes = |reason: &&model::schedule::WaitReason| {
        let code = reason.code();
        matches!(
            code,
            WaitCode::Soaks | WaitCode::NoWindow | WaitCode::Frozen | WaitCode::Limit
        )
    };
    let lasting: Vec<String> = reasons
        .iter()
        .filter(|reason| !passes(reason))
        .map(ToString::to_string)
        .collect();
    let why = if lasting.is_empty() {
        reasons.iter().map(ToString::to_string).collect()
    } else {
        lasting
    };
    Some(StuckNode {
        node: name(*actor),
        version: *version,
        why: why.join("; "),
    })
}

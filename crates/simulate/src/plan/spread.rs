//! The figures of a course, and what several courses make of them.

use super::ClassPlan;
use crate::{Cast, Course, Scenario};
use model::ids::Version;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The median and the p90 of several courses, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PlanSpread {
    /// Half of the courses have no more.
    pub p50_ms: u64,
    /// Nine of ten have no more.
    pub p90_ms: u64,
}

impl PlanSpread {
    /// Of these figures of courses; none where there are none.
    pub(super) fn of(ms: Vec<u64>) -> Option<Self> {
        let mut ms: Vec<f64> = ms.into_iter().map(|ms| ms as f64).collect();
        let is_there = !ms.is_empty();
        is_there.then(|| Self {
            p50_ms: percentile(&mut ms, 0.5) as u64,
            p90_ms: percentile(&mut ms, 0.9) as u64,
        })
    }
}

/// What so large a share does not exceed (the nearest rank); zero of none.
pub(super) fn percentile(all: &mut [f64], share: f64) -> f64 {
    all.sort_unstable_by(f64::total_cmp);
    let rank = (share * all.len() as f64).ceil() as usize;
    all.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// A class at a version, or a wave of it.
pub(super) type ClassKey = (Version, Arc<str>, Option<usize>);

/// One class in one course.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct ClassCourse {
    first_ms: u64,
    half_ms: u64,
    all_ms: u64,
    unavailable_max: f64,
    /// Not all have settled.
    is_part: bool,
    /// Fewer than half have.
    is_less_than_half: bool,
}

/// The steps of one class: when each began and settled after the start, and for how many nodes it stands.
type WeightedSteps = Vec<(u64, u64, f64)>;

/// Each class in one course.
pub(super) fn class_courses(
    scenario: &Scenario,
    cast: &Cast,
    course: &Course,
) -> BTreeMap<ClassKey, ClassCourse> {
    let mut steps: BTreeMap<ClassKey, WeightedSteps> = BTreeMap::new();
    for step in &course.steps {
        let actor = &cast.actors[step.actor];
        let after = |ms: u64| ms.saturating_sub(scenario.start_ms);
        // One that goes several versions at once gets to each.
        let on_the_way = actor.seats.range(Version(step.from.0 + 1)..);
        for (version, seat) in on_the_way.take_while(|(version, _)| **version <= step.to) {
            let key = (*version, Arc::clone(&seat.class), seat.wave);
            let one = (after(step.began_ms), after(step.settled_ms), actor.weight);
            steps.entry(key).or_default().push(one);
        }
    }
    let mut all: BTreeMap<ClassKey, f64> = BTreeMap::new();
    for actor in &cast.actors {
        let version = scenario.nodes[actor.node].version;
        for (at, seat) in actor.seats.iter().filter(|(at, _)| **at > version) {
            let key = (*at, Arc::clone(&seat.class), seat.wave);
            *all.entry(key).or_default() += actor.weight;
        }
    }
    limit(scenario, &mut steps, &mut all);
    let courses = steps.into_iter().map(|(key, steps)| {
        let all = all.get(&key).copied().unwrap_or(0.0);
        (key, class_course(steps, all))
    });
    courses.collect()
}

/// Of a wave that takes so many at most, those who go later go with the rest of the class.
fn limit(
    scenario: &Scenario,
    steps: &mut BTreeMap<ClassKey, WeightedSteps>,
    all: &mut BTreeMap<ClassKey, f64>,
) {
    let waves: Vec<ClassKey> = all.keys().cloned().collect();
    for key in waves {
        let (version, class, wave) = &key;
        let Some(limit) = scenario.at_most(*version, class, *wave) else {
            continue;
        };
        let limit = f64::from(limit);
        let whole = all.get(&key).copied().unwrap_or(0.0);
        if whole <= limit {
            continue;
        }
        let rest = (*version, Arc::clone(class), None);
        all.insert(key.clone(), limit);
        *all.entry(rest.clone()).or_default() += whole - limit;
        let Some(mut wave_steps) = steps.remove(&key) else {
            continue;
        };
        wave_steps.sort_unstable_by_key(|(began, settled, _)| (*began, *settled));
        let mut gone = 0.0;
        let (with_it, later): (WeightedSteps, WeightedSteps) =
            wave_steps.into_iter().partition(|(_, _, weight)| {
                let is_with_it = gone + 0.5 < limit;
                gone += weight;
                is_with_it
            });
        steps.insert(key, with_it);
        if !later.is_empty() {
            steps.entry(rest).or_default().extend(later);
        }
    }
}

fn class_course(mut steps: WeightedSteps, all: f64) -> ClassCourse {
    let first_ms = steps.iter().map(|(began, _, _)| *began).min().unwrap_or(0);
    steps.sort_unstable_by_key(|(_, settled, _)| *settled);
    let mut settled = 0.0;
    let mut half_ms = None;
    for (_, settled_ms, weight) in &steps {
        settled += weight;
        if settled * 2.0 >= all && half_ms.is_none() {
            half_ms = Some(*settled_ms);
        }
    }
    ClassCourse {
        first_ms,
        half_ms: half_ms.unwrap_or(0),
        all_ms: steps.last().map_or(0, |(_, settled, _)| *settled),
        unavailable_max: unavailable_max(&steps),
        is_part: settled + 0.5 < all,
        is_less_than_half: half_ms.is_none(),
    }
}

/// How many are unavailable at once at most. Whoever settles when another begins makes room for it.
fn unavailable_max(steps: &WeightedSteps) -> f64 {
    let mut changes: Vec<(u64, bool, f64)> = Vec::with_capacity(2 * steps.len());
    for (began, settled, weight) in steps.iter().filter(|(began, settled, _)| began < settled) {
        changes.push((*began, true, *weight));
        changes.push((*settled, false, *weight));
    }
    changes.sort_unstable_by_key(|(at_ms, begins, _)| (*at_ms, *begins));
    let (mut now, mut most) = (0.0_f64, 0.0_f64);
    for (_, begins, weight) in changes {
        now += if begins { weight } else { -weight };
        most = most.max(now);
    }
    most
}

/// What several courses say of a class.
pub(super) fn class_plan(key: &ClassKey, nodes: usize, courses: &[ClassCourse]) -> ClassPlan {
    let (version, class, wave) = key;
    let of = |figure: fn(&ClassCourse) -> Option<u64>| {
        let figures: Vec<u64> = courses.iter().filter_map(figure).collect();
        // Where it does not happen in most courses, no figure says when.
        PlanSpread::of(figures).filter(|_| {
            let there = courses.iter().filter(|course| figure(course).is_some());
            2 * there.count() >= courses.len()
        })
    };
    let mut unavailable: Vec<f64> = courses.iter().map(|one| one.unavailable_max).collect();
    ClassPlan {
        version: *version,
        class: class.to_string(),
        wave: wave.map(|wave| wave + 1),
        nodes,
        first_ms: of(|course| Some(course.first_ms)),
        half_ms: of(|course| (!course.is_less_than_half).then_some(course.half_ms)),
        all_ms: of(|course| (!course.is_part).then_some(course.all_ms)),
        unavailable_max: percentile(&mut unavailable, 1.0).round() as u64,
    }
}

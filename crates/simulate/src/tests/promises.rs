//! What must hold at every moment of every course.

use super::{everybody, most_at_once, nodes, scenario};
use crate::{Course, PlannedNode};
use model::ids::Version;
use proptest::prelude::*;
use std::collections::BTreeMap;

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn no_group_has_more_unavailable_than_its_limit(
        each in 1..9_usize, limit in 1..5_usize, seed: u64, away in 0..3_usize
    ) {
        let schedule = format!("max_unavailable = {limit}, group_by = \"group\"");
        let mut fleet = nodes("db", 40, each);
        for node in fleet.iter_mut().take(away) {
            node.reachable = false;
        }
        let scenario = scenario(&[("db", &schedule)], fleet);
        let course = Course::play(&scenario, &everybody(&scenario, seed));
        let mut groups: BTreeMap<usize, Vec<_>> = BTreeMap::new();
        for step in &course.steps {
            groups.entry(step.actor / each).or_default().push(step.clone());
        }
        for (group, steps) in &groups {
            let gone = (group * each..(group + 1) * each).filter(|node| *node < away).count();
            prop_assert!(most_at_once(steps.iter()) + gone <= limit);
        }
        prop_assert_eq!(course.overlooked, 0);
    }

    #[test]
    fn waves_and_classes_come_in_their_order_and_soak(
        seed: u64, share in 5..40_u32, at_most in 1..6_usize, soak_s in 0..50_u64
    ) {
        let soak_ms = soak_s * 1_000;
        let waves = format!(
            "max_unavailable = 3, waves = [{{ share = \"{share}%\", soak_ms = {soak_ms} }}, \
             {{ nodes = \"attributes.group == '1'\", at_most = {at_most} }}]"
        );
        let after = format!("after = [\"db\"], after_soak_ms = {soak_ms}");
        let fleet = [nodes("db", 40, 10), nodes("web", 10, 10)].concat();
        let scenario = scenario(&[("db", &waves), ("web", &after)], fleet);
        let cast = everybody(&scenario, seed);
        let course = Course::play(&scenario, &cast);
        prop_assert_eq!((course.overlooked, course.steps.len()), (0, 50));
        let wave = |actor: usize| cast.actors[actor].seats[&Version(2)].wave;
        let (db, web): (Vec<_>, Vec<_>) = course.steps.iter().partition(|step| step.actor < 40);
        let first: Vec<_> = db.iter().filter(|step| wave(step.actor) == Some(0)).collect();
        let over = first.iter().map(|step| step.settled_ms).max();
        for later in db.iter().filter(|step| wave(step.actor) != Some(0)) {
            prop_assert!(over.is_none_or(|over| later.began_ms >= over + soak_ms));
        }
        // Of the second wave so many have settled before the rest begins.
        let mut second: Vec<u64> = (db.iter().filter(|step| wave(step.actor) == Some(1)))
            .map(|step| step.settled_ms)
            .collect();
        second.sort_unstable();
        let needed = second.get(at_most.min(second.len()).wrapping_sub(1)).copied();
        for rest in db.iter().filter(|step| wave(step.actor).is_none()) {
            prop_assert!(needed.is_none_or(|needed| rest.began_ms >= needed));
        }
        let all = db.iter().map(|step| step.settled_ms).max().expect("some");
        for step in web {
            prop_assert!(step.began_ms >= all + soak_ms);
        }
    }

    #[test]
    fn who_was_away_for_several_versions_gets_to_the_newest(seed: u64, settled in 0..8_usize) {
        let mut fleet = nodes("db", 8, 8);
        for node in fleet.iter_mut().take(settled) {
            *node = PlannedNode { version: Version(2), ..node.clone() };
        }
        let scenario = scenario(&[("db", "max_unavailable = 1, soak_ms = 5000")], fleet);
        let course = Course::play(&scenario, &everybody(&scenario, seed));
        prop_assert_eq!(course.steps.len(), 8 - settled);
        prop_assert!(course.steps.windows(2).all(|two| two[1].began_ms >= two[0].settled_ms + 5_000));
        prop_assert_eq!(course.overlooked, 0);
    }
}

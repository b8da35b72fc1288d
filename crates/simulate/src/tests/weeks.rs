//! Weeks in which clocks are set forward and back, in several zones, with windows, a freeze and waves.

use super::{everybody, nodes, scenario};
use crate::course::CourseUnderWay;
use crate::{Scenario, TimeDistribution};
use model::ids::Version;
use model::schedule::{CalendarAnswer, MetricGauge, SiteZone};
use proptest::prelude::*;
use std::time::Duration;

const HOUR_MS: u64 = 3_600_000;

/// The Wednesdays before clocks are set forward in New York (2027-03-14) and in Berlin (2027-03-28), and back in Berlin (2027-10-31) and in
/// New York (2027-11-07).
const STARTS_MS: [u64; 4] = [
    1_804_636_800_000,
    1_805_846_400_000,
    1_824_595_200_000,
    1_825_200_000_000,
];

/// How often everybody asks.
const RESTLESS_MS: u64 = 7 * 60_000;

/// What is measured changes so often, until it is good for ever.
const MEASURED_EVERY_MS: u64 = 3 * HOUR_MS;

const ZONES: [&str; 3] = ["Europe/Berlin", "America/New_York", "Asia/Tokyo"];

/// A fleet in several zones, whose schedule knows windows on the site's clock, a freeze and a wave.
fn fleet(
    start: usize,
    window_start: &str,
    length_h: u32,
    days: &str,
    minutes: u64,
    errors: &[Option<f64>],
) -> Scenario {
    let schedule = format!(
        "go_if = 'metrics.errors.new < 0.1', metrics = {{ errors = 'errors' }}, max_unavailable = 2, group_by = \"group\", waves = [{{ share = \"30%\", soak_ms = 5400000 }}], \
         windows = [{{ {days}start = \"{window_start}\", length = \"{length_h}h\", zone = \"site\" }}, \
         {{ days = [\"sun\"], start = \"02:30\", length = \"90m\", zone = \"Europe/Berlin\" }}], \
         freeze = [{{ from = \"{}\", until = \"{}\", zone = \"America/New_York\" }}]",
        [
            "2027-03-12",
            "2027-03-27T03:00",
            "2027-10-30T23:30",
            "2027-11-06"
        ][start],
        [
            "2027-03-13T02:30",
            "2027-03-28T08:00",
            "2027-10-31T07:45",
            "2027-11-07T01:30"
        ][start],
    );
    let mut all = nodes("db", 18, 6);
    for (number, node) in all.iter_mut().enumerate() {
        let zone = ZONES[number % ZONES.len()];
        node.attributes.insert("zone".to_owned(), zone.to_owned());
        node.poll_ms = 60_000;
    }
    let mut scenario = scenario(&[("db", &schedule)], all);
    scenario.start_ms = STARTS_MS[start];
    let foreseen = errors.iter().enumerate().map(|(number, errors)| {
        let from_ms = STARTS_MS[start] + number as u64 * MEASURED_EVERY_MS;
        let gauge = match errors {
            Some(errors) => MetricGauge::Known {
                new: Some(*errors),
                old: Some(*errors),
            },
            None => MetricGauge::Unknown("it did not answer".to_owned()),
        };
        (from_ms, [("errors".to_owned(), gauge)].into())
    });
    let foreseen = foreseen.collect();
    scenario.forecast = [("db".to_owned(), foreseen)].into();
    scenario.otherwise_unavailable = TimeDistribution::Spread {
        p50_ms: minutes * 60_000,
        p90_ms: 3 * minutes * 60_000,
    };
    scenario
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    /// Everybody asks all the time: nobody is let go at a time that is closed, nor before the moment that was promised, and nobody who
    /// sleeps until then begins later than it may.
    #[test]
    fn nobody_begins_outside_of_what_was_said_nor_before_what_was_promised(
        start in 0..STARTS_MS.len(), seed: u64, minutes in 5..60_u64, length_h in 1..5_u32,
        window in prop::sample::select(&["00:30", "01:15", "02:30", "22:00"][..]),
        mut errors in prop::collection::vec(prop::option::weighted(0.8, 0.0..0.2), 0..40),
        days in prop::sample::select(&["", "days = [\"sat\", \"sun\"], ", "days = [\"mon\", \"thu\"], "][..]),
    ) {
        errors.push(Some(0.0));
        let scenario = fleet(start, window, length_h, days, minutes, &errors);
        let cast = everybody(&scenario, seed);
        let mut restless = CourseUnderWay::of(&scenario, &cast);
        restless.restless_ms = Some(RESTLESS_MS);
        restless.horizon_ms = scenario.start_ms + 8 * 24 * HOUR_MS;
        let restless = restless.play();
        let quiet = CourseUnderWay::of(&scenario, &cast).play();
        prop_assert_eq!(quiet.overlooked, 0);
        prop_assert_eq!((restless.promises_broken, quiet.promises_broken), (0, 0));
        for course in [&restless, &quiet] {
            for step in &course.steps {
                let node = &scenario.nodes[cast.actors[step.actor].node];
                let release = scenario.history.release(Version(2)).expect("version 2");
                let calendar = &release.classes["db"].schedule.calendar;
                let at = std::time::UNIX_EPOCH + Duration::from_millis(step.began_ms);
                let at = at.try_into().expect("a moment");
                let answer = calendar.at(at, &SiteZone::of(&node.attributes));
                prop_assert_eq!(answer, CalendarAnswer::Open);
                let number = (step.began_ms - scenario.start_ms) / MEASURED_EVERY_MS;
                let measured = errors[errors.len().min(number as usize + 1) - 1];
                prop_assert!(measured.is_some_and(|errors| errors < 0.1), "{measured:?}");
            }
        }
        prop_assert_eq!(quiet.steps.len(), 18);
    }
}

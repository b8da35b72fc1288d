//! Conditions over how a class does.

use super::*;

/// Four nodes of one class, the asking one first; so many of the others are at version 2.
fn four(there: usize) -> System {
    let nodes = (1..=4).map(|id| {
        node(
            id,
            "a",
            if id > 1 && id as usize <= there + 1 {
                2
            } else {
                1
            },
        )
    });
    system(nodes.collect())
}

fn measured(errors: MetricGauge) -> Option<ClassGauges> {
    Some(ClassGauges {
        at_ms: 100_000,
        revision: Revision(1),
        calls: Some(CallGauges {
            calls: 200,
            refused: 4,
        }),
        metrics: [("errors".to_owned(), errors)].into(),
    })
}

fn known(new: impl Into<Option<f64>>, old: impl Into<Option<f64>>) -> MetricGauge {
    MetricGauge::Known {
        new: new.into(),
        old: old.into(),
    }
}

fn gated(condition: &str) -> Schedule {
    let metrics = if condition.contains("metrics") {
        "metrics = { errors = 'sum by (node) (rate(errors[1m]))' }"
    } else {
        ""
    };
    schedule(&format!("go_if = '{condition}'\n{metrics}"))
}

#[test]
fn a_node_begins_only_while_the_condition_holds() {
    let mut all = four(2);
    let none_crashed = gated("crashed == 0");
    assert_eq!(ask(&none_crashed, &all, 0), Verdict::Go);
    all.nodes[1].report.status.child = ChildState::Crashed;
    let (reason, until_ms) = waits(ask(&none_crashed, &all, 0));
    assert_eq!(
        reason,
        "waits until `go_if` holds: crashed == 0 (crashed 1)"
    );
    assert_eq!(until_ms, None);
    assert_eq!(
        ask(&gated("crashed <= 0.5 * settled"), &all, 0),
        Verdict::Go
    );
}

#[test]
fn what_is_measured_at_those_that_are_there_is_compared_with_the_others() {
    let mut all = four(2);
    let no_worse = gated("metrics.errors.new <= 1.5 * metrics.errors.old");
    all.gauges = measured(known(0.03, 0.02));
    assert_eq!(ask(&no_worse, &all, 110_000), Verdict::Go);
    all.gauges = measured(known(0.0301, 0.02));
    let (reason, _) = waits(ask(&no_worse, &all, 110_000));
    assert!(
        reason.ends_with("(errors.new 0.0301, errors.old 0.02)"),
        "{reason}"
    );
    let refused = gated("refused <= 0.01 * calls");
    let (reason, _) = waits(ask(&refused, &all, 110_000));
    assert!(reason.ends_with("(calls 200, refused 4)"), "{reason}");
}

#[test]
fn before_anybody_is_there_nothing_is_new() {
    let mut all = four(0);
    let no_worse = gated("metrics.errors.new <= 1.5 * metrics.errors.old");
    all.gauges = measured(known(None, 0.02));
    assert_eq!(ask(&no_worse, &all, 110_000), Verdict::Go);
    let few = gated("metrics.errors.new < 0.01");
    assert!(
        waits(ask(&few, &all, 110_000))
            .0
            .contains("errors.new 0.02")
    );
}

#[test]
fn what_is_not_known_waits_and_does_not_stop() {
    let mut all = four(2);
    let few = "metrics.errors.new < 0.1";
    let cases = [
        (None, "nothing was measured within the last minute"),
        (
            measured(MetricGauge::Unknown(
                "Prometheus does not answer".to_owned(),
            )),
            "`metrics.errors`: Prometheus does not answer",
        ),
        (
            measured(known(None, 0.1)),
            "`metrics.errors` has no value of a node that is there",
        ),
    ];
    for (gauges, why) in cases {
        all.gauges = gauges;
        let (reason, _) = waits(ask(&gated(few), &all, 110_000));
        assert!(
            reason.starts_with("it is not known whether `go_if` holds"),
            "{reason}"
        );
        assert!(reason.ends_with(why), "{reason}");
        assert_eq!(stopped(few, &all, 110_000), None);
    }
    all.gauges = measured(known(0.05, 0.1));
    assert_eq!(ask(&gated(few), &all, 159_999), Verdict::Go);
    assert!(stopped(few, &all, 159_999).is_some());
    // A minute later nobody knows any more; nor does what was measured of an older revision count.
    waits(ask(&gated(few), &all, 160_000));
    assert_eq!(stopped(few, &all, 160_000), None);
    all.upgrade.revision = Revision(2);
    waits(judge(&gated(few), &all, 110_000, 2, false));
}

/// What `stop_if` has seen where it holds.
fn stopped(condition: &str, all: &System, now_ms: u64) -> Option<String> {
    let metrics = "metrics = { errors = 'rate(errors[1m])' }";
    let schedule = schedule(&format!("stop_if = '{condition}'\n{metrics}"));
    let fleet = fleet(all, &schedule);
    let class = fleet.class(Version(2), "a").expect("counted");
    match (schedule.gates).stops(class, all.gauges.as_ref(), Revision(1), now_ms) {
        Some(GateJudgement::Holds { seen }) => Some(seen),
        _ => None,
    }
}

#[test]
fn a_stop_says_what_it_has_seen() {
    let mut all = four(3);
    all.nodes[2].report.status.child = ChildState::Silent;
    let condition = "crashed > 0 || metrics.errors.new > 0.5";
    assert_eq!(stopped(condition, &all, 0).as_deref(), Some("crashed 1"));
    all.nodes[2].report.status.child = ChildState::Running;
    all.gauges = measured(known(0.75, 0.1));
    let seen = stopped(condition, &all, 110_000);
    assert_eq!(
        seen.as_deref(),
        Some("crashed 0, errors.new 0.75, errors.old 0.1")
    );
}

#[test]
fn conditions_that_make_no_sense_say_why() {
    for (text, why) in [
        ("go_if = 'crash == 0'", "`crash`"),
        ("go_if = 'crashed'", "not true or false"),
        ("stop_if = '2 * crashed > settled'", "write 2.0, not 2"),
        (
            "go_if = 'metrics.errors.new < 0.1'",
            "`metrics` does not have",
        ),
        (
            "go_if = 'metrics.errors.now < 0.1'\nmetrics = { errors = 'up' }",
            "another field of it than `new` and `old`",
        ),
        ("metrics = { errors = 'up' }", "add one of them"),
        (
            "go_if = 'crashed == 0'\nmetrics = { errors = 'up' }",
            "names the metric `errors`; leave it out",
        ),
        (
            "go_if = 'metrics.Errors.new < 1'\nmetrics = { Errors = 'up' }",
            "small letters",
        ),
        (
            "go_if = 'metrics.errors.new < 1'\nmetrics = { errors = ' ' }",
            "is empty",
        ),
    ] {
        let refused = toml::from_str::<Schedule>(text)
            .expect_err(text)
            .to_string();
        assert!(refused.contains(why), "{refused}");
    }
    let written = gated("metrics.errors.new <= 1.5 * metrics.errors.old");
    let text = toml::to_string(&written).expect("written");
    assert_eq!(schedule(&text), written);
}

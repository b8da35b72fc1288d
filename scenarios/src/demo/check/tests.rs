//! The checker on histories that are right, and on each kind that is wrong.

use super::*;
use serde_json::{Value, json};

fn body(value: i64, clock: u64) -> Value {
    json!({"value": value, "colour": "red", "clock": clock})
}

fn begin(id: u64, from: u64, value: i64) -> Line {
    Line::Begin {
        id,
        key: "a".into(),
        from,
        version: 1,
        sent: body(value, id),
    }
}

fn end(id: u64, to: u64) -> Line {
    Line::Write {
        id,
        to,
        status: 200,
        got: json!({"stored": true, "copies": 2}),
    }
}

fn read(from: u64, to: u64, value: i64, clock: u64) -> Line {
    let mut got = body(value, clock);
    got["key"] = json!("a");
    Line::Read {
        key: "a".into(),
        from,
        to,
        version: 1,
        status: 200,
        got,
    }
}

fn missing(from: u64, to: u64) -> Line {
    Line::Read {
        key: "a".into(),
        from,
        to,
        version: 1,
        status: 404,
        got: json!({"error": "no such key"}),
    }
}

fn judge(lines: Vec<Line>, last: Option<(i64, u64)>) -> Verdict {
    let mut observed = Observed::default();
    observed.add(lines);
    let last = last.map(|(value, clock)| {
        (
            "a".to_owned(),
            Record {
                value,
                colour: "red".into(),
                clock,
            },
        )
    });
    observed.judge(&last.into_iter().collect())
}

/// 1: value 10 in [10, 20]; 2: value 11 in [30, 40].
fn two_writes() -> Vec<Line> {
    vec![begin(1, 10, 10), end(1, 20), begin(2, 30, 11), end(2, 40)]
}

fn wrong_after_two_writes(line: Line) -> u64 {
    let mut lines = two_writes();
    lines.push(line);
    judge(lines, Some((11, 2))).calls.wrong
}

#[test]
fn a_right_history_passes() {
    let mut lines = two_writes();
    lines.extend([
        missing(1, 5),
        missing(15, 16),
        read(15, 16, 10, 1),
        read(35, 36, 10, 1),
        read(35, 36, 11, 2),
        read(41, 42, 11, 2),
    ]);
    let verdict = judge(lines, Some((11, 2)));
    assert_eq!(
        verdict.calls,
        Counts {
            total: 8,
            ok: 8,
            ..Counts::default()
        }
    );
    assert_eq!(
        (
            verdict.writes_acknowledged,
            verdict.acknowledged_writes_lost
        ),
        (2, 0)
    );
    assert_eq!(verdict.remarks, Vec::<String>::new());
}

#[test]
fn an_old_value_after_a_newer_acknowledgement_is_wrong() {
    assert_eq!(wrong_after_two_writes(read(41, 42, 10, 1)), 1);
}

#[test]
fn a_missing_key_after_an_acknowledgement_is_wrong() {
    assert_eq!(wrong_after_two_writes(missing(21, 22)), 1);
}

#[test]
fn a_value_from_the_future_is_wrong() {
    assert_eq!(wrong_after_two_writes(read(21, 29, 11, 2)), 1);
}

#[test]
fn a_value_that_nobody_wrote_is_wrong() {
    assert_eq!(wrong_after_two_writes(read(41, 42, 99, 2)), 1);
    assert_eq!(wrong_after_two_writes(read(41, 42, 11, 3)), 1);
}

#[test]
fn an_answer_in_another_form_is_wrong() {
    let got = json!({"name": "a", "data": "11", "shade": "RED", "stamp": 2});
    assert_eq!(
        wrong_after_two_writes(Line::Read {
            key: "a".into(),
            from: 41,
            to: 42,
            version: 1,
            status: 200,
            got
        }),
        1
    );
}

#[test]
fn an_unacknowledged_write_may_show_until_a_newer_one_is_acknowledged() {
    let lines = vec![begin(1, 10, 10), begin(2, 30, 11), end(2, 40)];
    let seen = |line: Line| {
        let mut lines = lines.clone();
        lines.push(line);
        judge(lines, Some((11, 2))).calls.wrong
    };
    assert_eq!(seen(read(25, 26, 10, 1)), 0);
    assert_eq!(seen(missing(25, 26)), 0);
    assert_eq!(seen(read(41, 42, 10, 1)), 1);
}

#[test]
fn lost_writes_are_counted() {
    assert_eq!(
        judge(two_writes(), Some((10, 1))).acknowledged_writes_lost,
        1
    );
    assert_eq!(judge(two_writes(), None).acknowledged_writes_lost, 2);
    assert_eq!(
        judge(two_writes(), Some((12, 3))).acknowledged_writes_lost,
        1,
        "a value that nobody wrote"
    );
}

#[test]
fn a_write_whose_acknowledgement_never_came_is_not_lost() {
    let verdict = judge(vec![begin(1, 10, 10)], None);
    assert_eq!(
        (
            verdict.writes_acknowledged,
            verdict.acknowledged_writes_lost
        ),
        (0, 0)
    );
}

#[test]
fn refusals_and_failures_are_told_apart() {
    let answered = |id, status| Line::Write {
        id,
        to: 50,
        status,
        got: Value::Null,
    };
    let verdict = judge(
        vec![
            begin(1, 10, 10),
            answered(1, 400),
            begin(2, 20, 11),
            answered(2, 503),
        ],
        None,
    );
    assert_eq!(
        (
            verdict.calls.refused,
            verdict.calls.failed,
            verdict.calls.ok
        ),
        (1, 1, 0)
    );
    assert_eq!(verdict.remarks.len(), 2);
}

//! What expressions may be and may cost: the same at the check, at the load and in every thread.

use std::fmt::Write;

use crate::support::{past, refused, send, wire};
use call::Direction;
use lens::Lens;

/// Half of what threads usually have.
const STACK_BYTES: usize = 1 << 20;

fn lens_text(expression: &str) -> String {
    format!(
        "[[operation]]\nold = \"POST /x\"\nnew = \"POST /x\"\nrequest = [{{ to_new = {{ \"body.r\" = \"{expression}\" }}, to_old = \"drop\" }}]\n"
    )
}

fn problem(expression: &str) -> String {
    match Lens::parse("test.toml", &lens_text(expression)) {
        Ok(_) => "sound".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// One inside another, so often.
fn nested(times: usize, open: &str, inner: &str, close: &str) -> String {
    format!("{}{inner}{}", open.repeat(times), close.repeat(times))
}

#[test]
fn expressions_that_are_too_long_or_too_deep_are_refused_wherever_lenses_are_loaded() {
    let row = |terms: usize| vec!["body.n"; terms].join(" + ");
    assert!(problem(&row(10_000)).contains("longer than 2048 bytes"));
    assert!(
        problem(&row(200)).contains("nested more than 64 deep"),
        "{}",
        problem(&row(200))
    );
    assert!(problem(&nested(90, "[", "1", "]")).contains("nested more than 64 deep"));
    assert!(problem(&nested(500, "(", "1", ")")).contains("expression"));
    assert!(problem(&format!("body{}", ".a".repeat(900))).contains("nested more than 64 deep"));
    assert_eq!(problem(&row(50)), "sound");
}

/// The deepest of each kind that a lens may have.
fn deepest() -> Vec<String> {
    let kinds: [fn(usize) -> String; 6] = [
        |n| vec!["body.n"; n].join(" + "),
        |n| format!("string({})", vec!["'a'"; n].join(" + ")),
        |n| nested(n, "[", "body.n", "]"),
        |n| nested(n, "string(", "body.n", ")"),
        |n| nested(n, "true ? ", "body.n", " : 0"),
        |n| nested(n, "[1].map(x, ", "body.n", ")"),
    ];
    let deepest = |of: fn(usize) -> String| {
        let mut longest_first = (1..80).rev().map(of);
        let sound = longest_first.find(|text| problem(text) == "sound");
        sound.expect("one is sound")
    };
    kinds.into_iter().map(deepest).collect()
}

#[test]
fn the_deepest_expressions_run_on_half_of_a_threads_usual_stack() {
    for expression in deepest() {
        let shown = expression.clone();
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let run = thread.spawn(move || {
            let lens = crate::support::lens(&lens_text(&expression));
            let outcome = send(&past(&lens), wire("POST /x", r#"{"n":1}"#), wire("200", ""));
            let status = outcome.answer.map(|answer| answer.start);
            status.map_err(|refusal| format!("{refusal:?}"))
        });
        let status = run.expect("a thread").join().expect("no panic");
        assert!(status.is_ok(), "{shown}: {status:?}");
    }
}

/// A list of numbers and a text.
fn body(items: usize, text: usize) -> String {
    let mut body = "{\"items\":[".to_owned();
    for item in 0..items {
        let comma = if item > 0 { "," } else { "" };
        write!(body, "{comma}{item}").expect("memory");
    }
    write!(body, "],\"text\":\"{}\",\"n\":{items}}}", "a".repeat(text)).expect("memory");
    body
}

#[test]
fn what_expressions_cost_over_one_message_is_bounded() {
    for (expression, items, text) in [
        ("body.items.all(x, body.items.all(y, x + y >= 0))", 2_000, 0),
        ("body.items.map(x, body.items.filter(y, x == y))", 2_000, 0),
        (
            "body.items.all(x, body.text.contains(string(x) + 'b') || true)",
            10_000,
            100_000,
        ),
        ("body.items.all(x, body.text == body.text)", 10_000, 100_000),
        (
            "body.items.all(x, body.text.matches('b+' + string(x)) || true)",
            10_000,
            0,
        ),
        ("body.items.all(x, size(body.text) > 0)", 10_000, 100_000),
        ("body.text.replace('a', body.text)", 1, 100_000),
        ("size(body.items.distinct())", 5_000, 0),
        ("body.items.all(x, size(lists.range(body.n)) > 0)", 5_000, 0),
        ("body.items.all(x, x in body.items)", 5_000, 0),
        (
            "size(body.items.map(x, body.text + string(x)).join(body.text))",
            5_000,
            100_000,
        ),
    ] {
        let rule = format!("{{ to_new = {{ \"body.r\" = \"{expression}\" }}, to_old = \"drop\" }}");
        let refusal = refused(&rule, Direction::Past, &body(items, text));
        assert!(
            refusal.reason.contains("more than 1000000 steps"),
            "{expression}: {}",
            refusal.reason
        );
        let small = body(20, 20);
        let lens = crate::support::lens(&lens_text(expression));
        let outcome = send(&past(&lens), wire("POST /x", &small), wire("200", ""));
        assert!(outcome.answer.is_ok(), "{expression}: {outcome:?}");
    }
}

/// Each rule is cheap, all of them are not.
#[test]
fn the_expressions_of_all_rules_share_one_limit() {
    let rule = |name: &str| {
        format!(
            "{{ old = \"body.{name}\", new = \"body.{name}x\", to_new = \"lists.range(400000).size()\", to_old = \"value\" }}"
        )
    };
    let body = r#"{"a":1,"b":1,"c":1}"#;
    let three = ["a", "b", "c"].map(rule).join(", ");
    let refusal = refused(&three, Direction::Past, body);
    assert!(refusal.reason.contains("steps"), "{}", refusal.reason);
    let text = format!(
        "[[operation]]\nold = \"POST /x\"\nnew = \"POST /x\"\nrequest = [{}]\n",
        rule("a")
    );
    let outcome = send(
        &past(&crate::support::lens(&text)),
        wire("POST /x", body),
        wire("200", ""),
    );
    assert!(outcome.answer.is_ok(), "{outcome:?}");
}

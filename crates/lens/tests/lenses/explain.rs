//! Explanations say what really happens: the messages are those of the call itself, and every rule is told with its place.

use call::Direction;
use conversation::Conversation;
use kit::block_on;
use lens::Lens;
use lens::explain::{Explanation, RuleSeen, explain};
use std::sync::Arc;

const ONE: &str = "
[map.colours]
red = 1
[[operation]]
old = 'GET /a/{id}'
new = 'GET /b'
request = [{ old = 'path.id', new = 'query.key' }]
[[operation]]
old = 'POST /a'
new = 'POST /b'
when = { old = \"'x-kind' in header\", new = \"'x-kind' in header\" }
[[operation]]
old = 'POST /a'
new = 'POST /b'
request = [
  { old = 'body.colour', new = 'body.look', map = 'colours' },
  { old = 'body.note', new = 'body.remark', optional = true },
  { new = 'body.schema', value = 2 },
  { old = 'body.rows', new = 'body.rows', each = [
    { old = 'n', new = 'number' },
  ] },
  { old = 'body.x', new = 'body.y', when = { old = 'body.colour == \"blue\"', new = 'true' } },
]
[[operation.response]]
status = { old = 200, new = 201 }
rules = [{ old = 'body.id', new = 'body.key' }]
";

const TWO: &str = "
[[operation]]
old = 'POST /b'
new = 'PUT /c/{look}'
request = [{ old = 'body.look', new = 'path.look', convert = ['integer', 'string'] }]
";

fn named(file: &str, text: &str) -> (Arc<Lens>, Direction) {
    let lens = Lens::parse(file, text).unwrap_or_else(|error| panic!("{error}"));
    (Arc::new(lens), Direction::Past)
}

fn call(line: &str, body: &str, answer: &str) -> Conversation {
    let answer = match answer {
        "" => String::new(),
        body => format!(
            "[[next]]\ngets = {{ request = 'GET /' }}\nanswers = {{ status = 201, body = '{body}' }}\n"
        ),
    };
    let text = format!(
        "direction = 'past'\n[caller]\nsends = {{ request = '{line}', body = '{body}' }}\ngets = {{ status = 200 }}\n{answer}"
    );
    Conversation::parse("call", &text).unwrap_or_else(|error| panic!("{error}"))
}

fn run(lenses: &[(Arc<Lens>, Direction)], call: &Conversation) -> Explanation {
    let answers: Vec<_> = call
        .exchanges
        .iter()
        .map(|exchange| exchange.answers.clone())
        .collect();
    block_on(explain(lenses, &call.sends, &answers))
}

fn deed(rule: &RuleSeen) -> (usize, &str, Vec<&str>, Vec<&str>) {
    let values = |all: &'_ [lens::explain::Placed]| -> Vec<String> {
        all.iter()
            .map(|p| p.value.clone().unwrap_or_default())
            .collect()
    };
    let leak = |all: Vec<String>| all.into_iter().map(|v| &*v.leak()).collect();
    (
        rule.line,
        rule.deed,
        leak(values(&rule.before)),
        leak(values(&rule.after)),
    )
}

#[test]
fn every_rule_is_told_with_its_line_and_the_values_before_and_after() {
    let call = call(
        "POST /a",
        r#"{"colour":"red","rows":[{"n":5}],"x":1}"#,
        r#"{"key":"k"}"#,
    );
    let explanation = run(&[named("one.toml", ONE)], &call);
    let step = &explanation.lenses[0];
    let operations: Vec<_> = step
        .operations
        .iter()
        .map(|o| (o.line, o.why_not.is_none(), o.is_near))
        .collect();
    assert_eq!(operations, [(8, false, true), (12, true, true)]);
    assert!(
        step.operations[0]
            .why_not
            .as_deref()
            .is_some_and(|why| why.contains("x-kind"))
    );
    let rules: Vec<_> = step.request.iter().map(deed).collect();
    assert_eq!(
        rules,
        [
            (16, "converted", vec!["\"red\""], vec!["1"]),
            (17, "absent", vec![""], vec![""]),
            (18, "filled", vec![], vec!["2"]),
            (
                19,
                "converted",
                vec!["[{\"n\":5}]"],
                vec!["[{\"number\":5}]"]
            ),
            (22, "skipped", vec!["1"], vec![]),
        ]
    );
    let inside = &step.request[3].inside[0];
    assert_eq!(
        (inside.item.as_str(), deed(&inside.rules[0])),
        ("[0]", (20, "moved", vec!["5"], vec!["5"]))
    );
    assert_eq!(inside.rules[0].after[0].place, "number");
    assert_eq!(
        deed(&step.answer[0]),
        (26, "moved", vec!["\"k\""], vec!["\"k\""])
    );
    let gets = explanation.caller_gets.as_ref().expect("an answer");
    assert_eq!(
        (gets.line.as_str(), gets.body.as_deref()),
        ("200 OK", Some(r#"{"id": "k"}"#))
    );
    let next = step.next_gets.as_ref().expect("delegated");
    assert_eq!(next.line, "POST /b");
}

#[test]
fn a_refusal_is_told_at_its_rule() {
    let call = call("POST /a", r#"{"colour":"pink","rows":[]}"#, "{}");
    let explanation = run(&[named("one.toml", ONE)], &call);
    let step = &explanation.lenses[0];
    let refused = step.refused.as_ref().expect("refused");
    assert_eq!(
        (refused.kind, refused.status, refused.of_answer),
        ("request", 422, false)
    );
    let deeds: Vec<_> = step.request.iter().map(|rule| rule.deed).collect();
    assert_eq!(
        deeds,
        ["refused", "stopped", "stopped", "stopped", "skipped"]
    );
    assert!(
        step.request[0]
            .note
            .as_deref()
            .is_some_and(|note| note.contains("pink")),
        "{:?}",
        step.request[0]
    );
    assert!(step.next_gets.is_none());
    assert_eq!(
        explanation.caller_gets.expect("a refusal").line,
        "422 Unprocessable Entity"
    );
}

#[test]
fn the_limits_of_nodes_hold_in_explanations() {
    let lenses = [named(
        "a.toml",
        "[[operation]]\nold = 'POST /a'\nnew = 'POST /a'\nrequest = [{ old = 'body.n', new = 'body.m' }]\n",
    )];
    let body = format!("{{\"n\":\"{}\"}}", "x".repeat(16 << 20));
    let explanation = run(&lenses, &call("POST /a", &body, ""));
    let refused = explanation.lenses[0].refused.as_ref().expect("refused");
    assert_eq!((refused.kind, refused.status), ("too-large", 413));
}

#[test]
fn what_no_operation_matches_says_why_for_each() {
    let call = call("DELETE /a/7", "", "{}");
    let explanation = run(&[named("one.toml", ONE)], &call);
    let step = &explanation.lenses[0];
    let whys: Vec<_> = step
        .operations
        .iter()
        .filter_map(|o| o.why_not.clone())
        .collect();
    assert_eq!(whys.len(), 3);
    assert!(
        whys.iter().any(|why| why == "its method is GET"),
        "{whys:?}"
    );
    assert_eq!(
        step.refused.as_ref().map(|refused| refused.kind),
        Some("unmatched")
    );
}

#[test]
fn a_chain_is_told_lens_by_lens_and_a_later_refusal_belongs_to_the_later_lens() {
    let chain = [named("one.toml", ONE), named("two.toml", TWO)];
    let good = call("POST /a", r#"{"colour":"red","rows":[]}"#, r#"{"key":"k"}"#);
    let explanation = run(&chain, &good);
    let lines: Vec<_> = explanation
        .lenses
        .iter()
        .filter_map(|step| step.next_gets.as_ref())
        .map(|shown| shown.line.clone())
        .collect();
    assert_eq!(lines, ["POST /b", "PUT /c/1"]);
    assert_eq!(explanation.lenses[1].file, "two.toml");

    let refusing = named(
        "two.toml",
        "[[operation]]\nold = 'POST /b'\nrefuse = { status = 405, reason = 'no more' }",
    );
    let explanation = run(&[named("one.toml", ONE), refusing], &good);
    assert!(explanation.lenses[0].refused.is_none());
    let refused = explanation.lenses[1].refused.as_ref().expect("refused");
    assert_eq!((refused.kind, refused.status), ("declared", 405));
}

#[test]
fn without_an_answer_only_the_way_there_is_told() {
    let explanation = run(&[named("one.toml", ONE)], &call("GET /a/x%20y", "", ""));
    let step = &explanation.lenses[0];
    assert_eq!(
        step.next_gets.as_ref().map(|shown| shown.line.as_str()),
        Some("GET /b?key=x+y")
    );
    assert!(step.next_answers.is_none() && explanation.caller_gets.is_none());
}

#[test]
fn a_rule_over_a_pattern_is_told_for_every_name() {
    let lens = "[[operation]]\nsame = 'GET /x'\nrequest = [{ old = 'query.{f}_min', new = 'query.{f}From' }]";
    let explanation = run(
        &[named("one.toml", lens)],
        &call("GET /x?a_min=1&b_min=2&c=3", "", ""),
    );
    let step = &explanation.lenses[0];
    let rule = &step.request[0];
    let places =
        |all: &[lens::explain::Placed]| all.iter().map(|p| p.place.clone()).collect::<Vec<_>>();
    assert_eq!(
        (
            rule.line,
            rule.deed,
            places(&rule.before),
            places(&rule.after)
        ),
        (
            3,
            "moved",
            vec!["query.a_min".to_owned(), "query.b_min".to_owned()],
            vec!["query.aFrom".to_owned(), "query.bFrom".to_owned()]
        )
    );
}

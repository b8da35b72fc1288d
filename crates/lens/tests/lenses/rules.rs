//! Every rule of lenses, both ways.

use crate::support::*;
use call::{Direction::*, RefusalKind};

#[test]
fn rename_move_nest_flatten() {
    rule(
        "{ old = 'body.a', new = 'body.b' }",
        r#"{"a":1,"x":2}"#,
        r#"{"x":2,"b":1}"#,
    );
    rule(
        "{ old = 'body.a', new = 'body.c.d' }",
        r#"{"a":1}"#,
        r#"{"c":{"d":1}}"#,
    );
    rule(
        "{ old = 'body', new = 'body.data' }",
        r#"[1,2]"#,
        r#"{"data":[1,2]}"#,
    );
    rule(
        "{ old = 'body.a', new = 'body.b' }, { old = 'body.b', new = 'body.a' }",
        r#"{"a":1,"b":2}"#,
        r#"{"b":1,"a":2}"#,
    );
    rule(
        "{ old = 'body.meta.id', new = 'body.id' }, { old = 'body.meta', new = 'body.rest' }",
        r#"{"meta":{"k":1,"id":7}}"#,
        r#"{"rest":{"k":1},"id":7}"#,
    );
}

#[test]
fn tables() {
    let table = "{ old = 'body.c', new = 'body.c', map = { red = 1, green = 2 } }";
    rule(table, r#"{"c":"red"}"#, r#"{"c":1}"#);
    let refusal = refused(table, Past, r#"{"c":"blue"}"#);
    assert_eq!(
        (refusal.kind, refusal.status().as_u16()),
        (RefusalKind::Request, 422)
    );
    assert_eq!(refusal.rule, "POST /x: body.c = body.c");
    refused(table, Future, r#"{"c":3}"#);
    rule(
        "{ old = 'body.c', new = 'body.c', map = [[1, 'x'], [true, 'y']] }",
        r#"{"c":true}"#,
        r#"{"c":"y"}"#,
    );
}

#[test]
fn types() {
    let pair = |types: &str| format!("{{ old = 'body.v', new = 'body.v', convert = {types} }}");
    for (types, old, new) in [
        ("['integer', 'string']", "42", "\"42\""),
        (
            "['integer', 'string']",
            "12345678901234567890123",
            "\"12345678901234567890123\"",
        ),
        ("['number', 'string']", "1.50", "\"1.50\""),
        ("['integer', 'float']", "5", "5.0"),
        ("['boolean', 'string']", "true", "\"true\""),
        ("['boolean', 'integer']", "false", "0"),
    ] {
        rule(
            &pair(types),
            &format!("{{\"v\":{old}}}"),
            &format!("{{\"v\":{new}}}"),
        );
    }
    for wrong in [
        "\"007\"", "\"+5\"", "\"5.0\"", "\" 5\"", "\"\"", "5", "null",
    ] {
        refused(
            &pair("['integer', 'string']"),
            Future,
            &format!("{{\"v\":{wrong}}}"),
        );
    }
    refused(&pair("['integer', 'float']"), Future, r#"{"v":5.5}"#);
}

#[test]
fn scale_and_time() {
    rule(
        "{ old = 'body.s', new = 'body.ms', scale = 1000 }",
        r#"{"s":2}"#,
        r#"{"ms":2000}"#,
    );
    refused(
        "{ old = 'body.s', new = 'body.ms', scale = 1000 }",
        Future,
        r#"{"ms":1500}"#,
    );
    rule(
        "{ old = 'body.eur', new = 'body.cents', scale = 100, convert = ['float', 'integer'] }",
        r#"{"eur":1.25}"#,
        r#"{"cents":125}"#,
    );
    rule(
        "{ old = 'body.t', new = 'body.t', time = ['s', 'ms'] }",
        r#"{"t":7}"#,
        r#"{"t":7000}"#,
    );
    rule(
        "{ old = 'body.t', new = 'body.t', time = ['s', 'rfc3339'] }",
        r#"{"t":86400}"#,
        r#"{"t":"1970-01-02T00:00:00Z"}"#,
    );
}

#[test]
fn arrays_and_objects() {
    rule(
        "{ old = 'body.v', new = 'body.v', wrap = 'new' }",
        r#"{"v":1}"#,
        r#"{"v":[1]}"#,
    );
    refused(
        "{ old = 'body.v', new = 'body.v', wrap = 'new' }",
        Future,
        r#"{"v":[1,2]}"#,
    );
    rule(
        "{ old = 'body.v', new = 'body.w', each = { map = { a = 1, b = 2 } } }",
        r#"{"v":["a","b"]}"#,
        r#"{"w":[1,2]}"#,
    );
    rule(
        "{ old = 'body.v', new = 'body.w', each = [{ old = 'id', new = 'key.id' }] }",
        r#"{"v":[{"id":1,"x":2},{"id":3}]}"#,
        r#"{"w":[{"x":2,"key":{"id":1}},{"key":{"id":3}}]}"#,
    );
    rule(
        "{ old = 'body.v', new = 'body.v', values = { convert = ['integer', 'string'] } }",
        r#"{"v":{"a":1,"b":2}}"#,
        r#"{"v":{"a":"1","b":"2"}}"#,
    );
    rule(
        "{ old = 'body.v', new = 'body.v', fields = [{ old = 'a', new = 'b' }] }",
        r#"{"v":{"a":1}}"#,
        r#"{"v":{"b":1}}"#,
    );
    rule(
        "{ old = 'body.v', new = 'body.v', each = [{ old = '.', new = 'id' }] }",
        r#"{"v":[1,2]}"#,
        r#"{"v":[{"id":1},{"id":2}]}"#,
    );
    rule(
        "{ old = 'body.v', new = 'body.v', entries = { object = 'old', key = 'n', value = 'q' } }",
        r#"{"v":{"a":1,"b":2}}"#,
        r#"{"v":[{"n":"a","q":1},{"n":"b","q":2}]}"#,
    );
    rule(
        "{ old = 'body.v', new = 'body.v', entries = { object = 'new', key = 'n' } }",
        r#"{"v":[{"n":"a","q":1}]}"#,
        r#"{"v":{"a":{"q":1}}}"#,
    );
    rule(
        "{ old = 'body.v', new = 'body.v', steps = [{ map = { a = 1 } }, { wrap = 'new' }] }",
        r#"{"v":"a"}"#,
        r#"{"v":[1]}"#,
    );
}

#[test]
fn values_of_one_side() {
    rule(
        "{ new = 'body.n', value = 5 }",
        r#"{"x":1}"#,
        r#"{"x":1,"n":5}"#,
    );
    refused("{ new = 'body.n', value = 5 }", Future, r#"{"n":6}"#);
    let text =
        "[[operation]]\nsame = 'POST /x'\nrequest = [{ new = 'body.n', value = 5, lossy = true }]";
    let outcome = send(
        &future(&lens(text)),
        wire("POST /x", r#"{"n":6,"x":1}"#),
        wire("200", ""),
    );
    assert_eq!(outcome.seen, Some(wire("POST /x", r#"{"x":1}"#)));
}

#[test]
fn absent_values() {
    let rule = "{ old = 'body.a', new = 'body.b' }";
    assert!(refused(rule, Past, r#"{"x":1}"#).reason.contains("missing"));
    crate::support::rule(
        "{ old = 'body.a', new = 'body.b', optional = true }",
        r#"{"x":1}"#,
        r#"{"x":1}"#,
    );
    crate::support::rule(
        "{ old = 'body.a', new = 'body.b', optional = true, convert = ['integer', 'string'] }",
        r#"{"a":null}"#,
        r#"{"b":null}"#,
    );
    let text = "[[operation]]\nsame = 'POST /x'\nrequest = [{ old = 'body.a', new = 'body.b', default = { new = 1 } }]";
    let outcome = send(&past(&lens(text)), wire("POST /x", "{}"), wire("200", ""));
    assert_eq!(outcome.seen, Some(wire("POST /x", r#"{"b":1}"#)));
}

#[test]
fn computed_values_and_conditions() {
    rule(
        "{ old = 'body.a', new = 'body.b', to_new = 'value * 2', to_old = 'value / 2' }",
        r#"{"a":4}"#,
        r#"{"b":8}"#,
    );
    rule(
        "{ to_new = { 'body.rgb' = \"body.r + ',' + body.g\" }, \
           to_old = { 'body.r' = \"body.rgb.split(',')[0]\", 'body.g' = \"body.rgb.split(',')[1]\" } }",
        r#"{"r":"1","g":"2"}"#,
        r#"{"rgb":"1,2"}"#,
    );
    rule(
        "{ old = 'body.a', new = 'body.b', when = { old = \"body.kind == 'x'\", new = \"body.kind == 'x'\" } }",
        r#"{"kind":"y","a":1}"#,
        r#"{"kind":"y","a":1}"#,
    );
    let refuse =
        "{ refuse = { status = 409, reason = 'too many' }, when = { old = 'body.n > 10' } }";
    let refusal = refused(refuse, Past, r#"{"n":11}"#);
    assert_eq!(
        (refusal.kind, refusal.status().as_u16()),
        (RefusalKind::Declared, 409)
    );
    let present = "{ old = 'body.legacy', refuse = { status = 410, reason = 'gone' } }";
    assert_eq!(refused(present, Past, r#"{"legacy":1}"#).status(), 410);
    let one_way = "{ old = 'body.a', new = 'body.b', to_new = 'value', to_old = 'refuse' }";
    refused(one_way, Future, r#"{"b":1}"#);
    for (expression, body) in [
        ("value + 1", "9223372036854775807"),
        ("value * 4", "9223372036854775807"),
        ("1 / value", "0"),
        ("1 % value", "0"),
        ("-value", "-9223372036854775808"),
        ("'ab'.substring(value)", "7"),
        ("[1][value]", "9223372036854775807"),
        ("value.exists(x, x)", "[1]"),
        ("int(value)", "1e300"),
        ("timestamp(value)", "\"x\""),
        ("value.matches('(')", "\"x\""),
    ] {
        let rule = format!(
            "{{ old = 'body.a', new = 'body.a', to_new = \"{expression}\", to_old = 'value' }}"
        );
        refused(&rule, Past, &format!("{{\"a\":{body}}}"));
    }
    // An expression that fails refuses the call.
    refused(
        "{ old = 'body.a', new = 'body.b', to_new = 'value.x.y', to_old = 'value' }",
        Past,
        r#"{"a":1}"#,
    );
}

#[test]
fn path_query_and_headers() {
    let text = r#"
        [[operation]]
        old = "GET /v1/items/{id}/{part}"
        new = "GET /v2/things"
        request = [
          { old = "path.id", new = "query.key" },
          { old = "path.part", new = "header.x-part" },
          { old = "query.tag[]", new = "query.label[]", optional = true },
        ]
    "#;
    both_ways(
        &lens(text),
        (
            wire("GET /v1/items/a%20b/p?z=%20&tag=1&tag=2", ""),
            wire("200", ""),
        ),
        (
            wire("GET /v2/things?z=%20&key=a+b&label=1&label=2", "").header("x-part", "p"),
            wire("200", ""),
        ),
    );
}

#[test]
fn bodies_move_to_queries_and_back() {
    let text = r#"
        [[operation]]
        old = "POST /search"
        new = "GET /find"
        request = [{ old = "body.limit", new = "query.limit", convert = ["integer", "string"] }]
    "#;
    both_ways(
        &lens(text),
        (wire("POST /search", r#"{"limit":5}"#), wire("200", "")),
        (wire("GET /find?limit=5", ""), wire("200", "")),
    );
}

#[test]
fn nothing_is_overwritten_and_nothing_lost_in_silence() {
    let clash = refused(
        "{ old = 'body.a', new = 'body.b' }",
        Past,
        r#"{"a":1,"b":2}"#,
    );
    assert!(clash.reason.contains("already"), "{}", clash.reason);
    let text = "[[operation]]\nsame = 'POST /x'\nrequest = { rest = 'refuse', rules = [{ old = 'body.a', new = 'body.b' }] }";
    let outcome = send(
        &past(&lens(text)),
        wire("POST /x", r#"{"a":1,"z":2}"#),
        wire("200", ""),
    );
    assert!(outcome.answer.is_err());
}

#[test]
fn patterns_stand_for_every_name_of_a_form() {
    let text = r#"
[[operation]]
same = "GET /{name}"
request = [
  { old = "query._sort", new = "query.order" , optional = true },
  { old = "query.{field}_like", refuse = { status = 501, reason = "no search" } },
  { old = "query.{field}_gte", refuse = { status = 422, reason = "whole numbers only" }, when = { old = "!value.matches('^[0-9]+$')" } },
  { old = "query.{field}_gte", new = "query.min.{field}" },
  { old = "query.{field}_gt", new = "query.from.{field}", to_new = "string(int(value) + 1)", to_old = "string(int(value) - 1)" },
  { old = "query._{secret}", lossy = true },
]
"#;
    let text = text.replace("min.", "min-").replace("from.", "from-");
    let lens = lens(&text);
    let ask = |direction, target: &str| {
        let chain = lens::chain(vec![(lens.clone(), direction)]);
        send(&chain, wire(&format!("GET {target}"), ""), wire("200", ""))
    };
    let past = ask(Past, "/a?x=1&views_gte=5&_sort=x&n.m_gt=6&_y=3&_sort_gte=7");
    let seen = past.seen.expect("passed").start;
    assert_eq!(
        seen,
        "GET /a?x=1&order=x&min-_sort=7&min-views=5&from-n.m=7"
    );
    let future = ask(Future, "/a?order=x&min-views=5&from-n=7&x=1");
    let seen = future.seen.expect("passed").start;
    assert_eq!(seen, "GET /a?x=1&_sort=x&views_gte=5&n_gt=6");
    for (target, status) in [
        ("/a?t_like=x", 501),
        ("/a?t_gte=x", 422),
        ("/a?t_gt=1&t_gt=2", 422),
    ] {
        let refusal = ask(Past, target).answer.expect_err("refused");
        assert_eq!(refusal.status().as_u16(), status, "{target}");
    }
    for (rules, wrong) in [
        ("{ old = 'query.{a}', new = 'query.{b}x' }", "the same hole"),
        ("{ old = 'query.{a}', new = 'query.b' }", "the same hole"),
        ("{ old = 'query.{a}', value = 'x' }", "no single name"),
        ("{ old = 'query.{a}[]', lossy = true }", "occur once"),
        ("{ old = 'body.{a}.b', lossy = true }", "only the last name"),
        ("{ use = 'nothing' }", "no rules called"),
    ] {
        let text = format!("[[operation]]\nsame = 'GET /a'\nrequest = [{rules}]");
        let error = lens::Lens::parse("x", &text).expect_err(rules).to_string();
        assert!(error.contains(wrong), "{error}");
    }
}

#[test]
fn ids_that_are_integers_or_strings() {
    let pair = "{ old = 'body.v', new = 'body.v', convert = ['integer or string', 'string'] }";
    rule(pair, r#"{"v":5}"#, r#"{"v":"5"}"#);
    rule(pair, r#"{"v":"x5"}"#, r#"{"v":"x5"}"#);
    rule(pair, r#"{"v":"05"}"#, r#"{"v":"05"}"#);
    for wrong in ["\"5\"", "5.5", "true", "null"] {
        refused(pair, Past, &format!("{{\"v\":{wrong}}}"));
    }
    refused(pair, Future, r#"{"v":5}"#);
}

#[test]
fn a_set_of_rules_that_uses_itself_is_refused() {
    let text = "[rules]\na = [{ old = 'x', new = 'y', optional = true, everywhere = 'a' }]\n\
                [[operation]]\nsame = 'POST /a'\nrequest = [{ old = 'body', new = 'body', everywhere = 'a' }]";
    let error = lens::Lens::parse("x", text)
        .expect_err("refused")
        .to_string();
    assert!(error.contains("inside itself"), "{error}");
    let text =
        "[rules]\na = [{ use = 'a' }]\n[[operation]]\nsame = 'POST /a'\nrequest = [{ use = 'a' }]";
    let error = lens::Lens::parse("x", text)
        .expect_err("refused")
        .to_string();
    assert!(error.contains("deep"), "{error}");
}

#[test]
fn what_may_be_absent_may_be_null_whatever_is_computed_from_it() {
    rule(
        "{ old = 'body.a', new = 'body.b', optional = true, to_new = 'value + 1', to_old = 'value - 1' }",
        r#"{"a":null}"#,
        r#"{"b":null}"#,
    );
    rule(
        "{ old = 'body.{name}Old', new = 'body.{name}New', to_new = 'value + 1', to_old = 'value - 1' }",
        r#"{"aOld":null,"bOld":1}"#,
        r#"{"aNew":null,"bNew":2}"#,
    );
}

//! Operations: how calls find theirs, and what becomes of answers.

use crate::support::*;
use call::RefusalKind;

#[test]
fn statuses_and_echoes() {
    let text = r#"
        [[operation]]
        old = "PUT /a/{id}"
        new = "POST /b"
        request = [{ old = "path.id", new = "body.key" }]
        [[operation.response]]
        status = { old = 200, new = 201 }
        rules = [{ old = "body.id", echo = "path.id" }, { new = "body.key", echo = "body.key" }]
        [[operation.response]]
        status = { old = 404, new = 410 }
        [[operation.response]]
        status = "5xx"
    "#;
    let lens = lens(text);
    both_ways(
        &lens,
        (
            wire("PUT /a/7", r#"{"v":1}"#),
            wire("200", r#"{"ok":true,"id":"7"}"#),
        ),
        (
            wire("POST /b", r#"{"v":1,"key":"7"}"#),
            wire("201", r#"{"ok":true,"key":"7"}"#),
        ),
    );
    both_ways(
        &lens,
        (wire("PUT /a/7", r#"{"v":1}"#), wire("404", "")),
        (wire("POST /b", r#"{"v":1,"key":"7"}"#), wire("410", "")),
    );
    let outcome = send(&past(&lens), wire("PUT /a/7", "{}"), wire("503", ""));
    assert_eq!(outcome.answer, Ok(wire("503", "")));
    let outcome = send(&past(&lens), wire("PUT /a/7", "{}"), wire("418", ""));
    let refusal = outcome.answer.expect_err("no rule for this status");
    assert_eq!(
        (refusal.kind, refusal.status().as_u16()),
        (RefusalKind::Response, 502)
    );
}

#[test]
fn answers_may_use_the_request() {
    let text = r#"
        [[operation]]
        same = "GET /a/{id}"
        [[operation.response]]
        status = 200
        rules = [{ to_old = { "body.id" = "request.path.id" }, to_new = "drop" }]
    "#;
    let outcome = send(
        &past(&lens(text)),
        wire("GET /a/7", ""),
        wire("200", r#"{"v":1}"#),
    );
    assert_eq!(outcome.answer, Ok(wire("200", r#"{"v":1,"id":"7"}"#)));
}

#[test]
fn unmatched_passed_and_refused_operations() {
    let text = r#"
        pass = ["GET /health", "* /static/{rest*}"]
        [refusal]
        unmatched = 400
        old_body = { error = "no: ${reason}", code = "${status}" }
        [[operation]]
        old = "DELETE /all"
        refuse = { status = 405, reason = "not any more", body = { why = "${reason}" } }
    "#;
    let lens = lens(text);
    for start in ["GET /health", "PUT /static/a/b.js?x"] {
        let outcome = send(&past(&lens), wire(start, "[1]"), wire("299", "{}"));
        assert_eq!(outcome.seen, Some(wire(start, "[1]")));
        assert_eq!(outcome.answer, Ok(wire("299", "{}")));
    }
    let refusal = send(&past(&lens), wire("GET /x", ""), wire("200", ""))
        .answer
        .expect_err("unmatched");
    assert_eq!(refusal.kind, RefusalKind::Unmatched);
    let body = refusal.json().expect("the lens' own words");
    assert_eq!(body.get("code"), Some(&json("400")));
    let refusal = send(&past(&lens), wire("DELETE /all", ""), wire("200", ""))
        .answer
        .expect_err("refused");
    assert_eq!(
        (refusal.status().as_u16(), refusal.json().cloned()),
        (405, Some(json(r#"{"why":"not any more"}"#)))
    );
    let refusal = send(&future(&lens), wire("DELETE /all", ""), wire("200", ""))
        .answer
        .expect_err("unmatched");
    assert_eq!(refusal.kind, RefusalKind::Unmatched);
}

#[test]
fn operations_told_apart_by_conditions() {
    let text = r#"
        [[operation]]
        old = "POST /do"
        new = "POST /start"
        when = { old = "body.action == 'start'" }
        request = [{ old = "body.action", value = "start" }]
        [[operation]]
        old = "POST /do"
        new = "POST /stop"
        request = [{ old = "body.action", value = "stop" }]
    "#;
    let lens = lens(text);
    for action in ["start", "stop"] {
        let old = format!(r#"{{"x":1,"action":"{action}"}}"#);
        both_ways(
            &lens,
            (wire("POST /do", &old), wire("200", "")),
            (
                wire(&format!("POST /{action}"), r#"{"x":1}"#),
                wire("200", ""),
            ),
        );
    }
}

#[test]
fn head_follows_get() {
    let text = r#"
        [[operation]]
        old = "GET /a"
        new = "GET /b"
        [[operation.response]]
        status = 200
        rules = [{ old = "body.x", new = "body.y" }]
    "#;
    let answer = wire("200", "").header("content-length", "7");
    let outcome = send(&past(&lens(text)), wire("HEAD /a", ""), answer);
    assert_eq!(outcome.seen, Some(wire("HEAD /b", "")));
    assert_eq!(outcome.answer, Ok(wire("200", "")));
}

#[test]
fn bodies_that_cannot_be_read_are_refused() {
    let text = "[[operation]]\nsame = 'POST /x'\nrequest = [{ old = 'body.a', new = 'body.b' }]";
    let compressed = wire("POST /x", "{}").header("content-encoding", "gzip");
    let refusal = send(&past(&lens(text)), compressed, wire("200", ""))
        .answer
        .expect_err("refused");
    assert_eq!(
        (refusal.kind, refusal.status().as_u16()),
        (RefusalKind::Malformed, 400)
    );
}

#[test]
fn a_refused_answer_says_what_the_software_had_said() {
    let lens = lens(
        "[[operation]]\nold = 'GET /a'\nnew = 'GET /b'\n[[operation.response]]\nstatus = 200\nrules = [{ old = 'body.a', new = 'body.b' }]\n",
    );
    let cause = |status: &str, body: &str| {
        let outcome = send(&past(&lens), wire("GET /a", ""), wire(status, body));
        let refusal = outcome.answer.expect_err("refused");
        assert_eq!(refusal.kind, RefusalKind::Response);
        // The caller is told the rule, not the software's words.
        assert!(!refusal.reason.contains("disk"), "{}", refusal.reason);
        refusal.cause.expect("a cause")
    };
    assert_eq!(
        cause("500", r#"{"error":"disk\u001b[2J"}"#),
        r#"500 Internal Server Error: {"error":"disk\u001b[2J"}"#
    );
    assert_eq!(cause("204", ""), "204 No Content");
    assert_eq!(cause("200", r#"{"disk":1}"#), r#"200 OK: {"disk":1}"#);
    let long = format!("\"disk{}\"", "x".repeat(1_000));
    assert_eq!(cause("502", &long).len(), "502 Bad Gateway: ".len() + 300);
}

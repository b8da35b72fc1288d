//! Lens files that are refused, with file, line, key and what to do.

use lens::Lens;

#[track_caller]
fn error(text: &str) -> String {
    Lens::parse("data.toml", text)
        .expect_err("refused")
        .to_string()
}

#[track_caller]
fn rule(rule: &str) -> String {
    error(&format!(
        "[[operation]]\nsame = 'POST /x/{{id}}'\nrequest = [\n{rule}\n]\n"
    ))
}

#[track_caller]
fn assert_error(found: String, parts: &[&str]) {
    for part in parts {
        assert!(found.contains(part), "`{part}` is not in: {found}");
    }
}

#[test]
fn unknown_keys_come_with_the_nearest_known_one() {
    assert_error(
        error("[[operation]]\nodl = 'GET /x'\nold = 'GET /x'\nnew = 'GET /y'"),
        &[
            "data.toml:2: operation[0].odl: unknown key `odl`",
            "did you mean `old`?",
        ],
    );
    assert_error(
        rule("{ old = 'body.a', new = 'body.b', optionl = true }"),
        &["data.toml:4: operation[0].request[0].optionl", "`optional`"],
    );
    assert_error(
        error("unmatchd = 'pass'"),
        &["data.toml:1: unmatchd", "`unmatched`"],
    );
}

#[test]
fn what_has_no_way_back_must_say_so() {
    assert_error(
        rule("{ old = 'body.a', new = 'body.b', to_new = 'value' }"),
        &["data.toml:4: ", "`to_old` is missing", "\"refuse\""],
    );
    assert_error(
        rule("{ to_new = { 'body.a' = '1' } }"),
        &["`to_old` is missing"],
    );
    assert_error(
        rule("{ old = 'body.a' }"),
        &["would be lost", "lossy = true"],
    );
    assert_error(
        rule("{ old = 'body.a', new = 'body.b', map = { x = 1, y = 1 } }"),
        &["two old values", "one to one"],
    );
    assert_error(
        rule("{ old = 'body.a', new = 'body.b', when = { old = 'true' } }"),
        &["`when.new`"],
    );
}

#[test]
fn paths_are_proved() {
    assert_error(
        error("[[operation]]\nold = 'GET /a/{id}'\nnew = 'GET /b/{key}'"),
        &[
            "data.toml:1: operation[0]: nothing gives the new path its `key`",
            "new = \"path.key\"",
        ],
    );
    assert_error(
        error("[[operation]]\nold = 'GET /a/{id}'\nnew = 'GET /b'"),
        &["`id` would be lost"],
    );
    assert_error(
        rule("{ old = 'path.idd', new = 'body.x' }"),
        &["no parameter `idd`"],
    );
    assert_error(
        error("[[operation]]\nold = 'GET /a'"),
        &["nothing says what it is at the new version", "refuse ="],
    );
    assert_error(
        error("[[operation]]\nold = 'get /a'\nnew = 'GET /a'"),
        &["data.toml:2: operation[0].old"],
    );
}

#[test]
fn what_can_never_be_chosen_is_refused() {
    let twice = "[[operation]]\nold = 'GET /a'\nnew = 'GET /c'\n[[operation]]\nold = 'GET /b'\nnew = 'GET /c'";
    assert_error(
        error(twice),
        &[
            "data.toml:4: operation[1]",
            "future adapter can never reach it",
            "only = \"past\"",
        ],
    );
    assert!(Lens::parse("x", &format!("{twice}\nonly = 'past'")).is_ok());
    let statuses = "[[operation]]\nsame = 'GET /a'\n[[operation.response]]\nstatus = { old = 404, new = 404 }\n\
                    [[operation.response]]\nstatus = { old = 404, new = 410 }\n";
    assert_error(
        error(statuses),
        &[
            "data.toml:5: ",
            "future adapter can never choose it",
            "only = \"past\"",
        ],
    );
    assert!(Lens::parse("x", &format!("{statuses}only = 'past'")).is_ok());
}

#[test]
fn expressions_are_checked() {
    assert_error(
        rule("{ old = 'body.a', new = 'body.b', to_new = 'value +', to_old = 'value' }"),
        &["not a CEL expression"],
    );
    assert_error(
        rule("{ old = 'body.a', new = 'body.b', to_new = 'vaule', to_old = 'value' }"),
        &["`vaule` is not known", "value"],
    );
    assert_error(
        rule("{ old = 'body.a', new = 'body.b', to_new = 'status', to_old = 'value' }"),
        &["`status`"],
    );
}

#[test]
fn other_mistakes() {
    for (text, parts) in [
        (
            "{ old = 'body.a', new = 'body.b', map = 'colours' }",
            &["no table [map.colours]"][..],
        ),
        (
            "{ old = 'body.a', new = 'body.b', wrap = 'new', map = {} }",
            &["two converters", "steps"],
        ),
        (
            "{ old = 'body.a', new = 'body.b', convert = ['int', 'string'] }",
            &["`int` is not one of"],
        ),
        (
            "{ old = 'body.a', new = 'body.b', scale = 0 }",
            &["positive"],
        ),
        (
            "{ old = 'bdy.a', new = 'body.b' }",
            &["does not begin with"],
        ),
        (
            "{ old = 'body.a', new = 'body.b' }, { old = 'body.a', new = 'body.c' }",
            &["two rules for the old"],
        ),
        (
            "{ new = 'body.a', echo = 'path.id' }",
            &["belongs to answers"],
        ),
        (
            "{ refuse = { status = 99, reason = 'x' }, old = 'body.a' }",
            &["not a status"],
        ),
        ("{ refuse = { status = 400, reason = 'x' } }", &["one side"]),
        (
            "{ old = 'body.a', new = 'body.b', optional = 'yes' }",
            &["true or false was expected, not string"],
        ),
    ] {
        assert_error(rule(text), parts);
    }
    assert_error(error("= 3"), &["data.toml:1: "]);
    assert_error(
        error(
            "[[operation]]\nsame = 'GET /a'\n[[operation.response]]\nstatus = { old = '4xx', new = 404 }",
        ),
        &["one response for each"],
    );
}

/// The golden file: a name, a lens, and behind `=>` what is told about it, exactly.
const MISTAKES: &str = include_str!("lens_mistakes.txt");

/// Set to write the golden file anew from what is told now; read the difference before it is kept.
const BLESS: &str = "UPSTART_BLESS";

#[test]
fn every_kind_of_mistake_is_told_with_file_line_and_key() {
    let mut told = String::new();
    for case in MISTAKES.split("## ").skip(1) {
        let (name, rest) = case.split_once("\n\n").expect("a name");
        let (lens, _) = rest.split_once("\n\n=> ").expect("what is told");
        let message = match Lens::parse("data.toml", lens) {
            Ok(_) => "nothing".to_owned(),
            Err(error) => error.to_string(),
        };
        assert!(message.starts_with("data.toml:"), "{name}: {message}");
        let location = message.split(": ").next().expect("a place");
        let line: usize = location["data.toml:".len()..].parse().expect("a line");
        assert!(
            (1..=lens.lines().count()).contains(&line),
            "{name}: {message}"
        );
        told.push_str(&format!("## {name}\n\n{lens}\n\n=> {message}\n\n"));
    }
    if std::env::var_os(BLESS).is_some() {
        let path =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lenses/lens_mistakes.txt");
        std::fs::write(path, &told).expect("written");
        return;
    }
    assert!(
        MISTAKES == told,
        "what is told has changed: {BLESS}=1 writes tests/lenses/lens_mistakes.txt anew\n{told}"
    );
}

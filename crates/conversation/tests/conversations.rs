//! The format of conversations, playing them, and what is said of those that differ.

use std::path::Path;
use std::sync::Arc;

use conversation::{Conversation, Played};
use kit::block_on;
use lens::Lens;

fn lens(text: &str) -> Arc<Lens> {
    Arc::new(Lens::parse("test.toml", text).unwrap_or_else(|error| panic!("{error}")))
}

async fn play(lens: &Arc<Lens>, conversation: &Conversation) -> Played {
    let adapter = |part: conversation::Part| lens.clone().adapter(part.direction);
    conversation.play(adapter).await
}

const LENS: &str = "
[[operation]]
old = 'PUT /a/{id}'
new = 'POST /b'
request = [
  { old = 'path.id', new = 'body.key' },
  { old = 'body.n', new = 'body.number', convert = ['integer', 'string'] },
  { old = 'header.x-tone', new = 'header.x-colour', optional = true },
]
[[operation.response]]
status = { old = 200, new = 201 }
rules = [{ old = 'body.id', new = 'body.key' }]
";

const CONVERSATION: &str = r#"
description = "A write"
direction = "past"

[caller.sends]
request = "PUT /a/x%2Fy"
headers = { X-Tone = "red", accept = ["a", "b"] }
body = '{"n": 7, "rest": null}'

[[next]]
[next.gets]
request = "POST /b"
headers = { x-colour = "red", accept = ["a", "b"] }
body = '''{"rest": null,
  "number": "7", "key": "x/y"}'''
[next.answers]
status = 201
body = '{"key": "x/y"}'

[caller.gets]
status = 200
body = '{"id": "x/y"}'
"#;

fn parse(text: &str) -> Conversation {
    Conversation::parse("c.toml", text).unwrap_or_else(|error| panic!("{error}"))
}

fn differences(text: &str) -> Vec<String> {
    let played = block_on(play(&lens(LENS), &parse(text)));
    played.differences.iter().map(ToString::to_string).collect()
}

#[test]
fn a_body_without_a_media_type_is_sent_and_compared_as_such() {
    const PASSING: &str = "pass = ['POST /p']";
    let conversation = |gets: &str| {
        format!(
            "direction = 'past'\n[caller.sends]\nrequest = 'POST /p'\nheaders.content-type = []\nbody = '{{}}'\n\
             [[next]]\n[next.gets]\nrequest = 'POST /p'\n{gets}body = '{{}}'\n[next.answers]\nstatus = 200\n\
             [caller.gets]\nstatus = 200\n"
        )
    };
    let untyped = parse(&conversation("headers.content-type = []\n"));
    let played = block_on(play(&lens(PASSING), &untyped));
    assert!(played.differences.is_empty(), "{:?}", played.differences);
    assert_eq!(parse(&played.found.to_toml()), untyped, "written and read");
    let typed = parse(&conversation(""));
    let differences = block_on(play(&lens(PASSING), &typed)).differences;
    assert_eq!(differences.len(), 1, "{differences:?}");
    assert!(differences[0].to_string().contains("content-type"));
}

#[test]
fn a_lens_that_does_what_its_conversation_says_differs_nowhere() {
    assert_eq!(differences(CONVERSATION), Vec::<String>::new());
}

#[test]
fn a_conversation_is_printed_as_it_was_read() {
    let read = parse(CONVERSATION);
    let again = parse(&read.to_toml());
    assert_eq!(again.differences(&read), []);
    assert_eq!(again.sends.headers, read.sends.headers);
    assert_eq!(again.to_toml(), read.to_toml());
    // Bodies that are no JSON, with quotes, control characters or bytes that are no text.
    for body in [
        "body = \"it's ''' text\\n\\u0001\"",
        "body_base64 = \"/wAB\"",
        "body = \"\\\"it's\\\"\"",
    ] {
        let text = CONVERSATION.replace("body = '{\"n\": 7, \"rest\": null}'", body);
        let read = parse(&text);
        assert!(!read.sends.body.is_empty());
        assert_eq!(parse(&read.to_toml()).sends.body, read.sends.body);
    }
}

#[test]
fn what_differs_is_told_place_by_place() {
    for (from, to, told) in [
        (
            "\"number\": \"7\"",
            "\"number\": 7",
            "next[0].gets body.number: expected 7, found \"7\"",
        ),
        (
            "request = \"POST /b\"",
            "request = \"POST /c\"",
            "next[0].gets request: expected POST /c, found POST /b",
        ),
        (
            "x-colour = \"red\", ",
            "",
            "next[0].gets headers.x-colour: expected nothing, found red",
        ),
        (
            "status = 200",
            "status = 202",
            "caller.gets status: expected 202, found 200",
        ),
        (
            "{\"id\": \"x/y\"}",
            "{\"id\": \"x/y\", \"also\": [1]}",
            "caller.gets body.also: expected [1], found nothing",
        ),
        (
            "status = 200",
            "refused = \"request\"\nstatus = 200",
            "caller.gets refused: expected request, found nothing",
        ),
    ] {
        let text = CONVERSATION.replace(from, to);
        assert_ne!(text, CONVERSATION, "{from}");
        assert_eq!(differences(&text), [told], "{from}");
    }
}

#[test]
fn a_call_that_nobody_answers_and_one_that_is_not_made_differ() {
    let nobody = CONVERSATION.replace("n\": 7", "n\": \"7\"");
    let told = differences(&nobody);
    assert_eq!(
        told[0],
        "next[0].gets request: expected POST /b, found nothing"
    );
    assert!(
        told.iter()
            .any(|line| line == "caller.gets refused: expected nothing, found request"),
        "{told:?}"
    );
    let cut = CONVERSATION.find("[[next]]").expect("there")
        ..CONVERSATION.find("[caller.gets]").expect("there");
    let mut alone = CONVERSATION.to_owned();
    alone.replace_range(cut, "");
    let told = differences(&alone);
    assert_eq!(
        told[0],
        "next[0].gets request: expected nothing, found POST /b"
    );
}

#[test]
fn mistakes_in_conversations_are_told_with_file_line_and_key() {
    for (from, to, told) in [
        (
            "direction = \"past\"",
            "direction = \"pst\"",
            "c.toml:3: direction: `pst` is not one of: past, future, direct; did you mean \"past\"?",
        ),
        (
            "[caller.gets]",
            "[caller.gts]",
            "c.toml:20: caller.gts: unknown key `gts`; did you mean `gets`?",
        ),
        (
            "request = \"PUT /a/x%2Fy\"",
            "request = \"PUT a\"",
            "c.toml:6: caller.sends.request: a method and a path were expected; as in \"GET /items/1?limit=2\", encoded as on the wire",
        ),
        (
            "status = 201",
            "status = 42",
            "c.toml:17: next[0].answers.status: 42 is not a status from 200 to 599",
        ),
        (
            "status = 200",
            "statu = 200",
            "c.toml:21: caller.gets.statu: unknown key `statu`; did you mean `status`?",
        ),
        (
            "description = \"A write\"",
            "body = 3",
            "c.toml:2: body: unknown key `body`; known keys here: caller, description, direction, next, recorded",
        ),
    ] {
        let text = CONVERSATION.replacen(from, to, 1);
        assert_ne!(text, CONVERSATION, "{from}");
        let error = Conversation::parse("c.toml", &text).expect_err("refused");
        assert_eq!(error.to_string(), told);
    }
}

#[test]
fn the_examples_lenses_do_what_their_conversations_say() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut played = 0;
    for folder in kit::folders(&examples, "conversations") {
        let path = folder.with_extension("toml");
        let text = std::fs::read_to_string(&path).expect("a lens beside its conversations");
        let lens = lens(&text);
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let file = entry.expect("an entry").path();
            let name = file.display().to_string();
            let text = std::fs::read_to_string(&file).expect("readable");
            let conversation = Conversation::parse(&name, &text).unwrap_or_else(|e| panic!("{e}"));
            let outcome = block_on(play(&lens, &conversation));
            assert_eq!(outcome.differences, [], "{name}");
            played += 1;
        }
    }
    assert!(played >= 60, "{played} conversations");
}

#[test]
fn look_ups_are_exchanges_before_the_call_itself() {
    let lens = lens(
        "[[operation]]\nsame = 'DELETE /items/{id}'\nlookup = { item = { old = 'GET /items/{id}' } }\n\
         [[operation.response]]\nstatus = 200\nonly = 'future'\n\
         rules = [{ old = 'body', lossy = true }, { new = 'body', echo = 'lookup.item.body' }]\n\
         [[operation.response]]\nstatus = 200\nonly = 'past'\n\
         rules = [{ old = 'body', value = {} }, { new = 'body', lossy = true }]\n",
    );
    let text = r#"
direction = "future"
[caller.sends]
request = "DELETE /items/7"
[[next]]
[next.gets]
request = "GET /items/7"
[next.answers]
status = 200
body = '{"id": 7}'
[[next]]
[next.gets]
request = "DELETE /items/7"
[next.answers]
status = 200
body = '{}'
[caller.gets]
status = 200
body = '{"id": 7}'
"#;
    let played = block_on(play(&lens, &parse(text)));
    assert_eq!(played.differences, []);
    let answers: Vec<_> = parse(text)
        .exchanges
        .iter()
        .map(|exchange| exchange.answers.clone())
        .collect();
    let lenses = [(lens, call::Direction::Future)];
    let explained = block_on(lens::explain::explain(
        &lenses,
        &parse(text).sends,
        &answers,
    ));
    let step = &explained.lenses[0];
    assert_eq!(step.look_ups.len(), 1);
    assert_eq!(step.look_ups[0].0.line, "GET /items/7");
    let next = step.next_gets.as_ref().map(|shown| shown.line.as_str());
    assert_eq!(next, Some("DELETE /items/7"));
    let deeds: Vec<_> = step.answer.iter().map(|rule| rule.deed).collect();
    assert_eq!(deeds, ["dropped", "filled"]);
}

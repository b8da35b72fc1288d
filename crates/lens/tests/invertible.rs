//! Where a lens claims to be invertible, forward then backward is the identity: for generated lenses, and for every operation
//! of the examples' lenses that claims it, on messages generated from the lens file by a reader of its own.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use call::Direction;
use lens::Lens;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use support::generate::{answering, any_json, fields, insert, lens_and_body};
use support::*;
use toml::Value;
use wire::json::Json;

const CASES: u32 = 64;

fn config(cases: u32) -> Config {
    Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    }
}

/// A generated message: what stands in each part.
#[derive(Clone, Debug, Default)]
struct Message {
    path: BTreeMap<String, String>,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Option<Json>,
}

/// One place of a message and the values that may stand there.
#[derive(Clone)]
struct Slot {
    place: Vec<String>,
    optional: bool,
    values: BoxedStrategy<Json>,
}

/// What the generator makes of the rules of one message; `None` where one of them makes no claim, or one that only its author could
/// test (expressions, losses, refusals).
fn slots(rules: &[Value], tables: &Value) -> Option<Vec<Slot>> {
    let mut slots = Vec::new();
    for rule in rules {
        slots.extend(slot(rule, tables)?);
    }
    Some(slots)
}

/// `Some(None)` for a rule that needs nothing in the old form.
fn slot(rule: &Value, tables: &Value) -> Option<Option<Slot>> {
    for key in [
        "when",
        "refuse",
        "to_new",
        "to_old",
        "lossy",
        "echo",
        "default",
        "otherwise",
        "round",
        "use",
        "everywhere",
    ] {
        if rule.get(key).is_some() {
            return None;
        }
    }
    let place = |side: &str| {
        rule.get(side)
            .map(|place| place.as_str().map(str::to_owned))
    };
    let (old, new) = match (place("old"), place("new")) {
        (Some(old), Some(new)) => (old?, new?),
        (None, Some(_)) => return rule.get("value").map(|_| None),
        (Some(old), None) => {
            let value = json_of(rule.get("value")?);
            return Some(Some(Slot {
                place: split(&old?),
                optional: false,
                values: Just(value).boxed(),
            }));
        }
        (None, None) => return None,
    };
    // All occurrences of a parameter, and patterns of names.
    if [&old, &new]
        .iter()
        .any(|place| place.ends_with("[]") || place.contains('{'))
    {
        return None;
    }
    let text_old = !old.starts_with("body");
    let text_new = !new.starts_with("body");
    let header = old.starts_with("header") || new.starts_with("header");
    Some(Some(Slot {
        place: split(&old),
        optional: rule
            .get("optional")
            .and_then(Value::as_bool)
            .unwrap_or(false),
        values: values(rule, tables, text_old || text_new, header)?,
    }))
}

fn split(place: &str) -> Vec<String> {
    place.split('.').map(str::to_owned).collect()
}

fn json_of(value: &Value) -> Json {
    json(&serde_json::to_string(value).expect("JSON"))
}

fn integers() -> BoxedStrategy<Json> {
    any::<i64>().prop_map(Json::Integer).boxed()
}

fn texts(header: bool) -> BoxedStrategy<Json> {
    let pattern = if header { "[!-~]{1,12}" } else { ".{1,12}" };
    pattern.prop_map(Json::String).boxed()
}

/// Values of the old form that a rule's converter accepts.
fn values(
    rule: &Value,
    tables: &Value,
    is_text: bool,
    header: bool,
) -> Option<BoxedStrategy<Json>> {
    if let Some(steps) = rule.get("steps").and_then(Value::as_array) {
        // What the first accepts is assumed to be what all do, as in the examples: a table, then a wrap.
        return values(steps.first()?, tables, is_text, header);
    }
    if let Some(map) = rule.get("map") {
        let table = match map.as_str() {
            Some(name) => tables.get(name)?,
            None => map,
        };
        let keys: Vec<Json> = match table {
            Value::Table(table) => table.keys().map(|key| Json::String(key.clone())).collect(),
            Value::Array(pairs) => pairs
                .iter()
                .filter_map(|pair| pair.get(0))
                .map(json_of)
                .collect(),
            _ => return None,
        };
        return Some(prop::sample::select(keys).boxed());
    }
    if let Some(types) = rule.get("convert").and_then(Value::as_array) {
        let names: Vec<&str> = types.iter().filter_map(Value::as_str).collect();
        return match names[..] {
            ["integer", "string"] => Some(integers()),
            ["string", "integer"] => Some(
                any::<i64>()
                    .prop_map(|n| Json::String(n.to_string()))
                    .boxed(),
            ),
            ["boolean", _] => Some(any::<bool>().prop_map(Json::Bool).boxed()),
            _ => None,
        };
    }
    if let Some(side) = rule.get("wrap").and_then(Value::as_str) {
        let inner = any_json();
        return Some(match side {
            "new" => inner.boxed(),
            _ => inner.prop_map(|value| Json::Array(vec![value])).boxed(),
        });
    }
    for key in ["scale", "time", "each", "values", "fields", "entries"] {
        if rule.get(key).is_some() {
            return None;
        }
    }
    Some(if is_text {
        texts(header)
    } else {
        any_json().boxed()
    })
}

/// Messages with values in these slots, and something that no rule mentions.
fn messages(slots: Vec<Slot>, keeps_rest: bool) -> BoxedStrategy<Message> {
    let has_body = slots
        .iter()
        .any(|slot| slot.place[0] == "body" && slot.place.len() > 1);
    let parts: Vec<_> = slots
        .into_iter()
        .map(|slot| {
            let value = if slot.optional {
                prop::option::of(slot.values).boxed()
            } else {
                slot.values.prop_map(Some).boxed()
            };
            (Just(slot.place), value)
        })
        .collect();
    let extra = prop::option::of(any_json());
    (parts, extra)
        .prop_map(move |(parts, extra)| {
            let mut message = Message::default();
            if has_body {
                message.body = Some(Json::Object(Vec::new()));
            }
            for (place, value) in parts {
                if let Some(value) = value {
                    message.put(&place, value);
                }
            }
            if let (Some(extra), Some(body), true) = (extra, &mut message.body, keeps_rest) {
                insert(body, &["zz"], extra);
            }
            message.body = message.body.map(sorted);
            message
        })
        .boxed()
}

impl Message {
    fn put(&mut self, place: &[String], value: Json) {
        let text = |value: Json| match value {
            Json::String(text) => text,
            other => panic!("{other} is no text"),
        };
        match place {
            [root] if root == "body" => self.body = Some(value),
            [root, name] if root == "path" => drop(self.path.insert(name.clone(), text(value))),
            [root, name] if root == "query" => drop(self.query.insert(name.clone(), text(value))),
            [root, name] if root == "header" => {
                drop(self.headers.insert(name.clone(), text(value)))
            }
            [_, steps @ ..] => {
                let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
                let body = self.body.get_or_insert_with(|| Json::Object(Vec::new()));
                insert(body, &steps, value);
            }
            [] => panic!("an empty place"),
        }
    }

    fn wire(&self, start: String) -> Wire {
        let headers = self.headers.clone();
        Wire {
            start,
            headers: headers.into_iter().collect(),
            body: self.body.clone(),
        }
    }

    /// As a request of this template.
    fn request(&self, template: &str) -> Wire {
        let (method, path) = template.split_once(' ').expect("a template");
        let segments = path.split('/').map(|segment| {
            let name = segment.strip_prefix('{').and_then(|s| s.strip_suffix('}'));
            let value = name.map_or(segment, |name| {
                self.path
                    .get(name.trim_end_matches('*'))
                    .map_or("x", String::as_str)
            });
            match name {
                Some(_) => percent(value),
                None => segment.to_owned(),
            }
        });
        let mut target = segments.collect::<Vec<_>>().join("/");
        if !self.query.is_empty() {
            let mut pairs = form_urlencoded::Serializer::new(String::new());
            pairs.extend_pairs(&self.query);
            target = format!("{target}?{}", pairs.finish());
        }
        self.wire(format!("{method} {target}"))
    }
}

/// As the adapter writes a segment: dots by themselves are escaped, since they would be removed on the way.
fn percent(text: &str) -> String {
    if matches!(text, "." | "..") {
        return text.replace('.', "%2E");
    }
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// A message without the accidents of its spelling.
fn canonical(wire: &Wire) -> String {
    let (path, query) = wire.start.split_once('?').unwrap_or((&wire.start, ""));
    let decode = |segment: &str| {
        let decoded = percent_encoding::percent_decode_str(segment).decode_utf8_lossy();
        decoded.into_owned()
    };
    let path: Vec<String> = path.split('/').map(decode).collect();
    let query: BTreeMap<String, String> = form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let mut headers = wire.headers.clone();
    headers.sort();
    let body = wire.body.clone().map(|body| sorted(body.decoded()));
    format!("{path:?} {query:?} {headers:?} {body:?}")
}

/// An operation that claims to have a way back, as its file says it.
struct Claim {
    name: String,
    lens: Arc<Lens>,
    old: String,
    request: BoxedStrategy<Message>,
    /// The status at the old version, and answers of the old form.
    answers: Vec<(u16, BoxedStrategy<Message>)>,
}

/// The claims of a lens file.
fn claims(name: &str, text: &str) -> Vec<Claim> {
    let file: Value = toml::from_str(text).expect("TOML");
    let lens = lens(text);
    let empty = Value::Table(toml::Table::new());
    let tables = file.get("map").unwrap_or(&empty);
    let list = |of: &Value, key: &str| {
        of.get(key)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let mut claims = Vec::new();
    for operation in list(&file, "operation") {
        let text = |key: &str| {
            operation
                .get(key)
                .or(operation.get("same"))
                .and_then(Value::as_str)
        };
        let (Some(old), Some(_)) = (text("old"), text("new")) else {
            continue;
        };
        if ["when", "only", "refuse", "lookup"]
            .iter()
            .any(|key| operation.get(key).is_some())
            || old.starts_with('*')
        {
            continue;
        }
        let (rules, keeps_rest) = rules_of(operation.get("request"), "rules");
        let Some(mut request) = slots(&rules, tables) else {
            continue;
        };
        // Parameters of the same name correspond by themselves.
        for name in old
            .split('/')
            .filter_map(|s| s.strip_prefix('{')?.strip_suffix('}'))
        {
            let place = vec!["path".to_owned(), name.to_owned()];
            if !request.iter().any(|slot| slot.place == place) && !name.ends_with('*') {
                request.push(Slot {
                    place,
                    optional: false,
                    values: texts(false),
                });
            }
        }
        let answers = list(&operation, "response")
            .iter()
            .filter_map(|response| answer(response, tables))
            .collect();
        claims.push(Claim {
            name: format!("{name}: {old}"),
            lens: lens.clone(),
            old: old.to_owned(),
            request: messages(request, keeps_rest),
            answers,
        });
    }
    claims
}

/// Rules as an array or a table of them, and whether unmentioned members stay.
fn rules_of(value: Option<&Value>, key: &str) -> (Vec<Value>, bool) {
    match value {
        Some(Value::Array(rules)) => (rules.clone(), true),
        Some(table) => {
            let rules = table.get(key).and_then(Value::as_array).cloned();
            (rules.unwrap_or_default(), table.get("rest").is_none())
        }
        None => (Vec::new(), true),
    }
}

fn answer(response: &Value, tables: &Value) -> Option<(u16, BoxedStrategy<Message>)> {
    if ["when", "only", "refuse", "body"]
        .iter()
        .any(|key| response.get(key).is_some())
    {
        return None;
    }
    let status = response.get("status")?;
    let status = status.get("old").unwrap_or(status).as_integer()?;
    let (rules, keeps_rest) = rules_of(Some(response), "rules");
    let slots = slots(&rules, tables)?;
    Some((u16::try_from(status).ok()?, messages(slots, keeps_rest)))
}

/// An old request becomes a new one, and this the old one again.
fn request_and_back(claim: &Claim, old: &Wire) -> Result<Wire, String> {
    let seen = |chain: call::Chain, call: Wire| {
        let outcome = send(&chain, call, wire("200", ""));
        outcome
            .seen
            .ok_or_else(|| format!("refused: {:?}", outcome.answer))
    };
    let new = seen(past(&claim.lens), old.clone())?;
    let back = seen(future(&claim.lens), new.clone())?;
    if canonical(&back) == canonical(old) {
        Ok(new)
    } else {
        Err(format!("{old:?}\n became {new:?}\n and then {back:?}"))
    }
}

/// An old answer becomes a new one, and this the old one again.
fn answer_and_back(
    lens: &Arc<Lens>,
    request: &Wire,
    new_request: &Wire,
    old: &Wire,
) -> Result<(), String> {
    let answer = |direction: Direction, call: &Wire, answer: &Wire| {
        let chain = lens::chain(vec![(lens.clone(), direction)]);
        let outcome = send(&chain, call.clone(), answer.clone());
        outcome
            .answer
            .map_err(|refusal| format!("refused: {refusal:?}"))
    };
    let new = answer(Direction::Future, new_request, old)?;
    let back = answer(Direction::Past, request, &new)?;
    if canonical(&back) == canonical(old) {
        Ok(())
    } else {
        Err(format!("{old:?}\n became {new:?}\n and then {back:?}"))
    }
}

/// What was found wrong, with the messages that show it.
type Caught = Box<TestError<(Message, Vec<Message>)>>;

/// Tries one claim on generated messages.
fn try_claim(claim: &Claim) -> Result<(), Caught> {
    let mut runner = TestRunner::new(config(CASES));
    let answers: Vec<_> = claim
        .answers
        .iter()
        .map(|(_, answers)| answers.clone())
        .collect();
    let ran = runner.run(&(claim.request.clone(), answers), |(request, answers)| {
        let old = request.request(&claim.old);
        let new = request_and_back(claim, &old).map_err(TestCaseError::fail)?;
        for ((status, _), answer) in claim.answers.iter().zip(answers) {
            let answer = answer.wire(status.to_string());
            answer_and_back(&claim.lens, &old, &new, &answer).map_err(TestCaseError::fail)?;
        }
        Ok(())
    });
    ran.map_err(Box::new)
}

/// The lens files of the examples and of the end-to-end tests.
fn lens_files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut paths: Vec<_> = kit::folders(&root.join("examples"), "conversations")
        .iter()
        .map(|folder| folder.with_extension("toml"))
        .collect();
    paths.extend(
        ["lens2.toml", "lens3.toml"].map(|name| root.join("crates/harness/software").join(name)),
    );
    let read = |path: &Path| {
        std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    paths
        .iter()
        .map(|path| (path.display().to_string(), read(path)))
        .collect()
}

#[test]
fn what_the_examples_lenses_claim_holds_on_generated_messages() {
    let (mut requests, mut answers) = (0, 0);
    for (name, text) in lens_files() {
        for claim in claims(&name, &text) {
            requests += 1;
            answers += claim.answers.len();
            if let Err(error) = try_claim(&claim) {
                panic!("{}: {error}", claim.name);
            }
        }
    }
    assert!(
        requests >= 20 && answers >= 25,
        "{requests} operations, {answers} answers"
    );
}

/// A test that cannot fail is a defect: lenses that claim a way back and have none are caught.
#[test]
fn a_lens_whose_way_back_is_wrong_is_caught() {
    let text = r#"
[[operation]]
old = "PUT /a/{id}"
new = "POST /b"
request = [{ old = "path.id", new = "body.id" }, { old = "body.n", new = "body.m", RULE }]
[[operation.response]]
status = { old = 200, new = 201 }
rules = [{ old = "body.x", new = "body.y", RULE }]
"#;
    let claim = |rule: &str| {
        // The generator is told of a rule without expressions; the lens has them.
        let told = claims(
            "test",
            &text.replace(", RULE", ", convert = ['integer', 'string']"),
        );
        let mut claim = told.into_iter().next().expect("a claim");
        claim.lens = lens(&text.replace("RULE", rule));
        claim
    };
    assert!(try_claim(&claim("to_new = 'string(value)', to_old = 'int(value)'")).is_ok());
    for wrong in [
        "to_new = 'string(value)', to_old = 'int(value) + 1'",
        "to_new = 'string(value)', to_old = 'value == \"7\" ? 7 : 0'",
        "to_new = 'value % 1000', to_old = 'value'",
        "to_new = 'value < 0 ? 0 - 1 : value', to_old = 'value'",
    ] {
        let error = try_claim(&claim(wrong)).expect_err(wrong);
        assert!(matches!(*error, TestError::Fail(..)), "{wrong}: {error}");
        assert!(error.to_string().contains("became"), "{wrong}: {error}");
    }
}

proptest! {
    #![proptest_config(config(150))]

    /// Generated lenses, on their answers; properties.rs has the requests.
    #[test]
    fn generated_lenses_bring_answers_back(fields in fields()) {
        let (_, body) = lens_and_body(&fields);
        let old = Wire { body: Some(body), ..wire("200", "") };
        let back = answer_and_back(&answering(&fields), &wire("POST /o", ""), &wire("POST /n", ""), &old);
        prop_assert_eq!(back, Ok(()));
    }
}

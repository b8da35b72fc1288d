//! Where a lens claims to be invertible, forward then backward is the identity: for generated lenses, and for every operation
//! of the examples' lenses that claims it, on messages generated from the lens file by a reader of its own.

use std::path::Path;
use std::sync::Arc;

use crate::messages::{Message, Slot, canonical, messages, slots, texts};
use crate::support::generate::{answering, fields, lens_and_body};
use crate::support::*;
use call::Direction;
use lens::Lens;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use toml::Value;

const CASES: u32 = 64;

fn config(cases: u32) -> Config {
    Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    }
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

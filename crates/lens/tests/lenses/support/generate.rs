//! Generated lenses that claim to have a way back, and bodies that they accept.

use std::sync::Arc;

use lens::Lens;
use proptest::prelude::*;
use wire::json::Json;

use super::{lens, sorted};

/// A field of an object, how it changes, and how to make values for it.
#[derive(Clone, Debug)]
pub struct Field {
    pub rule: String,
    pub value: Json,
}

pub fn scalar() -> impl Strategy<Value = Json> {
    prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        any::<i64>().prop_map(Json::Integer),
        any::<f64>().prop_filter_map("finite", Json::from_f64),
        ".*".prop_map(Json::String),
    ]
}

pub fn any_json() -> impl Strategy<Value = Json> {
    scalar().prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::Array),
            prop::collection::btree_map("[a-e]|.{0,3}", inner, 0..4)
                .prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    })
}

/// Kinds of invertible converters with values that they accept.
pub fn field(index: usize) -> impl Strategy<Value = Field> {
    let integer = any::<i64>().prop_map(Json::Integer).boxed();
    let small = (-1_000_000_i64..1_000_000).prop_map(Json::Integer).boxed();
    let colour = prop_oneof!["red", "green"].prop_map(Json::String).boxed();
    let flag = any::<bool>().prop_map(Json::Bool).boxed();
    let list = |of: BoxedStrategy<Json>| {
        prop::collection::vec(of, 0..4)
            .prop_map(Json::Array)
            .boxed()
    };
    let object = |of: BoxedStrategy<Json>| {
        prop::collection::btree_map("[a-z]{1,4}", of, 0..4)
            .prop_map(|members| Json::Object(members.into_iter().collect()))
            .boxed()
    };
    let kinds: Vec<(&str, BoxedStrategy<Json>)> = vec![
        ("", any_json().boxed()),
        (", convert = ['integer', 'string']", integer.clone()),
        (", convert = ['integer', 'float']", integer.clone()),
        (", convert = ['boolean', 'integer']", flag),
        (", scale = 1000", small.clone()),
        (
            ", scale = '1/4', convert = ['integer', 'float']",
            small.clone(),
        ),
        (", time = ['ms', 'rfc3339']", small.clone()),
        (", map = { red = 1, green = 'g' }", colour.clone()),
        (", wrap = 'new'", any_json().boxed()),
        (
            ", each = { map = { red = 1, green = 2 } }",
            list(colour.clone()),
        ),
        (
            ", values = { convert = ['integer', 'string'] }",
            object(integer.clone()),
        ),
        (
            ", entries = { object = 'old', key = 'n', value = 'v' }",
            object(scalar().boxed()),
        ),
        (
            ", steps = [{ map = { red = 1, green = 2 } }, { wrap = 'new' }]",
            colour,
        ),
        (", to_new = 'value + 1', to_old = 'value - 1'", small),
        (
            ", fields = [{ old = 'a', new = 'b.c' }, { old = 'd', new = 'a', optional = true }]",
            record(),
        ),
        (
            ", each = [{ old = 'a', new = 'b', convert = ['integer', 'string'] }, { old = 'd', new = 'a', optional = true }]",
            list(record()),
        ),
        (
            ", entries = { object = 'new', key = 'n', value = 'v' }",
            rows(),
        ),
    ];
    let place = prop_oneof![Just("a"), Just("b"), Just("deep.er")];
    let places = (place.clone(), place);
    (prop::sample::select(kinds), places).prop_flat_map(move |((convert, values), (old, new))| {
        let old = format!("body.{old}.o{index}");
        let new = format!("body.{new}.n{index}");
        values.prop_map(move |value| Field {
            rule: format!("{{ old = '{old}', new = '{new}'{convert} }}"),
            value,
        })
    })
}

/// An object with an integer `a`, and perhaps something `d`.
fn record() -> BoxedStrategy<Json> {
    let fields = (any::<i64>(), prop::option::of(any_json()));
    let object = fields.prop_map(|(a, d)| {
        let mut members = vec![("a".to_owned(), Json::Integer(a))];
        members.extend(d.map(|d| ("d".to_owned(), d)));
        Json::Object(members)
    });
    object.boxed()
}

/// An array of named values.
fn rows() -> BoxedStrategy<Json> {
    let rows = prop::collection::btree_map("[a-z]{1,4}", scalar(), 0..4);
    let row = |(name, value)| {
        Json::Object(vec![
            ("n".to_owned(), Json::String(name)),
            ("v".to_owned(), value),
        ])
    };
    rows.prop_map(move |rows| Json::Array(rows.into_iter().map(row).collect()))
        .boxed()
}

pub fn fields() -> impl Strategy<Value = Vec<Field>> {
    (field(0), field(1), field(2), field(3)).prop_map(|(a, b, c, d)| vec![a, b, c, d])
}

/// A lens of these rules, and a body of the old form.
pub fn lens_and_body(fields: &[Field]) -> (Arc<Lens>, Json) {
    let rules: Vec<&str> = fields.iter().map(|field| field.rule.as_str()).collect();
    let rules = rules.join(",\n");
    let text = format!("[[operation]]\nold = 'POST /o'\nnew = 'POST /n'\nrequest = [\n{rules}\n]");
    let mut body = Json::Object(Vec::new());
    for field in fields {
        let path = field.rule.split('\'').nth(1).expect("a place");
        insert(
            &mut body,
            &path.split('.').skip(1).collect::<Vec<_>>(),
            field.value.clone(),
        );
    }
    insert(&mut body, &["untouched"], Json::Number("1.00".into()));
    (lens(&text), sorted(body))
}

/// A lens with these rules for its answers.
pub fn answering(fields: &[Field]) -> Arc<Lens> {
    let rules: Vec<&str> = fields.iter().map(|field| field.rule.as_str()).collect();
    let rules = rules.join(",\n");
    lens(&format!(
        "[[operation]]\nold = 'POST /o'\nnew = 'POST /n'\n[[operation.response]]\nstatus = 200\nrules = [\n{rules}\n]"
    ))
}

pub fn insert(object: &mut Json, path: &[&str], value: Json) {
    let Json::Object(members) = object else {
        panic!("an object")
    };
    match path {
        [name] => members.push((name.to_string(), value)),
        [name, rest @ ..] => {
            if !members.iter().any(|(n, _)| n == name) {
                members.push((name.to_string(), Json::Object(Vec::new())));
            }
            let inner = members.iter_mut().find(|(n, _)| n == name);
            insert(&mut inner.expect("just made").1, rest, value);
        }
        [] => panic!("an empty path"),
    }
}

//! Values between JSON and CEL, and what expressions see of a message's head.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cel::Value;
use cel::objects::{Key, Map};
use wire::json::Json;

use crate::scope::Head;

/// An answer to a look-up call as expressions see it.
pub fn answer_value(status: u16, header: &http::HeaderMap, body: Option<&Json>) -> Value {
    let members = [
        ("status", Value::Int(i64::from(status))),
        ("header", headers(header)),
        ("body", body.map_or(Value::Null, to_cel)),
    ];
    object(members.into_iter().map(|(n, value)| (n.to_owned(), value)))
}

/// An object of some values.
pub(crate) fn object(members: impl Iterator<Item = (String, Value)>) -> Value {
    let members = members.map(|(name, value)| (Key::String(Arc::new(name)), value));
    Value::Map(Map {
        map: Arc::new(members.collect()),
    })
}

pub(crate) fn string(text: &str) -> Value {
    Value::String(Arc::new(text.to_owned()))
}

/// All values of each query parameter.
pub(crate) fn queries(head: &Head) -> Value {
    let mut all: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for pair in head.query.iter().flatten() {
        all.entry(&pair.name).or_default().push(string(&pair.value));
    }
    object(
        all.into_iter()
            .map(|(name, values)| (name.to_owned(), Value::List(Arc::new(values)))),
    )
}

pub(crate) fn strings(members: impl Iterator<Item = (String, String)>) -> Value {
    let members =
        members.map(|(name, value)| (Key::String(Arc::new(name)), Value::String(Arc::new(value))));
    Value::Map(Map {
        map: Arc::new(members.collect()),
    })
}

pub(crate) fn headers(headers: &http::HeaderMap) -> Value {
    strings(headers.iter().filter_map(|(name, value)| {
        Some((
            name.as_str().to_owned(),
            std::str::from_utf8(value.as_bytes()).ok()?.to_owned(),
        ))
    }))
}

pub(crate) fn to_cel(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Integer(value) => Value::Int(*value),
        Json::Number(text) => match text.parse::<u64>() {
            Ok(value) => Value::UInt(value),
            Err(_) => Value::Float(text.parse().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(Arc::new(text.clone())),
        Json::Array(items) => Value::List(Arc::new(items.iter().map(to_cel).collect())),
        Json::Object(members) => {
            let members = members
                .iter()
                .map(|(name, value)| (Key::String(Arc::new(name.clone())), to_cel(value)));
            Value::Map(Map {
                map: Arc::new(members.collect::<HashMap<_, _>>()),
            })
        }
        Json::Undecoded(_) => to_cel(&json.clone().decoded()),
    }
}

pub(crate) fn from_cel(value: &Value) -> Option<Json> {
    Some(match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) => Json::Integer(*value),
        Value::UInt(value) => Json::number(&value.to_string()),
        Value::Float(value) => Json::from_f64(*value)?,
        Value::String(text) => Json::String(text.to_string()),
        Value::Timestamp(time) => Json::String(time.to_rfc3339()),
        Value::List(items) => Json::Array(items.iter().map(from_cel).collect::<Option<_>>()?),
        Value::Map(map) => {
            let member = |(key, value): (&Key, &Value)| {
                let Key::String(name) = key else { return None };
                Some((name.to_string(), from_cel(value)?))
            };
            let mut members = map.map.iter().map(member).collect::<Option<Vec<_>>>()?;
            members.sort_by(|a, b| a.0.cmp(&b.0));
            Json::Object(members)
        }
        _ => return None,
    })
}

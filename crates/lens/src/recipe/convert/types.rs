//! Conversions between JSON types, each exact both ways.

use super::table::brief;
use declaration::Mismatch;
use wire::json::Json;

/// A type that a value can be converted to and from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueType {
    /// Text.
    String,
    /// A whole number, written without a fraction.
    Integer,
    /// A number written with a fraction, as in `5.0`.
    Float,
    /// Any number, as it is written.
    Number,
    /// `true` or `false`; as a string the same words, as a number 1 or 0.
    Boolean,
    /// An integer, or a string that is not the text of one: what software with both kinds of ids
    /// has where other software has strings only.
    IntegerOrString,
}

impl ValueType {
    pub(crate) const NAMES: [&'static str; 6] = [
        "string",
        "integer",
        "float",
        "number",
        "boolean",
        "integer or string",
    ];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "string" => Self::String,
            "integer" => Self::Integer,
            "float" => Self::Float,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            "integer or string" => Self::IntegerOrString,
            _ => return None,
        })
    }
}

/// Converts a value that must be of the first type to the second.
pub(super) fn convert(value: Json, from: ValueType, to: ValueType) -> Result<Json, Mismatch> {
    let converted = match (from, &value) {
        (ValueType::String, Json::String(text)) => from_text(text, to),
        (ValueType::Boolean, Json::Bool(flag)) => from_flag(*flag, to),
        (ValueType::IntegerOrString, Json::Integer(_)) => from_number(&value.to_string(), to),
        (ValueType::IntegerOrString, Json::Number(text)) if is_integer(text) => {
            from_number(text, to)
        }
        // The text of an integer would come back as the integer.
        (ValueType::IntegerOrString, Json::String(text)) => {
            match from_text(text, ValueType::Integer) {
                Some(_) => None,
                None => from_text(text, to),
            }
        }
        (ValueType::Integer, Json::Integer(_))
        | (ValueType::Float | ValueType::Number, Json::Integer(_) | Json::Number(_)) => {
            from_number(&value.to_string(), to)
        }
        // An integer beyond 64 bits.
        (ValueType::Integer, Json::Number(text)) if is_integer(text) => from_number(text, to),
        _ => None,
    };
    converted.ok_or_else(|| {
        Mismatch::new(format!(
            "{} cannot be exactly {to:?} from {from:?}",
            brief(&value)
        ))
    })
}

fn is_integer(text: &str) -> bool {
    text.strip_prefix('-')
        .unwrap_or(text)
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        && text != "-0"
}

/// Only text that would be written the same again: "007" or "+5" are not numbers.
fn from_text(text: &str, to: ValueType) -> Option<Json> {
    let number = || match Json::parse(text.as_bytes(), 0) {
        Ok(found @ (Json::Integer(_) | Json::Number(_))) => {
            (found.to_string() == text).then_some(found)
        }
        _ => None,
    };
    match to {
        ValueType::String => Some(Json::String(text.to_owned())),
        ValueType::Number => number(),
        ValueType::IntegerOrString => Some(match number() {
            Some(found) if is_integer(text) => found,
            _ => Json::String(text.to_owned()),
        }),
        ValueType::Integer => number().filter(|_| is_integer(text)),
        ValueType::Float => number().filter(|_| !is_integer(text)),
        ValueType::Boolean => match text {
            "true" => Some(Json::Bool(true)),
            "false" => Some(Json::Bool(false)),
            _ => None,
        },
    }
}

fn from_flag(flag: bool, to: ValueType) -> Option<Json> {
    match to {
        ValueType::Boolean => Some(Json::Bool(flag)),
        ValueType::String => Some(Json::String(flag.to_string())),
        ValueType::Integer | ValueType::Number | ValueType::IntegerOrString => {
            Some(Json::Integer(i64::from(flag)))
        }
        ValueType::Float => Some(Json::number(if flag { "1.0" } else { "0.0" })),
    }
}

fn from_number(text: &str, to: ValueType) -> Option<Json> {
    match to {
        ValueType::String => Some(Json::String(text.to_owned())),
        ValueType::Number => Some(Json::number(text)),
        ValueType::IntegerOrString => is_integer(text).then(|| Json::number(text)),
        ValueType::Float if is_integer(text) => Some(Json::number(&format!("{text}.0"))),
        ValueType::Float => Some(Json::number(text)),
        ValueType::Integer if is_integer(text) => Some(Json::number(text)),
        ValueType::Integer => {
            let (whole, fraction) = text.split_once('.')?;
            let zero = !fraction.is_empty() && fraction.bytes().all(|byte| byte == b'0');
            (zero && is_integer(whole)).then(|| Json::number(whole))
        }
        ValueType::Boolean => match text {
            "1" | "1.0" => Some(Json::Bool(true)),
            "0" | "0.0" => Some(Json::Bool(false)),
            _ => None,
        },
    }
}

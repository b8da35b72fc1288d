//! Conversions between JSON types, each exact both ways.

use super::table::brief;
use declaration::Mismatch;
use wire::json::Json;

/// A type that a value can be converted to and from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
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

impl Type {
    pub(crate) const NAMES: [&'static str; 6] = [
        "string",
        "integer",
        "float",
        "number",
        "boolean",
        "integer or string",
    ];

    pub(crate) fn parse(name: &str) -> Option<Type> {
        Some(match name {
            "string" => Type::String,
            "integer" => Type::Integer,
            "float" => Type::Float,
            "number" => Type::Number,
            "boolean" => Type::Boolean,
            "integer or string" => Type::IntegerOrString,
            _ => return None,
        })
    }
}

/// Converts a value that must be of the first type to the second.
pub(super) fn convert(value: Json, from: Type, to: Type) -> Result<Json, Mismatch> {
    let converted = match (from, &value) {
        (Type::String, Json::String(text)) => from_text(text, to),
        (Type::Boolean, Json::Bool(flag)) => from_flag(*flag, to),
        (Type::IntegerOrString, Json::Integer(_)) => from_number(&value.to_string(), to),
        (Type::IntegerOrString, Json::Number(text)) if is_integer(text) => from_number(text, to),
        // The text of an integer would come back as the integer.
        (Type::IntegerOrString, Json::String(text)) => match from_text(text, Type::Integer) {
            Some(_) => None,
            None => from_text(text, to),
        },
        (Type::Integer, Json::Integer(_))
        | (Type::Float | Type::Number, Json::Integer(_) | Json::Number(_)) => {
            from_number(&value.to_string(), to)
        }
        // An integer beyond 64 bits.
        (Type::Integer, Json::Number(text)) if is_integer(text) => from_number(text, to),
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
fn from_text(text: &str, to: Type) -> Option<Json> {
    let number = || match Json::parse(text.as_bytes(), 0) {
        Ok(found @ (Json::Integer(_) | Json::Number(_))) => {
            (found.to_string() == text).then_some(found)
        }
        _ => None,
    };
    match to {
        Type::String => Some(Json::String(text.to_owned())),
        Type::Number => number(),
        Type::IntegerOrString => Some(match number() {
            Some(found) if is_integer(text) => found,
            _ => Json::String(text.to_owned()),
        }),
        Type::Integer => number().filter(|_| is_integer(text)),
        Type::Float => number().filter(|_| !is_integer(text)),
        Type::Boolean => match text {
            "true" => Some(Json::Bool(true)),
            "false" => Some(Json::Bool(false)),
            _ => None,
        },
    }
}

fn from_flag(flag: bool, to: Type) -> Option<Json> {
    match to {
        Type::Boolean => Some(Json::Bool(flag)),
        Type::String => Some(Json::String(flag.to_string())),
        Type::Integer | Type::Number | Type::IntegerOrString => {
            Some(Json::Integer(i64::from(flag)))
        }
        Type::Float => Some(Json::number(if flag { "1.0" } else { "0.0" })),
    }
}

fn from_number(text: &str, to: Type) -> Option<Json> {
    match to {
        Type::String => Some(Json::String(text.to_owned())),
        Type::Number => Some(Json::number(text)),
        Type::IntegerOrString => is_integer(text).then(|| Json::number(text)),
        Type::Float if is_integer(text) => Some(Json::number(&format!("{text}.0"))),
        Type::Float => Some(Json::number(text)),
        Type::Integer if is_integer(text) => Some(Json::number(text)),
        Type::Integer => {
            let (whole, fraction) = text.split_once('.')?;
            let zero = !fraction.is_empty() && fraction.bytes().all(|byte| byte == b'0');
            (zero && is_integer(whole)).then(|| Json::number(whole))
        }
        Type::Boolean => match text {
            "1" | "1.0" => Some(Json::Bool(true)),
            "0" | "0.0" => Some(Json::Bool(false)),
            _ => None,
        },
    }
}

//! JSON as it passes through a lens: exact numbers, order and unknown members preserved.
//!
//! Not serde_json: what no rule is about passes undecoded, byte for byte, and a number keeps the digits that it was written with.

mod parse;
mod scan;
mod undecoded;
mod write;

use std::fmt;
use std::hash::{Hash, Hasher};

pub use parse::JsonError;
pub use undecoded::Undecoded;

/// A JSON value. Numbers keep their text, objects the order of their members: what no rule
/// touches leaves as it came.
#[derive(Clone, Debug)]
pub enum Json {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number that is an integer of 64 bits, written plainly.
    Integer(i64),
    /// Any other number, as its text.
    Number(Box<str>),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Self>),
    /// An object; of members with the same name the last one counts.
    Object(Vec<(String, Self)>),
    /// An object or array inside a message that nobody has asked for yet. Only messages as they
    /// arrive have such parts; [`Json::decoded`] and [`Json::open`] make them what they are.
    Undecoded(Undecoded),
}

impl Json {
    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Integer(_) => "an integer",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
            Self::Undecoded(undecoded) => undecoded.kind(),
        }
    }

    /// The value with nothing left undecoded, however deep.
    pub fn decoded(self) -> Self {
        match self {
            Self::Undecoded(undecoded) => undecoded.decode(),
            Self::Array(items) => Self::Array(items.into_iter().map(Self::decoded).collect()),
            Self::Object(members) => Self::Object(
                members
                    .into_iter()
                    .map(|(name, value)| (name, value.decoded()))
                    .collect(),
            ),
            other => other,
        }
    }

    /// Decodes the value itself where it is not yet; what it contains may stay undecoded.
    pub fn open(&mut self) -> &mut Self {
        if let Self::Undecoded(undecoded) = self {
            *self = undecoded.decode_outside();
        }
        self
    }

    /// A copy of the value at the end of a path of members, with nothing left undecoded.
    pub fn at(&self, path: &[String]) -> Option<Self> {
        let mut value = self;
        for (index, name) in path.iter().enumerate() {
            if let Self::Undecoded(undecoded) = value {
                return undecoded.decode_outside().at(&path[index..]);
            }
            value = value.get(name)?;
        }
        Some(value.clone().decoded())
    }

    /// The member of a decoded object.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members
                .iter()
                .rev()
                .find(|(n, _)| n == name)
                .map(|(_, v)| v),
            _ => None,
        }
    }

    /// The member of an object, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Self> {
        match self.open() {
            Self::Object(members) => members
                .iter_mut()
                .rev()
                .find(|(n, _)| n == name)
                .map(|(_, v)| v.open()),
            _ => None,
        }
    }

    /// Takes the member out of an object, with any namesakes before it.
    pub fn remove(&mut self, name: &str) -> Option<Self> {
        let Self::Object(members) = self.open() else {
            return None;
        };
        let index = members.iter().rposition(|(n, _)| n == name)?;
        let (_, value) = members.remove(index);
        if members.iter().any(|(n, _)| n == name) {
            members.retain(|(n, _)| n != name);
        }
        Some(value)
    }

    /// Whether it is an object or array without content.
    pub fn is_vacant(&self) -> bool {
        match self {
            Self::Object(members) => members.is_empty(),
            Self::Array(items) => items.is_empty(),
            Self::Undecoded(undecoded) => undecoded.decode_outside().is_vacant(),
            _ => false,
        }
    }

    /// A number from a float; `None` if it is not finite.
    pub fn from_f64(value: f64) -> Option<Self> {
        serde_json::Number::from_f64(value).map(|n| Self::number(&n.to_string()))
    }

    /// A number from JSON text that is known to be one.
    pub fn number(text: &str) -> Self {
        match text.parse::<i64>() {
            Ok(value) if !(value == 0 && text.starts_with('-')) => Self::Integer(value),
            _ => Self::Number(text.into()),
        }
    }
}

/// Whether a part has been decoded makes no difference.
impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(one), Self::Bool(other)) => one == other,
            (Self::Integer(one), Self::Integer(other)) => one == other,
            (Self::Number(one), Self::Number(other)) => one == other,
            (Self::String(one), Self::String(other)) => one == other,
            (Self::Array(one), Self::Array(other)) => one == other,
            (Self::Object(one), Self::Object(other)) => one == other,
            (Self::Undecoded(one), Self::Undecoded(other)) => {
                one.text() == other.text() || one.decode() == other.decode()
            }
            (Self::Undecoded(part), value) | (value, Self::Undecoded(part)) => {
                part.decode() == *value
            }
            _ => false,
        }
    }
}

impl Eq for Json {}

impl Hash for Json {
    fn hash<H: Hasher>(&self, state: &mut H) {
        if let Self::Undecoded(part) = self {
            return part.decode().hash(state);
        }
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Null | Self::Undecoded(_) => {}
            Self::Bool(value) => value.hash(state),
            Self::Integer(value) => value.hash(state),
            Self::Number(text) => text.hash(state),
            Self::String(text) => text.hash(state),
            Self::Array(items) => items.hash(state),
            Self::Object(members) => members.hash(state),
        }
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::new();
        self.write(&mut out);
        f.write_str(&String::from_utf8_lossy(&out))
    }
}

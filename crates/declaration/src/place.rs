//! Places: where in a message a rule takes a value from, or puts it.

use std::fmt;

use http::HeaderName;

use crate::error::Complaint;
use crate::pattern::Pattern;

/// A place in one version's form of a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MessagePlace {
    /// A parameter of the path template: `path.id`.
    Path(String),
    /// A query parameter that occurs once: `query.limit`.
    Query(String),
    /// All occurrences of a query parameter, as an array: `query.tag[]`.
    QueryAll(String),
    /// A header: `header.x-colour`.
    Header(HeaderName),
    /// A member of the body by its path, or the body itself: `body.a.b`, `body`. Inside `fields`
    /// and `each` the object at hand: `a.b`, or `.` for itself.
    Body(Vec<String>),
    /// Every query parameter whose name has a form: `query.{field}_gte`.
    QueryNames(Pattern),
    /// Every member of an object whose name has a form: `body.{name}Id`.
    BodyNames(Vec<String>, Pattern),
}

impl MessagePlace {
    /// Parses a place of a whole message.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, Complaint> {
        Self::read(text).map_err(Complaint::from)
    }

    fn read(text: &str) -> Result<Self, String> {
        let steps = split(text)?;
        let Some((root, rest)) = steps.split_first() else {
            return Err("a place is empty".to_owned());
        };
        let single = |what: &str| match rest {
            [name] => Ok(name.clone()),
            _ => Err(format!("`{text}`: {what} is one name")),
        };
        match root.as_str() {
            "body" => in_body(text, rest),
            "path" => single("a path parameter").map(MessagePlace::Path),
            "query" => {
                let name = single("a query parameter")?;
                Ok(match (Pattern::parse(&name)?, name.strip_suffix("[]")) {
                    (Some(_), Some(_)) => {
                        return Err(format!(
                            "`{text}`: a pattern stands for names that occur once"
                        ));
                    }
                    (Some(pattern), None) => Self::QueryNames(pattern),
                    (None, Some(name)) => Self::QueryAll(name.to_owned()),
                    (None, None) => Self::Query(name),
                })
            }
            "header" => {
                let name = single("a header")?;
                let name = HeaderName::from_bytes(name.as_bytes());
                name.map(MessagePlace::Header)
                    .map_err(|_| format!("`{text}` is not a header's name"))
            }
            _ => Err(format!(
                "`{text}` does not begin with path, query, header or body"
            )),
        }
    }

    /// Parses a place inside an object.
    ///
    /// # Errors
    /// It is none.
    pub fn parse_inner(text: &str) -> Result<Self, Complaint> {
        if text == "." {
            return Ok(Self::Body(Vec::new()));
        }
        let place = split(text).and_then(|steps| in_body(text, &steps));
        place.map_err(Complaint::from)
    }

    /// The pattern, where it stands for many places.
    pub fn pattern(&self) -> Option<&Pattern> {
        match self {
            Self::QueryNames(pattern) | Self::BodyNames(_, pattern) => Some(pattern),
            _ => None,
        }
    }

    /// The place that a pattern means for one name in its hole.
    pub fn filled(&self, inner: &str) -> Self {
        match self {
            Self::QueryNames(pattern) => Self::Query(pattern.fill(inner)),
            Self::BodyNames(steps, pattern) => {
                let mut steps = steps.clone();
                steps.push(pattern.fill(inner));
                Self::Body(steps)
            }
            other => other.clone(),
        }
    }

    /// Whether it lies in the query.
    pub fn is_query(&self) -> bool {
        matches!(
            self,
            Self::Query(_) | Self::QueryAll(_) | Self::QueryNames(_)
        )
    }

    /// How deep it lies in the body; other places count as deepest.
    pub fn depth(&self) -> usize {
        match self {
            Self::Body(steps) => steps.len(),
            Self::BodyNames(steps, _) => steps.len() + 1,
            _ => usize::MAX,
        }
    }

    /// Whether it lies in the body.
    pub fn is_body(&self) -> bool {
        matches!(self, Self::Body(_) | Self::BodyNames(..))
    }
}

impl fmt::Display for MessagePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(name) => write!(f, "path.{name}"),
            Self::Query(name) => write!(f, "query.{name}"),
            Self::QueryAll(name) => write!(f, "query.{name}[]"),
            Self::Header(name) => write!(f, "header.{name}"),
            Self::Body(steps) if steps.is_empty() => f.write_str("body"),
            Self::Body(steps) => write!(f, "body.{}", steps.join(".")),
            Self::QueryNames(pattern) => write!(f, "query.{pattern}"),
            Self::BodyNames(steps, pattern) if steps.is_empty() => {
                write!(f, "body.{pattern}")
            }
            Self::BodyNames(steps, pattern) => {
                write!(f, "body.{}.{pattern}", steps.join("."))
            }
        }
    }
}

/// A member of the body, or a pattern of members' names as the last step.
fn in_body(text: &str, steps: &[String]) -> Result<MessagePlace, String> {
    let Some((last, before)) = steps.split_last() else {
        return Ok(MessagePlace::Body(Vec::new()));
    };
    if before.iter().any(|step| step.contains(['{', '}'])) {
        return Err(format!("`{text}`: only the last name may be a pattern"));
    }
    Ok(match Pattern::parse(last)? {
        Some(pattern) => MessagePlace::BodyNames(before.to_vec(), pattern),
        None => MessagePlace::Body(steps.to_vec()),
    })
}

/// Splits at dots; a step in double quotes may hold dots.
fn split(text: &str) -> Result<Vec<String>, String> {
    let mut steps = Vec::new();
    let mut rest = text;
    loop {
        let (step, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let unclosed = || format!("`{text}`: a quote is not closed");
                let (step, after) = quoted.split_once('"').ok_or_else(unclosed)?;
                (step, after)
            }
            None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
        };
        if step.is_empty() && !rest.starts_with('"') {
            return Err(format!("`{text}` has an empty step"));
        }
        steps.push(step.to_owned());
        match after.strip_prefix('.') {
            Some(after) => rest = after,
            None if after.is_empty() => return Ok(steps),
            None => return Err(format!("`{text}`: a dot was expected after the quote")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart_by_their_first_step() {
        let body =
            |steps: &[&str]| MessagePlace::Body(steps.iter().map(|s| s.to_string()).collect());
        assert_eq!(MessagePlace::parse("body.a.b"), Ok(body(&["a", "b"])));
        assert_eq!(MessagePlace::parse("body"), Ok(body(&[])));
        assert_eq!(
            MessagePlace::parse(r#"body."a.b".c"#),
            Ok(body(&["a.b", "c"]))
        );
        assert_eq!(
            MessagePlace::parse("path.id"),
            Ok(MessagePlace::Path("id".into()))
        );
        assert_eq!(
            MessagePlace::parse("query.tag[]"),
            Ok(MessagePlace::QueryAll("tag".into()))
        );
        assert_eq!(
            MessagePlace::parse("header.X-A"),
            Ok(MessagePlace::Header(HeaderName::from_static("x-a")))
        );
        assert_eq!(MessagePlace::parse_inner("."), Ok(body(&[])));
        for wrong in [
            "",
            "body..a",
            "boddy.a",
            "path.a.b",
            "header.a b",
            "body.\"a",
            "query",
        ] {
            assert!(MessagePlace::parse(wrong).is_err(), "{wrong}");
        }
    }
}

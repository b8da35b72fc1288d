//! Places: where in a message a rule takes a value from, or puts it.

use std::fmt;

use http::HeaderName;

/// A place in one version's form of a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
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
}

impl Place {
    /// Parses a place of a whole message.
    pub(crate) fn parse(text: &str) -> Result<Place, String> {
        let steps = split(text)?;
        let Some((root, rest)) = steps.split_first() else {
            return Err("a place is empty".to_owned());
        };
        let single = |what: &str| match rest {
            [name] => Ok(name.clone()),
            _ => Err(format!("`{text}`: {what} is one name")),
        };
        match root.as_str() {
            "body" => Ok(Place::Body(rest.to_vec())),
            "path" => single("a path parameter").map(Place::Path),
            "query" => single("a query parameter").map(|name| match name.strip_suffix("[]") {
                Some(name) => Place::QueryAll(name.to_owned()),
                None => Place::Query(name),
            }),
            "header" => {
                let name = single("a header")?;
                let name = HeaderName::from_bytes(name.as_bytes());
                name.map(Place::Header)
                    .map_err(|_| format!("`{text}` is not a header's name"))
            }
            _ => Err(format!(
                "`{text}` does not begin with path, query, header or body"
            )),
        }
    }

    /// Parses a place inside an object.
    pub(crate) fn parse_inner(text: &str) -> Result<Place, String> {
        if text == "." {
            Ok(Place::Body(Vec::new()))
        } else {
            split(text).map(Place::Body)
        }
    }

    /// How deep it lies in the body; other places count as deepest.
    pub(crate) fn depth(&self) -> usize {
        match self {
            Place::Body(steps) => steps.len(),
            _ => usize::MAX,
        }
    }

    pub(crate) fn is_body(&self) -> bool {
        matches!(self, Place::Body(_))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Path(name) => write!(f, "path.{name}"),
            Place::Query(name) => write!(f, "query.{name}"),
            Place::QueryAll(name) => write!(f, "query.{name}[]"),
            Place::Header(name) => write!(f, "header.{name}"),
            Place::Body(steps) if steps.is_empty() => f.write_str("body"),
            Place::Body(steps) => write!(f, "body.{}", steps.join(".")),
        }
    }
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
        let body = |steps: &[&str]| Place::Body(steps.iter().map(|s| s.to_string()).collect());
        assert_eq!(Place::parse("body.a.b"), Ok(body(&["a", "b"])));
        assert_eq!(Place::parse("body"), Ok(body(&[])));
        assert_eq!(Place::parse(r#"body."a.b".c"#), Ok(body(&["a.b", "c"])));
        assert_eq!(Place::parse("path.id"), Ok(Place::Path("id".into())));
        assert_eq!(
            Place::parse("query.tag[]"),
            Ok(Place::QueryAll("tag".into()))
        );
        assert_eq!(
            Place::parse("header.X-A"),
            Ok(Place::Header(HeaderName::from_static("x-a")))
        );
        assert_eq!(Place::parse_inner("."), Ok(body(&[])));
        for wrong in [
            "",
            "body..a",
            "boddy.a",
            "path.a.b",
            "header.a b",
            "body.\"a",
            "query",
        ] {
            assert!(Place::parse(wrong).is_err(), "{wrong}");
        }
    }
}

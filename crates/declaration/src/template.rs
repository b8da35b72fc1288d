//! Templates: a method and a path with parameters, as in `GET /v1/items/{id}`.

use std::borrow::Cow;
use std::fmt;

use http::Method;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::error::Complaint;

/// What is escaped in a path segment (RFC 3986, section 3.3: everything that is not a pchar).
const SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

#[derive(Clone, Debug, PartialEq, Eq)]
enum TemplateSegment {
    Literal(String),
    Parameter(String),
    /// The rest of the path, slashes included: `{name*}`, only at the end.
    Rest(String),
}

/// A method and a path with parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallTemplate {
    /// `None` for `*`: any.
    pub method: Option<Method>,
    segments: Vec<TemplateSegment>,
}

/// Parameters of a path, decoded.
pub type Parameters = Vec<(String, String)>;

impl CallTemplate {
    /// Parses `METHOD /path/{parameter}/{rest*}`.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, Complaint> {
        Self::read(text).map_err(Complaint::from)
    }

    fn read(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a method and a path, as in \"GET /items/{{id}}\"");
        let (method, path) = text.split_once(' ').ok_or_else(wrong)?;
        let method = match method {
            "*" => None,
            name if name.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') => {
                Some(Method::from_bytes(name.as_bytes()).map_err(|_| wrong())?)
            }
            _ => return Err(wrong()),
        };
        let path = path.trim().strip_prefix('/').ok_or_else(wrong)?;
        let segments: Vec<TemplateSegment> =
            path.split('/').map(segment).collect::<Result<_, _>>()?;
        let rests = segments
            .iter()
            .rposition(|s| matches!(s, TemplateSegment::Rest(_)));
        if segments
            .iter()
            .filter(|s| matches!(s, TemplateSegment::Rest(_)))
            .count()
            > 1
            || rests.is_some_and(|at| at + 1 < segments.len())
        {
            return Err(format!("`{text}`: {{name*}} stands only at the end"));
        }
        let template = Self { method, segments };
        let mut names = template.parameters();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("`{text}` has two parameters `{}`", pair[0])),
            None => Ok(template),
        }
    }

    /// The same path with any method.
    pub fn of_any_method(&self) -> Self {
        Self {
            method: None,
            segments: self.segments.clone(),
        }
    }

    /// The names of its parameters.
    pub fn parameters(&self) -> Vec<&str> {
        self.segments
            .iter()
            .filter_map(|segment| match segment {
                TemplateSegment::Literal(_) => None,
                TemplateSegment::Parameter(name) | TemplateSegment::Rest(name) => {
                    Some(name.as_str())
                }
            })
            .collect()
    }

    /// Whether the method and the pre-split path are of its form.
    pub fn matches(&self, method: &Method, path: &[&str]) -> bool {
        if self.method.as_ref().is_some_and(|m| m != method) {
            return false;
        }
        let rest = matches!(self.segments.last(), Some(TemplateSegment::Rest(_)));
        let fixed = self.segments.len() - usize::from(rest);
        if path.len() < self.segments.len() || (!rest && path.len() != fixed) {
            return false;
        }
        self.segments
            .iter()
            .zip(path)
            .all(|(segment, found)| match segment {
                TemplateSegment::Literal(literal) => {
                    decode(found).is_some_and(|found| found == *literal)
                }
                TemplateSegment::Parameter(_) => !found.is_empty(),
                TemplateSegment::Rest(_) => true,
            })
    }

    /// The parameters of a path that matches; `None` where one is not UTF-8.
    pub fn extract(&self, path: &[&str]) -> Option<Parameters> {
        let mut parameters = Vec::new();
        for (index, segment) in self.segments.iter().enumerate() {
            match segment {
                TemplateSegment::Literal(_) => {}
                TemplateSegment::Parameter(name) => {
                    parameters.push((name.clone(), decode(path[index])?.into_owned()));
                }
                TemplateSegment::Rest(name) => {
                    let rest: Option<Vec<_>> = path[index..].iter().map(|s| decode(s)).collect();
                    parameters.push((name.clone(), rest?.join("/")));
                }
            }
        }
        Some(parameters)
    }

    /// The path with these parameters, or the name of the one that is missing.
    ///
    /// # Errors
    /// The name of a parameter that is missing or empty.
    pub fn fill(&self, parameters: &Parameters) -> Result<String, &str> {
        let mut path = String::with_capacity(64);
        for segment in &self.segments {
            path.push('/');
            match segment {
                TemplateSegment::Literal(literal) => {
                    path.extend(utf8_percent_encode(literal, SEGMENT))
                }
                TemplateSegment::Parameter(name) => {
                    let value = find(parameters, name).filter(|value| !value.is_empty());
                    push_segment(&mut path, value.ok_or(name.as_str())?);
                }
                TemplateSegment::Rest(name) => {
                    let value = find(parameters, name).ok_or(name.as_str())?;
                    for (index, part) in value.split('/').enumerate() {
                        if index > 0 {
                            path.push('/');
                        }
                        push_segment(&mut path, part);
                    }
                }
            }
        }
        Ok(path)
    }

    /// Whether some request matches both, as far as the forms tell.
    pub fn overlaps(&self, other: &Self) -> bool {
        let methods = match (&self.method, &other.method) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        };
        let same = |a: &TemplateSegment, b: &TemplateSegment| match (a, b) {
            (TemplateSegment::Literal(a), TemplateSegment::Literal(b)) => a == b,
            (TemplateSegment::Literal(_), _) | (_, TemplateSegment::Literal(_)) => false,
            (TemplateSegment::Rest(_), TemplateSegment::Rest(_)) => true,
            (TemplateSegment::Rest(_), _) | (_, TemplateSegment::Rest(_)) => false,
            _ => true,
        };
        methods
            && self.segments.len() == other.segments.len()
            && self
                .segments
                .iter()
                .zip(&other.segments)
                .all(|(a, b)| same(a, b))
    }

    /// More particular templates are tried first: literals before parameters before a rest, a
    /// method before any.
    pub fn rank(&self) -> (Vec<u8>, bool) {
        let kinds = self.segments.iter().map(|segment| match segment {
            TemplateSegment::Literal(_) => 0,
            TemplateSegment::Parameter(_) => 1,
            TemplateSegment::Rest(_) => 2,
        });
        (kinds.collect(), self.method.is_none())
    }
}

impl fmt::Display for CallTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.method.as_ref().map_or("*", Method::as_str))?;
        f.write_str(" ")?;
        for segment in &self.segments {
            match segment {
                TemplateSegment::Literal(literal) => write!(f, "/{literal}")?,
                TemplateSegment::Parameter(name) => write!(f, "/{{{name}}}")?,
                TemplateSegment::Rest(name) => write!(f, "/{{{name}*}}")?,
            }
        }
        Ok(())
    }
}

fn find<'p>(parameters: &'p Parameters, name: &str) -> Option<&'p str> {
    parameters
        .iter()
        .find(|(n, _)| n == name)
        .map(|(_, value)| value.as_str())
}

/// `.` and `..` would be removed by whoever normalizes the path, so their dots are escaped.
fn push_segment(path: &mut String, value: &str) {
    match value {
        "." => path.push_str("%2E"),
        ".." => path.push_str("%2E%2E"),
        _ => path.extend(utf8_percent_encode(value, SEGMENT)),
    }
}

fn decode(segment: &str) -> Option<Cow<'_, str>> {
    if !segment.contains('%') {
        return Some(Cow::Borrowed(segment));
    }
    percent_decode_str(segment).decode_utf8().ok()
}

fn segment(text: &str) -> Result<TemplateSegment, String> {
    let Some(inner) = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) else {
        if text.contains(['{', '}', '?', '#']) {
            return Err(format!(
                "`{text}`: a parameter is a whole segment, without query"
            ));
        }
        let literal = decode(text).ok_or_else(|| format!("`{text}` is not UTF-8"))?;
        return Ok(TemplateSegment::Literal(literal.into_owned()));
    };
    let (name, rest) = match inner.strip_suffix('*') {
        Some(name) => (name, true),
        None => (inner, false),
    };
    if name.is_empty()
        || !name
            .chars()
            .all(|c| c.is_alphanumeric() || c == '_' || c == '-')
    {
        return Err(format!("`{text}` is not a parameter"));
    }
    Ok(if rest {
        TemplateSegment::Rest(name.to_owned())
    } else {
        TemplateSegment::Parameter(name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(path: &str) -> Vec<&str> {
        path[1..].split('/').collect()
    }

    #[test]
    fn parameters_are_decoded_and_encoded_again() {
        let template = CallTemplate::parse("GET /a/{id}/{rest*}").expect("valid");
        let path = split("/a/x%2Fy%20z/p/q%C3%A9");
        assert!(template.matches(&Method::GET, &path));
        let parameters = template.extract(&path).expect("UTF-8");
        assert_eq!(parameters[0].1, "x/y z");
        assert_eq!(parameters[1].1, "p/qé");
        assert_eq!(
            template.fill(&parameters).as_deref(),
            Ok("/a/x%2Fy%20z/p/q%C3%A9")
        );
    }

    #[test]
    fn only_paths_of_the_same_form_match() {
        let template = CallTemplate::parse("PUT /a/{id}").expect("valid");
        for (method, path, found) in [
            (Method::PUT, "/a/1", true),
            (Method::GET, "/a/1", false),
            (Method::PUT, "/a/", false),
            (Method::PUT, "/a/1/", false),
            (Method::PUT, "/%61/1", true),
            (Method::PUT, "/a", false),
        ] {
            assert_eq!(
                template.matches(&method, &split(path)),
                found,
                "{method} {path}"
            );
        }
    }

    #[test]
    fn dots_are_escaped() {
        let template = CallTemplate::parse("GET /{id}").expect("valid");
        assert_eq!(
            template.fill(&vec![("id".into(), "..".into())]).as_deref(),
            Ok("/%2E%2E")
        );
    }

    #[test]
    fn malformed_templates_are_refused() {
        for text in [
            "GET",
            "get /a",
            "GET a",
            "GET /{a*}/b",
            "GET /{a}/{a}",
            "GET /x{a}",
            "GET /{}",
        ] {
            assert!(CallTemplate::parse(text).is_err(), "{text}");
        }
    }
}

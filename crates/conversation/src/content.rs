//! A body as conversations keep it: bytes, which are compared as JSON where they are JSON.

use std::fmt::Write;

use wire::json::Json;

/// Deeper bodies are compared as bytes: as deep as lenses decode by default.
const DEPTH_MAX: usize = 128;
/// A JSON value that is no longer than this is written on one line.
const LINE_CHARACTERS_MAX: usize = 100;

/// A body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content(pub Vec<u8>);

impl Content {
    /// A JSON body.
    pub fn of_json(json: &Json) -> Self {
        let mut bytes = Vec::new();
        json.write(&mut bytes);
        Self(bytes)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The body as JSON, if it is.
    pub fn json(&self) -> Option<Json> {
        Json::parse(&self.0, DEPTH_MAX).ok()
    }

    /// As people read it: JSON laid out, text as it is, anything else by its length.
    pub fn pretty(&self) -> String {
        match (self.json(), std::str::from_utf8(&self.0)) {
            (Some(json), _) => pretty(&json),
            (None, Ok(text)) => text.to_owned(),
            (None, Err(_)) => format!("({} bytes)", self.0.len()),
        }
    }
}

/// JSON as people read it: on one line where it fits, else a member a line.
pub(crate) fn pretty(json: &Json) -> String {
    let mut text = String::new();
    lay_out(json, 0, &mut text);
    text
}

fn lay_out(json: &Json, indent: usize, out: &mut String) {
    let line = one_line(json);
    if indent + line.chars().count() <= LINE_CHARACTERS_MAX {
        out.push_str(&line);
        return;
    }
    match json {
        Json::Array(items) => {
            let items = items.iter().map(|item| (None, item));
            block('[', ']', items, indent, out);
        }
        Json::Object(members) => {
            let members = members
                .iter()
                .map(|(name, value)| (Some(name.as_str()), value));
            block('{', '}', members, indent, out);
        }
        _ => out.push_str(&line),
    }
}

fn block<'j>(
    open: char,
    close: char,
    items: impl ExactSizeIterator<Item = (Option<&'j str>, &'j Json)>,
    indent: usize,
    out: &mut String,
) {
    let last = items.len() - 1;
    out.push(open);
    for (index, (name, value)) in items.enumerate() {
        let inner = indent + 2;
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', inner));
        if let Some(name) = name {
            let _ = write!(out, "{}: ", Json::String(name.to_owned()));
        }
        lay_out(value, inner, out);
        if index < last {
            out.push(',');
        }
    }
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', indent));
    out.push(close);
}

fn one_line(json: &Json) -> String {
    match json {
        Json::Array(items) => {
            let items: Vec<String> = items.iter().map(one_line).collect();
            format!("[{}]", items.join(", "))
        }
        Json::Object(members) => {
            let member = |(name, value): &(String, Json)| {
                format!("{}: {}", Json::String(name.clone()), one_line(value))
            };
            let members: Vec<String> = members.iter().map(member).collect();
            format!("{{{}}}", members.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_laid_out_and_stay_the_same() {
        let long = format!(r#"{{"a":[1.00,{{"b":"{}"}}],"c":{{}}}}"#, "x".repeat(120));
        let json = Json::parse(long.as_bytes(), 8).expect("JSON");
        let text = pretty(&json);
        assert!(text.lines().count() > 3, "{text}");
        assert_eq!(Json::parse(text.as_bytes(), 8), Ok(json));
        let short = Content(br#"{"a":[1, 2.0] }"#.to_vec());
        assert_eq!(short.pretty(), r#"{"a": [1, 2.0]}"#);
    }
}

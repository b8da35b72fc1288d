//! What differs between a conversation and another run of the same call, place by place.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use call::Form;

use crate::{Content, Conversation, Ending, Headers, Request};
use wire::json::Json;

/// Most differences told of one conversation: the first ones are what matters.
const DIFFERENCES_MAX: usize = 50;

/// One place that is not as the conversation says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The message, as its table is called in the file: `next[0].gets`, `caller.gets`.
    pub message: String,
    /// Where in it: `request`, `status`, `headers.NAME`, `body.a[0].b`.
    pub place: String,
    /// What the conversation says there; absent where it says that nothing is there.
    pub expected: Option<String>,
    /// What is there.
    pub found: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        write!(
            f,
            "{} {}: expected {}, found {}",
            self.message,
            self.place,
            shown(&self.expected),
            shown(&self.found)
        )
    }
}

/// Gathers the differences of one message.
struct Finder<'a> {
    message: String,
    found: &'a mut Vec<Difference>,
}

impl Finder<'_> {
    fn add(&mut self, place: &str, expected: Option<String>, found: Option<String>) {
        if self.found.len() < DIFFERENCES_MAX {
            self.found.push(Difference {
                message: self.message.clone(),
                place: place.to_owned(),
                expected,
                found,
            });
        }
    }

    fn text(&mut self, place: &str, expected: &str, found: &str) {
        if expected != found {
            self.add(place, Some(expected.to_owned()), Some(found.to_owned()));
        }
    }

    fn headers(&mut self, expected: &Headers, found: &Headers) {
        let names: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
        for name in names {
            // An empty list says that there is none.
            let said = |of: &Headers| of.get(name).filter(|all| !all.is_empty()).cloned();
            let (expected, found) = (said(expected), said(found));
            if expected != found {
                let shown = |values: Option<Vec<String>>| values.map(|all| all.join(", "));
                self.add(&format!("headers.{name}"), shown(expected), shown(found));
            }
        }
    }

    fn body(&mut self, expected: &Content, found: &Content) {
        match (expected.json(), found.json()) {
            (Some(expected), Some(found)) => self.json("body", &expected, &found),
            _ if expected == found => {}
            _ => {
                let shown = |body: &Content| (!body.is_empty()).then(|| body.pretty());
                self.add("body", shown(expected), shown(found));
            }
        }
    }

    fn json(&mut self, place: &str, expected: &Json, found: &Json) {
        match (expected, found) {
            (Json::Object(a), Json::Object(b)) => {
                let names: BTreeSet<&String> = a.iter().chain(b).map(|(name, _)| name).collect();
                for name in names {
                    let place = format!("{place}.{name}");
                    self.optional(&place, expected.get(name), found.get(name));
                }
            }
            (Json::Array(a), Json::Array(b)) => {
                for index in 0..a.len().max(b.len()) {
                    let place = format!("{place}[{index}]");
                    self.optional(&place, a.get(index), b.get(index));
                }
            }
            _ if expected == found => {}
            _ => self.add(place, Some(expected.to_string()), Some(found.to_string())),
        }
    }

    fn optional(&mut self, place: &str, expected: Option<&Json>, found: Option<&Json>) {
        match (expected, found) {
            (Some(expected), Some(found)) => self.json(place, expected, found),
            (expected, found) => {
                let shown = |value: Option<&Json>| value.map(Json::to_string);
                self.add(place, shown(expected), shown(found));
            }
        }
    }

    fn request(&mut self, expected: &Request, found: &Request) {
        match expected.form {
            Form::Http => {
                self.text("request", &expected.line(), &found.line());
                self.headers(&expected.headers, &found.headers);
                self.body(&expected.body, &found.body);
            }
            // Words that look the same to people may still differ.
            Form::Resp if expected.words() != found.words() => {
                self.add("command", Some(expected.line()), Some(found.line()));
            }
            Form::Resp => {}
            Form::Message => self.whole("message", &expected.body, &found.body),
        }
    }

    /// What a message is all of.
    fn whole(&mut self, place: &str, expected: &Content, found: &Content) {
        if expected != found {
            self.add(place, Some(expected.pretty()), Some(found.pretty()));
        }
    }

    fn ending(&mut self, form: Form, expected: &Ending, found: &Ending) {
        let kind = |ending: &Ending| ending.refused.map(|kind| kind.name().to_owned());
        if expected.refused != found.refused {
            self.add("refused", kind(expected), kind(found));
        }
        let place = match form {
            Form::Http => None,
            Form::Resp => Some("value"),
            Form::Message => Some("message"),
        };
        if let Some(place) = place {
            if let Some(body) = &expected.body {
                let nothing = Content::default();
                self.whole(place, body, found.body.as_ref().unwrap_or(&nothing));
            }
            return;
        }
        if let Some(status) = expected.status
            && expected.status != found.status
        {
            let found = found.status.map(|status| status.as_str().to_owned());
            self.add("status", Some(status.as_str().to_owned()), found);
        }
        let nothing = (Headers::new(), Content::default());
        if let Some(headers) = &expected.headers {
            self.headers(headers, found.headers.as_ref().unwrap_or(&nothing.0));
        }
        if let Some(body) = &expected.body {
            self.body(body, found.body.as_ref().unwrap_or(&nothing.1));
        }
    }
}

pub(crate) fn conversations(expected: &Conversation, found: &Conversation) -> Vec<Difference> {
    let mut differences = Vec::new();
    let (a, b) = (&expected.exchanges, &found.exchanges);
    for index in 0..a.len().max(b.len()) {
        let mut finder = Finder {
            message: format!("next[{index}].gets"),
            found: &mut differences,
        };
        match (a.get(index), b.get(index)) {
            (Some(a), Some(b)) => finder.request(&a.gets, &b.gets),
            (a, b) => {
                let shown = |side: Option<&crate::Exchange>| side.map(|side| side.gets.line());
                let place = match expected.sends.form {
                    Form::Http => "request",
                    Form::Resp => "command",
                    Form::Message => "message",
                };
                finder.add(place, shown(a), shown(b));
            }
        }
    }
    let mut finder = Finder {
        message: "caller.gets".to_owned(),
        found: &mut differences,
    };
    finder.ending(expected.sends.form, &expected.gets, &found.gets);
    differences
}

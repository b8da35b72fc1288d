//! What a call of a component is: its conflict key, its delegates, whether it changes anything.

use std::cmp::Reverse;

use http::{Method, request};

use crate::bindings::upstart::adapter::messages as wit;
use crate::form;
use call::{BodyLimits, Call, Form, MessageCall, MessageForm};
use declaration::expression::{ExpressionContext, MeteredExpression};
use declaration::query::Pair;
use declaration::scope::{Head, Scope};
use declaration::template::{CallTemplate, Parameters};
use wire::json::Json;
use wire::words::words;

/// Most words that a declared command begins with: a container and its subcommand.
const COMMAND_WORDS_MAX: usize = 2;

/// How a call excludes others.
#[derive(Debug)]
pub(crate) enum Exclusion {
    /// Not at all: it only translates, and neither has a state nor an intent.
    Nothing,
    /// All others of the adapter.
    Node,
    /// Those with the same key.
    Key(MeteredExpression),
}

/// Which calls an operation is.
#[derive(Debug)]
pub(crate) enum Which {
    /// Requests of HTTP.
    Request(CallTemplate),
    /// Commands of RESP that begin with these words, whatever their case.
    Command(Vec<String>),
    /// All that no other operation is.
    Others,
}

impl Which {
    /// Reads `METHOD /path`, the one or two words that a command begins with, or `*`.
    ///
    /// The error says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Others);
        }
        if text.contains('/') {
            return Ok(CallTemplate::parse(text).map(Which::Request)?);
        }
        let words: Vec<String> = text.split(' ').map(str::to_ascii_uppercase).collect();
        let is_word = |word: &String| {
            let mut bytes = word.bytes();
            !word.is_empty()
                && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"._-|".contains(&byte))
        };
        if words.len() <= COMMAND_WORDS_MAX && words.iter().all(is_word) {
            Ok(Self::Command(words))
        } else {
            Err(format!(
                "`{text}` is neither a method and a path, as in \"GET /items/{{id}}\", nor a command, as in \"HSET\" or \"CONFIG GET\""
            ))
        }
    }

    /// Whether calls of this form can come where this is spoken.
    pub(crate) fn fits(&self, form: Form) -> bool {
        match self {
            Self::Request(_) => form == Form::Http,
            Self::Command(_) => form == Form::Resp,
            Self::Others => true,
        }
    }
}

/// An operation that a component declares.
#[derive(Debug)]
pub(crate) struct ComponentOperation {
    /// For messages and counters.
    pub(crate) name: String,
    pub(crate) which: Which,
    pub(crate) hold: Exclusion,
    /// How many calls it makes at most.
    pub(crate) delegates: u32,
    /// It changes nothing, here or at the software.
    pub(crate) reads: bool,
}

impl ComponentOperation {
    /// What calls are that the file does not declare.
    pub(crate) fn other() -> Self {
        Self {
            name: "(other)".to_owned(),
            which: Which::Others,
            hold: Exclusion::Node,
            delegates: 1,
            reads: false,
        }
    }

    /// Whether its calls may change the adapter's state.
    pub(crate) fn may_write(&self) -> bool {
        !self.reads && !matches!(self.hold, Exclusion::Nothing)
    }

    /// More particular ones come first.
    pub(crate) fn rank(&self) -> (Option<(Vec<u8>, bool)>, Reverse<usize>) {
        match &self.which {
            Which::Request(template) => (Some(template.rank()), Reverse(0)),
            Which::Command(words) => (None, Reverse(words.len())),
            Which::Others => (None, Reverse(0)),
        }
    }

    /// Whether every call of the other one is one of this.
    pub(crate) fn hides(&self, other: &Self) -> bool {
        match (&self.which, &other.which) {
            (Which::Request(a), Which::Request(b)) => {
                a.overlaps(b) && (a.method.is_none() || a.method == b.method)
            }
            (Which::Command(a), Which::Command(b)) => b.starts_with(a),
            (Which::Others, Which::Others) => true,
            _ => false,
        }
    }

    /// Whether a request is one of it; `HEAD` follows `GET`.
    pub(crate) fn is_request(&self, method: &Method, path: &[&str]) -> bool {
        let Which::Request(template) = &self.which else {
            return false;
        };
        template.matches(method, path)
            || (*method == Method::HEAD && template.matches(&Method::GET, path))
    }

    /// Whether a call is one of it.
    pub(crate) fn is(&self, call: &wit::Call) -> bool {
        match (&self.which, call) {
            (Which::Request(_), wit::Call::Http(request)) => {
                let path = request.target.split('?').next().unwrap_or_default();
                let path: Vec<&str> = path.split('/').skip(1).collect();
                self.is_request(&form::method(&request.method), &path)
            }
            (Which::Command(words), wit::Call::Resp(said)) => {
                let mut both = words.iter().zip(said);
                said.len() >= words.len()
                    && both.all(|(word, said)| said.eq_ignore_ascii_case(word.as_bytes()))
            }
            _ => false,
        }
    }

    /// The conflict key of a call; `None` for the whole node.
    ///
    /// The error says why it cannot be computed.
    pub(crate) fn key(
        &self,
        expression: &MeteredExpression,
        call: &Call,
        body: &bytes::Bytes,
    ) -> Result<String, String> {
        let (scope, method) = match call {
            Call::Http(call) => {
                let scope = self.scope(expression, &call.head, body, call.context.limits)?;
                (scope, call.head.method.as_str())
            }
            Call::Message(call) => (message_scope(call)?, ""),
        };
        let around = ExpressionContext {
            method,
            ..ExpressionContext::default()
        };
        match expression.evaluate(&scope, None, around) {
            Ok(Json::String(key)) => Ok(key),
            Ok(other) => Err(format!("it is {}, not a string", other.kind())),
            Err(mismatch) => Err(mismatch.what),
        }
    }

    /// What a request offers to a conflict key.
    fn scope(
        &self,
        expression: &MeteredExpression,
        head: &request::Parts,
        body: &bytes::Bytes,
        limits: BodyLimits,
    ) -> Result<Scope, String> {
        let path: Vec<&str> = head.uri.path().split('/').skip(1).collect();
        let parameters = match &self.which {
            Which::Request(template) => template.extract(&path).ok_or("the path is not UTF-8")?,
            Which::Command(_) | Which::Others => Parameters::new(),
        };
        let body = if body.is_empty() || !expression.uses("body") {
            None
        } else {
            Some(
                Json::parse_outside(body.clone(), limits.depth_max)
                    .map_err(|error| format!("the body is not JSON: {error}"))?,
            )
        };
        Ok(Scope {
            head: Some(Head {
                parameters,
                query: Some(Pair::parse(head.uri.query())),
                headers: head.headers.clone(),
            }),
            body,
        })
    }
}

/// What a command or a message offers to a conflict key.
fn message_scope(call: &MessageCall) -> Result<Scope, String> {
    let text = |bytes: &[u8]| Json::String(String::from_utf8_lossy(bytes).into_owned());
    let body = match call.form {
        MessageForm::Resp => {
            let words = words(&call.bytes)?;
            Json::Array(words.iter().map(|word| text(word)).collect())
        }
        MessageForm::Framed => text(&call.bytes),
    };
    Ok(Scope::inner(body))
}

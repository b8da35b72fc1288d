//! What a call of a component is: its conflict key, its delegates, whether it changes anything.

use http::{Method, request};

use crate::call::BodyLimits;
use crate::json::Json;
use crate::lens::expression::{Expression, Surroundings};
use crate::lens::query::Pair;
use crate::lens::scope::{Head, Scope};
use crate::lens::template::Template;

/// How a call excludes others.
#[derive(Debug)]
pub(super) enum Hold {
    /// Not at all: it only translates, and neither has a state nor an intent.
    Nothing,
    /// All others of the adapter.
    Node,
    /// Those with the same key.
    Key(Expression),
}

/// An operation that a component declares.
#[derive(Debug)]
pub(super) struct Operation {
    /// For messages and counters.
    pub(super) name: String,
    /// Which calls it is; none for all that no other is.
    pub(super) template: Option<Template>,
    pub(super) hold: Hold,
    /// How many calls it makes at most.
    pub(super) delegates: u32,
    /// It changes nothing, here or at the software.
    pub(super) reads: bool,
}

impl Operation {
    /// What calls are that the file does not declare.
    pub(super) fn other() -> Operation {
        Operation {
            name: "(other)".to_owned(),
            template: None,
            hold: Hold::Node,
            delegates: 1,
            reads: false,
        }
    }

    /// Whether its calls may change the adapter's state.
    pub(super) fn may_write(&self) -> bool {
        !self.reads && !matches!(self.hold, Hold::Nothing)
    }

    /// More particular ones come first.
    pub(super) fn rank(&self) -> Option<(Vec<u8>, bool)> {
        self.template.as_ref().map(Template::rank)
    }

    /// Whether every call of the other one is one of this.
    pub(super) fn hides(&self, other: &Operation) -> bool {
        let both = self.template.as_ref().zip(other.template.as_ref());
        both.is_some_and(|(a, b)| a.overlaps(b) && (a.method.is_none() || a.method == b.method))
    }

    /// Whether a call is one of it; `HEAD` follows `GET`.
    pub(super) fn is(&self, method: &Method, path: &[&str]) -> bool {
        self.template.as_ref().is_some_and(|template| {
            template.matches(method, path)
                || (*method == Method::HEAD && template.matches(&Method::GET, path))
        })
    }

    /// The conflict key of a call; `None` for the whole node.
    ///
    /// The error says why it cannot be computed.
    pub(super) fn key(
        &self,
        expression: &Expression,
        head: &request::Parts,
        body: &bytes::Bytes,
        limits: BodyLimits,
    ) -> Result<String, String> {
        let path: Vec<&str> = head.uri.path().split('/').skip(1).collect();
        let template = self.template.as_ref();
        let parameters = template.and_then(|template| template.extract(&path));
        let parameters = parameters.ok_or("the path is not UTF-8")?;
        let body = match expression.uses("body") && !body.is_empty() {
            false => None,
            true => Some(
                Json::parse_outside(body.clone(), limits.depth_max)
                    .map_err(|error| format!("the body is not JSON: {error}"))?,
            ),
        };
        let scope = Scope {
            head: Some(Head {
                parameters,
                query: Some(Pair::parse(head.uri.query())),
                headers: head.headers.clone(),
            }),
            body,
        };
        let around = Surroundings {
            method: head.method.as_str(),
            ..Surroundings::default()
        };
        match expression.evaluate(&scope, None, around) {
            Ok(Json::String(key)) => Ok(key),
            Ok(other) => Err(format!("it is {}, not a string", other.kind())),
            Err(mismatch) => Err(mismatch.what),
        }
    }
}

//! How calls end without an answer of the software: refusals and failures.

use bytes::Bytes;
use http::StatusCode;

use crate::body::Body;
use wire::framing::FramingError;
use wire::json::Json;

/// Why an adapter refused a call; the label under which refusals are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefusalKind {
    /// No operation of the lens matches.
    Unmatched,
    /// A rule of the lens says `refuse`.
    Declared,
    /// The request's body is not what its operation needs (not JSON, compressed, too deep).
    Malformed,
    /// A decoded body is longer than the limit.
    TooLarge,
    /// The node has no memory left for it now, or its body comes too slowly.
    Busy,
    /// A request that the rules cannot express at the other version.
    Request,
    /// An answer that the rules cannot express at the caller's version.
    Response,
}

impl RefusalKind {
    /// All of them.
    pub const ALL: [RefusalKind; 7] = [
        RefusalKind::Unmatched,
        RefusalKind::Declared,
        RefusalKind::Malformed,
        RefusalKind::TooLarge,
        RefusalKind::Busy,
        RefusalKind::Request,
        RefusalKind::Response,
    ];

    /// As written in metrics.
    pub fn name(self) -> &'static str {
        match self {
            RefusalKind::Unmatched => "unmatched",
            RefusalKind::Declared => "declared",
            RefusalKind::Malformed => "malformed",
            RefusalKind::TooLarge => "too-large",
            RefusalKind::Busy => "busy",
            RefusalKind::Request => "request",
            RefusalKind::Response => "response",
        }
    }
}

/// An adapter's no to one call.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// Why, as a kind.
    pub kind: RefusalKind,
    /// Where in the lens: operation and place; never a value, so that it can be counted.
    pub rule: String,
    /// Why, for people.
    pub reason: String,
    /// The answer's status.
    pub status: StatusCode,
    /// The answer's body in the protocol's own words; without one it is a problem (RFC 9457).
    pub body: Option<Json>,
    /// What the body is, where it is not JSON: then it is a string, written as it is. Empty for an
    /// answer that does not say.
    pub media: Option<String>,
    /// The answer's other headers, in a component's own words.
    pub headers: http::HeaderMap,
    /// The answer, where calls are not of HTTP: a value of RESP, or a message without its framing. Then only this counts.
    pub message: Option<Bytes>,
    /// What the software had answered, where that is what was refused: for whoever runs the node, not for the caller.
    pub cause: Option<String>,
}

impl Refusal {
    /// Its body and media type as an answer of HTTP: the adapter's own words, else a problem (RFC 9457). An empty media type stands for none.
    pub fn http_body(&self) -> (Body, &str) {
        match (&self.body, &self.media) {
            (Some(Json::String(text)), Some(media)) => (Body::Bytes(text.clone().into()), media),
            (Some(body), _) => (Body::Json(body.clone()), "application/json"),
            (None, _) => (Body::Json(problem(self)), "application/problem+json"),
        }
    }

    /// An answer that cannot be shown to the caller's version.
    pub fn of_answer(reason: String) -> Refusal {
        Refusal {
            kind: RefusalKind::Response,
            rule: "(answer)".to_owned(),
            reason,
            status: StatusCode::BAD_GATEWAY,
            body: None,
            media: None,
            headers: http::HeaderMap::new(),
            message: None,
            cause: None,
        }
    }
}

fn problem(refusal: &Refusal) -> Json {
    let title = refusal.status.canonical_reason().unwrap_or("Refused");
    let text = |text: &str| Json::String(text.to_owned());
    let members = [
        ("type", text("about:blank")),
        ("title", text(title)),
        ("status", Json::Integer(i64::from(refusal.status.as_u16()))),
        ("detail", text(&refusal.reason)),
    ];
    let members = members.map(|(name, value)| (name.to_owned(), value));
    Json::Object(members.into())
}

/// An adapter that broke in a call: a trap, a limit. Whether the software did what was asked is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterFailure {
    /// The component and the operation; never a value, so that it can be counted.
    pub rule: String,
    /// What happened, for people.
    pub reason: String,
    /// It took too long.
    pub timed_out: bool,
}

impl AdapterFailure {
    /// As the caller is told: a problem, 500 or 504.
    pub fn told(&self) -> Refusal {
        Refusal {
            kind: RefusalKind::Response,
            rule: self.rule.clone(),
            reason: format!(
                "the adapter between the two versions failed ({}): {}; whether the call had an effect is not known",
                self.rule, self.reason
            ),
            status: match self.timed_out {
                true => StatusCode::GATEWAY_TIMEOUT,
                false => StatusCode::INTERNAL_SERVER_ERROR,
            },
            body: None,
            media: None,
            headers: http::HeaderMap::new(),
            message: None,
            cause: None,
        }
    }
}

/// How a call ended without an answer of the software.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The adapter refuses: the caller gets an answer that says so.
    #[error("refused ({}): {}", .0.rule, .0.reason)]
    Refused(Box<Refusal>),
    /// The adapter itself failed: the caller gets an answer that says so.
    #[error("the adapter failed ({}): {}", .0.rule, .0.reason)]
    Adapter(Box<AdapterFailure>),
    /// The software could not be reached.
    #[error("the software cannot be reached")]
    Unreachable(#[source] std::io::Error),
    /// The software's connection failed after something of the call was sent.
    #[error("the software's connection failed during a call")]
    Broken(#[source] hyper::Error),
    /// The software's answer can be understood in two ways: it is not passed on.
    #[error("the software's answer can be understood in two ways: {0}")]
    Ambiguous(&'static str),
    /// The software's connection ended after a message of the call was sent.
    #[error("the software's connection ended during a call")]
    Ended(#[source] std::io::Error),
    /// What the software answered is no message of its framing.
    #[error("the software's answer is damaged")]
    Damaged(#[source] FramingError),
    /// The caller's own connection failed while its body was read.
    #[error("the caller's connection failed during a call")]
    Caller(#[source] hyper::Error),
    /// The caller's own connection ended before its call was answered.
    #[error("the caller's connection ended during a call")]
    CallerEnded(#[source] std::io::Error),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure::Refused(Box::new(refusal))
    }
}

//! How calls end without an answer of the software: refusals and failures.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

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
    pub const ALL: [Self; 7] = [
        Self::Unmatched,
        Self::Declared,
        Self::Malformed,
        Self::TooLarge,
        Self::Busy,
        Self::Request,
        Self::Response,
    ];

    /// As written in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unmatched => "unmatched",
            Self::Declared => "declared",
            Self::Malformed => "malformed",
            Self::TooLarge => "too-large",
            Self::Busy => "busy",
            Self::Request => "request",
            Self::Response => "response",
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
    /// How the caller is told.
    pub words: RefusalWords,
    /// What the software had answered, where that is what was refused: for whoever runs the node, not for the caller.
    pub cause: Option<String>,
}

/// The words in which a caller is told a refusal.
#[derive(Clone, Debug, PartialEq)]
pub enum RefusalWords {
    /// An answer of HTTP. Where calls are not of HTTP the node says the reason in the protocol's words, if it has some for that.
    Http {
        /// Its status.
        status: StatusCode,
        /// Its headers beside the media type, in an adapter's own words.
        headers: HeaderMap,
        /// Its body.
        body: RefusalBody,
    },
    /// An adapter's own, where calls are not of HTTP: a value of RESP, or a message without its framing.
    Message(Bytes),
}

/// The body of a refusal that is an answer of HTTP.
#[derive(Clone, Debug, PartialEq)]
pub enum RefusalBody {
    /// The node's words: a problem (RFC 9457).
    Problem,
    /// An adapter's own words, as JSON.
    Json(Json),
    /// An adapter's own words.
    Text {
        /// Its media type; empty for an answer that does not say.
        media: String,
        /// The text.
        text: String,
    },
}

impl RefusalBody {
    /// An adapter's own words; of this media type where they are text, else JSON.
    pub fn own(body: Json, media: Option<String>) -> Self {
        match (body, media) {
            (Json::String(text), Some(media)) => Self::Text { media, text },
            (body, _) => Self::Json(body),
        }
    }
}

impl Refusal {
    /// A refusal in the node's own words: of HTTP a problem with this status.
    pub fn new(
        kind: RefusalKind,
        rule: impl Into<String>,
        reason: impl Into<String>,
        status: StatusCode,
    ) -> Self {
        Self {
            kind,
            rule: rule.into(),
            reason: reason.into(),
            words: RefusalWords::Http {
                status,
                headers: HeaderMap::new(),
                body: RefusalBody::Problem,
            },
            cause: None,
        }
    }

    /// An answer that cannot be shown to the caller's version.
    pub fn of_answer(reason: String) -> Self {
        let kind = RefusalKind::Response;
        Self::new(kind, "(answer)", reason, StatusCode::BAD_GATEWAY)
    }

    /// The same with this body.
    #[must_use]
    pub fn with_body(mut self, own: RefusalBody) -> Self {
        if let RefusalWords::Http { body, .. } = &mut self.words {
            *body = own;
        }
        self
    }

    /// Its status as an answer of HTTP.
    pub fn status(&self) -> StatusCode {
        match &self.words {
            RefusalWords::Http { status, .. } => *status,
            RefusalWords::Message(_) => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }

    /// An adapter's own words, where they are JSON.
    pub fn json(&self) -> Option<&Json> {
        match &self.words {
            RefusalWords::Http {
                body: RefusalBody::Json(json),
                ..
            } => Some(json),
            _ => None,
        }
    }

    /// Its body and media type as an answer of HTTP: the adapter's own words, else a problem (RFC 9457). An empty media type stands for none.
    pub fn http_body(&self) -> (Body, &str) {
        match &self.words {
            RefusalWords::Http {
                body: RefusalBody::Text { media, text },
                ..
            } => (Body::Bytes(text.clone().into()), media),
            RefusalWords::Http {
                body: RefusalBody::Json(json),
                ..
            } => (Body::Json(json.clone()), "application/json"),
            _ => (Body::Json(problem(self)), "application/problem+json"),
        }
    }
}

fn problem(refusal: &Refusal) -> Json {
    let status = refusal.status();
    let title = status.canonical_reason().unwrap_or("Refused");
    let text = |text: &str| Json::String(text.to_owned());
    let members = [
        ("type", text("about:blank")),
        ("title", text(title)),
        ("status", Json::Integer(i64::from(status.as_u16()))),
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
        let reason = format!(
            "the adapter between the two versions failed ({}): {}; whether the call had an effect is not known",
            self.rule, self.reason
        );
        let status = if self.timed_out {
            StatusCode::GATEWAY_TIMEOUT
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        };
        Refusal::new(RefusalKind::Response, &self.rule, reason, status)
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
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

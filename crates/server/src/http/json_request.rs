//! What a request asks and who asks it: body, author, idempotency key.

use super::App;
use super::requester::Requester;
use crate::problem::{Kind, RequestRefusal, refuse};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header as name};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::time::Duration;

/// The largest JSON body: a manifest and signed targets of the largest size, as JSON strings with room for escapes.
const BODY_BYTES_MAX: usize = (model::manifest::MANIFEST_BYTES_MAX + (16 << 20)) * 2;

/// The largest JSON body of those who publish nothing: a report with all that it may have is not half of it.
const SMALL_BODY_BYTES_MAX: usize = 16 << 20;

/// How long a body may take.
const BODY_LIMIT: Duration = Duration::from_secs(60);

/// The longest author or idempotency key, in bytes.
const HEADER_BYTES_MAX: usize = 256;

/// The author of a change that names none.
const AUTHOR_UNNAMED: &str = "operator";

/// Who asks, and under which idempotency key (with the request's fingerprint).
#[derive(Clone, Debug)]
pub(super) struct Asker {
    pub(super) author: String,
    pub(super) key: Option<(String, String)>,
    pub(super) requester: Requester,
}

/// A JSON body with its caller; `JsonRequest<()>` for requests without a body.
pub(super) struct JsonRequest<T> {
    pub(super) body: T,
    pub(super) caller: Asker,
}

impl<T: DeserializeOwned> FromRequest<App> for JsonRequest<T> {
    type Rejection = RequestRefusal;

    async fn from_request(request: Request, app: &App) -> Result<Self, RequestRefusal> {
        let (parts, body) = request.into_parts();
        let requester = requester(&parts)?;
        let bytes_max = match &requester {
            Requester::TokenHolder => BODY_BYTES_MAX,
            Requester::Certified(caller) if caller.right.is_some() => BODY_BYTES_MAX,
            // The check has let pass whoever may ask for it.
            Requester::Claimed(_) => BODY_BYTES_MAX,
            Requester::Certified(_) | Requester::Invited(_) => SMALL_BODY_BYTES_MAX,
        };
        let body = Limited::new(body, bytes_max).collect();
        let body = tokio::time::timeout(BODY_LIMIT, body).await.map_err(|_| {
            refuse(
                Kind::BAD_REQUEST,
                "The body did not come within a minute; send it again.",
            )
        })?;
        let body = body
            .map_err(|error| unread(error.as_ref(), bytes_max))?
            .to_bytes();
        // It may have come long after the head.
        app.still_counts(&requester)?;
        check_type(&parts.headers, &body)?;
        let caller = Asker {
            author: author(&parts, &requester)?,
            key: key(&parts, &requester, &body)?,
            requester,
        };
        let text = if body.is_empty() {
            b"null"
        } else {
            body.as_ref()
        };
        let body = serde_json::from_slice(text).map_err(|error| {
            refuse(
                Kind::BAD_REQUEST,
                format!("The body is not what the route takes: {error}; see /v1/openapi.json."),
            )
        })?;
        Ok(Self { body, caller })
    }
}

/// A body says that it is JSON: a form of somebody's page in a browser cannot.
fn check_type(headers: &HeaderMap, body: &[u8]) -> Result<(), RequestRefusal> {
    let said = headers.get(name::CONTENT_TYPE);
    let said = said.and_then(|value| value.to_str().ok()).unwrap_or("");
    let kind = said.split(';').next().unwrap_or("").trim();
    if body.is_empty() || kind.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(refuse(
        Kind::UNSUPPORTED_TYPE,
        "Send a body as `Content-Type: application/json`.",
    ))
}

fn unread(
    error: &(dyn std::error::Error + Send + Sync + 'static),
    bytes_max: usize,
) -> RequestRefusal {
    if error.is::<LengthLimitError>() {
        return refuse(
            Kind::TOO_LARGE,
            format!("A body has at most {bytes_max} bytes here."),
        );
    }
    refuse(
        Kind::BAD_REQUEST,
        format!("The body broke off ({error}); send it again."),
    )
}

/// Who asks; what has passed the check always has it.
fn requester(parts: &Parts) -> Result<Requester, RequestRefusal> {
    let found = parts.extensions.get::<Requester>().cloned();
    found.ok_or_else(|| refuse(Kind::UNAUTHORIZED, "Nobody knows who asks."))
}

/// Under which name it is recorded: their own, where that is proven; the server's user and root say who it was.
fn author(parts: &Parts, requester: &Requester) -> Result<String, RequestRefusal> {
    let said = header(&parts.headers, "Upstart-Author")?;
    let proven = requester.principal().map(|proven| proven.name.clone());
    Ok(proven.or(said).unwrap_or_else(|| AUTHOR_UNNAMED.to_owned()))
}

/// Only POST needs a key: the other methods are idempotent by themselves. A key is its caller's: nobody is given another's answer.
fn key(
    parts: &Parts,
    requester: &Requester,
    body: &[u8],
) -> Result<Option<(String, String)>, RequestRefusal> {
    if parts.method != Method::POST {
        return Ok(None);
    }
    let Some(key) = header(&parts.headers, "Idempotency-Key")? else {
        return Ok(None);
    };
    let mut fingerprint = Sha256::new();
    fingerprint.update(parts.uri.path().as_bytes());
    fingerprint.update([0]);
    fingerprint.update(body);
    let key = match requester.principal() {
        Some(principal) => format!("{principal} {key}"),
        None => key,
    };
    Ok(Some((key, hex::encode(fingerprint.finalize()))))
}

fn header(headers: &HeaderMap, name: &str) -> Result<Option<String>, RequestRefusal> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let text = std::str::from_utf8(value.as_bytes())
        .unwrap_or_default()
        .trim();
    if text.is_empty() || text.len() > HEADER_BYTES_MAX || text.chars().any(char::is_control) {
        let detail = format!("The header {name} has 1 to {HEADER_BYTES_MAX} bytes of text.");
        return Err(refuse(Kind::BAD_REQUEST, detail));
    }
    Ok(Some(text.to_owned()))
}

/// The query, read or refused.
pub(super) struct Queried<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Queried<T> {
    type Rejection = RequestRefusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, RequestRefusal> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(query)) => Ok(Self(query)),
            Err(error) => Err(refuse(
                Kind::BAD_REQUEST,
                format!("{}; see /v1/openapi.json.", error.body_text()),
            )),
        }
    }
}

/// The variable parts of the path, read or refused.
pub(super) struct Named<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = RequestRefusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, RequestRefusal> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(path)) => Ok(Self(path)),
            Err(error) => Err(refuse(
                Kind::BAD_REQUEST,
                format!("{}; see /v1/openapi.json.", error.body_text()),
            )),
        }
    }
}

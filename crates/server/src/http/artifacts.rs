//! Artifacts by digest: upload, download with ranges.

use super::App;
use super::etag::is_known;
use super::json_request::Named;
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::repository::{Range, range};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use metrics::Counter;
use model::api::Problem;
use model::manifest::Digest;

/// Named by digest: what was fetched once never changes.
pub(super) const IMMUTABLE: &str = "public, max-age=31536000, immutable";

#[utoipa::path(get, path = "/v1/artifacts/{sha256}", tag = "artifacts",
    params(("sha256" = String, Path, description = "The SHA-256 in lower-case hex"),
        ("Range" = Option<String>, Header, description = "One range of bytes, to resume")),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>),
        (status = 206, content_type = "application/octet-stream", body = Vec<u8>),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
/// An artifact, or a part of it.
pub(super) async fn get(
    State(app): State<App>,
    method: Method,
    Named(name): Named<String>,
    headers: HeaderMap,
) -> Result<Response, RequestRefusal> {
    let digest = digest(&name)?;
    let tag = format!("\"{digest}\"");
    let size = app
        .repository
        .size(digest)
        .await?
        .ok_or_else(|| unknown(digest))?;
    let is_had = is_known(&headers, &tag);
    let asked = headers
        .get(header::RANGE)
        .filter(|_| !is_had)
        .and_then(|value| value.to_str().ok());
    let (status, first, count) = match range(asked, size) {
        Range::Whole => (StatusCode::OK, 0, size),
        Range::Part { first, last } => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
        Range::Behind => return Ok(behind(digest, size)),
    };
    let body = match method {
        Method::HEAD => Body::empty(),
        // Whoever has it is told so.
        _ if is_had => Body::empty(),
        _ => {
            let read = app.repository.read(digest, first, count).await?;
            let read = read.ok_or_else(|| unknown(digest))?;
            counted(read, app.meters.sent_bytes.clone())
        }
    };
    let mut answer = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::CONTENT_LENGTH, count)
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::CACHE_CONTROL, IMMUTABLE)
        .header(header::ETAG, &tag);
    if status == StatusCode::PARTIAL_CONTENT {
        let last = first + count - 1;
        answer = answer.header(
            header::CONTENT_RANGE,
            format!("bytes {first}-{last}/{size}"),
        );
    }
    let answer = answer.body(body);
    answer.map_err(|error| refuse(Kind::REPOSITORY_UNAVAILABLE, error.to_string()))
}

#[utoipa::path(head, path = "/v1/artifacts/{sha256}", tag = "artifacts",
    params(("sha256" = String, Path, description = "The SHA-256 in lower-case hex")),
    responses((status = 200, description = "It is there"), (status = 404, description = "It is not there"),
        (status = "default", description = "The same problem as for `GET`, without its text")))]
/// Whether an artifact is there, and its size.
pub(super) async fn head(
    app: State<App>,
    name: Named<String>,
    headers: HeaderMap,
) -> Result<Response, RequestRefusal> {
    get(app, Method::HEAD, name, headers).await
}

#[utoipa::path(put, path = "/v1/artifacts/{sha256}", tag = "artifacts",
    params(("sha256" = String, Path, description = "The SHA-256 in lower-case hex")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Stores an artifact; the same again is no error.
pub(super) async fn put(
    State(app): State<App>,
    Named(name): Named<String>,
    body: Body,
) -> Result<StatusCode, RequestRefusal> {
    let body = counted(body, app.meters.received_bytes.clone());
    app.repository.receive(digest(&name)?, body).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The same body, whose bytes are counted as they pass.
fn counted(body: Body, bytes: Counter) -> Body {
    let passing = body.map_frame(move |frame| {
        let length = frame.data_ref().map_or(0, |data| data.len());
        bytes.inc_by(length as u64);
        frame
    });
    Body::new(passing)
}

fn behind(digest: Digest, size: u64) -> Response {
    let refusal = refuse(
        Kind::RANGE_NOT_SATISFIABLE,
        format!("The artifact {digest} has {size} bytes; ask for a range within them."),
    );
    (
        [(header::CONTENT_RANGE, format!("bytes */{size}"))],
        refusal,
    )
        .into_response()
}

fn digest(name: &str) -> Result<Digest, RequestRefusal> {
    name.parse()
        .map_err(|error| refuse(Kind::BAD_REQUEST, format!("{error}.")))
}

fn unknown(digest: Digest) -> RequestRefusal {
    refuse(
        Kind::UNKNOWN_ARTIFACT,
        format!(
            "There is no artifact {digest}; upload it with PUT. If it is of a published version, publish that version's folder again: `upstart publish DIR` uploads what is missing."
        ),
    )
}

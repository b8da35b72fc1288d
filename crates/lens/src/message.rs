//! What is done to the messages of HTTP on both ways.

use http::Uri;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;

use call::Body;
use declaration::Mismatch;
use wire::json::Json;

pub(crate) fn is_encoded(headers: &HeaderMap) -> bool {
    let encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    encodings
        .into_iter()
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Puts a decoded body back, with the headers that describe it; `text` is written as it is.
pub(crate) fn set_body(
    headers: &mut HeaderMap,
    slot: &mut Body,
    body: Option<Json>,
    text: bool,
) -> Result<(), Mismatch> {
    while let Some(name) = headers.keys().find(|name| describes_bytes(name)).cloned() {
        headers.remove(name);
    }
    match body {
        Some(json) => {
            let media = if text {
                "text/plain; charset=utf-8"
            } else {
                "application/json"
            };
            if !headers.contains_key(header::CONTENT_TYPE) {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
            }
            *slot = match json {
                Json::String(text_of_body) if text => Body::Bytes(text_of_body.into()),
                json if text => {
                    let what = format!("a body of text is needed, not {}", json.kind());
                    return Err(Mismatch::new(what).within("body"));
                }
                json => Body::Json(json),
            };
        }
        None => {
            headers.remove(header::CONTENT_TYPE);
            *slot = Body::Empty;
        }
    }
    Ok(())
}

/// Whether a header tells of a body's bytes, which are no longer the same.
fn describes_bytes(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "content-length"
            | "transfer-encoding"
            | "trailer"
            | "content-md5"
            | "digest"
            | "content-digest"
            | "repr-digest"
    )
}

pub(crate) fn target(uri: &Uri, path: String, query: Option<String>) -> Option<Uri> {
    let text = match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let path_and_query = PathAndQuery::try_from(text).ok()?;
    if uri.authority().is_none() {
        return Some(Uri::from(path_and_query));
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path_and_query);
    Uri::from_parts(parts).ok()
}

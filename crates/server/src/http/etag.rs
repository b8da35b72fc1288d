//! Entity tags (RFC 9110, sections 8.8.3 and 13.1.2): whoever asks again for what it has already is told in a few bytes that nothing has
//! changed.
//!
//! The tag of an answer is the digest of its bytes, so that it is right whatever the answer was made of. What comes in pieces has no such
//! tag: streams never end, and what is named by its digest says so itself.

use crate::problem::{Kind, refuse};
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::response::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};
use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::{Header, RefOr, Required, Response as Described, schema};

/// What is seen today may differ tomorrow, and is for whoever may see it.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("private, no-cache");

/// How many bytes of the digest a tag has: enough that two answers never have the same by chance.
const TAG_BYTES: usize = 16;

/// Gives answers a tag, and answers 304 to whoever has them already.
pub(super) async fn tag(request: Request, next: Next) -> Response {
    if request.method() != Method::GET {
        return next.run(request).await;
    }
    let mut asked = HeaderMap::new();
    for value in request.headers().get_all(IF_NONE_MATCH) {
        asked.append(IF_NONE_MATCH, value.clone());
    }
    let answer = next.run(request).await;
    if answer.status() != StatusCode::OK {
        return answer;
    }
    let (mut parts, mut body) = answer.into_parts();
    if !parts.headers.contains_key(ETAG) {
        if !is_whole_json(&parts, &body) {
            return Response::from_parts(parts, body);
        }
        let bytes = match body.collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(error) => {
                return refuse(Kind::DATABASE_UNAVAILABLE, error.to_string()).into_response();
            }
        };
        let digest = hex::encode(&Sha256::digest(&bytes)[..TAG_BYTES]);
        if let Ok(tag) = HeaderValue::try_from(format!("\"{digest}\"")) {
            parts.headers.insert(ETAG, tag);
        }
        parts.headers.entry(CACHE_CONTROL).or_insert(ASK_AGAIN);
        body = Body::from(bytes);
    }
    let tag = parts.headers.get(ETAG).and_then(|tag| tag.to_str().ok());
    if !tag.is_some_and(|tag| is_known(&asked, tag)) {
        return Response::from_parts(parts, body);
    }
    parts.status = StatusCode::NOT_MODIFIED;
    for of_the_body in [CONTENT_TYPE, CONTENT_LENGTH] {
        parts.headers.remove(of_the_body);
    }
    Response::from_parts(parts, Body::empty())
}

/// Whether an answer is JSON that is in memory already.
fn is_whole_json(parts: &Parts, body: &Body) -> bool {
    let is_json = parts.headers.get(CONTENT_TYPE);
    is_json.is_some_and(|value| value == "application/json") && body.size_hint().exact().is_some()
}

/// Whether the caller has what has this tag.
pub(super) fn is_known(asked: &HeaderMap, tag: &str) -> bool {
    let values = asked.get_all(IF_NONE_MATCH).iter();
    let mut known = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim);
    known.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// Describes tags at every route that gives what can be asked for again.
pub(super) struct EntityTags;

impl utoipa::Modify for EntityTags {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let paths = document.paths.paths.values_mut();
        for operation in paths.filter_map(|path| path.get.as_mut()) {
            describe(operation);
        }
    }
}

fn describe(operation: &mut Operation) {
    let answers = &mut operation.responses.responses;
    let Some(RefOr::T(found)) = answers.get_mut("200") else {
        return;
    };
    if found.content.contains_key("text/event-stream") {
        return;
    }
    let mut tag = Header::default();
    tag.description = Some("Another one when the answer is another".to_owned());
    found
        .headers
        .insert("ETag".to_owned(), RefOr::T(tag.clone()));
    let mut unchanged = Described::new("What the caller has is still so");
    unchanged.headers.insert("ETag".to_owned(), RefOr::T(tag));
    answers.insert("304".to_owned(), RefOr::T(unchanged));
    let mut asked = Parameter::new("If-None-Match");
    asked.parameter_in = ParameterIn::Header;
    asked.required = Required::False;
    asked.description = Some("The `ETag` of the answer that the caller has".to_owned());
    asked.schema = Some(schema::Object::with_type(schema::Type::String).into());
    operation
        .parameters
        .get_or_insert_default()
        .push(RefOr::T(asked));
}

#[cfg(test)]
mod tests {
    use super::is_known;
    use axum::http::HeaderMap;
    use axum::http::header::IF_NONE_MATCH;

    #[test]
    fn a_tag_is_known_in_a_list_as_a_weak_one_and_by_a_star() {
        let knows = |values: &[&'static str]| {
            let mut asked = HeaderMap::new();
            for value in values {
                asked.append(IF_NONE_MATCH, value.parse().expect("a value"));
            }
            is_known(&asked, "\"a1\"")
        };
        assert!(knows(&["\"a1\""]) && knows(&["\"b2\", \"a1\""]) && knows(&["\"b2\"", "\"a1\""]));
        assert!(knows(&["W/\"a1\""]) && knows(&["*"]));
        assert!(!knows(&[]) && !knows(&["\"b2\""]) && !knows(&["a1"]) && !knows(&["\"a1"]));
    }
}

//! The bearer token: asked of every request.

use super::App;
use crate::front::UnknownCaller;
use crate::problem::{Kind, RequestRefusal, refuse};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};

/// Lets a request pass that carries the token.
pub(super) async fn check(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, RequestRefusal> {
    if !carries(request.headers(), &app.token) {
        return Err(refuse(
            Kind::UNAUTHORIZED,
            "Send `Authorization: Bearer TOKEN` with the server's token (`--token-file`; the server's own is the file `token` in its \
             data directory).",
        ));
    }
    if let Some(caller) = request.extensions().get::<UnknownCaller>() {
        caller.is_known_now();
    }
    Ok(next.run(request).await)
}

/// Compares digests, so that the time taken says nothing about the token.
fn carries(headers: &HeaderMap, token: &str) -> bool {
    let value = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let Some((scheme, given)) = value.and_then(|value| value.split_once(' ')) else {
        return false;
    };
    let digest = |text: &str| Sha256::digest(text.trim().as_bytes());
    scheme.eq_ignore_ascii_case("bearer") && digest(given) == digest(token)
}

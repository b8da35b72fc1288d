//! One-time links, by which somebody who is known on the command line signs a browser in.

use super::session::LINK_MS;
use crate::http::App;
use crate::http::json_request::JsonRequest;
use crate::problem::RequestRefusal;
use axum::Json;
use axum::extract::State;
use model::api::{PageLink, Problem};

#[utoipa::path(post, path = "/v1/page-links", tag = "system",
    responses((status = 200, body = PageLink), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Makes a one-time link that signs a browser in as whoever asks, on this server.
pub(in crate::http) async fn make(
    State(app): State<App>,
    asked: JsonRequest<()>,
) -> Result<Json<PageLink>, RequestRefusal> {
    let now_ms = app.config.clock.now_ms();
    let caller = asked.caller;
    let code = app
        .sessions
        .make_link(caller.requester, caller.author, now_ms);
    Ok(Json(PageLink {
        path: format!("/login?code={code}"),
        expires_in_ms: LINK_MS,
    }))
}

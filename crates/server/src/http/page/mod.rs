//! The fleet's web page: routes, sessions, forms. What a page looks like is the crate `page`'s; what may be done is decided where
//! the interface under `/v1` has it decided.
//!
//! A browser keeps a cookie that names a session of this server. Whose it is, and what they may, is looked up at each request.

mod act;
mod census;
mod fleet;
mod guard;
mod history;
pub(super) mod link;
mod live;
mod login;
mod nodes;
mod session;

pub(crate) use census::CensusKeeper;
pub(crate) use live::LiveStreams;
pub(crate) use session::PageSessions;

use super::App;
use crate::problem::{Kind, RequestRefusal, refuse};
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use page::{FAVICON, Markup, PageAsset, SCRIPT, STYLE, refusal_page};

/// The largest form: a token of an issuer is the longest thing in one.
const FORM_BYTES_MAX: usize = 32 << 10;

/// How long a browser may keep what stands beside the pages: it changes with the program.
const ASSETS_KEPT: HeaderValue = HeaderValue::from_static("private, max-age=300");

/// The routes of the page.
pub(super) fn routes(app: &App) -> Router<App> {
    let pages = Router::new()
        .route("/", get(fleet::fleet))
        .route("/upgrades/{version}", get(fleet::upgrade))
        .route("/nodes", get(nodes::list))
        .route("/nodes/{node}", get(nodes::show))
        .route("/history", get(history::show))
        .route("/live", get(live::stream))
        .route("/act/{action}", get(act::ask).post(act::perform))
        .route("/logout", post(login::leave))
        .route_layer(middleware::from_fn_with_state(app.clone(), guard::is_known));
    let open = Router::new()
        .route("/login", get(login::show).post(login::enter))
        .route(STYLE.path, get(|| async { asset(STYLE) }))
        .route(SCRIPT.path, get(|| async { asset(SCRIPT) }))
        .route(FAVICON.path, get(|| async { asset(FAVICON) }));
    pages
        .merge(open)
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(middleware::from_fn(guard::is_safe))
}

fn asset(asset: PageAsset) -> Response {
    let kind = HeaderValue::from_static(asset.media_type);
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, ASSETS_KEPT),
    ];
    (headers, asset.text).into_response()
}

/// A page that is answered.
fn shown(page: Markup) -> Response {
    Html(page.into_string()).into_response()
}

/// There is no such page, for those who ask with a browser; programs get a problem.
pub(super) fn no_such_page(uri: &Uri, headers: &HeaderMap) -> Option<Response> {
    let accepts = headers.get(header::ACCEPT).and_then(|it| it.to_str().ok());
    let is_browser = accepts.is_some_and(|accepts| accepts.contains("text/html"));
    (is_browser && !uri.path().starts_with("/v1/")).then(|| {
        let refusal = refuse(Kind::UNKNOWN_ROUTE, "There is no such page.");
        guard::safe(PageRefusal(refusal).into_response())
    })
}

/// A refusal, for people.
#[derive(Debug)]
struct PageRefusal(RequestRefusal);

impl From<RequestRefusal> for PageRefusal {
    fn from(refusal: RequestRefusal) -> Self {
        Self(refusal)
    }
}

impl IntoResponse for PageRefusal {
    fn into_response(self) -> Response {
        let kind = self.0.kind;
        let status = StatusCode::from_u16(kind.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let is_known = status != StatusCode::UNAUTHORIZED && kind != Kind::NOT_ENCRYPTED;
        let page = refusal_page(kind.title, &self.0.detail, is_known);
        (status, Html(page.into_string())).into_response()
    }
}

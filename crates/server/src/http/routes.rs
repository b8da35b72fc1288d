//! Every route in one table, which the OpenAPI document is tested against.

use super::{App, artifacts, members, nodes, openapi, operate, permits, signed, sync, upgrades};
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};

/// One route.
pub(super) struct HttpRoute {
    /// Its method, for the test of the OpenAPI document.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the router has it in the handler")
    )]
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) handler: MethodRouter<App>,
}

fn route<T: 'static>(
    method: Method,
    path: &'static str,
    handler: impl Handler<T, App>,
) -> HttpRoute {
    let filter = match method {
        Method::HEAD => MethodFilter::HEAD,
        Method::POST => MethodFilter::POST,
        Method::PUT => MethodFilter::PUT,
        Method::DELETE => MethodFilter::DELETE,
        _ => MethodFilter::GET,
    };
    HttpRoute {
        method,
        path,
        handler: on(filter, handler),
    }
}

/// Every route.
pub(super) fn table() -> Vec<HttpRoute> {
    vec![
        route(Method::GET, "/v1/openapi.json", openapi::document),
        route(Method::GET, "/v1/system", operate::system),
        route(Method::GET, "/v1/events", operate::events),
        route(Method::POST, "/v1/pause", operate::pause),
        route(Method::DELETE, "/v1/pause", operate::resume),
        route(Method::POST, "/v1/approvals", operate::approve),
        route(Method::PUT, "/v1/public", operate::set_public),
        route(Method::POST, "/v1/retire", operate::retire),
        route(Method::GET, "/v1/nodes", nodes::list),
        route(Method::POST, "/v1/nodes", nodes::enrol),
        route(Method::GET, "/v1/nodes/{node}", nodes::show),
        route(Method::DELETE, "/v1/nodes/{node}", nodes::forget),
        route(Method::POST, "/v1/nodes/{node}/retry", nodes::retry),
        route(Method::POST, "/v1/nodes/{node}/sync", sync::sync),
        route(Method::POST, "/v1/nodes/{node}/members", members::members),
        route(Method::POST, "/v1/nodes/{node}/verdict", permits::judge),
        route(Method::DELETE, "/v1/permits/{permit}", permits::end),
        route(
            Method::POST,
            "/v1/permits/{permit}/confirm",
            permits::confirm,
        ),
        route(
            Method::POST,
            "/v1/permits/{permit}/break",
            permits::break_it,
        ),
        route(Method::GET, "/v1/upgrades", upgrades::list),
        route(Method::POST, "/v1/upgrades", upgrades::publish),
        route(Method::GET, "/v1/upgrades/{version}", upgrades::show),
        route(
            Method::POST,
            "/v1/upgrades/{version}/withdraw",
            upgrades::withdraw,
        ),
        route(
            Method::GET,
            "/v1/upgrades/{version}/revisions/{revision}/manifest",
            upgrades::manifest,
        ),
        route(Method::GET, "/v1/repository", signed::show),
        route(Method::POST, "/v1/repository", signed::begin),
        route(Method::POST, "/v1/repository/metadata", signed::sign),
        route(Method::POST, "/v1/repository/sealed", signed::take_back),
        route(
            Method::GET,
            "/v1/repository/metadata/{name}",
            signed::metadata,
        ),
        route(
            Method::GET,
            "/v1/repository/targets/upgrades/{name}",
            signed::target,
        ),
        route(Method::GET, "/v1/artifacts/{sha256}", artifacts::get),
        route(Method::HEAD, "/v1/artifacts/{sha256}", artifacts::head),
        route(Method::PUT, "/v1/artifacts/{sha256}", artifacts::put),
    ]
}

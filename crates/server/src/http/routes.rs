//! Every route in one table, which the OpenAPI document is tested against.

use super::requester::Access;
use super::{
    App, artifacts, history, identities, labels, members, metrics, nodes, once, openapi, operate,
    page, permits, signed, source, sync, upgrades, webhooks,
};
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};
use model::api::Right;

/// Everybody whom the server knows.
const KNOWN: Access = Access::Certified;

/// Everybody who may look.
const VIEW: Access = Access::Right(Right::View);

/// One route.
pub(super) struct HttpRoute {
    pub(super) method: Method,
    pub(super) path: &'static str,
    /// Whom it is for.
    pub(super) access: Access,
    pub(super) handler: MethodRouter<App>,
}

fn route<T: 'static>(
    method: Method,
    path: &'static str,
    access: Access,
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
        access,
        handler: on(filter, handler),
    }
}

/// Every route.
pub(super) fn table() -> Vec<HttpRoute> {
    let mut table = system();
    table.extend(of_nodes());
    table.extend(of_upgrades());
    table.extend(of_identities());
    table.extend(of_webhooks());
    table
}

fn system() -> Vec<HttpRoute> {
    const OPERATE: Access = Access::Right(Right::Operate);
    vec![
        route(Method::GET, "/v1/openapi.json", KNOWN, openapi::document),
        route(Method::GET, "/metrics", VIEW, metrics::show),
        route(Method::GET, "/v1/system", VIEW, operate::system),
        route(Method::GET, "/v1/fleet", VIEW, operate::fleet),
        route(Method::GET, "/v1/events", VIEW, history::events),
        route(Method::GET, "/v1/events/stream", VIEW, history::stream),
        route(Method::POST, "/v1/pause", OPERATE, operate::pause),
        route(Method::DELETE, "/v1/pause", OPERATE, operate::resume),
        route(Method::POST, "/v1/approvals", OPERATE, operate::approve),
        route(Method::PUT, "/v1/public", OPERATE, operate::set_public),
        route(Method::POST, "/v1/retire", OPERATE, operate::retire),
        route(Method::GET, "/v1/labels", VIEW, labels::show),
        route(
            Method::POST,
            "/v1/labels",
            Access::Right(Right::Administer),
            labels::change,
        ),
        route(Method::POST, "/v1/page-links", VIEW, page::link::make),
    ]
}

fn of_nodes() -> Vec<HttpRoute> {
    const OPERATE: Access = Access::Right(Right::Operate);
    let node = "/v1/nodes/{node}";
    vec![
        route(Method::GET, "/v1/nodes", VIEW, nodes::list),
        route(Method::POST, "/v1/nodes", Access::Entry, nodes::enrol),
        route(Method::GET, node, VIEW, nodes::show),
        route(Method::DELETE, node, OPERATE, nodes::forget),
        route(
            Method::POST,
            "/v1/nodes/{node}/retry",
            OPERATE,
            nodes::retry,
        ),
        route(
            Method::POST,
            "/v1/nodes/{node}/sync",
            Access::Node,
            sync::sync,
        ),
        route(
            Method::POST,
            "/v1/nodes/{node}/members",
            Access::Node,
            members::members,
        ),
        route(
            Method::POST,
            "/v1/nodes/{node}/source",
            Access::Node,
            source::source,
        ),
        route(
            Method::POST,
            "/v1/nodes/{node}/once",
            Access::Node,
            once::ended,
        ),
        route(
            Method::POST,
            "/v1/nodes/{node}/verdict",
            Access::Node,
            permits::judge,
        ),
        route(
            Method::DELETE,
            "/v1/permits/{permit}",
            Access::Node,
            permits::end,
        ),
        route(
            Method::POST,
            "/v1/permits/{permit}/confirm",
            Access::Node,
            permits::confirm,
        ),
        route(
            Method::POST,
            "/v1/permits/{permit}/break",
            OPERATE,
            permits::break_it,
        ),
    ]
}

fn of_upgrades() -> Vec<HttpRoute> {
    const PUBLISH: Access = Access::Right(Right::Publish);
    let upgrade = "/v1/upgrades/{version}";
    let manifest = "/v1/upgrades/{version}/revisions/{revision}/manifest";
    let metadata = "/v1/repository/metadata/{name}";
    let target = "/v1/repository/targets/upgrades/{name}";
    let artifact = "/v1/artifacts/{sha256}";
    vec![
        route(Method::GET, "/v1/upgrades", VIEW, upgrades::list),
        route(Method::POST, "/v1/upgrades", PUBLISH, upgrades::publish),
        route(Method::GET, upgrade, VIEW, upgrades::show),
        route(
            Method::POST,
            "/v1/upgrades/{version}/withdraw",
            PUBLISH,
            upgrades::withdraw,
        ),
        route(Method::GET, manifest, KNOWN, upgrades::manifest),
        route(Method::GET, "/v1/repository", VIEW, signed::show),
        route(Method::POST, "/v1/repository", PUBLISH, signed::begin),
        route(
            Method::POST,
            "/v1/repository/metadata",
            PUBLISH,
            signed::sign,
        ),
        route(
            Method::POST,
            "/v1/repository/sealed",
            PUBLISH,
            signed::take_back,
        ),
        route(Method::GET, metadata, KNOWN, signed::metadata),
        route(Method::GET, target, KNOWN, signed::target),
        route(Method::GET, artifact, KNOWN, artifacts::get),
        route(Method::HEAD, artifact, KNOWN, artifacts::head),
        route(Method::PUT, artifact, PUBLISH, artifacts::put),
    ]
}

fn of_identities() -> Vec<HttpRoute> {
    const ADMINISTER: Access = Access::Right(Right::Administer);
    vec![
        route(Method::GET, "/v1/identities", VIEW, identities::list),
        route(
            Method::DELETE,
            "/v1/identities/{principal}",
            ADMINISTER,
            identities::revoke,
        ),
        route(
            Method::POST,
            "/v1/invitations",
            ADMINISTER,
            identities::invite,
        ),
        route(
            Method::POST,
            "/v1/certificates",
            Access::Entry,
            identities::certify,
        ),
    ]
}

fn of_webhooks() -> Vec<HttpRoute> {
    const ADMINISTER: Access = Access::Right(Right::Administer);
    let webhook = "/v1/webhooks/{name}";
    vec![
        route(Method::GET, "/v1/webhooks", VIEW, webhooks::list),
        route(Method::PUT, webhook, ADMINISTER, webhooks::set),
        route(Method::DELETE, webhook, ADMINISTER, webhooks::remove),
        route(
            Method::POST,
            "/v1/webhooks/{name}/test",
            ADMINISTER,
            webhooks::test,
        ),
        route(
            Method::POST,
            "/v1/webhooks/{name}/retry",
            Access::Right(Right::Operate),
            webhooks::retry,
        ),
    ]
}

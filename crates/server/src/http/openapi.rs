//! The OpenAPI document, made from the handlers and the data types.

use super::etag::EntityTags;
use super::{
    artifacts, history, identities, labels, members, metrics, nodes, once, operate, page, permits,
    signed, source, sync, upgrades, webhooks,
};
use crate::problem::KINDS;
use axum::Json;
use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Upstart upgrade server",
        description = "Repository and upgrade database of one system. Errors are RFC 9457 problems with stable types."
    ),
    paths(
        document, metrics::show, operate::system, operate::fleet, history::events, history::stream, operate::pause, operate::resume, operate::approve,
        operate::set_public, operate::retire, labels::show, labels::change, nodes::list, nodes::enrol, nodes::show, nodes::forget, nodes::retry,
        sync::sync, members::members, source::source, once::ended, permits::judge, permits::end, permits::confirm, permits::break_it, upgrades::list,
        upgrades::publish, upgrades::show, upgrades::withdraw, upgrades::manifest, artifacts::get, artifacts::head,
        artifacts::put, signed::show, signed::begin, signed::sign, signed::take_back,
        signed::metadata, signed::target, identities::list, identities::invite, identities::certify, identities::revoke,
        page::link::make, webhooks::list, webhooks::set, webhooks::remove, webhooks::test, webhooks::retry
    ),
    modifiers(&BearerToken, &Problems, &EntityTags),
    security(("bearer" = []))
)]
pub(super) struct Document;

/// Declares the bearer token.
struct BearerToken;

impl utoipa::Modify for BearerToken {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", scheme);
    }
}

/// Lists every kind of problem.
struct Problems;

impl utoipa::Modify for Problems {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let kinds = KINDS.iter().map(|kind| {
            format!(
                "- `/problems/{}` ({}): {}",
                kind.name, kind.status, kind.title
            )
        });
        let kinds: Vec<String> = kinds.collect();
        let about = document.info.description.take().unwrap_or_default();
        document.info.description = Some(format!("{about}\n\n{}", kinds.join("\n")));
    }
}

#[utoipa::path(get, path = "/v1/openapi.json", tag = "system", responses((status = 200, body = serde_json::Value)))]
/// This document.
pub(super) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}

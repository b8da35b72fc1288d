//! Upgrades: publish, withdraw, the list, manifests.

use super::App;
use super::json_request::{JsonRequest, Named, Queried};
use super::pages::PageQuery;
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::repository;
use crate::rules::{Order, Publication, unknown_version};
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use model::api::{Page, Problem, PublishRequest, UpgradeSummary};
use model::ids::{Revision, Version};
use model::manifest::Digest;
use serde_json::Value;

#[utoipa::path(post, path = "/v1/upgrades", tag = "upgrades", request_body = PublishRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated request happen once")),
    responses((status = 200, body = UpgradeSummary), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Publishes an upgrade, or a revision, whose artifacts are uploaded.
pub(super) async fn publish(
    State(app): State<App>,
    asked: JsonRequest<PublishRequest>,
) -> Result<Json<Value>, RequestRefusal> {
    let manifest = asked.body.manifest;
    let upgrade = repository::prove(&app.repository, &manifest).await?;
    let digest = app.repository.store(&manifest).await?;
    let publication = Publication {
        manifest_sha256: digest.to_string(),
        upgrade,
        revise: asked.body.revise,
    };
    let reply = app
        .change(Order::Publish(Box::new(publication)), asked.caller)
        .await?;
    if let Ok(summary) = serde_json::from_value::<UpgradeSummary>(reply.0.clone()) {
        // The static copy for mirrors; made again at the next start if this fails.
        let placed = app
            .repository
            .place_manifest(summary.version, summary.revision, digest)
            .await;
        placed.unwrap_or_else(|error| tracing::warn!(%error, "the static manifest is not placed"));
    }
    Ok(reply)
}

#[utoipa::path(get, path = "/v1/upgrades", tag = "upgrades", params(PageQuery),
    responses((status = 200, body = Page<UpgradeSummary>), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Every upgrade's newest revision by version, withdrawn ones included.
pub(super) async fn list(
    State(app): State<App>,
    Queried(query): Queried<PageQuery>,
) -> Result<Json<Page<UpgradeSummary>>, RequestRefusal> {
    let summaries = app.state_writer.state().summaries();
    let upgrades = summaries
        .into_iter()
        .map(|summary| (summary.version.to_string(), summary));
    let number = |text: &str| text.parse().unwrap_or(u32::MAX);
    Ok(Json(query.page(upgrades, |cursor, after| {
        number(cursor) > number(after)
    })))
}

#[utoipa::path(get, path = "/v1/upgrades/{version}", tag = "upgrades",
    params(("version" = Version, Path, description = "The version that the upgrade leads to")),
    responses((status = 200, body = UpgradeSummary), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// One upgrade's newest revision.
pub(super) async fn show(
    State(app): State<App>,
    Named(version): Named<String>,
) -> Result<Json<UpgradeSummary>, RequestRefusal> {
    let version = number(&version)?;
    let state = app.state_writer.state();
    state
        .summary(version)
        .map(Json)
        .ok_or_else(|| unknown_version(&state, version))
}

#[utoipa::path(post, path = "/v1/upgrades/{version}/withdraw", tag = "upgrades",
    params(("version" = Version, Path, description = "The version to withdraw"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated request happen once")),
    responses((status = 200, body = UpgradeSummary), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Withdraws the newest upgrade while no node has settled at it.
pub(super) async fn withdraw(
    State(app): State<App>,
    Named(version): Named<String>,
    asked: JsonRequest<()>,
) -> Result<Json<Value>, RequestRefusal> {
    app.change(Order::Withdraw(number(&version)?), asked.caller)
        .await
}

#[utoipa::path(get, path = "/v1/upgrades/{version}/revisions/{revision}/manifest", tag = "upgrades",
    params(("version" = Version, Path, description = "The version"), ("revision" = Revision, Path, description = "The revision")),
    responses((status = 200, body = Value, description = "The canonical manifest, byte for byte"),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
/// A revision's manifest, which never changes.
pub(super) async fn manifest(
    State(app): State<App>,
    Named((version, revision)): Named<(String, String)>,
) -> Result<impl IntoResponse, RequestRefusal> {
    let (version, revision) = (number(&version)?, revision.parse::<Revision>());
    let digest = {
        let state = app.state_writer.state();
        let found = revision
            .ok()
            .and_then(|revision| state.revisions.get(&(version, revision)));
        let published = found.ok_or_else(|| unknown_version(&state, version))?;
        published.summary.manifest_sha256.parse::<Digest>()
    };
    let digest = digest.map_err(|error| refuse(Kind::REPOSITORY_UNAVAILABLE, error.to_string()))?;
    let text = app.repository.text(digest).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (
            header::CACHE_CONTROL,
            super::artifacts::IMMUTABLE.to_owned(),
        ),
        (header::ETAG, format!("\"{digest}\"")),
    ];
    Ok((headers, text))
}

fn number(text: &str) -> Result<Version, RequestRefusal> {
    text.parse().map_err(|_| {
        refuse(
            Kind::BAD_REQUEST,
            format!("`{text}` is not a version's number."),
        )
    })
}

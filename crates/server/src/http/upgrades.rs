//! Upgrades: publish, withdraw, the list, manifests.

use super::App;
use super::json_request::{Asker, JsonRequest, Named, Queried};
use super::pages::{PageOrder, PageQuery};
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::repository::{self, PublishedUpgrades, RepositoryTexts, SignedChange};
use crate::rules::{Order, Publication, unknown_version};
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use model::api::{Page, Problem, PublishRequest, UpgradeSummary, WithdrawRequest};
use model::ids::{Place, Revision, Version};
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
    whole(async move {
        let manifest = &asked.body.manifest;
        let proved = repository::prove(&app.repository, manifest).await?;
        let upgrade = proved.upgrade;
        let digest = app.repository.store(manifest).await?;
        let _turn = app.signed.turn().await?;
        app.catch_up().await?;
        let targets = asked.body.targets.as_deref();
        let published = PublishedUpgrades::of(&app.state_writer.state());
        let of = (digest, manifest.len());
        let change = app.signed.publication(targets, &upgrade, of, &published);
        let change = change.await?;
        let system_id = app
            .signed
            .system(true)
            .await?
            .map_or(0, |system| system.number);
        let is_withdrawn = app.signed.is_withdrawn(upgrade.version).await?;
        let order = Order::Publish(Box::new(Publication {
            manifest_sha256: digest.to_string(),
            upgrade,
            texts: proved.texts,
            revise: asked.body.revise,
            is_withdrawn,
            system_id,
        }));
        signed(&app, change, order, asked.caller).await
    })
    .await
}

/// Has a signed change decided, and sealed if it is done.
async fn signed(
    app: &App,
    change: Option<SignedChange>,
    order: Order,
    caller: Asker,
) -> Result<Json<Value>, RequestRefusal> {
    let reply = app.change(order, caller).await;
    let Ok(reply) = reply else {
        app.signed.give_up().await;
        return reply;
    };
    if let Ok(summary) = serde_json::from_value::<UpgradeSummary>(reply.0.clone())
        && let Ok(digest) = summary.manifest_sha256.parse::<Digest>()
    {
        let (version, revision) = (summary.version, summary.revision);
        let text = app.repository.text(digest).await?;
        app.repository
            .place_manifest(Place { version, revision }, &text)
            .await?;
    }
    if let Some(change) = change {
        app.signed.seal(change).await?;
    }
    Ok(reply)
}

/// Does all of it, also when whoever asked has gone meanwhile.
async fn whole<T: Send + 'static>(
    work: impl Future<Output = Result<T, RequestRefusal>> + Send + 'static,
) -> Result<T, RequestRefusal> {
    tokio::spawn(work).await.unwrap_or_else(|error| {
        Err(refuse(
            Kind::REPOSITORY_UNAVAILABLE,
            format!("The request broke down ({error}); look at the server's log and ask again."),
        ))
    })
}

#[utoipa::path(get, path = "/v1/upgrades", tag = "upgrades", params(PageQuery),
    responses((status = 200, body = inline(Page<UpgradeSummary>)), (status = "default", body = Problem, content_type = "application/problem+json")))]
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
    Ok(Json(match query.order() {
        PageOrder::Asc => query.page(upgrades, |cursor, after| number(cursor) > number(after)),
        PageOrder::Desc => query.page(upgrades.rev(), |cursor, after| {
            number(cursor) < number(after)
        }),
    }))
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

#[utoipa::path(post, path = "/v1/upgrades/{version}/withdraw", tag = "upgrades", request_body = WithdrawRequest,
    params(("version" = Version, Path, description = "The version to withdraw"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated request happen once")),
    responses((status = 200, body = UpgradeSummary), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Withdraws the newest upgrade while no node has settled at it.
pub(super) async fn withdraw(
    State(app): State<App>,
    Named(version): Named<String>,
    asked: JsonRequest<Option<WithdrawRequest>>,
) -> Result<Json<Value>, RequestRefusal> {
    let version = number(&version)?;
    whole(async move {
        let _turn = app.signed.turn().await?;
        app.catch_up().await?;
        // A version that nobody knows is told as such.
        let order = Order::Withdraw(version);
        let is_known = app.state_writer.state().summary(version).is_some();
        if !is_known {
            return app.change(order, asked.caller).await;
        }
        let request = asked.body.unwrap_or_default();
        let change = app.signed.withdrawal(request.targets.as_deref(), version);
        let change = change.await?;
        signed(&app, change, order, asked.caller).await
    })
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
    let texts = RepositoryTexts {
        repository: &app.repository,
        udb: &*app.udb,
    };
    let text = texts.nearest(digest, "a manifest").await?;
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

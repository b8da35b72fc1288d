//! The signed repository: how publishers begin it, and its files as TUF names them.

use super::App;
use super::json_request::{JsonRequest, Named};
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::repository::{PublishedUpgrades, unusable};
use crate::rules::Order;
use ::repository::{FirstDocuments, SealedDocuments, SignedByPeople, manifest_path};
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use model::api::{
    BeginRepositoryRequest, EventKind, Problem, RepositoryView, SealedRequest, SignRequest,
    SignedSystem,
};
use model::ids::Place;
use model::manifest::Digest;

/// The folder of signed manifests.
const MANIFESTS: &str = "targets/upgrades";

#[utoipa::path(get, path = "/v1/repository", tag = "repository",
    responses((status = 200, body = RepositoryView), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// What a publisher needs to know before signing.
pub(super) async fn show(State(app): State<App>) -> Result<Json<RepositoryView>, RequestRefusal> {
    view(&app).await
}

async fn view(app: &App) -> Result<Json<RepositoryView>, RequestRefusal> {
    app.signed.refresh().await?;
    let is_new = app.state_writer.state().revisions.is_empty();
    let system = app.signed.system(is_new).await?;
    Ok(Json(RepositoryView {
        server_key: app.signed.key(),
        system: system.map(|system| SignedSystem {
            name: system.name,
            system_id: system.number,
        }),
    }))
}

#[utoipa::path(post, path = "/v1/repository", tag = "repository", request_body = BeginRepositoryRequest,
    responses((status = 200, body = RepositoryView), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Begins the signed repository with a root and targets that publishers have signed; the same again is no error.
pub(super) async fn begin(
    State(app): State<App>,
    asked: JsonRequest<BeginRepositoryRequest>,
) -> Result<Json<RepositoryView>, RequestRefusal> {
    let _turn = app.signed.turn().await?;
    app.still_counts(&asked.caller.requester)?;
    app.catch_up().await?;
    let first = FirstDocuments {
        root: asked.body.root.into_bytes(),
        targets: asked.body.targets.into_bytes(),
    };
    let is_new = app.state_writer.state().revisions.is_empty();
    app.signed.begin(&first, is_new).await?;
    view(&app).await
}

#[utoipa::path(post, path = "/v1/repository/metadata", tag = "repository", request_body = SignRequest,
    responses((status = 200, body = RepositoryView), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Takes the next root, the next targets, or both, and seals them.
pub(super) async fn sign(
    State(app): State<App>,
    asked: JsonRequest<SignRequest>,
) -> Result<Json<RepositoryView>, RequestRefusal> {
    let _turn = app.signed.turn().await?;
    app.still_counts(&asked.caller.requester)?;
    app.catch_up().await?;
    let signed = SignedByPeople {
        root: asked.body.root.map(String::into_bytes),
        targets: asked.body.targets.map(String::into_bytes),
    };
    app.signed.take(&signed).await?;
    view(&app).await
}

#[utoipa::path(post, path = "/v1/repository/sealed", tag = "repository", request_body = SealedRequest,
    responses((status = 200, body = RepositoryView), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Takes back what was sealed here, and was lost with a backup that was restored.
pub(super) async fn take_back(
    State(app): State<App>,
    asked: JsonRequest<SealedRequest>,
) -> Result<Json<RepositoryView>, RequestRefusal> {
    let _turn = app.signed.turn().await?;
    app.still_counts(&asked.caller.requester)?;
    let sealed = SealedDocuments {
        root: asked.body.root.into_bytes(),
        targets: asked.body.targets.into_bytes(),
        snapshot: asked.body.snapshot.into_bytes(),
        timestamp: asked.body.timestamp.into_bytes(),
    };
    app.signed.take_back(&sealed).await?;
    let told =
        "the signed repository was set back; a publisher has brought back what he had seen of it";
    let remark = Order::Remark(EventKind::RepositoryRestored, told.to_owned());
    let _ = app.change(remark, asked.caller).await?;
    view(&app).await
}

#[utoipa::path(get, path = "/v1/repository/metadata/{name}", tag = "repository",
    params(("name" = String, Path, description = "`1.root.json`, `timestamp.json` and so on")),
    responses((status = 200, content_type = "application/json", body = serde_json::Value),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Signed metadata, byte for byte.
pub(super) async fn metadata(
    State(app): State<App>,
    Named(name): Named<String>,
) -> Result<Response, RequestRefusal> {
    file(&app, "metadata", &name).await
}

#[utoipa::path(get, path = "/v1/repository/targets/upgrades/{name}", tag = "repository",
    params(("name" = String, Path, description = "`SHA256.VERSION.REVISION.json`")),
    responses((status = 200, content_type = "application/json", body = serde_json::Value),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
/// A signed manifest, byte for byte.
pub(super) async fn target(
    State(app): State<App>,
    Named(name): Named<String>,
) -> Result<Response, RequestRefusal> {
    file(&app, MANIFESTS, &name).await
}

/// A manifest that was published at another server, from its artifact.
async fn manifest(app: &App, name: &str) -> Result<Option<Vec<u8>>, RequestRefusal> {
    let published = PublishedUpgrades::of(&app.state_writer.state()).manifests();
    let mut published = published.into_iter();
    let is_asked = |(place, digest): &(Place, Digest)| {
        manifest_path(*place, *digest) == format!("{MANIFESTS}/{name}")
    };
    match published.find(is_asked) {
        Some((_, digest)) => Ok(Some(app.repository.text(digest).await?.into_bytes())),
        None => Ok(None),
    }
}

async fn file(app: &App, folder: &str, name: &str) -> Result<Response, RequestRefusal> {
    let unknown = || {
        let detail = format!("The signed repository has no {folder}/{name}.");
        refuse(Kind::UNKNOWN_METADATA, detail)
    };
    let may_be = name.ends_with(".json")
        && !name.starts_with('.')
        && (name.bytes()).all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
    if !may_be {
        return Err(unknown());
    }
    let found = app.signed.file(folder, name).await;
    let bytes = match found.map_err(|error| unusable(&error))? {
        Some(bytes) => bytes,
        None if folder == MANIFESTS => manifest(app, name).await?.ok_or_else(unknown)?,
        None => return Err(unknown()),
    };
    let keep = if name == "timestamp.json" {
        "no-cache"
    } else {
        super::artifacts::IMMUTABLE
    };
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, keep),
    ];
    Ok((headers, bytes).into_response())
}

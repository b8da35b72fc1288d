//! The system's view and history, and what operators do to the whole of it.

use super::App;
use super::json_request::JsonRequest;
use crate::problem::RequestRefusal;
use crate::rules::Order;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use model::api::{
    Approval, ApproveRequest, FleetView, NodeFact, Pause, PauseRequest, Problem, PublicRequest,
    RetireRequest, Retirement, SystemView,
};
use model::ids::Version;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How many damaged files are told at once.
const DAMAGED_SHOWN: usize = 20;

/// How long the repository may take to tell of one: whoever asks for the status wants it now.
const DAMAGED_LIMIT: Duration = Duration::from_secs(2);

#[utoipa::path(get, path = "/v1/system", tag = "system",
    responses((status = 200, body = SystemView), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// The whole system as the server sees it.
pub(super) async fn system(State(app): State<App>) -> Json<SystemView> {
    let now_ms = app.config.clock.now_ms();
    let (mut view, nodes) = {
        let state = app.state_writer.state();
        let nodes: Vec<Arc<NodeFact>> = state.nodes.values().cloned().collect();
        (state.view_without_nodes(now_ms), nodes)
    };
    view.nodes = nodes.iter().map(|fact| fact.as_ref().clone()).collect();
    Json(completed(&app, view).await)
}

#[utoipa::path(get, path = "/v1/fleet", tag = "system",
    responses((status = 200, body = FleetView), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// The whole system, its nodes counted.
pub(super) async fn fleet(State(app): State<App>) -> Json<FleetView> {
    let now_ms = app.config.clock.now_ms();
    let mut view = app.state_writer.state().fleet_view(now_ms);
    view.system = completed(&app, view.system).await;
    Json(view)
}

/// Adds what the state does not know.
pub(super) async fn completed(app: &App, mut view: SystemView) -> SystemView {
    view.trouble = app.state_writer.trouble();
    view.socket_taken = app.missed.name();
    view.damaged = damaged(app).await;
    view
}

/// What the repository lacks of published versions, as far as it has not been put back.
async fn damaged(app: &App) -> Vec<String> {
    let known = app.damaged.lock().clone();
    let mut problems = Vec::new();
    for file in known {
        if problems.len() == DAMAGED_SHOWN {
            break;
        }
        match timeout(DAMAGED_LIMIT, file.problem(&app.repository)).await {
            Ok(Ok(problem)) => problems.extend(problem),
            Ok(Err(refusal)) => {
                problems.push(refusal.detail);
                break;
            }
            Err(_) => {
                problems
                    .push("The repository does not answer; look at the server's log.".to_owned());
                break;
            }
        }
    }
    problems
}

#[utoipa::path(post, path = "/v1/pause", tag = "system", request_body = PauseRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated request happen once")),
    responses((status = 200, body = Pause), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Pauses the system: no node begins an upgrade.
pub(super) async fn pause(
    State(app): State<App>,
    asked: JsonRequest<PauseRequest>,
) -> Result<Json<Value>, RequestRefusal> {
    app.change(Order::Pause(asked.body), asked.caller).await
}

#[utoipa::path(delete, path = "/v1/pause", tag = "system",
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Ends a pause; none is no error.
pub(super) async fn resume(
    State(app): State<App>,
    asked: JsonRequest<()>,
) -> Result<StatusCode, RequestRefusal> {
    app.change(Order::Resume, asked.caller)
        .await
        .map(|_| StatusCode::NO_CONTENT)
}

#[utoipa::path(post, path = "/v1/approvals", tag = "system", request_body = ApproveRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated request happen once")),
    responses((status = 200, body = Approval), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Gives a person's leave for an upgrade.
pub(super) async fn approve(
    State(app): State<App>,
    asked: JsonRequest<ApproveRequest>,
) -> Result<Json<Value>, RequestRefusal> {
    app.change(Order::Approve(asked.body), asked.caller).await
}

#[utoipa::path(put, path = "/v1/public", tag = "system", request_body = PublicRequest,
    responses((status = 200, body = std::collections::BTreeMap<String, Version>), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Moves the public version of one service or of all; answers all public versions.
pub(super) async fn set_public(
    State(app): State<App>,
    asked: JsonRequest<PublicRequest>,
) -> Result<Json<Value>, RequestRefusal> {
    app.change(Order::SetPublic(asked.body), asked.caller).await
}

#[utoipa::path(post, path = "/v1/retire", tag = "system", request_body = RetireRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated request happen once")),
    responses((status = 200, body = Retirement), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Begins to retire every version up to one; 409 says what holds them.
pub(super) async fn retire(
    State(app): State<App>,
    asked: JsonRequest<RetireRequest>,
) -> Result<Json<Value>, RequestRefusal> {
    app.change(Order::Retire(asked.body), asked.caller).await
}

//! Permits: leave for one node to be unavailable.

use super::App;
use super::json_request::{JsonRequest, Named};
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::rules::Order;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use model::api::{Permit, PermitFact, PermitRequest, Problem};
use model::ids::PermitId;
use serde_json::Value;

fn number(text: &str) -> Result<PermitId, RequestRefusal> {
    let wrong = |_| {
        refuse(
            Kind::BAD_REQUEST,
            format!("`{text}` is not a permit's number; `upstart status` shows those held."),
        )
    };
    text.parse().map_err(wrong)
}

#[utoipa::path(post, path = "/v1/permits", tag = "permits", request_body = PermitRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated request happen once")),
    responses((status = 200, body = Permit), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Asks for leave to be unavailable; 409 says who takes the room.
pub(super) async fn acquire(
    State(app): State<App>,
    asked: JsonRequest<PermitRequest>,
) -> Result<Json<Value>, RequestRefusal> {
    app.change(Order::AcquirePermit(asked.body), asked.caller)
        .await
}

#[utoipa::path(post, path = "/v1/permits/{permit}/confirm", tag = "permits",
    params(("permit" = PermitId, Path, description = "The permit's number")),
    responses((status = 200, body = PermitFact), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Makes a permit last until it is ended; 410 when it is no longer held.
pub(super) async fn confirm(
    State(app): State<App>,
    Named(permit): Named<String>,
    asked: JsonRequest<()>,
) -> Result<Json<Value>, RequestRefusal> {
    let mut caller = asked.caller;
    // Confirming twice is the same, but a remembered answer would hide that a permit was broken meanwhile.
    caller.key = None;
    app.change(Order::ConfirmPermit(number(&permit)?), caller)
        .await
}

#[utoipa::path(delete, path = "/v1/permits/{permit}", tag = "permits",
    params(("permit" = PermitId, Path, description = "The permit's number")),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Ends a permit; one that is gone is no error.
pub(super) async fn end(
    State(app): State<App>,
    Named(permit): Named<String>,
    asked: JsonRequest<()>,
) -> Result<StatusCode, RequestRefusal> {
    app.change(Order::EndPermit(number(&permit)?), asked.caller)
        .await
        .map(|_| StatusCode::NO_CONTENT)
}

#[utoipa::path(post, path = "/v1/permits/{permit}/break", tag = "permits",
    params(("permit" = PermitId, Path, description = "The permit's number"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated request happen once")),
    responses((status = 200, body = PermitFact), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Takes a permit away from its node; its number is refused from then on.
pub(super) async fn break_it(
    State(app): State<App>,
    Named(permit): Named<String>,
    asked: JsonRequest<()>,
) -> Result<Json<Value>, RequestRefusal> {
    app.change(Order::BreakPermit(number(&permit)?), asked.caller)
        .await
}

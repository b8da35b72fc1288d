//! Permits: leave for one node to be unavailable.

use super::App;
use super::json_request::{JsonRequest, Named, Queried};
use super::requester::Requester;
use super::sync::{check_own, numbered};
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::rules::Order;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use model::api::{PermitFact, Problem, VerdictAnswer, VerdictRequest};
use model::ids::{NodeId, PermitId};
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

/// Who says that it holds a permit.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HolderQuery {
    /// The node's name: a number that was given to another node since is not its permit.
    holder: Option<String>,
}

/// Whose permit it must be: a node's own, whatever it says.
fn holder(requester: &Requester, query: HolderQuery) -> Option<String> {
    let proven = requester.principal().map(|node| node.name.clone());
    proven.or(query.holder)
}

fn number(text: &str) -> Result<PermitId, RequestRefusal> {
    let wrong = |_| {
        refuse(
            Kind::BAD_REQUEST,
            format!("`{text}` is not a permit's number; `upstart status` shows those held."),
        )
    };
    text.parse().map_err(wrong)
}

#[utoipa::path(post, path = "/v1/nodes/{node}/verdict", tag = "permits", request_body = VerdictRequest,
    params(("node" = NodeId, Path, description = "The node's number")),
    responses((status = 200, body = VerdictAnswer), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Says whether a node may go: a permit, or why it waits and when it is worth asking again.
pub(super) async fn judge(
    State(app): State<App>,
    Named(node): Named<String>,
    asked: JsonRequest<VerdictRequest>,
) -> Result<Json<Value>, RequestRefusal> {
    let node = numbered(&node)?;
    check_own(&app, &asked.caller.requester, node).await?;
    let mut caller = asked.caller;
    // Who asks wants to know what is so now.
    caller.key = None;
    app.change(Order::Judge(node, asked.body), caller).await
}

#[utoipa::path(post, path = "/v1/permits/{permit}/confirm", tag = "permits",
    params(("permit" = PermitId, Path, description = "The permit's number"), HolderQuery),
    responses((status = 200, body = PermitFact), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Makes a permit last until it is ended; 410 when it is no longer held.
pub(super) async fn confirm(
    State(app): State<App>,
    Named(permit): Named<String>,
    Queried(query): Queried<HolderQuery>,
    asked: JsonRequest<()>,
) -> Result<Json<Value>, RequestRefusal> {
    let mut caller = asked.caller;
    // Confirming twice is the same, but a remembered answer would hide that a permit was broken meanwhile.
    caller.key = None;
    let holder = holder(&caller.requester, query);
    let order = Order::ConfirmPermit(number(&permit)?, holder);
    app.change(order, caller).await
}

#[utoipa::path(delete, path = "/v1/permits/{permit}", tag = "permits",
    params(("permit" = PermitId, Path, description = "The permit's number"), HolderQuery),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Ends a permit; one that is gone is no error.
pub(super) async fn end(
    State(app): State<App>,
    Named(permit): Named<String>,
    Queried(query): Queried<HolderQuery>,
    asked: JsonRequest<()>,
) -> Result<StatusCode, RequestRefusal> {
    let holder = holder(&asked.caller.requester, query);
    let order = Order::EndPermit(number(&permit)?, holder);
    app.change(order, asked.caller)
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

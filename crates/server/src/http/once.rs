//! What is done once for the whole system.

use super::App;
use super::json_request::{JsonRequest, Named};
use super::sync::{check_own, numbered};
use crate::problem::RequestRefusal;
use crate::rules::Order;
use axum::Json;
use axum::extract::State;
use model::api::{OnceEnded, Problem};
use model::ids::NodeId;
use serde_json::Value;

#[utoipa::path(post, path = "/v1/nodes/{node}/once", tag = "nodes", request_body = OnceEnded,
    params(("node" = NodeId, Path, description = "The node's number")),
    responses((status = 200, description = "It is noted; null"), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Says how something has ended that a node was told to do once for the whole system.
pub(super) async fn ended(
    State(app): State<App>,
    Named(node): Named<String>,
    asked: JsonRequest<OnceEnded>,
) -> Result<Json<Value>, RequestRefusal> {
    let node = numbered(&node)?;
    check_own(&app, &asked.caller.requester, node).await?;
    app.change(Order::OnceEnded(node, asked.body), asked.caller)
        .await
}

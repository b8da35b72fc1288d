//! What the system does about its labels.

use super::App;
use super::json_request::JsonRequest;
use crate::problem::RequestRefusal;
use crate::rules::Order;
use axum::Json;
use axum::extract::State;
use model::api::{LabelSecret, LabelsRequest, LabelsView, Problem};
use serde_json::Value;

/// How many random bytes a key has.
const KEY_BYTES: usize = 32;

#[utoipa::path(get, path = "/v1/labels", tag = "system",
    responses((status = 200, body = LabelsView), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// What the system does about its labels, and which nodes do not do it yet.
pub(super) async fn show(State(app): State<App>) -> Json<LabelsView> {
    Json(app.state_writer.state().labels_view())
}

#[utoipa::path(post, path = "/v1/labels", tag = "system", request_body = LabelsRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated request happen once")),
    responses((status = 200, body = LabelsView), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Has labels signed, demanded signed or not signed any more, or replaces the key; 409 says who does not sign yet.
pub(super) async fn change(
    State(app): State<App>,
    asked: JsonRequest<LabelsRequest>,
) -> Result<Json<Value>, RequestRefusal> {
    let fresh = LabelSecret {
        generation: 0,
        key: hex::encode(rand::random::<[u8; KEY_BYTES]>()),
    };
    app.change(Order::Labels(asked.body.action, fresh), asked.caller)
        .await
}

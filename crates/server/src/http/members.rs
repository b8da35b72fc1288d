//! The members' list: an agent says which one its software's hooks go by, and gets the next.

use super::App;
use super::json_request::{JsonRequest, Named, Queried};
use super::sync::{WaitQuery, check_own, numbered, patience, waited};
use crate::problem::RequestRefusal;
use crate::rules::Order;
use axum::Json;
use axum::extract::State;
use model::api::{MembersRequest, MembersResponse, Problem};
use model::ids::NodeId;
use tokio::time::Instant;

#[utoipa::path(post, path = "/v1/nodes/{node}/members", tag = "nodes", request_body = MembersRequest,
    params(("node" = NodeId, Path, description = "The node's number"), WaitQuery),
    responses((status = 200, body = MembersResponse), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Takes the number of the members' list that a node's hooks go by; answers what has changed since the one that the agent
/// holds, and who may not know the node's own addresses yet.
pub(super) async fn members(
    State(app): State<App>,
    Named(node): Named<String>,
    Queried(query): Queried<WaitQuery>,
    asked: JsonRequest<MembersRequest>,
) -> Result<Json<MembersResponse>, RequestRefusal> {
    let node = numbered(&node)?;
    check_own(&app, &asked.caller.requester, node).await?;
    let request = asked.body;
    let requester = asked.caller.requester.clone();
    let mut changed = app.state_writer.members();
    let _ = app
        .change(Order::Members(node, request.clone()), asked.caller)
        .await?;
    let deadline = Instant::now() + patience(&app, &query);
    loop {
        changed.borrow_and_update();
        if app.state_writer.state().has_members_news(&request) {
            break;
        }
        if !waited(&app, &mut changed, deadline).await {
            break;
        }
    }
    app.still_counts(&requester)?;
    Ok(Json(app.state_writer.state().members_for(node, &request)))
}

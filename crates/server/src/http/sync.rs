//! An agent's round trip: its report in, the node's view out when it differs from what the agent holds.

use super::App;
use super::auth::tell_refused;
use super::json_request::{Asker, JsonRequest, Named, Queried};
use super::requester::Requester;
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::rules::{Order, check_sync};
use axum::Json;
use axum::extract::State;
use model::api::{Problem, SyncRequest, SyncResponse};
use model::ids::NodeId;
use serde::Deserialize;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use utoipa::IntoParams;

/// The longest wait of a long poll: below what proxies and clients take for a dead connection.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(30);

/// How long an answer may wait for news.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WaitQuery {
    /// Wait so long, in milliseconds (at most 30000, and at most half of the reachability time), for the view or the list to change.
    wait_ms: Option<u64>,
}

#[utoipa::path(post, path = "/v1/nodes/{node}/sync", tag = "nodes", request_body = SyncRequest,
    params(("node" = NodeId, Path, description = "The node's number"), WaitQuery),
    responses((status = 200, body = SyncResponse), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Takes a node's report and events; answers the view when the node does not hold it.
pub(super) async fn sync(
    State(app): State<App>,
    Named(node): Named<String>,
    Queried(query): Queried<WaitQuery>,
    mut asked: JsonRequest<SyncRequest>,
) -> Result<Json<SyncResponse>, RequestRefusal> {
    let node = numbered(&node)?;
    check_sync(&asked.body)?;
    let requester = &asked.caller.requester;
    if let Err(refusal) = requester.may_tell(&asked.body) {
        tell_refused(&app, requester, &refusal).await;
        return Err(refusal);
    }
    asked.body.moment = app.believed(requester, asked.body.moment);
    asked.body.remembered =
        App::believed_memory(requester, asked.body.moment, asked.body.remembered);
    let seen = asked.body.seen_view;
    let mut changed = app.state_writer.told();
    let number = asked.body.number;
    let caller = Asker {
        key: None,
        ..asked.caller.clone()
    };
    let taken = app
        .change(Order::Sync(node, Box::new(asked.body)), asked.caller)
        .await;
    if let (Err(refusal), Some(number)) = (&taken, number)
        && refusal.kind == Kind::OUTDATED_REPORT
    {
        let _ = app
            .change(Order::Overtaken(node, number), caller.clone())
            .await?;
    }
    let _ = taken?;
    let deadline = Instant::now() + patience(&app, &query);
    loop {
        changed.borrow_and_update();
        let is_news = Some(app.state_writer.state().told.number(node)) != seen;
        if is_news || !waited(&app, &mut changed, deadline).await {
            break;
        }
    }
    app.still_counts(&caller.requester)?;
    let now_ms = app.config.clock.now_ms();
    let state = app.state_writer.state();
    let view = (Some(state.told.number(node)) != seen).then(|| state.node_view(node));
    let moment = state.moment().map(|moment| app.proven(moment));
    Ok(Json(SyncResponse {
        now_ms,
        view,
        moment,
        once: state.once_of(node),
    }))
}

/// A node asks for itself only: whoever has a number that is another's by now enrols again.
pub(super) async fn check_own(
    app: &App,
    requester: &Requester,
    node: NodeId,
) -> Result<(), RequestRefusal> {
    let name = {
        let state = app.state_writer.state();
        state.nodes.get(&node).map(|fact| fact.name.clone())
    };
    let checked = name.map_or(Ok(()), |name| requester.speaks_for(&name));
    if let Err(refusal) = &checked {
        tell_refused(app, requester, refusal).await;
    }
    checked
}

/// The number in a path.
pub(super) fn numbered(node: &str) -> Result<NodeId, RequestRefusal> {
    node.parse().map_err(|_| {
        refuse(
            Kind::BAD_REQUEST,
            format!("`{node}` is not a node's number; enrol to learn it."),
        )
    })
}

/// How long an agent's answer may wait: a waiting node must not look unreachable before its next question.
pub(super) fn patience(app: &App, query: &WaitQuery) -> Duration {
    let longest = WAIT_MAX.min(Duration::from_millis(app.config.reachable_ms / 2));
    Duration::from_millis(query.wait_ms.unwrap_or(0)).min(longest)
}

/// Waits for a change; false when there is nothing to wait for any more.
pub(super) async fn waited<T>(
    app: &App,
    changed: &mut watch::Receiver<T>,
    deadline: Instant,
) -> bool {
    let mut stopping = app.stopping.clone();
    tokio::select! {
        biased;
        result = changed.changed() => result.is_ok(),
        _ = stopping.wait_for(|stopping| *stopping) => false,
        () = sleep_until(deadline) => false,
    }
}

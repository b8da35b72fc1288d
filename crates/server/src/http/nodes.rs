//! Nodes: enrolment, the list, retry, forget.

use super::App;
use super::auth::{is_older, known, tell_refused};
use super::identities::{key_request, no_key_by_claims, signed};
use super::json_request::{Asker, JsonRequest, Named, Queried};
use super::pages::{PageOrder, PageQuery};
use super::requester::Requester;
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::rules::{AdmittedBy, Applicant, Order, unknown_node};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use model::api::{EnrolRequest, Enrolled, NodeFact, Page, Principal, Problem};
use model::ids::NodeId;
use serde_json::Value;
use std::ops::Bound;
use std::sync::Arc;

#[utoipa::path(post, path = "/v1/nodes", tag = "nodes", request_body = EnrolRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated request happen once")),
    responses((status = 200, body = Enrolled), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Makes a node known; idempotent by name.
pub(super) async fn enrol(
    State(app): State<App>,
    mut asked: JsonRequest<EnrolRequest>,
) -> Result<Json<Value>, RequestRefusal> {
    let requester = asked.caller.requester.clone();
    let name = asked.body.name.clone();
    if let Err(refusal) = requester.speaks_for(&name) {
        tell_refused(&app, &requester, &refusal).await;
        return Err(refusal);
    }
    asked.body.moment = app.believed(&requester, asked.body.moment);
    asked.body.remembered =
        App::believed_memory(&requester, asked.body.moment, asked.body.remembered);
    let Some(text) = &asked.body.certificate_request else {
        if matches!(requester, Requester::Invited(_)) {
            return Err(refuse(
                Kind::INVALID,
                "With a one-time token a node sends a certificate request of its key.",
            ));
        }
        take_back(&app, &requester, &asked.caller).await?;
        let enrolled = app.change(Order::Enrol(asked.body), asked.caller).await?;
        return Ok(Json(with_proof(&app, enrolled.0)));
    };
    let request = key_request(text)?;
    let applicant = Applicant {
        key: request.key().to_owned(),
        entry: match &requester {
            Requester::TokenHolder => AdmittedBy::Token(Principal::node(name)),
            Requester::Invited(invitation) => AdmittedBy::Invitation(invitation.digest.clone()),
            Requester::Certified(caller) => AdmittedBy::Certificate(caller.certificate.clone()),
            Requester::Claimed(_) => return Err(no_key_by_claims()),
        },
    };
    let order = Order::Admit(Box::new(asked.body), applicant);
    let decided = app.change(order, asked.caller).await;
    if let Err(refusal) = &decided {
        tell_refused(&app, &requester, refusal).await;
    }
    let Json(mut enrolled) = decided?;
    let certified = serde_json::from_value(enrolled["certified"].take());
    if let Ok(certified) = certified {
        let certified = signed(&app, &request, certified)?;
        enrolled["certified"] = serde_json::to_value(certified).unwrap_or_default();
    }
    Ok(Json(with_proof(&app, enrolled)))
}

/// The answer to an enrolment, whose moment the node can tell later.
fn with_proof(app: &App, mut enrolled: Value) -> Value {
    if let Ok(moment) = serde_json::from_value(enrolled["moment"].clone()) {
        enrolled["moment"] = serde_json::to_value(app.proven(moment)).unwrap_or_default();
    }
    enrolled
}

/// A database that was set back learns from a certificate whom it has certified since.
async fn take_back(app: &App, requester: &Requester, caller: &Asker) -> Result<(), RequestRefusal> {
    let Requester::Certified(certified) = requester else {
        return Ok(());
    };
    let certificate = &certified.certificate;
    let known = known(app, &certificate.principal);
    if known.is_some_and(|known| !is_older(&known, certificate)) {
        return Ok(());
    }
    let order = Order::TakeBack(certificate.clone());
    app.state_writer
        .ask(order, caller.author.clone(), None)
        .await
        .map(drop)
}

#[utoipa::path(get, path = "/v1/nodes", tag = "nodes", params(PageQuery),
    responses((status = 200, body = inline(Page<NodeFact>)), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Every node by name.
pub(super) async fn list(
    State(app): State<App>,
    Queried(query): Queried<PageQuery>,
) -> Result<Json<Page<NodeFact>>, RequestRefusal> {
    let state = app.state_writer.state();
    // The page is found by its name, however many come before it.
    let begin = query.after().map_or(Bound::Unbounded, Bound::Excluded);
    let found = |(name, node): (&String, &NodeId)| {
        let fact = state.nodes.get(node)?;
        Some((name.clone(), Arc::clone(fact)))
    };
    let Page { items, next } = match query.order() {
        PageOrder::Asc => {
            let names = state.names.range::<str, _>((begin, Bound::Unbounded));
            query.page(names.filter_map(found), |_, _| true)
        }
        PageOrder::Desc => {
            let names = state.names.range::<str, _>((Bound::Unbounded, begin));
            query.page(names.rev().filter_map(found), |_, _| true)
        }
    };
    drop(state);
    let items = items.iter().map(|fact| fact.as_ref().clone()).collect();
    Ok(Json(Page { items, next }))
}

#[utoipa::path(get, path = "/v1/nodes/{node}", tag = "nodes",
    params(("node" = String, Path, description = "The node's name or number")),
    responses((status = 200, body = NodeFact), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// One node.
pub(super) async fn show(
    State(app): State<App>,
    Named(node): Named<String>,
) -> Result<Json<NodeFact>, RequestRefusal> {
    let state = app.state_writer.state();
    let fact = state.node(&node).ok_or_else(|| unknown_node(&node))?;
    Ok(Json(fact.as_ref().clone()))
}

#[utoipa::path(delete, path = "/v1/nodes/{node}", tag = "nodes",
    params(("node" = String, Path, description = "The node's name or number")),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Forgets a node that will never come back.
pub(super) async fn forget(
    State(app): State<App>,
    Named(node): Named<String>,
    asked: JsonRequest<()>,
) -> Result<StatusCode, RequestRefusal> {
    app.change(Order::Forget(node), asked.caller)
        .await
        .map(|_| StatusCode::NO_CONTENT)
}

#[utoipa::path(post, path = "/v1/nodes/{node}/retry", tag = "nodes",
    params(("node" = String, Path, description = "The node's name or number"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated request happen once")),
    responses((status = 200, body = NodeFact), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Tells a blocked node to try again.
pub(super) async fn retry(
    State(app): State<App>,
    Named(node): Named<String>,
    asked: JsonRequest<()>,
) -> Result<Json<Value>, RequestRefusal> {
    app.change(Order::Retry(node), asked.caller).await
}

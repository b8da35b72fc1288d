//! From where a node fetches a large bundle.

use super::App;
use super::json_request::{JsonRequest, Named};
use super::requester::Requester;
use super::sync::{check_own, numbered};
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::rules::unknown_node;
use crate::sources::{ArtifactSource, FetchedThere, FetchingNode, PLACE_MS};
use crate::state::{SystemState, site};
use axum::Json;
use axum::extract::State;
use identity::PASS_LIFE_MS;
use model::api::{
    FAILED_MAX, NodeFact, NodeSource, Principal, Problem, SourceAnswer, SourceRequest,
};
use model::ids::NodeId;
use model::manifest::Digest;
use std::sync::Arc;

/// How many of those that serve a bundle are looked at.
const LOOKED_AT: usize = 8;

/// After how long whoever fetches says so again, in milliseconds.
const AGAIN_MS: u64 = PLACE_MS / 3;

#[utoipa::path(post, path = "/v1/nodes/{node}/source", tag = "nodes", request_body = SourceRequest,
    params(("node" = NodeId, Path, description = "The node's number")),
    responses((status = 200, body = SourceAnswer), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Says from where a node is to fetch a large bundle: from the server, or from a node of its site that has it.
pub(super) async fn source(
    State(app): State<App>,
    Named(node): Named<String>,
    asked: JsonRequest<SourceRequest>,
) -> Result<Json<SourceAnswer>, RequestRefusal> {
    let node = numbered(&node)?;
    let requester = asked.caller.requester;
    check_own(&app, &requester, node).await?;
    app.still_counts(&requester)?;
    let request = asked.body;
    if request.failed.len() > FAILED_MAX || request.manifest_sha256.parse::<Digest>().is_err() {
        return Err(refuse(
            Kind::INVALID,
            format!(
                "Give the SHA-256 of a manifest in lower-case hex, and at most {FAILED_MAX} nodes that have failed."
            ),
        ));
    }
    let server = SourceAnswer::Server { again_ms: AGAIN_MS };
    // Nodes let in whose key is certified.
    let Requester::Certified(caller) = &requester else {
        return Ok(Json(server));
    };
    let now_ms = app.config.clock.now_ms();
    let found = {
        let state = app.state_writer.state();
        let fact = state
            .nodes
            .get(&node)
            .ok_or_else(|| unknown_node(&node.to_string()))?;
        let what = (site(fact).to_owned(), request.manifest_sha256.clone());
        // Of what is not published nobody has anything, and nothing is noted.
        let is_published = state.is_published(&request.manifest_sha256);
        if request.done || !is_published {
            app.sources.end(&what, node);
            return Ok(Json(server));
        }
        place(&app, &state, fact, &what, &request, now_ms)
    };
    let found = match found {
        Err(again_ms) => return Ok(Json(SourceAnswer::Wait { again_ms })),
        Ok(None) => return Ok(Json(server)),
        Ok(Some(found)) => found,
    };
    let pass = (app.authority).pass(&caller.certificate.key, now_ms + PASS_LIFE_MS);
    let pass = pass.map_err(|error| {
        let detail = format!("No pass can be signed: {error}.");
        refuse(Kind::REPOSITORY_UNAVAILABLE, detail)
    })?;
    Ok(Json(SourceAnswer::Node(Box::new(NodeSource {
        pass,
        again_ms: AGAIN_MS,
        ..found
    }))))
}

/// A node, as it is to be asked: its key is certified and counts.
fn reached(state: &SystemState, node: NodeId) -> Option<NodeSource> {
    let fact: &Arc<NodeFact> = state.nodes.get(&node)?;
    let identity = (state.identities).get(&Principal::node(fact.name.clone()))?;
    Some(NodeSource {
        node: fact.name.clone(),
        key: (identity.revoked_at_ms.is_none()).then(|| identity.key.clone())?,
        address: fact.report.artifacts_at?,
        pass: String::new(),
        again_ms: 0,
    })
}

/// Gives a place: at the server (`None`), or at a node; or says how long to wait.
fn place(
    app: &App,
    state: &SystemState,
    fact: &NodeFact,
    what: &FetchedThere,
    request: &SourceRequest,
    now_ms: u64,
) -> Result<Option<NodeSource>, u64> {
    let failed = request.failed.iter();
    let asks = FetchingNode {
        node: fact.node,
        serves: fact.report.artifacts_at.is_some(),
        failed: failed
            .filter_map(|name| state.names.get(name))
            .copied()
            .collect(),
    };
    let points: Vec<f64> = (0..LOOKED_AT).map(|_| rand::random()).collect();
    let holders = state.servers_of.some(what, &points);
    let holders: Vec<NodeId> = (holders.into_iter())
        .filter(|node| *node != fact.node && reached(state, *node).is_some())
        .collect();
    let holds = |node| state.servers_of.has(what, node) && reached(state, node).is_some();
    let found = (app.sources).place(what.clone(), &asks, &holders, holds, now_ms)?;
    Ok(match found {
        ArtifactSource::Server => None,
        ArtifactSource::Node(node) => reached(state, node),
    })
}

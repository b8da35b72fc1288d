//! The pages of the nodes: those that somebody looks for, and one.

use super::census::class_of;
use super::guard::Visitor;
use super::{PageRefusal, shown};
use crate::http::App;
use crate::problem::{Kind, refuse};
use crate::rules::unknown_node;
use crate::udb::{EVENTS_LOOKED_THROUGH, EventSelection};
use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use model::api::NodeFact;
use page::{NodeFilter, NodePageView, NodesPageView, document, node_page, nodes_page};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

/// How many nodes stand on a page.
const NODES_SHOWN: usize = 50;

/// How many nodes are looked at before others have their turn with the state.
const LOOKED_AT_ONCE: usize = 2_000;

/// How many entries of a node's life stand on its page.
const EVENTS_SHOWN: u32 = 100;

/// Which nodes are looked for, and behind which name.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct NodesQuery {
    class: String,
    version: String,
    phase: String,
    reason: String,
    name: String,
    after: String,
}

/// A node, with its class at its version.
type PlacedNode = (Arc<NodeFact>, Arc<str>);

/// The nodes that are looked for.
pub(super) async fn list(
    State(app): State<App>,
    Extension(visitor): Extension<Visitor>,
    Query(query): Query<NodesQuery>,
) -> Result<Response, PageRefusal> {
    let filter = NodeFilter {
        class: query.class,
        version: query.version,
        phase: query.phase,
        reason: query.reason,
        name: query.name,
    };
    let classes = classes(&app);
    let (looked, wanted, after) = (app.clone(), filter.clone(), query.after.clone());
    let found = tokio::task::spawn_blocking(move || found(&looked, &wanted, after)).await;
    let mut found = found.map_err(|error| {
        refuse(
            Kind::DATABASE_UNAVAILABLE,
            format!("The nodes cannot be looked through ({error}); look at the server's log."),
        )
    })?;
    let more = found.len() > NODES_SHOWN;
    found.truncate(NODES_SHOWN);
    let last = found.last().filter(|_| more);
    let content = nodes_page(&NodesPageView {
        next: last.map(|(fact, _)| fact.name.clone()),
        nodes: (found.iter())
            .map(|(fact, class)| (fact.as_ref(), &**class))
            .collect(),
        filter: &filter,
        classes,
        is_first: query.after.is_empty(),
        now_ms: app.config.clock.now_ms(),
    });
    let frame = visitor.frame(&app, "Nodes".to_owned(), "/nodes");
    Ok(shown(document(&frame, &content)))
}

/// The classes of all versions in use.
fn classes(app: &App) -> Vec<String> {
    let state = app.state_writer.state();
    let releases = (state.history.versions()).filter_map(|at| state.history.release(at));
    let classes = releases.flat_map(|release| release.classes.keys().cloned());
    let classes: BTreeSet<String> = classes.collect();
    classes.into_iter().collect()
}

/// One page of the nodes that are looked for, behind a name, and one more if there is one.
fn found(app: &App, filter: &NodeFilter, mut after: String) -> Vec<PlacedNode> {
    let mut found = Vec::new();
    // Names are in order: those that begin so follow one another.
    let begin = filter.name.trim().to_owned();
    while found.len() <= NODES_SHOWN {
        let some: Vec<PlacedNode> = {
            let state = app.state_writer.state();
            let from = if after < begin {
                Bound::Included(begin.as_str())
            } else if after.is_empty() {
                Bound::Unbounded
            } else {
                Bound::Excluded(after.as_str())
            };
            let names = state.names.range::<str, _>((from, Bound::Unbounded));
            let names = names.take_while(|(name, _)| name.starts_with(&begin));
            names
                .filter_map(|(_, node)| state.nodes.get(node))
                .take(LOOKED_AT_ONCE)
                .map(|fact| (Arc::clone(fact), class_of(&state, fact)))
                .collect()
        };
        let Some((last, _)) = some.last() else {
            break;
        };
        after.clone_from(&last.name);
        let taken = some
            .into_iter()
            .filter(|(fact, class)| filter.takes(fact, class));
        found.extend(taken);
    }
    found.truncate(NODES_SHOWN + 1);
    found
}

/// One node.
pub(super) async fn show(
    State(app): State<App>,
    Extension(visitor): Extension<Visitor>,
    Path(name): Path<String>,
) -> Result<Response, PageRefusal> {
    let now_ms = app.config.clock.now_ms();
    let (fact, class, permit, last_event) = {
        let state = app.state_writer.state();
        let fact = state.node(&name).ok_or_else(|| unknown_node(&name))?;
        let permit = state.permit_of(fact.node, now_ms);
        (
            Arc::clone(fact),
            class_of(&state, fact),
            permit.map(|held| held.fact.clone()),
            state.last_event,
        )
    };
    let selection = EventSelection {
        node: Some(fact.name.clone()),
        ..EventSelection::default()
    };
    let events = app
        .udb
        .events_selected(selection, last_event + 1, EVENTS_SHOWN)
        .await
        .map_err(|error| {
            refuse(
                Kind::DATABASE_UNAVAILABLE,
                format!("{error}; ask again later."),
            )
        })?;
    let user = visitor.user();
    let is_full = events.len() == EVENTS_SHOWN as usize;
    let content = node_page(&NodePageView {
        fact: &fact,
        class: &class,
        permit,
        events,
        looked_through: EVENTS_LOOKED_THROUGH,
        may_be_more: is_full || last_event > EVENTS_LOOKED_THROUGH,
        user: &user,
        now_ms,
    });
    let frame = visitor.frame(&app, fact.name.clone(), "/nodes/NAME");
    Ok(shown(document(&frame, &content)))
}

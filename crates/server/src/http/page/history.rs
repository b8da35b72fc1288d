//! The page of the history.

use super::guard::Visitor;
use super::{PageRefusal, shown};
use crate::http::App;
use crate::problem::{Kind, refuse};
use crate::udb::{EVENTS_LOOKED_THROUGH, EventSelection};
use axum::Extension;
use axum::extract::{Query, State};
use axum::response::Response;
use page::{HistoryFilter, HistoryPageView, document, history_page};
use serde::Deserialize;

/// How many entries stand on a page.
const EVENTS_SHOWN: u32 = 100;

/// Which entries are looked for, and before which one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct EventsQuery {
    kind: String,
    node: String,
    version: String,
    before: String,
}

/// The history, newest first.
pub(super) async fn show(
    State(app): State<App>,
    Extension(visitor): Extension<Visitor>,
    Query(query): Query<EventsQuery>,
) -> Result<Response, PageRefusal> {
    let filter = HistoryFilter {
        kind: query.kind.trim().to_owned(),
        node: query.node.trim().to_owned(),
        version: query.version.trim().to_owned(),
    };
    let last = app.state_writer.state().last_event;
    let asked = query.before.parse::<u64>().ok();
    let before = asked.unwrap_or(last + 1).min(last + 1);
    let selection = EventSelection {
        node: Some(filter.node.clone()).filter(|node| !node.is_empty()),
        kind: filter.kind.clone(),
        // What is no number is no version of anything.
        version: match filter.version.as_str() {
            "" => None,
            number => Some(number.parse().unwrap_or_default()),
        },
    };
    let found = app
        .udb
        .events_selected(selection, before, EVENTS_SHOWN + 1)
        .await;
    let mut events = found.map_err(|error| {
        refuse(
            Kind::DATABASE_UNAVAILABLE,
            format!("{error}; ask again later."),
        )
    })?;
    let looked_through = EVENTS_LOOKED_THROUGH.min(before.saturating_sub(1));
    let more = events.len() > EVENTS_SHOWN as usize;
    events.truncate(EVENTS_SHOWN as usize);
    let next = if more {
        events.last().map(|event| event.sequence)
    } else {
        // Further back nobody has looked yet.
        Some(before - looked_through).filter(|next| *next > 1)
    };
    let content = history_page(&HistoryPageView {
        events,
        filter: &filter,
        next,
        is_first: asked.is_none(),
        looked_through,
        now_ms: app.config.clock.now_ms(),
    });
    let mut frame = visitor.frame(&app, "History".to_owned(), "/history");
    frame.is_live = asked.is_none();
    Ok(shown(document(&frame, &content)))
}

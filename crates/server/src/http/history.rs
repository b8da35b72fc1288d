//! The history: by pages from either end, and as a stream.

use super::App;
use super::json_request::Queried;
use super::pages::{PageOrder, limit};
use super::requester::Requester;
use super::sync::{WAIT_MAX, waited};
use crate::meters::CountedOpen;
use crate::problem::{Kind, RequestRefusal, refuse};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event as StreamedEvent, KeepAlive, Sse};
use axum::{Extension, Json};
use futures_util::Stream;
use futures_util::stream::unfold;
use model::api::{Event, Page, Problem};
use serde::Deserialize;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::Instant;
use utoipa::IntoParams;

/// How many entries a stream reads at once.
const READ_AT_ONCE: u32 = 100;

/// How often something is sent on a stream of which nobody would see otherwise that it has broken.
const KEPT_ALIVE: Duration = Duration::from_secs(15);

/// How often a stream looks whether its reader may still read.
const LOOKED_AT: Duration = Duration::from_secs(10);

/// What a stream calls that the history was set back; no kind of entry is called so.
const RESET: &str = "reset";

/// The header with which a reader goes on that has read before.
const LAST_EVENT: &str = "last-event-id";

/// Where a page of the history begins, how long it is, and how long it may wait for its first entry.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventQuery {
    /// The cursor that the page before gave as `next`: a sequence number; from the first entry without it, or from the last with `order=desc`.
    after: Option<u64>,
    /// The most entries (1 to 1000; 100 when absent).
    limit: Option<u32>,
    /// Wait so long, in milliseconds (at most 30000), while there is nothing after the cursor.
    wait_ms: Option<u64>,
    /// `desc` for the newest first; `asc` when absent.
    #[param(inline)]
    order: Option<PageOrder>,
}

/// Where a stream begins.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct StreamQuery {
    /// After which entry; after the newest when absent. `Last-Event-ID` comes first.
    after: Option<u64>,
}

#[utoipa::path(get, path = "/v1/events", tag = "system", params(EventQuery),
    responses((status = 200, body = inline(Page<Event>)), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// The history, oldest first, where `next` is always where to go on; or newest first, where `next` is missing in the end.
pub(super) async fn events(
    State(app): State<App>,
    Extension(requester): Extension<Requester>,
    Queried(query): Queried<EventQuery>,
) -> Result<Json<Page<Event>>, RequestRefusal> {
    if query.order == Some(PageOrder::Desc) {
        return newest_first(&app, &query).await.map(Json);
    }
    let after = query.after.unwrap_or(0);
    let wait = Duration::from_millis(query.wait_ms.unwrap_or(0)).min(WAIT_MAX);
    let deadline = Instant::now() + wait;
    let mut changed = app.state_writer.last_event();
    loop {
        changed.borrow_and_update();
        let items = read(&app, after, limit(query.limit)).await?;
        if items.is_empty()
            && let Some(newest) = set_back(&app, after).await?
        {
            return Err(ends_before(after, newest));
        }
        if !items.is_empty() || !waited(&app, &mut changed, deadline).await {
            app.still_counts(&requester)?;
            let next = items.last().map_or(after, |event| event.sequence);
            return Ok(Json(Page {
                items,
                next: Some(next.to_string()),
            }));
        }
    }
}

async fn newest_first(app: &App, query: &EventQuery) -> Result<Page<Event>, RequestRefusal> {
    if query.wait_ms.is_some() {
        return Err(refuse(
            Kind::BAD_REQUEST,
            "What is new comes with `order=asc` only; ask for it with `wait_ms` there.",
        ));
    }
    let limit = limit(query.limit);
    let before = query.after.unwrap_or(u64::MAX);
    // One more says whether there are more.
    let found = app.udb.events_before(before, limit + 1).await;
    let mut items = found.map_err(unreadable)?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let last = items.last().filter(|_| more);
    Ok(Page {
        next: last.map(|event| event.sequence.to_string()),
        items,
    })
}

async fn read(app: &App, after: u64, limit: u32) -> Result<Vec<Event>, RequestRefusal> {
    app.udb.events(after, limit).await.map_err(unreadable)
}

/// The newest entry, where a cursor is ahead of it: what the cursor is of was lost when the history was set back.
async fn set_back(app: &App, cursor: u64) -> Result<Option<u64>, RequestRefusal> {
    if cursor <= *app.state_writer.last_event().borrow() {
        return Ok(None);
    }
    // Another server may have added some that this one has not heard of.
    let newest = app.udb.events_before(u64::MAX, 1).await;
    let newest = newest.map_err(unreadable)?;
    let newest = newest.first().map_or(0, |event| event.sequence);
    Ok((cursor > newest).then_some(newest))
}

fn ends_before(cursor: u64, newest: u64) -> RequestRefusal {
    let detail = format!(
        "The last entry is {newest}, before the cursor {cursor}: the history was set back since. Go on with after={newest}, or read it anew from after=0."
    );
    refuse(Kind::HISTORY_SET_BACK, detail)
}

fn unreadable(error: crate::udb::UdbError) -> RequestRefusal {
    refuse(
        Kind::DATABASE_UNAVAILABLE,
        format!("{error}; ask again later."),
    )
}

/// What a stream has still to send, and where it goes on.
struct EventStream {
    app: App,
    requester: Requester,
    after: u64,
    waiting: VecDeque<Event>,
    /// As long as it is there.
    _counted: CountedOpen,
}

#[utoipa::path(get, path = "/v1/events/stream", tag = "system",
    params(StreamQuery, ("Last-Event-ID" = Option<u64>, Header, description = "The last entry that was read")),
    responses((status = 200, content_type = "text/event-stream", body = String, description = "An entry each, with its number as `id`, its kind as `event`, and itself as `data`; `reset` where the history ends before what was read (`before`), with the entry after which the stream goes on (`after`)"),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
/// What is added to the history, as server-sent events, until the reader goes, may read no longer, or the server stops.
pub(super) async fn stream(
    State(app): State<App>,
    Extension(requester): Extension<Requester>,
    Queried(query): Queried<StreamQuery>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<StreamedEvent, Infallible>>>, RequestRefusal> {
    let last = headers.get(LAST_EVENT).map(|value| {
        let number = value
            .to_str()
            .ok()
            .and_then(|text| text.trim().parse().ok());
        number.ok_or_else(|| {
            let detail = "Last-Event-ID is the number of an entry of the history.";
            refuse(Kind::BAD_REQUEST, detail)
        })
    });
    let newest = *app.state_writer.last_event().borrow();
    let after = last.transpose()?.or(query.after).unwrap_or(newest);
    let begun = EventStream {
        _counted: app.meters.event_streams.enter(),
        app,
        requester,
        after,
        waiting: VecDeque::new(),
    };
    let entries = unfold(begun, |mut stream| async move {
        let entry = stream.next().await?;
        Some((Ok(entry), stream))
    });
    Ok(Sse::new(entries).keep_alive(KeepAlive::new().interval(KEPT_ALIVE)))
}

impl EventStream {
    /// Tells that the history was set back to this entry, and goes on after it.
    fn goes_on_after(&mut self, newest: u64) -> StreamedEvent {
        let before = std::mem::replace(&mut self.after, newest);
        StreamedEvent::default()
            .id(newest.to_string())
            .event(RESET)
            .data(format!("{{\"before\":{before},\"after\":{newest}}}"))
    }

    /// The next entry, when there is one; none in the end.
    async fn next(&mut self) -> Option<StreamedEvent> {
        let mut changed = self.app.state_writer.last_event();
        loop {
            if let Some(event) = self.waiting.pop_front() {
                self.after = event.sequence;
                let entry = StreamedEvent::default()
                    .id(event.sequence.to_string())
                    .event(&event.kind);
                return entry.json_data(&event).ok();
            }
            if *self.app.stopping.borrow() || self.app.still_counts(&self.requester).is_err() {
                return None;
            }
            changed.borrow_and_update();
            self.waiting = read(&self.app, self.after, READ_AT_ONCE).await.ok()?.into();
            if self.waiting.is_empty() {
                if let Some(newest) = set_back(&self.app, self.after).await.ok()? {
                    return Some(self.goes_on_after(newest));
                }
                waited(&self.app, &mut changed, Instant::now() + LOOKED_AT).await;
            }
        }
    }
}

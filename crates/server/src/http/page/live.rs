//! The stream that tells browsers that something has changed. What has changed they ask for by themselves, so that nothing is sent twice
//! that nobody looks at.

use super::guard::Visitor;
use crate::http::App;
use crate::http::auth::digest;
use crate::meters::CountedOpen;
use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use futures_util::stream::unfold;
use model::api::Principal;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// How often a browser is told at most.
const PAUSE: Duration = Duration::from_secs(1);

/// How often it is told at least: how far a long step has come, and what time does, is no change of the history.
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// How often it is looked whether somebody may still look.
const LOOKED_AT: Duration = Duration::from_secs(5);

/// How many streams one session has at most: a browser needs one for all its tabs, and one for each that somebody sees where tabs cannot
/// agree.
const SESSION_MAX: usize = 8;

/// How many one person has, in all sessions.
const EACH_MAX: usize = 32;

/// How many there are in all: each is a connection, and agents need some as well.
const STREAMS_MAX: usize = 500;

/// After how many seconds a browser may ask again that was sent away.
const AGAIN_SECONDS: &str = "30";

/// The streams that are open.
#[derive(Clone, Debug, Default)]
pub(crate) struct LiveStreams(Arc<Mutex<HashMap<String, SessionStreams>>>);

/// Those of one session.
#[derive(Debug)]
struct SessionStreams {
    principal: Option<Principal>,
    open: usize,
}

/// The place of one stream, as long as it is open.
struct StreamPlace {
    streams: LiveStreams,
    session: String,
}

impl LiveStreams {
    /// A place for one more stream of a session, if there is one.
    fn admit(&self, session: &str, principal: Option<&Principal>) -> Option<StreamPlace> {
        let mut streams = self.0.lock();
        let sum = |all: &mut dyn Iterator<Item = &SessionStreams>| -> usize {
            all.map(|one| one.open).sum()
        };
        let all = sum(&mut streams.values());
        let theirs = streams.values();
        let theirs = sum(&mut theirs.filter(|one| one.principal.as_ref() == principal));
        let own = streams.get(session).map_or(0, |one| one.open);
        if own >= SESSION_MAX || theirs >= EACH_MAX || all >= STREAMS_MAX {
            return None;
        }
        let kept = streams.entry(session.to_owned());
        let kept = kept.or_insert_with(|| SessionStreams {
            principal: principal.cloned(),
            open: 0,
        });
        kept.open += 1;
        Some(StreamPlace {
            streams: self.clone(),
            session: session.to_owned(),
        })
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut streams = self.streams.0.lock();
        let Some(kept) = streams.get_mut(&self.session) else {
            return;
        };
        kept.open -= 1;
        if kept.open == 0 {
            streams.remove(&self.session);
        }
    }
}

struct LiveStream {
    _place: StreamPlace,
    app: App,
    visitor: Visitor,
    events: watch::Receiver<u64>,
    told: watch::Receiver<u64>,
    last: Instant,
    /// As long as it is there.
    _counted: CountedOpen,
}

/// Tells of changes until the session ends, or the server stops.
pub(super) async fn stream(
    State(app): State<App>,
    Extension(visitor): Extension<Visitor>,
) -> Response {
    let place = app
        .live
        .admit(&digest(&visitor.secret), visitor.principal());
    let Some(place) = place else {
        return (
            StatusCode::TOO_MANY_REQUESTS,
            [(header::RETRY_AFTER, AGAIN_SECONDS)],
            "Too many pages are kept up to date at once: close some, or load the page again by hand.",
        )
            .into_response();
    };
    let begun = LiveStream {
        _place: place,
        events: app.state_writer.last_event(),
        told: app.state_writer.told(),
        _counted: app.meters.page_streams.enter(),
        app,
        visitor,
        last: Instant::now(),
    };
    let changes = unfold(begun, |mut stream| async move {
        stream.changed().await.then(|| {
            let number = *stream.events.borrow();
            let event = Event::default().event("changed").data(number.to_string());
            (event, stream)
        })
    });
    Sse::new(changes.map(Ok::<_, Infallible>))
        .keep_alive(KeepAlive::new().interval(PAUSE_MAX))
        .into_response()
}

impl LiveStream {
    /// Waits for a change; false when there is nobody any more to tell.
    async fn changed(&mut self) -> bool {
        let mut stopping = self.app.stopping.clone();
        let (earliest, latest) = (self.last + PAUSE, self.last + PAUSE_MAX);
        let mut has_changed = false;
        loop {
            if *stopping.borrow() || !self.visitor.goes_on(&self.app).await {
                return false;
            }
            let now = Instant::now();
            if has_changed && now >= earliest || now >= latest {
                self.last = now;
                return true;
            }
            let wake = if has_changed {
                earliest
            } else {
                latest.min(now + LOOKED_AT)
            };
            tokio::select! {
                changed = self.events.changed(), if !has_changed => has_changed = changed.is_ok(),
                changed = self.told.changed(), if !has_changed => has_changed = changed.is_ok(),
                _ = stopping.wait_for(|stopping| *stopping) => return false,
                () = sleep_until(wake) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_all_streams() {
        let streams = LiveStreams::default();
        let (eve, ann) = (Principal::operator("eve"), Principal::operator("ann"));
        let of_eve = |session: usize| streams.admit(&format!("eve {session}"), Some(&eve));
        let mut places: Vec<StreamPlace> = (0..SESSION_MAX).filter_map(|_| of_eve(0)).collect();
        assert_eq!(places.len(), SESSION_MAX);
        assert!(of_eve(0).is_none());
        places.extend((1..EACH_MAX).filter_map(of_eve));
        assert_eq!(places.len(), EACH_MAX);
        assert!(of_eve(EACH_MAX).is_none());
        assert!(streams.admit("ann", Some(&ann)).is_some());
        let people = (0..STREAMS_MAX).map(|at| Principal::operator(format!("p{at}")));
        places.extend(people.filter_map(|who| streams.admit(&who.to_string(), Some(&who))));
        assert_eq!(places.len(), STREAMS_MAX);
        assert!(streams.admit("ann", Some(&ann)).is_none());
        drop(places);
        assert!(streams.0.lock().is_empty());
    }
}

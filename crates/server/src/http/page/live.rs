//! The stream that tells browsers that something has changed. What has changed they ask for by themselves, so that nothing is sent twice
//! that nobody looks at.

use super::guard::Visitor;
use crate::http::App;
use crate::meters::CountedOpen;
use axum::Extension;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream::unfold;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// How often a browser is told at most.
const PAUSE: Duration = Duration::from_secs(1);

/// How often it is told at least: how far a long step has come, and what time does, is no change of the history.
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// How often it is looked whether somebody may still look.
const LOOKED_AT: Duration = Duration::from_secs(5);

struct LiveStream {
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
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let begun = LiveStream {
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
            (Ok(event), stream)
        })
    });
    Sse::new(changes).keep_alive(KeepAlive::new().interval(PAUSE_MAX))
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

//! What a server counts as it happens, for those who watch it. Everything is told from the first moment on, so that the first of its kind
//! is seen to be one more than none.

use crate::udb::{Change, UdbError};
use axum::http::{Method, StatusCode};
use metrics::catalogue::{
    ARTIFACT_RECEIVED_BYTES, ARTIFACT_SENT_BYTES, DATABASE_COMMIT_DURATION, DATABASE_COMMITS,
    EVENTS, HTTP_DURATION, HTTP_REQUESTS, STATE_BATCH_DURATION, STATE_BATCHES, STATE_ORDERS,
};
use metrics::{Counter, CounterFamily, Histogram, HistogramFamily, Instruments};
use model::api::{EventKind, EventSeverity};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long requests take, in seconds: from what memory answers to what is waited for.
const REQUEST_BUCKETS: &[f64] = &[0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0];

/// How long commits take, in seconds: from a fast disk to a database that is in trouble.
const COMMIT_BUCKETS: &[f64] = &[
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0,
];

/// The classes of an answer's status.
const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// What is counted of events that no build knows.
const OTHER_EVENTS: &str = "other";

/// What a server counts.
pub(crate) struct ServerMeters {
    pub(crate) instruments: Instruments,
    events: HashMap<&'static str, Counter>,
    other_events: Counter,
    requests: CounterFamily<3>,
    durations: HistogramFamily<2>,
    batches: Counter,
    orders: Counter,
    batch_duration: Histogram,
    commits: [Counter; COMMIT_OUTCOMES.len()],
    commit_duration: Histogram,
    /// Bytes of artifacts that were sent.
    pub(crate) sent_bytes: Counter,
    /// Bytes of artifacts that were uploaded.
    pub(crate) received_bytes: Counter,
    /// Connections of callers.
    pub(crate) connections: OpenCount,
    /// Streams of events that programs follow.
    pub(crate) event_streams: OpenCount,
    /// Streams of browsers.
    pub(crate) page_streams: OpenCount,
}

/// How commits end.
const COMMIT_OUTCOMES: [&str; 4] = ["done", "conflict", "full", "failed"];

impl fmt::Debug for ServerMeters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerMeters").finish_non_exhaustive()
    }
}

impl Default for ServerMeters {
    fn default() -> Self {
        let mut instruments = Instruments::default();
        let events = instruments.counters(&EVENTS);
        let commits = instruments.counters(&DATABASE_COMMITS);
        let known = EventKind::ALL.iter();
        Self {
            other_events: events.of([OTHER_EVENTS, EventSeverity::Info.name()]),
            events: known
                .map(|kind| {
                    let counter = events.of([kind.name(), kind.severity().name()]);
                    (kind.name(), counter)
                })
                .collect(),
            requests: instruments.counters(&HTTP_REQUESTS),
            durations: instruments.histograms(&HTTP_DURATION, REQUEST_BUCKETS),
            batches: instruments.counter(&STATE_BATCHES),
            orders: instruments.counter(&STATE_ORDERS),
            batch_duration: instruments.histogram(&STATE_BATCH_DURATION, COMMIT_BUCKETS),
            commits: COMMIT_OUTCOMES.map(|outcome| commits.of([outcome])),
            commit_duration: instruments.histogram(&DATABASE_COMMIT_DURATION, COMMIT_BUCKETS),
            sent_bytes: instruments.counter(&ARTIFACT_SENT_BYTES),
            received_bytes: instruments.counter(&ARTIFACT_RECEIVED_BYTES),
            connections: OpenCount::default(),
            event_streams: OpenCount::default(),
            page_streams: OpenCount::default(),
            instruments,
        }
    }
}

impl ServerMeters {
    /// The meter of one route.
    pub(crate) fn route(&self, path: &'static str, method: &Method) -> Arc<RouteMeter> {
        let method = match *method {
            Method::GET => "GET",
            Method::HEAD => "HEAD",
            Method::POST => "POST",
            Method::PUT => "PUT",
            Method::DELETE => "DELETE",
            _ => "any",
        };
        let answered = |class| self.requests.of([path, method, class]);
        Arc::new(RouteMeter {
            answered: STATUS_CLASSES.map(answered),
            duration: self.durations.of([path, method]),
        })
    }

    /// A batch of orders was decided.
    pub(crate) fn note_batch(&self, orders: usize, took: Duration) {
        self.batches.inc();
        self.orders.inc_by(orders as u64);
        self.batch_duration.observe(took.as_secs_f64());
    }

    /// A commit has ended.
    pub(crate) fn note_commit(&self, ended: &Result<(), UdbError>, took: Duration) {
        let outcome = match ended {
            Ok(()) => 0,
            Err(UdbError::Conflict) => 1,
            Err(UdbError::Full) => 2,
            Err(_) => 3,
        };
        self.commits[outcome].inc();
        self.commit_duration.observe(took.as_secs_f64());
    }

    /// These changes are durable.
    pub(crate) fn note_changes(&self, changes: &[Change]) {
        for change in changes {
            if let Change::Event(event) = change {
                let known = self.events.get(event.kind.as_str());
                known.unwrap_or(&self.other_events).inc();
            }
        }
    }
}

/// What is counted of one route.
#[derive(Debug)]
pub(crate) struct RouteMeter {
    answered: [Counter; STATUS_CLASSES.len()],
    duration: Histogram,
}

impl RouteMeter {
    /// A request was answered.
    pub(crate) fn note(&self, status: StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).clamp(1, STATUS_CLASSES.len());
        self.answered[class - 1].inc();
        self.duration.observe(took.as_secs_f64());
    }
}

/// How many of something are open.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpenCount(Arc<AtomicUsize>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct CountedOpen(Arc<AtomicUsize>);

impl OpenCount {
    /// One more.
    pub(crate) fn enter(&self) -> CountedOpen {
        self.0.fetch_add(1, Ordering::Relaxed);
        CountedOpen(Arc::clone(&self.0))
    }

    /// How many.
    pub(crate) fn now(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for CountedOpen {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

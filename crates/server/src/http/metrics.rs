//! `GET /metrics`: what Prometheus reads. Nothing here walks over the nodes: what is told of them was counted when it changed.

use super::App;
use crate::meters::RouteMeter;
use crate::state::SystemState;
use ::metrics::catalogue::{
    CONNECTIONS_OPEN, DATABASE_IN_TROUBLE, FLEET_CALLS, LABELS_AWAITED, LABELS_MODE,
    METADATA_EXPIRY, NEWEST_VERSION, NODES, NODES_BEHIND, NODES_CLOCK_OFF, NODES_DISAGREEING,
    NODES_FAILING, NODES_REVOKED, NODES_UNREACHABLE, NODES_WAITING, PAUSED, PERMITS_HELD,
    PERMITS_WANTED, PUBLIC_VERSION, REPOSITORY_DAMAGED, RETIRED_THROUGH, RETIRING_THROUGH,
    STREAMS_OPEN,
};
use ::metrics::{Readings, ScrapeForm, ScrapeSource, read_process};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use model::api::{LabelMode, Phase, Problem};
use model::ids::Version;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

#[utoipa::path(get, path = "/metrics", tag = "system",
    params(("Accept" = Option<String>, Header, description = "OpenMetrics (`application/openmetrics-text`) where it is named here, else Prometheus' text format")),
    responses((status = 200, content_type = "text/plain", body = String),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
/// The server's metrics and the system's, as Prometheus reads them: as many for many nodes as for few.
pub(super) async fn show(State(app): State<App>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT);
    let form = ScrapeForm::accepted(accept.and_then(|accept| accept.to_str().ok()));
    let text = app.scrape(form).await;
    ([(header::CONTENT_TYPE, form.media_type())], text).into_response()
}

/// Measures the requests of a route.
pub(super) async fn measure(
    State(meter): State<Arc<RouteMeter>>,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let answer = next.run(request).await;
    meter.note(answer.status(), begun.elapsed());
    answer
}

impl ScrapeSource for App {
    async fn scrape(&self, form: ScrapeForm) -> String {
        let app = self.clone();
        // The kernel is asked, too, which may take a moment.
        let told = tokio::task::spawn_blocking(move || {
            let readings = read(&app);
            form.text(readings, Some(&app.meters.instruments))
        });
        told.await.unwrap_or_default()
    }
}

fn read(app: &App) -> Readings {
    let mut readings = Readings::default();
    read_process(&mut readings, env!("CARGO_PKG_VERSION"));
    {
        let state = app.state_writer.state();
        read_nodes(&state, &mut readings);
        read_system(&state, &mut readings);
    }
    readings.put(&DATABASE_IN_TROUBLE, app.state_writer.trouble().is_some());
    readings.put(&REPOSITORY_DAMAGED, app.damaged.lock().len());
    for (role, end) in app.signed.until.lock().iter() {
        let end = end.as_millisecond() as f64 / 1_000.0;
        readings.put_of(&METADATA_EXPIRY, [role], end);
    }
    let meters = &app.meters;
    readings.put(&CONNECTIONS_OPEN, meters.connections.now());
    for (kind, open) in [
        ("events", &meters.event_streams),
        ("page", &meters.page_streams),
    ] {
        readings.put_of(&STREAMS_OPEN, [kind], open.now());
    }
    readings
}

fn read_nodes(state: &SystemState, readings: &mut Readings) {
    let tally = &state.tally;
    let mut ill: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for ((class, version), standing) in &tally.standings {
        let version = version.to_string();
        for phase in Phase::ALL {
            let nodes = standing.phases.get(&phase).copied().unwrap_or(0);
            readings.put_of(&NODES, [class, &version, phase.name()], nodes);
        }
        let of_class = ill.entry(class).or_default();
        of_class[0] += standing.unreachable;
        of_class[1] += standing.crashed;
        of_class[2] += standing.silent;
    }
    for (class, [unreachable, ..]) in &ill {
        readings.put_of(&NODES_UNREACHABLE, [class], *unreachable);
    }
    for (class, [_, crashed, silent]) in &ill {
        readings.put_of(&NODES_FAILING, [class, "crashed"], *crashed);
        readings.put_of(&NODES_FAILING, [class, "silent"], *silent);
    }
    for (reason, nodes) in tally.waiting() {
        readings.put_of(&NODES_WAITING, [reason], nodes);
    }
    readings.put(&NODES_DISAGREEING, state.disagreeing.len());
    readings.put(&NODES_REVOKED, state.revoked_nodes().len());
    readings.put(&NODES_CLOCK_OFF, tally.clocks_off);
    for (kind, number) in tally.calls() {
        readings.put_of(&FLEET_CALLS, [kind], number);
    }
}

fn read_system(state: &SystemState, readings: &mut Readings) {
    let newest = newest(state);
    readings.put(&NEWEST_VERSION, newest.0);
    readings.put(&NODES_BEHIND, state.tally.behind(newest));
    readings.put(&RETIRING_THROUGH, state.retiring_through.0);
    readings.put(&RETIRED_THROUGH, state.retired_through.0);
    readings.put(&PAUSED, state.paused.is_some());
    for (service, version) in &state.public {
        readings.put_of(&PUBLIC_VERSION, [service], version.0);
    }
    readings.put(&PERMITS_HELD, state.permits.len());
    readings.put(&PERMITS_WANTED, state.queue.len());
    let mode = (state.labels.as_ref()).map_or(LabelMode::Off, |labels| labels.mode);
    for one in [LabelMode::Off, LabelMode::Sign, LabelMode::Demand] {
        readings.put_of(&LABELS_MODE, [&one.to_string()], one == mode);
    }
    let awaited = match &state.labels {
        Some(labels) => state.tally.awaited(&labels.order.id),
        None => 0,
    };
    readings.put(&LABELS_AWAITED, awaited);
}

/// The newest version that is not withdrawn.
fn newest(state: &SystemState) -> Version {
    let versions = state.revisions.keys().rev().map(|(version, _)| *version);
    let mut counting = versions.filter(|version| !state.withdrawn.contains(version));
    counting.next().unwrap_or_default()
}

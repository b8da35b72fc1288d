//! `go_if` and `stop_if` over HTTP: what a Prometheus says of nodes decides whether others go, and whether the system is paused.

use crate::support::{Running, Site, bundle, report, staged, until};
use axum::Router;
use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::post;
use model::api::{Pause, VerdictAnswer};
use model::ids::{NodeId, Place, Revision, Version};
use parking_lot::Mutex;
use serde_json::json;
use server::{PrometheusPlace, ServerConfig};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const QUERY: &str = "sum by (node) (rate(errors[1m]))";

/// What a Prometheus says of nodes; nothing where it is out of order.
type Said = Arc<Mutex<Option<BTreeMap<&'static str, f64>>>>;

/// A Prometheus of which only the one interface is there that the server asks.
struct FakePrometheus {
    said: Said,
    url: String,
    serving: JoinHandle<()>,
}

async fn answer(
    State(said): State<Said>,
    headers: HeaderMap,
    Form(asked): Form<BTreeMap<String, String>>,
) -> impl IntoResponse {
    if headers.get("authorization").and_then(|it| it.to_str().ok()) != Some("Bearer let me in") {
        return (StatusCode::UNAUTHORIZED, String::new());
    }
    assert_eq!(asked.get("query").map(String::as_str), Some(QUERY));
    let Some(values) = said.lock().clone() else {
        let refused = json!({"status": "error", "errorType": "execution", "error": "out of order"});
        return (StatusCode::UNPROCESSABLE_ENTITY, refused.to_string());
    };
    let result = values
        .iter()
        .map(|(node, value)| json!({"metric": {"node": node}, "value": [1.0, value.to_string()]}));
    let result: Vec<_> = result.collect();
    let data = json!({"resultType": "vector", "result": result});
    (
        StatusCode::OK,
        json!({"status": "success", "data": data}).to_string(),
    )
}

async fn prometheus() -> FakePrometheus {
    let said = Said::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let url = format!(
        "http://{}/prometheus/",
        listener.local_addr().expect("bound")
    );
    let router = Router::new().route("/prometheus/api/v1/query", post(answer));
    let router = router.with_state(Arc::clone(&said));
    let serving = tokio::spawn(async move {
        axum::serve(listener, router).await.expect("serves");
    });
    FakePrometheus { said, url, serving }
}

fn config(site: &Site, url: &str) -> ServerConfig {
    let token = site.data.path().join("prometheus.token");
    std::fs::write(&token, "let me in\n").expect("written");
    ServerConfig {
        prometheus: Some(PrometheusPlace {
            url: url.to_owned(),
            token: Some(token),
            certificates: None,
        }),
        measure_ms: 5,
        ..site.config()
    }
}

/// Two versions, of which the second has this schedule, and nodes that have staged it.
async fn populated(server: &Running, names: &[&str], schedule: &str) -> Vec<NodeId> {
    let one = bundle(1, "");
    server.publish(&one, false).await.expect("published");
    let gated = format!("[class.storage]\nschedule = {{ {schedule} }}");
    let two = bundle(2, "").replace("[class.storage]", &gated);
    server.publish(&two, false).await.expect("published");
    let mut nodes = Vec::new();
    for name in names {
        let enrolled = server.enrol(name).await.expect("enrolled");
        let told = server.report(enrolled.node, staged()).await;
        told.expect("heard");
        nodes.push(enrolled.node);
    }
    nodes
}

/// The code and the words of the first reason for which a node waits; none where it may go.
async fn waits(server: &Running, node: NodeId) -> Option<(String, String)> {
    match server.judge(node, 1).await {
        VerdictAnswer::Wait { reasons, .. } => {
            let first = reasons.into_iter().next().expect("a reason");
            Some((first.code, first.text))
        }
        VerdictAnswer::Go { permit, .. } => {
            server.client.end_permit(permit).await.expect("ended");
            None
        }
    }
}

async fn settles(server: &Running, node: NodeId) {
    let mut there = report(2);
    there.status.bundle = Some(Place {
        version: Version(2),
        revision: Revision(1),
    });
    server.report(node, there).await.expect("heard");
}

async fn until_waits(server: &Running, node: NodeId, code: &str, words: &str) {
    until(words, async || {
        let (its, text) = waits(server, node).await?;
        (its == code && text.contains(words)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_node_goes_while_those_that_are_there_do_no_worse_than_the_others() {
    let site = Site::new();
    let prometheus = prometheus().await;
    let server = site.run(config(&site, &prometheus.url)).await;
    let schedule = format!(
        "go_if = 'metrics.errors.new <= 1.5 * metrics.errors.old', metrics = {{ errors = '{QUERY}' }}"
    );
    let nodes = populated(&server, &["a", "b", "c"], &schedule).await;
    // It says nothing that can be used yet.
    until_waits(&server, nodes[0], "go_if_unknown", "out of order").await;
    let say = |values: &[(&'static str, f64)]| {
        *prometheus.said.lock() = Some(values.iter().copied().collect());
    };
    say(&[("a", 0.2), ("b", 0.2), ("elsewhere", 9.0)]);
    until("leave for the first", async || {
        waits(&server, nodes[0]).await.is_none().then_some(())
    })
    .await;
    settles(&server, nodes[0]).await;
    // Compared at the same time, with those that are not there.
    say(&[("a", 0.5), ("b", 0.2), ("c", 0.4)]);
    until_waits(&server, nodes[1], "go_if", "errors.new 0.5, errors.old 0.3").await;
    say(&[("a", 0.3), ("b", 0.2), ("c", 0.4)]);
    until("leave for the second", async || {
        waits(&server, nodes[1]).await.is_none().then_some(())
    })
    .await;
    say(&[("b", 0.2)]);
    until_waits(
        &server,
        nodes[1],
        "go_if_unknown",
        "has no value of a node that is there",
    )
    .await;
    // What was measured is not known for ever.
    say(&[("a", 0.3), ("b", 0.2), ("c", 0.4)]);
    until("leave once more", async || {
        waits(&server, nodes[1]).await.is_none().then_some(())
    })
    .await;
    prometheus.serving.abort();
    until_waits(&server, nodes[1], "go_if_unknown", "does not answer").await;
    server.stop().await;
}

#[tokio::test]
async fn without_a_prometheus_it_says_what_to_do() {
    let site = Site::new();
    let mut config = config(&site, "");
    config.prometheus = None;
    let server = site.run(config).await;
    let schedule =
        format!("go_if = 'metrics.errors.new < 0.1', metrics = {{ errors = '{QUERY}' }}");
    let nodes = populated(&server, &["a"], &schedule).await;
    until_waits(&server, nodes[0], "go_if_unknown", "`--prometheus URL`").await;
    server.stop().await;
}

async fn paused(server: &Running) -> Option<Pause> {
    server.client.system().await.expect("answers").paused
}

async fn stops(server: &Running) -> usize {
    let events = server.client.events(None, None, None).await;
    let events = events.expect("answers").items;
    let stops = events
        .iter()
        .filter(|event| event.kind == "upgrade.stopped");
    stops.count()
}

#[tokio::test]
async fn the_system_is_paused_once_and_again_only_after_it_was_well() {
    let site = Site::new();
    let prometheus = prometheus().await;
    let server = site.run(config(&site, &prometheus.url)).await;
    let schedule = format!(
        "go_if = 'metrics.errors.old < 0.5', stop_if = 'metrics.errors.new > 0.5 || crashed > 1', metrics = {{ errors = '{QUERY}' }}"
    );
    let nodes = populated(&server, &["a", "b", "c"], &schedule).await;
    settles(&server, nodes[0]).await;
    // What is not known does not stop.
    until_waits(&server, nodes[1], "go_if_unknown", "out of order").await;
    assert_eq!(paused(&server).await, None);
    let say = |a: f64, b: f64| *prometheus.said.lock() = Some([("a", a), ("b", b)].into());
    say(0.75, 0.1);
    let pause = until("a pause", async || paused(&server).await).await;
    assert_eq!(pause.author, "the schedule of storage");
    assert_eq!(
        pause.reason,
        "`stop_if` of storage holds at version 2: metrics.errors.new > 0.5 || crashed > 1 (crashed 0, errors.new 0.75, errors.old 0.1)"
    );
    until_waits(&server, nodes[1], "paused", "the schedule of storage").await;
    // Whoever resumes has decided.
    server.client.resume().await.expect("resumed");
    until("leave all the same", async || {
        waits(&server, nodes[1]).await.is_none().then_some(())
    })
    .await;
    assert_eq!((paused(&server).await, stops(&server).await), (None, 1));
    // A server that starts anew knows that.
    server.stop().await;
    let server = site.run(config(&site, &prometheus.url)).await;
    for node in &nodes[1..] {
        server.report(*node, staged()).await.expect("heard");
    }
    settles(&server, nodes[0]).await;
    until("leave after a restart", async || {
        waits(&server, nodes[1]).await.is_none().then_some(())
    })
    .await;
    assert_eq!(stops(&server).await, 1);
    // It was well, and is ill again: that is another matter. That it was measured shows at the others' value.
    until("another pause", async || {
        say(0.1, 0.9);
        until_waits(&server, nodes[1], "go_if", "errors.old 0.9").await;
        say(0.9, 0.1);
        until("what was measured", async || {
            let waits = waits(&server, nodes[1]).await;
            waits.is_none_or(|(code, _)| code == "paused").then_some(())
        })
        .await;
        paused(&server).await
    })
    .await;
    assert_eq!(stops(&server).await, 2);
    server.stop().await;
}

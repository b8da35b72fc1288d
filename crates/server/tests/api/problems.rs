//! Refusals: every one is a problem with a stable type that says what to do next; changes repeat safely.

use crate::support::{Site, bundle, kind};
use client::{Client, ClientError};
use model::api::{PauseRequest, Problem, PublishRequest};
use model::ids::{Revision, Version};
use model::manifest::Digest;
use reqwest::{Method, StatusCode};
use std::sync::{Arc, Mutex};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

async fn problem(request: reqwest::RequestBuilder) -> Problem {
    let answer = request.send().await.expect("answers");
    let status = answer.status();
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let problem: Problem = answer.json().await.expect("a problem");
    assert_eq!(problem.status, status.as_u16());
    assert!(problem.kind.starts_with("/problems/") && !problem.detail.is_empty());
    problem
}

#[tokio::test]
async fn what_the_interface_does_not_have_is_a_problem() {
    let site = Site::new();
    let server = site.start().await;
    let cases = [
        (Method::GET, "/nothing", "unknown-route"),
        (Method::GET, "/v1/nothing", "unknown-route"),
        (Method::DELETE, "/v1/system", "method-not-allowed"),
        (Method::GET, "/v1/nodes/nobody", "unknown-node"),
        (Method::GET, "/v1/nodes?limit=many", "bad-request"),
        (Method::GET, "/v1/nodes?page=2", "bad-request"),
        (Method::GET, "/v1/upgrades/7", "unknown-version"),
        (Method::GET, "/v1/upgrades/x", "bad-request"),
        (
            Method::GET,
            "/v1/upgrades/1/revisions/1/manifest",
            "unknown-version",
        ),
        (Method::POST, "/v1/nodes", "bad-request"),
        (Method::POST, "/v1/nodes/x/sync", "bad-request"),
        (Method::POST, "/v1/permits/x/confirm", "bad-request"),
    ];
    for (method, path, kind) in cases {
        let found = problem(server.request(method.clone(), path)).await;
        assert_eq!(found.kind, format!("/problems/{kind}"), "{method} {path}");
    }
    let odd = server
        .request(Method::POST, "/v1/pause")
        .body(r#"{"reason": "x", "raison": "y"}"#);
    assert!(problem(odd).await.detail.contains("raison"));
    let large = server
        .request(Method::POST, "/v1/pause")
        .body(vec![b' '; 80 << 20]);
    if let Ok(answer) = large.send().await {
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
    server.stop().await;
}

#[tokio::test]
async fn without_the_token_nothing_is_told() {
    let site = Site::new();
    let server = site.start().await;
    let wrong = Client::new(&[&server.url], Some("wrong".to_owned())).expect("an address");
    assert_eq!(kind(wrong.system().await), "/problems/unauthorized");
    assert_eq!(
        kind(wrong.artifact(&"0".repeat(64), 0).await),
        "/problems/unauthorized"
    );
    for path in ["/v1/system", "/v1/events", "/v1/openapi.json"] {
        let without = reqwest::Client::new().get(format!("{}{path}", server.url));
        assert_eq!(problem(without).await.status, 401, "{path}");
    }
    let unknown = reqwest::Client::new().get(format!("{}/v1/nothing", server.url));
    assert_eq!(problem(unknown).await.status, 401);
    server.stop().await;
}

#[tokio::test]
async fn a_key_makes_a_change_happen_once() {
    let site = Site::new();
    let server = site.start().await;
    let pause = |key: &str, reason: &str| {
        let body = serde_json::json!({ "reason": reason }).to_string();
        server
            .request(Method::POST, "/v1/pause")
            .header("Idempotency-Key", key)
            .body(body)
            .send()
    };
    let first = pause("k1", "lunch")
        .await
        .expect("answers")
        .text()
        .await
        .expect("whole");
    site.pass_ms(1000);
    let again = pause("k1", "lunch")
        .await
        .expect("answers")
        .text()
        .await
        .expect("whole");
    assert_eq!(first, again, "the first answer, not another pause");
    let other = pause("k1", "dinner").await.expect("answers");
    assert_eq!(other.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let new = pause("k2", "lunch")
        .await
        .expect("answers")
        .text()
        .await
        .expect("whole");
    assert_ne!(first, new);
    let history = server
        .client
        .events(None, None, None)
        .await
        .expect("answers");
    assert_eq!(history.items.len(), 2);
    server.stop().await;
}

#[tokio::test]
async fn a_bundle_is_proved_from_its_artifacts() {
    let site = Site::new();
    let server = site.start().await;
    let publish = async |manifest: String| {
        let request = PublishRequest {
            manifest,
            revise: false,
            targets: None,
        };
        server.client.publish(&request).await
    };
    assert_eq!(
        kind(publish("{}".to_owned()).await),
        "/problems/bundle-refused"
    );
    server
        .publish(&bundle(1, "first"), false)
        .await
        .expect("published");
    let manifest = server
        .client
        .manifest(Version(1), Revision(1))
        .await
        .expect("there");
    let missing = manifest.replace(
        &manifest[manifest.find("sha256\":\"").expect("one") + 9..][..64],
        &"0".repeat(64),
    );
    assert_eq!(kind(publish(missing).await), "/problems/artifacts-missing");
    let lying = manifest.replace("\"version\":1", "\"version\":2");
    assert_eq!(kind(publish(lying).await), "/problems/bundle-refused");
    assert_eq!(
        publish(manifest.clone())
            .await
            .expect("the same again")
            .revision
            .0,
        1
    );
    let file = site
        .data
        .path()
        .join("server/repository/targets/upgrades")
        .join(format!("{}.1.1.json", Digest::of(manifest.as_bytes())));
    assert_eq!(
        std::fs::read_to_string(file).expect("a static file"),
        manifest
    );
    server.stop().await;
}

#[tokio::test]
async fn a_dead_server_is_passed_over() {
    let site = Site::new();
    let server = site.start().await;
    let dead = "http://127.0.0.1:9";
    let token = Some(crate::support::TOKEN.to_owned());
    let both = Client::new(&[dead, &server.url], token.clone()).expect("addresses");
    let pause = PauseRequest {
        reason: "lunch".to_owned(),
    };
    assert_eq!(
        both.pause(&pause)
            .await
            .expect("answered by the other")
            .author,
        "operator"
    );
    let none = Client::new(&[dead], token)
        .expect("an address")
        .system()
        .await;
    assert!(
        matches!(none, Err(ClientError::Unreachable { .. })),
        "{none:?}"
    );
    server.stop().await;
}

/// Keeps what is said of failures, and by whom.
#[derive(Clone, Default)]
struct Failures(Arc<Mutex<Vec<&'static str>>>);

impl Subscriber for Failures {
    fn enabled(&self, about: &Metadata<'_>) -> bool {
        *about.level() == Level::ERROR
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut said = self.0.lock().expect("unpoisoned");
        said.push(event.metadata().target());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The log has one line of it, by whoever knows what failed.
#[tokio::test]
async fn what_the_server_cannot_do_is_said_once() {
    let failures = Failures::default();
    let _said = tracing::subscriber::set_default(failures.clone());
    let site = Site::new();
    let server = site.start().await;
    std::fs::remove_dir_all(site.data.path().join("server/repository")).expect("removed");
    let content = bytes::Bytes::from_static(b"content");
    let digest = model::manifest::Digest::of(&content).to_string();
    let refused = server.client.put_artifact(&digest, content).await;
    assert_eq!(refused.expect_err("no place").status(), Some(503));
    let said = failures.0.lock().expect("unpoisoned").clone();
    assert_eq!(said, ["server::repository"]);
    server.stop().await;
}

//! Whoever asks again for what it has is told that nothing has changed.

use crate::support::{Running, Site, bundle, content};
use model::api::PauseRequest;
use reqwest::{Method, Response, StatusCode};

/// Asks for a path, with the tags of what the caller has.
async fn asked(server: &Running, path: &str, tags: &[&str]) -> Response {
    let mut request = server.request(Method::GET, path);
    for tag in tags {
        request = request.header("If-None-Match", *tag);
    }
    request.send().await.expect("answered")
}

fn header(answer: &Response, name: &str) -> String {
    let value = answer.headers().get(name);
    let value = value.map(|value| value.to_str().expect("text").to_owned());
    value.unwrap_or_default()
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let site = Site::new();
    let server = site.start().await;
    server.populate(&["a", "b"]).await;
    for path in [
        "/v1/openapi.json",
        "/v1/system",
        "/v1/fleet",
        "/v1/events",
        "/v1/nodes?limit=1",
        "/v1/nodes/a",
        "/v1/upgrades",
        "/v1/upgrades/2",
        "/v1/upgrades/1/revisions/1/manifest",
        "/v1/identities",
        "/v1/repository",
        "/v1/repository/metadata/timestamp.json",
    ] {
        let first = asked(&server, path, &[]).await;
        assert_eq!(first.status(), StatusCode::OK, "{path}");
        let tag = header(&first, "etag");
        assert!(tag.starts_with('"') && tag.len() > 10, "{path}: {tag}");
        assert_ne!(header(&first, "cache-control"), "", "{path}");
        let body = first.bytes().await.expect("whole");

        let again = asked(&server, path, &["\"of-something-else\"", &tag]).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{path}");
        assert_eq!(header(&again, "etag"), tag, "{path}");
        assert_eq!(header(&again, "content-type"), "", "{path}");
        assert_eq!(again.bytes().await.expect("none"), "", "{path}");

        let other = asked(&server, path, &["\"of-something-else\""]).await;
        assert_eq!(other.status(), StatusCode::OK, "{path}");
        assert_eq!(other.bytes().await.expect("whole"), body, "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_has_changed_is_sent_and_only_to_those_who_may_see_it() {
    let site = Site::new();
    let server = site.start().await;
    let published = server.publish(&bundle(1, ""), false).await;
    published.expect("published");
    let path = "/v1/fleet";
    let tag = header(&asked(&server, path, &[]).await, "etag");
    let same = asked(&server, path, &[&tag]).await;
    assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
    let pause = PauseRequest {
        reason: "lunch".to_owned(),
    };
    server.client.pause(&pause).await.expect("paused");
    let changed = asked(&server, path, &[&tag]).await;
    assert_eq!(changed.status(), StatusCode::OK);
    let newer = header(&changed, "etag");
    assert_ne!(newer, tag);
    assert!(changed.text().await.expect("whole").contains("lunch"));

    let stranger = reqwest::Client::new().get(format!("{}{path}", server.url));
    let stranger = stranger.header("If-None-Match", newer).send().await;
    let stranger = stranger.expect("answered");
    assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(header(&stranger, "etag"), "");

    // A stream never ends, and is not waited for.
    let stream = asked(&server, "/v1/events/stream", &["*"]).await;
    assert_eq!(stream.status(), StatusCode::OK);
    assert_eq!(header(&stream, "etag"), "");
    server.stop().await;
}

#[tokio::test]
async fn an_artifact_is_not_sent_to_whoever_has_it() {
    let site = Site::new();
    let server = site.start().await;
    let (digest, bytes) = content(100_000);
    let stored = server.client.put_artifact(&digest, bytes.clone()).await;
    stored.expect("stored");
    let path = format!("/v1/artifacts/{digest}");
    let tag = format!("\"{digest}\"");
    let whole = asked(&server, &path, &[]).await;
    assert_eq!(header(&whole, "etag"), tag);
    assert!(header(&whole, "cache-control").contains("immutable"));
    assert_eq!(whole.bytes().await.expect("whole"), bytes);
    for range in [None, Some("bytes=10-19"), Some("bytes=900000-")] {
        let mut request = server.request(Method::GET, &path);
        if let Some(range) = range {
            request = request.header("Range", range);
        }
        let had = request.header("If-None-Match", &tag).send().await;
        let had = had.expect("answered");
        assert_eq!(had.status(), StatusCode::NOT_MODIFIED, "{range:?}");
        assert_eq!(header(&had, "etag"), tag);
        assert_eq!(had.bytes().await.expect("none"), "");
    }
    server.stop().await;
}

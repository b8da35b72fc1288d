//! Artifacts: digests are checked, uploads leave nothing half, downloads resume.

use crate::support::{Site, content, kind};
use bytes::Bytes;
use reqwest::{Method, StatusCode};

#[tokio::test]
async fn an_artifact_comes_back_whole_and_in_parts() {
    let site = Site::new();
    let server = site.start().await;
    let (digest, bytes) = content(200_000);
    assert!(!server.client.has_artifact(&digest).await.expect("answers"));
    server
        .client
        .put_artifact(&digest, bytes.clone())
        .await
        .expect("stored");
    server
        .client
        .put_artifact(&digest, bytes.clone())
        .await
        .expect("the same again");
    assert!(server.client.has_artifact(&digest).await.expect("answers"));
    for offset in [0, 1, 199_999] {
        let mut body = server
            .client
            .artifact(&digest, offset)
            .await
            .expect("there");
        assert_eq!(body.length(), Some(200_000 - offset));
        let mut found = Vec::new();
        while let Some(chunk) = body.chunk().await.expect("whole") {
            found.extend_from_slice(&chunk);
        }
        assert_eq!(found, &bytes[usize::try_from(offset).expect("small")..]);
    }
    let behind = server.client.artifact(&digest, 200_000).await;
    assert_eq!(kind(behind), "/problems/range-not-satisfiable");
    server.stop().await;
}

#[tokio::test]
async fn headers_say_what_is_there() {
    let site = Site::new();
    let server = site.start().await;
    let (digest, bytes) = content(100);
    server
        .client
        .put_artifact(&digest, bytes.clone())
        .await
        .expect("stored");
    let path = format!("/v1/artifacts/{digest}");
    let head = server
        .request(Method::HEAD, &path)
        .send()
        .await
        .expect("answers");
    assert_eq!(head.headers()["content-length"], "100");
    assert_eq!(head.headers()["accept-ranges"], "bytes");
    let part = server
        .request(Method::GET, &path)
        .header("Range", "bytes=10-19")
        .send()
        .await;
    let part = part.expect("answers");
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()["content-range"], "bytes 10-19/100");
    assert_eq!(part.bytes().await.expect("whole"), bytes.slice(10..20));
    let several = server
        .request(Method::GET, &path)
        .header("Range", "bytes=0-1,5-6")
        .send()
        .await;
    assert_eq!(several.expect("answers").status(), StatusCode::OK);
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_right_is_not_stored_and_leaves_nothing() {
    let site = Site::new();
    let server = site.start().await;
    let (digest, bytes) = content(100);
    let wrong = server.client.put_artifact(&digest, bytes.slice(1..)).await;
    assert_eq!(kind(wrong), "/problems/digest-mismatch");
    let (large_digest, large) = content((1 << 20) + 1);
    let refused = server.request(Method::PUT, &format!("/v1/artifacts/{large_digest}"));
    // The server answers before the body is whole; the sender may meet the answer or the closed connection.
    if let Ok(answer) = refused.body(large).send().await {
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
    let named = server
        .client
        .put_artifact("../../etc/passwd", Bytes::new())
        .await;
    assert_eq!(kind(named), "/problems/bad-request");
    for digest in [&digest, &large_digest] {
        assert!(!server.client.has_artifact(digest).await.expect("answers"));
        assert_eq!(
            kind(server.client.artifact(digest, 0).await),
            "/problems/unknown-artifact"
        );
    }
    let uploads = site.data.path().join("server/repository/uploads");
    assert_eq!(std::fs::read_dir(uploads).expect("a folder").count(), 0);
    server.stop().await;
}

#[tokio::test]
async fn an_empty_artifact_is_one_too() {
    let site = Site::new();
    let server = site.start().await;
    let (digest, bytes) = content(0);
    server
        .client
        .put_artifact(&digest, bytes)
        .await
        .expect("stored");
    let mut body = server.client.artifact(&digest, 0).await.expect("there");
    assert!(body.chunk().await.expect("whole").is_none());
    server.stop().await;
}

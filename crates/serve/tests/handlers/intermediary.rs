//! HTTP as an intermediary speaks it (RFC 9110 and 9112): what is passed on, what is not, and what is refused. The table in
//! docs/reference/SPECIFICATION.md names these tests.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use crate::node::*;
use call::{Chain, RefusalKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A lens with one operation that is translated and others that pass.
const LENS: &str = r#"
    pass = ["* /pass/{rest*}"]
    [[operation]]
    old = "POST /old"
    new = "POST /new"
    request = [{ old = "body.n", new = "body.count" }]
    [[operation.response]]
    status = 200
    rules = [{ old = "body.ok", new = "body.done" }]
"#;

fn lens() -> Chain {
    past(LENS)
}

async fn head(stream: &mut TcpStream) -> String {
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        seen.push(stream.read_u8().await.expect("a head"));
    }
    String::from_utf8(seen).expect("text").to_lowercase()
}

/// Software that says the same to every request, and keeps the heads that it was sent.
async fn saying(said: &'static str) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = seen.clone();
    let software = scripted(move |_, mut stream| {
        let log = log.clone();
        async move {
            let head = head(&mut stream).await;
            log.lock().expect("log").push(head);
            stream.write_all(said.as_bytes()).await.expect("write");
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    })
    .await;
    (software, seen)
}

const EXPECTING: &str = "HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";

#[tokio::test]
async fn the_software_judges_what_its_caller_expects() {
    for chain in [Chain::empty(), lens()] {
        let software = scripted(|_, mut stream| async move {
            let head = head(&mut stream).await;
            assert!(head.contains("expect: 100-continue"), "{head}");
            if head.contains("/pass/no") {
                let no = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno";
                stream.write_all(no).await.expect("write");
                // Nothing of the body comes.
                assert_eq!(stream.read(&mut [0; 1]).await.expect("an end"), 0);
                return;
            }
            if head.contains("/pass/yes") {
                let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";
                stream.write_all(go_on).await.expect("write");
            }
            let mut body = [0; 4];
            stream.read_exact(&mut body).await.expect("a body");
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{}",
                String::from_utf8_lossy(&body)
            );
            stream.write_all(answer.as_bytes()).await.expect("write");
            let _ = stream.read_to_end(&mut Vec::new()).await;
        })
        .await;
        let leave = leave(chain, software, 1);
        let mut node = Node::start(Some(leave.clone()), limits()).await;
        node.caller.write(format!("PUT /pass/no {EXPECTING}")).await;
        let reply = node.caller.read().await;
        assert_eq!((reply.status, reply.text().as_str()), (401, "no"));
        assert_eq!(reply.header("connection"), Some("close"));
        // Software that does not answer the question is sent the body after a while, as callers do it themselves.
        for target in ["/pass/yes", "/pass/silent"] {
            let mut node = Node::start(Some(leave.clone()), limits()).await;
            node.caller.write(format!("PUT {target} {EXPECTING}")).await;
            assert_eq!(node.caller.read().await.status, 100, "{target}");
            node.caller.write("body").await;
            assert_eq!(node.caller.read().await.text(), "body", "{target}");
        }
    }
}

const HINTS: &str = "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"done\":true}";

#[tokio::test]
async fn interim_answers_pass_where_answers_pass_unchanged() {
    const ANSWER: &str = "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n";
    let (software, _) = saying(HINTS).await;
    for chain in [Chain::empty(), lens()] {
        let mut node = Node::start(Some(leave(chain, software, 1)), limits()).await;
        node.caller
            .write("GET /pass/a HTTP/1.1\r\nHost: h\r\n\r\n")
            .await;
        node.caller.is_told(ANSWER).await;
    }
    // A caller that knows none, and an answer that is translated.
    let mut node = Node::start(Some(leave(lens(), software, 1)), limits()).await;
    node.caller
        .write("GET /pass/a HTTP/1.0\r\nHost: h\r\n\r\n")
        .await;
    node.caller.is_told("HTTP/1.0 200 OK\r\n").await;
    let mut node = Node::start(Some(leave(lens(), software, 1)), limits()).await;
    let reply = node.caller.call("POST /old", r#"{"n":1}"#).await;
    assert_eq!(
        (reply.status, reply.text().as_str()),
        (200, r#"{"ok":true}"#)
    );
}

#[tokio::test]
async fn no_part_is_asked_for_of_a_body_that_has_to_be_read_whole() {
    let (software, seen) = saying(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"done\":true}",
    )
    .await;
    for (start, passes) in [("POST /old", false), ("POST /pass/a", true)] {
        let mut node = Node::start(Some(leave(lens(), software, 1)), limits()).await;
        node.caller
            .write(format!(
                "{start} HTTP/1.1\r\nHost: h\r\nRange: bytes=0-4\r\nIf-Range: \"x\"\r\nContent-Length: 7\r\n\r\n{{\"n\":1}}"
            ))
            .await;
        assert_eq!(node.caller.read().await.status, 200, "{start}");
        let head = seen.lock().expect("log").pop().expect("a request");
        assert_eq!(head.contains("range: bytes=0-4"), passes, "{head}");
        assert_eq!(head.contains("if-range"), passes, "{head}");
    }
}

#[tokio::test]
async fn a_target_that_names_a_host_is_believed_before_the_header() {
    let (software, seen) = saying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let mut node = Node::start(Some(leave(Chain::empty(), software, 1)), limits()).await;
    node.caller
        .write("GET http://other:81/a HTTP/1.1\r\nHost: h\r\n\r\n")
        .await;
    assert_eq!(node.caller.read().await.status, 200);
    let head = seen.lock().expect("log").pop().expect("a request");
    assert!(head.starts_with("get http://other:81/a "), "{head}");
    assert!(head.contains("\r\nhost: other:81\r\n"), "{head}");
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_and_counted_with_its_reason() {
    let (software, seen) = saying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let long = "x".repeat(10_000);
    for (bytes, status, kind, rule) in [
        (
            "GET /a<b> HTTP/1.1\r\nHost: h\r\n\r\n",
            400,
            RefusalKind::Malformed,
            "(invalid URI)",
        ),
        (
            "GET /?a=\"b\" HTTP/1.1\r\nHost: h\r\n\r\n",
            400,
            RefusalKind::Malformed,
            "(invalid URI)",
        ),
        (
            "G@T /a HTTP/1.1\r\nHost: h\r\n\r\n",
            400,
            RefusalKind::Malformed,
            "(invalid HTTP method parsed)",
        ),
        (
            "GET /a HTTP/1.1\r\nHost: h\r\nA b: c\r\n\r\n",
            400,
            RefusalKind::Malformed,
            "(invalid HTTP header parsed)",
        ),
        (
            "GET /a HTTP/1.1\r\nHost: h, i\r\n\r\n",
            400,
            RefusalKind::Malformed,
            "(ambiguous)",
        ),
        (
            &format!("GET /{long} HTTP/1.1\r\n"),
            431,
            RefusalKind::TooLarge,
            "(message head is too large)",
        ),
        (
            "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n",
            501,
            RefusalKind::Unmatched,
            "(CONNECT)",
        ),
    ] {
        let mut node = Node::start(Some(leave(Chain::empty(), software, 1)), limits()).await;
        node.caller.write(bytes).await;
        assert_eq!(node.caller.read().await.status, status, "{bytes}");
        until(|| !node.counters.read().refused.is_empty()).await;
        let counted = node.counters.read().refused;
        assert_eq!(counted, [(kind, rule.to_owned(), 1)], "{bytes}");
    }
    assert!(seen.lock().expect("log").is_empty());
}

#[tokio::test]
async fn trailers_pass_where_they_are_asked_for() {
    let (software, seen) = saying(
        "HTTP/1.1 200 OK\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n",
    )
    .await;
    let mut node = Node::start(Some(leave(lens(), software, 1)), limits()).await;
    node.caller
        .write("GET /pass/a HTTP/1.1\r\nHost: h\r\nTE: trailers, gzip\r\nConnection: TE\r\n\r\n")
        .await;
    let mut told = Vec::new();
    while !told.ends_with(b"0\r\nx-sum: 7\r\n\r\n") {
        told.extend(node.caller.take(1).await.expect("more"));
    }
    let head = seen.lock().expect("log").pop().expect("a request");
    assert!(head.contains("\r\nte: trailers\r\n"), "{head}");
}

#[tokio::test]
async fn a_refusal_says_when() {
    let (software, _) = saying("").await;
    let mut node = Node::start(Some(leave(lens(), software, 1)), limits()).await;
    let reply = node.caller.call("GET /unknown", "").await;
    assert_eq!(reply.status, 501);
    assert!(
        reply
            .header("date")
            .is_some_and(|date| date.ends_with(" GMT")),
        "{reply:?}"
    );
}

//! The connection handler over real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::node::*;
use bytes::Bytes;
use call::{Chain, Direction, Limits};
use http_body_util::Full;
use hyper::Response;
use lens::Lens;
use serve::{ResetCause, Served};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LENS: &str = r#"
    pass = ["GET /health"]
    [[operation]]
    old = "PUT /v1/items/{id}"
    new = "POST /v2/things"
    request = [
      { old = "path.id", new = "body.key" },
      { old = "body.n", new = "body.count", convert = ["integer", "string"] },
    ]
    [[operation.response]]
    status = { old = 200, new = 201 }
    rules = [{ old = "body.ok", new = "body.done" }]
"#;

/// Version 2: does not understand anything else.
fn version_2(start: &str, body: Bytes) -> Response<Full<Bytes>> {
    let (status, text) = match (start, std::str::from_utf8(&body).unwrap_or("?")) {
        ("POST /v2/things", r#"{"key":"7","count":"5"}"#) => (201, r#"{"done":true}"#.to_owned()),
        ("GET /health", _) => (200, "up".to_owned()),
        (start, body) => (400, format!("what is {start} {body}?")),
    };
    Response::builder()
        .status(status)
        .body(Full::new(text.into()))
        .expect("valid")
}

#[tokio::test]
async fn calls_share_a_connection_and_each_is_translated() {
    let software = Software::start(version_2).await;
    let mut node = Node::start(Some(leave(past(LENS), software.address, 1)), limits()).await;
    for _ in 0..3 {
        let reply = node.caller.call("PUT /v1/items/7", r#"{"n":5}"#).await;
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (200, r#"{"ok":true}"#),
            "{reply:?}"
        );
        assert_eq!(node.caller.call("GET /health", "").await.text(), "up");
    }
    assert_eq!(software.connections.load(Ordering::SeqCst), 1);
    until(|| node.gate.in_calls.load(Ordering::SeqCst) == 0).await;
    assert_eq!(node.counters.read().past[0], 6);
    node.caller.stream.shutdown().await.expect("shutdown");
    assert!(matches!(node.served().await, Served::Closed));
}

#[tokio::test]
async fn refusals_are_answers_and_the_connection_goes_on() {
    let software = Software::start(version_2).await;
    let mut node = Node::start(Some(leave(past(LENS), software.address, 1)), limits()).await;
    let reply = node.caller.call("GET /v1/unknown", "").await;
    assert_eq!(reply.status, 501);
    assert_eq!(
        reply.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(
        node.caller
            .call("PUT /v1/items/7", r#"{"n":"x"}"#)
            .await
            .status,
        422
    );
    assert_eq!(node.caller.call("PUT /v1/items/7", "{").await.status, 400);
    let long = format!(r#"{{"n":{}}}"#, "1".repeat(5000));
    assert_eq!(node.caller.call("PUT /v1/items/7", &long).await.status, 413);
    // A body that nobody needs does not cost the connection.
    let body = "x".repeat(4000);
    node.caller
        .write(&request("POST /v1/unknown", &body)[..100])
        .await;
    until(|| node.gate.in_calls.load(Ordering::SeqCst) == 1).await;
    node.caller
        .write(&request("POST /v1/unknown", &body)[100..])
        .await;
    assert_eq!(node.caller.read().await.status, 501);
    assert_eq!(node.caller.call("GET /v1/unknown", "").await.status, 501);
    assert_eq!(software.seen(), Vec::<String>::new());
    assert_eq!(node.counters.read().refused.len(), 4);
    node.caller
        .write(
            "POST /v1/x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        )
        .await;
    assert_eq!(node.caller.read().await.status, 501);
}

#[tokio::test]
async fn pipelined_calls_are_answered_in_order() {
    let software = Software::start(version_2).await;
    let mut node = Node::start(Some(leave(past(LENS), software.address, 1)), limits()).await;
    let one = request("PUT /v1/items/7", r#"{"n":5}"#);
    let two = request("GET /health", "");
    node.caller.write(format!("{one}{two}{one}")).await;
    assert_eq!(node.caller.read().await.text(), r#"{"ok":true}"#);
    assert_eq!(node.caller.read().await.text(), "up");
    assert_eq!(node.caller.read().await.text(), r#"{"ok":true}"#);
}

#[tokio::test]
async fn chunked_and_expected_bodies() {
    let software = Software::start(version_2).await;
    let mut node = Node::start(Some(leave(past(LENS), software.address, 1)), limits()).await;
    node.caller
        .write("PUT /v1/items/7 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"n\r\n")
        .await;
    node.caller.write("4\r\n\":5}\r\n0\r\n\r\n").await;
    assert_eq!(node.caller.read().await.text(), r#"{"ok":true}"#);
    let head =
        "PUT /v1/items/7 HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 7\r\n\r\n";
    node.caller.write(head).await;
    assert_eq!(node.caller.read().await.status, 100);
    node.caller.write(r#"{"n":5}"#).await;
    assert_eq!(node.caller.read().await.text(), r#"{"ok":true}"#);
}

#[tokio::test]
async fn large_bodies_stream_through_what_does_not_touch_them() {
    let software = Software::start(echo).await;
    let mut node = Node::start(Some(leave(Chain::empty(), software.address, 1)), limits()).await;
    let body = "x".repeat(3 << 20);
    let reply = node.caller.call("POST /any", &body).await;
    assert_eq!(reply.body.len(), "POST /any\n".len() + body.len());
    assert_eq!(node.counters.read().direct, 1);
}

#[tokio::test]
async fn bodies_stream_past_answer_rules_that_are_about_something_else_of_the_request() {
    let lens = r#"
        [[response]]
        status = 200
        rules = [{ to_old = { "header.x-asked" = "request.query.q" }, to_new = "drop" }]
        [[operation]]
        same = "POST /any"
    "#;
    let lens = Arc::new(Lens::parse("test.toml", lens).unwrap_or_else(|error| panic!("{error}")));
    let chain = lens::chain(vec![(lens, Direction::Past)]);
    let software = Software::start(echo).await;
    let mut node = Node::start(Some(leave(chain, software.address, 1)), limits()).await;
    let body = "x".repeat(3 << 20);
    let reply = node.caller.call("POST /any?q=1", &body).await;
    assert_eq!((reply.status, reply.header("x-asked")), (200, Some("1")));
    assert!(reply.body.len() > body.len());
}

#[tokio::test]
async fn heads_have_limits() {
    let software = Software::start(echo).await;
    let leave = leave(Chain::empty(), software.address, 1);
    for (head, status) in [
        (
            format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(9000)),
            [431, 414],
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "A: b\r\n".repeat(30)),
            [431, 431],
        ),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"
                .to_owned(),
            [400, 400],
        ),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n".to_owned(),
            [400, 400],
        ),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n".to_owned(),
            [400, 400],
        ),
    ] {
        let mut node = Node::start(Some(leave.clone()), limits()).await;
        node.caller.write(&head).await;
        let reply = node.caller.try_read().await.map(|reply| reply.status);
        assert!(
            matches!(reply, Ok(found) if status.contains(&found)),
            "{head}: {reply:?}"
        );
    }
    assert_eq!(software.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn a_head_must_arrive_in_time_but_idle_connections_may_wait() {
    let software = Software::start(echo).await;
    let limits = Limits {
        head_timeout: Duration::from_millis(100),
        ..limits()
    };
    let leave = leave(Chain::empty(), software.address, 1);
    let mut idle = Node::start(Some(leave.clone()), limits.clone()).await;
    let mut fresh = Node::start(Some(leave.clone()), limits.clone()).await;
    assert_eq!(idle.caller.call("POST /a", "body").await.status, 200);
    for _ in 0..3 {
        // The reset of a slow head is the clock that the idle connections outlive.
        let mut slow = Node::start(Some(leave.clone()), limits.clone()).await;
        assert_eq!(slow.caller.call("POST /a", "body").await.status, 200);
        slow.caller.write("GET /a HT").await;
        assert!(slow.caller.is_reset().await);
        assert!(matches!(
            slow.served().await,
            Served::Reset(ResetCause::Caller)
        ));
    }
    assert_eq!(idle.caller.call("POST /a", "body").await.status, 200);
    assert_eq!(fresh.caller.call("POST /a", "body").await.status, 200);
}

#[tokio::test]
async fn a_call_that_is_held_is_answered_by_the_new_software() {
    let old = Software::start(echo).await;
    let new = Software::start(version_2).await;
    let mut node = Node::start(Some(leave(Chain::empty(), old.address, 1)), limits()).await;
    assert_eq!(
        node.caller.call("GET /v1/x", "").await.text(),
        "GET /v1/x\n"
    );
    node.hold();
    node.caller
        .write(request("PUT /v1/items/7", r#"{"n":5}"#))
        .await;
    until(|| node.gate.waiting.load(Ordering::SeqCst) == 1).await;
    drop(old);
    node.now(leave(past(LENS), new.address, 2));
    assert_eq!(node.caller.read().await.text(), r#"{"ok":true}"#);
    assert_eq!(new.seen(), ["POST /v2/things"]);
}

#[tokio::test]
async fn a_connection_of_an_older_generation_is_dropped() {
    let software = Software::start(echo).await;
    let mut node = Node::start(Some(leave(Chain::empty(), software.address, 1)), limits()).await;
    node.caller.call("GET /a", "").await;
    node.now(leave(Chain::empty(), software.address, 2));
    node.caller.call("GET /b", "").await;
    assert_eq!(software.connections.load(Ordering::SeqCst), 2);
}

async fn read_head(stream: &mut tokio::net::TcpStream) {
    let mut seen = Vec::new();
    while !seen.windows(4).any(|window| window == b"\r\n\r\n") {
        let mut buffer = [0; 1024];
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(length) => seen.extend_from_slice(&buffer[..length]),
        }
    }
}

#[tokio::test]
async fn software_that_dies_during_a_call_looks_dead_and_is_asked_once() {
    let calls = Arc::new(AtomicUsize::new(0));
    for answer in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
        "HTTP/1.1 200",
    ] {
        calls.store(0, Ordering::SeqCst);
        let counted = calls.clone();
        let address = scripted(move |_, mut stream| {
            let calls = counted.clone();
            async move {
                read_head(&mut stream).await;
                calls.fetch_add(1, Ordering::SeqCst);
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        })
        .await;
        let mut node = Node::start(Some(leave(Chain::empty(), address, 1)), limits()).await;
        node.caller.write(request("POST /a", "")).await;
        assert!(node.caller.is_reset().await, "after `{answer}`");
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        assert!(matches!(
            node.served().await,
            Served::Reset(ResetCause::Software)
        ));
    }
}

#[tokio::test]
async fn an_idle_connection_that_the_software_closes_is_opened_anew() {
    let address = scripted(|number, mut stream| async move {
        read_head(&mut stream).await;
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}");
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await;
    let mut node = Node::start(Some(leave(Chain::empty(), address, 1)), limits()).await;
    assert_eq!(node.caller.call("GET /a", "").await.text(), "0");
    // Exchanges elsewhere, begun after the close, end after it has been noticed here.
    let software = Software::start(echo).await;
    let mut other = Node::start(Some(leave(Chain::empty(), software.address, 1)), limits()).await;
    for _ in 0..3 {
        other.caller.call("GET /b", "").await;
    }
    assert_eq!(node.caller.call("GET /a", "").await.text(), "1");
}

#[tokio::test]
async fn software_that_does_not_listen_looks_dead() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("bind");
    let address = listener.local_addr().expect("address");
    drop(listener);
    let mut node = Node::start(Some(leave(Chain::empty(), address, 1)), limits()).await;
    node.caller.write(request("GET /a", "")).await;
    assert!(node.caller.is_reset().await);
    assert_eq!(node.counters.read().failed, 1);
}

#[tokio::test]
async fn a_closed_gate_and_a_dropped_handler_reset() {
    let software = Software::start(echo).await;
    let mut closed = leave(Chain::empty(), software.address, 1);
    closed.closed = true;
    let mut node = Node::start(Some(closed), limits()).await;
    node.caller.write(request("GET /a", "")).await;
    assert!(node.caller.is_reset().await);
    assert!(matches!(
        node.served().await,
        Served::Reset(ResetCause::Closed)
    ));
    let mut node = Node::start(Some(leave(Chain::empty(), software.address, 1)), limits()).await;
    node.caller.call("GET /a", "").await;
    node.served.abort();
    assert!(node.caller.is_reset().await);
}

#[tokio::test]
async fn a_connection_is_given_back_at_a_message_boundary() {
    let software = Software::start(echo).await;
    let mut returning = leave(Chain::empty(), software.address, 1);
    returning.give_back = true;
    let mut node = Node::start(Some(returning.clone()), limits()).await;
    // Two whole calls and the beginning of a third: it has to be served here as well.
    let one = request("POST /a", "body");
    node.caller
        .write(format!("{one}{one}POST /c HTTP/1.1\r\nHo"))
        .await;
    assert_eq!(node.caller.read().await.text(), "POST /a\nbody");
    assert_eq!(node.caller.read().await.text(), "POST /a\nbody");
    node.caller
        .write("st: h\r\nContent-Length: 2\r\n\r\nxy")
        .await;
    let reply = node.caller.read().await;
    assert_eq!(reply.text(), "POST /c\nxy");
    assert_eq!(reply.header("connection"), None);
    let mut caller = node.caller;
    let Served::GiveBack(mut stream) = bounded(node.served).await.expect("no panic") else {
        panic!("not given back");
    };
    assert!(is_as_lent(&stream), "{stream:?}");
    caller.write("raw").await;
    let mut raw = [0; 3];
    bounded(stream.read_exact(&mut raw))
        .await
        .expect("the same connection");
    assert_eq!(&raw, b"raw");
    bounded(stream.write_all(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"))
        .await
        .expect("write");
    assert_eq!(caller.read().await.status, 204);
}

#[tokio::test]
async fn a_caller_that_closes_is_not_given_back() {
    let software = Software::start(echo).await;
    let mut returning = leave(Chain::empty(), software.address, 1);
    returning.give_back = true;
    let mut node = Node::start(Some(returning), limits()).await;
    node.caller
        .write("GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(node.caller.read().await.header("connection"), Some("close"));
    assert!(matches!(node.served().await, Served::Closed));
}

#[tokio::test]
async fn head_and_headers_pass_unchanged() {
    let address = scripted(|_, mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 Fine\r\nX-CaSe: 1\r\nContent-Length: 42\r\n\r\n")
            .await;
        read_head(&mut stream).await;
    })
    .await;
    let mut node = Node::start(Some(leave(Chain::empty(), address, 1)), limits()).await;
    node.caller
        .write("HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n")
        .await;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(bounded(node.caller.stream.read_u8()).await.expect("a head"));
    }
    let head = String::from_utf8(head).expect("text");
    assert_eq!(
        head,
        "HTTP/1.1 200 Fine\r\nX-CaSe: 1\r\nContent-Length: 42\r\n\r\n"
    );
}

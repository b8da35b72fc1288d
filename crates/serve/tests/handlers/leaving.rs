//! Callers that leave while their calls run, and answers that come before a call is complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::node::*;
use call::{Answer, Call, Calls, Chain, Conflicts, Direction, Failure, HttpCall, Next, Pending};
use serve::{ResetCause, Served};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";

async fn read_head(stream: &mut TcpStream) {
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        seen.push(stream.read_u8().await.expect("a head"));
    }
}

/// Software that streams events without end, and counts the callers whose end it has seen.
async fn streaming(left: &Arc<AtomicUsize>) -> std::net::SocketAddr {
    let left = left.clone();
    scripted(move |_, mut stream| {
        let left = left.clone();
        async move {
            read_head(&mut stream).await;
            stream.write_all(STREAM.as_bytes()).await.expect("write");
            assert_eq!(stream.read(&mut [0; 1]).await.expect("an end"), 0);
            left.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await
}

#[tokio::test]
async fn software_sees_the_end_of_callers_that_leave_while_they_are_answered() {
    let left = Arc::default();
    let software = streaming(&left).await;
    let mut served = Vec::new();
    for _ in 0..20 {
        let mut node = Node::start(Some(leave(Chain::empty(), software, 1)), limits()).await;
        node.caller.write(request("GET /events", "")).await;
        node.caller.is_told("HTTP/1.1 200 OK").await;
        served.push(node.served);
        drop(node.caller);
    }
    for served in served {
        bounded(served).await.expect("no panic");
    }
    assert_eq!(left.load(Ordering::SeqCst), 20);
}

#[tokio::test]
async fn a_reset_ends_a_call_that_nobody_answers() {
    let left = Arc::new(Notify::new());
    let seen = left.clone();
    let software = scripted(move |_, mut stream| {
        let seen = seen.clone();
        async move {
            read_head(&mut stream).await;
            // It never answers.
            let _ = stream.read(&mut [0; 1]).await;
            seen.notify_one();
        }
    })
    .await;
    let mut node = Node::start(Some(leave(Chain::empty(), software, 1)), limits()).await;
    node.caller.write(request("GET /slow", "")).await;
    until(|| node.gate.in_calls.load(Ordering::SeqCst) == 1).await;
    let linger = SockRef::from(&node.caller.stream).set_linger(Some(Duration::ZERO));
    linger.expect("linger");
    drop(node.caller);
    let served = bounded(node.served).await.expect("no panic");
    assert!(matches!(served, Served::Reset(ResetCause::Caller)));
    bounded(left.notified()).await;
    assert_eq!(node.counters.read().failed, 1);
    assert_eq!(node.gate.in_calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_caller_that_only_ends_its_side_is_answered() {
    let software = scripted(|_, mut stream| async move {
        read_head(&mut stream).await;
        assert_eq!(stream.read(&mut [0; 1]).await.expect("an end"), 0);
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate";
        stream.write_all(answer).await.expect("write");
    })
    .await;
    let mut node = Node::start(Some(leave(Chain::empty(), software, 1)), limits()).await;
    node.caller.write(request("GET /a", "")).await;
    node.caller.stream.shutdown().await.expect("shutdown");
    assert_eq!(node.caller.read().await.text(), "late");
    assert!(matches!(node.served().await, Served::Closed));
}

/// Makes two calls of one, as a component does that remembers something between them.
struct Twice {
    between: Arc<Notify>,
    first_made: Arc<Notify>,
    finished: Arc<AtomicBool>,
}

impl Calls for Twice {
    fn handle<'a>(
        &'a self,
        call: Call,
        mut next: Next<'a>,
    ) -> Pending<'a, Result<Answer, Failure>> {
        Box::pin(async move {
            let call = call.into_http()?;
            let message = |call: &HttpCall| {
                let mut request = http::Request::new(());
                *request.method_mut() = call.head.method.clone();
                *request.uri_mut() = call.head.uri.clone();
                let host = call.head.headers["host"].clone();
                request.headers_mut().insert("host", host);
                Call::Http(HttpCall {
                    head: request.into_parts().0,
                    body: call::Body::Empty,
                    context: call.context.clone(),
                })
            };
            let (first, second) = (message(&call), message(&call));
            next.delegate(first).await?;
            self.first_made.notify_one();
            self.between.notified().await;
            let answer = next.delegate(second).await?;
            self.finished.store(true, Ordering::SeqCst);
            Ok(answer)
        })
    }

    fn instances(&self) -> usize {
        1
    }
}

#[tokio::test]
async fn a_call_of_an_adapter_that_remembers_comes_to_its_end_without_its_caller() {
    let software = Software::start(echo).await;
    let twice = Twice {
        between: Arc::default(),
        first_made: Arc::default(),
        finished: Arc::default(),
    };
    let (between, first_made, finished) = (
        twice.between.clone(),
        twice.first_made.clone(),
        twice.finished.clone(),
    );
    let chain = Chain::of(
        Direction::Past,
        vec![Arc::new(twice)],
        &Conflicts::default(),
    );
    let mut node = Node::start(Some(leave(chain, software.address, 1)), limits()).await;
    node.caller.write(request("GET /a", "")).await;
    bounded(first_made.notified()).await;
    let linger = SockRef::from(&node.caller.stream).set_linger(Some(Duration::ZERO));
    linger.expect("linger");
    drop(node.caller);
    // Longer than it takes to notice.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    between.notify_one();
    bounded(node.served).await.expect("no panic");
    assert!(finished.load(Ordering::SeqCst));
    assert_eq!(software.seen(), ["GET /a", "GET /a"]);
}

/// As most clients do: all of the request is sent before anything is read.
#[tokio::test]
async fn an_early_answer_reaches_a_caller_that_is_still_sending() {
    let software = scripted(|_, mut stream| async move {
        read_head(&mut stream).await;
        let answer =
            b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig";
        stream.write_all(answer).await.expect("write");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    })
    .await;
    let body = vec![b'x'; 8 << 20];
    let head = format!(
        "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    for _ in 0..10 {
        let mut node = Node::start(Some(leave(Chain::empty(), software, 1)), limits()).await;
        node.caller.write(&head).await;
        node.caller.write(&body).await;
        let reply = node.caller.read().await;
        assert_eq!((reply.status, reply.text().as_str()), (413, "big"));
        drop(node.caller);
        assert!(matches!(
            bounded(node.served).await.expect("no panic"),
            Served::Closed
        ));
    }
}

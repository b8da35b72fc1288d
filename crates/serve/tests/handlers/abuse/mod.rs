//! HTTP meant to confuse (request smuggling, response splitting, garbage): each case costs its own connection at most,
//! and what reaches the software is nothing, or whole requests that can be read in one way only.

mod answers;
mod corpus;
mod recorder;

use std::io;
use std::time::Duration;

use crate::node::*;
use call::{Chain, Limits};
use recorder::{Reached, Recorder};
use serve::{ResetCause, Served};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A lens that lets calls through but for one, whose body it needs.
const LENS: &str = r#"
    pass = ["* /{rest*}"]
    [[operation]]
    old = "POST /old"
    new = "POST /new"
    request = [{ old = "body.n", new = "body.count" }]
"#;

/// What a caller sends, what of it reaches the software, and the statuses that the caller gets.
struct Case {
    name: &'static str,
    bytes: &'static [u8],
    reaches: &'static [&'static str],
    answers: &'static str,
}

const fn case(
    name: &'static str,
    bytes: &'static [u8],
    reaches: &'static [&'static str],
    answers: &'static str,
) -> Case {
    Case {
        name,
        bytes,
        reaches,
        answers,
    }
}

fn lens() -> Chain {
    past(LENS)
}

/// The statuses of everything that was answered, and how the connection ended.
fn statuses(bytes: &[u8], ended: &io::Result<usize>) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut found: Vec<&str> = text
        .match_indices("HTTP/1.")
        .filter_map(|(at, _)| text.get(at + 9..at + 12))
        .collect();
    if ended.is_err() {
        found.push("reset");
    }
    if found.is_empty() {
        found.push("closed");
    }
    found.join(" ")
}

/// Sends bytes over a connection of their own and reads until its end.
async fn send(chain: Chain, recorder: &mut Recorder, bytes: &[u8]) -> (Vec<Reached>, String) {
    let mut node = Node::start(Some(leave(chain, recorder.address, 1)), limits()).await;
    // Whoever has been refused may be closed while it still writes.
    let _ = bounded(node.caller.stream.write_all(bytes)).await;
    let _ = node.caller.stream.shutdown().await;
    let mut answer = Vec::new();
    let ended = bounded(node.caller.stream.read_to_end(&mut answer)).await;
    let statuses = statuses(&answer, &ended);
    let _ = node.served().await;
    (recorder.take().await, statuses)
}

#[tokio::test]
async fn what_reaches_the_software_can_be_read_in_one_way_only() {
    let mut recorder = Recorder::start().await;
    let mut wrong = String::new();
    for case in corpus::REQUESTS {
        for (way, chain) in [("direct", Chain::empty()), ("lens", lens())] {
            let (reached, answers) = send(chain, &mut recorder, case.bytes).await;
            let ambiguous: Vec<&String> = reached.iter().flat_map(|one| &one.ambiguous).collect();
            let requests: Vec<&str> = (reached.iter())
                .flat_map(|one| one.requests.iter().map(String::as_str))
                .collect();
            if !ambiguous.is_empty() || requests != case.reaches || answers != case.answers {
                wrong.push_str(&format!(
                    "--- {} ({way})\nexpected {:?} answered {:?}\nreached  {requests:?} answered {answers:?}\nambiguous {ambiguous:?}\n",
                    case.name, case.reaches, case.answers
                ));
            }
            // Whoever else calls notices nothing.
            let (reached, answers) = send(
                lens(),
                &mut recorder,
                b"GET /ok HTTP/1.1\r\nHost: h\r\n\r\n",
            )
            .await;
            assert_eq!(
                (reached.len(), answers.as_str()),
                (1, "200"),
                "after {}",
                case.name
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// A call whose body a lens needs is not begun before all of the body is there.
#[tokio::test]
async fn a_translated_call_reaches_the_software_whole_or_not_at_all() {
    let whole = b"POST /old HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n7;x\r\n{\"n\":5}\r\n0\r\nContent-Length: 1\r\n\r\n";
    let mut recorder = Recorder::start().await;
    let (reached, answers) = send(lens(), &mut recorder, whole).await;
    assert_eq!(answers, "200");
    assert_eq!(reached[0].requests, [r#"POST /new [{"count":5}]"#]);
    for end in [0, 20, 90, 95, 100, 105, 108, 112, whole.len() - 1] {
        let (reached, _) = send(lens(), &mut recorder, &whole[..end]).await;
        assert!(reached.is_empty(), "cut at {end}: {reached:?}");
    }
}

/// Heads that never end and bodies that never come hold their own connection only, and heads not for long.
#[tokio::test]
async fn whoever_is_slow_waits_alone() {
    let mut recorder = Recorder::start().await;
    let short = Limits {
        head_timeout: Duration::from_millis(300),
        ..limits()
    };
    let leave = leave(lens(), recorder.address, 1);
    let mut slow = Vec::new();
    for start in [
        "",
        "G",
        "GET /a HTTP/1.1\r\n",
        "GET /a HTTP/1.1\r\nHost: h\r\nX: ",
    ] {
        let mut node = Node::start(Some(leave.clone()), short.clone()).await;
        node.caller.write(start).await;
        slow.push((start, node));
    }
    let mut body = Node::start(Some(leave.clone()), short.clone()).await;
    body.caller
        .write("POST /old HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\n\r\n{\"n\"")
        .await;
    let mut other = Node::start(Some(leave.clone()), short).await;
    for _ in 0..3 {
        assert_eq!(other.caller.call("POST /other", "x").await.status, 200);
    }
    for (start, mut node) in slow {
        if start.is_empty() {
            // Idle, not slow.
            node.caller
                .write("GET /late HTTP/1.1\r\nHost: h\r\n\r\n")
                .await;
            assert_eq!(node.caller.read().await.status, 200);
            continue;
        }
        // One byte at a time does not buy more time.
        while node.caller.stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(
            matches!(node.served().await, Served::Reset(ResetCause::Caller)),
            "`{start}`"
        );
    }
    body.caller.write(":5}").await;
    assert_eq!(body.caller.read().await.status, 200);
    drop((body, other));
    let reached = recorder.take().await;
    assert!(
        reached.iter().all(|one| one.ambiguous.is_none()),
        "{reached:?}"
    );
}

/// A head beyond the limit is refused before it is complete; a body beyond the limit of what a lens decodes, too.
#[tokio::test]
async fn whatever_is_too_long_is_refused() {
    let mut recorder = Recorder::start().await;
    let long = "x".repeat(100_000);
    for (bytes, status) in [
        (format!("GET /{long} HTTP/1.1\r\nHost: h\r\n\r\n"), "431"),
        (format!("GET /{long}"), "431"),
        (
            format!("GET /a HTTP/1.1\r\nHost: h\r\nX: {long}\r\n\r\n"),
            "431",
        ),
        (
            format!("GET /a HTTP/1.1\r\nHost: h\r\n{long}: x\r\n\r\n"),
            "431",
        ),
        (
            format!("GET /a HTTP/1.1\r\nHost: h\r\n{}", "X: y\r\n".repeat(30)),
            "431",
        ),
        (
            format!("POST /old HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n{long}"),
            "413",
        ),
        (
            format!(
                "POST /old HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n186A0\r\n{long}\r\n0\r\n\r\n"
            ),
            "413",
        ),
        (format!("{long}\r\n\r\n"), "431"),
    ] {
        let (reached, answers) = send(lens(), &mut recorder, bytes.as_bytes()).await;
        let shown = &bytes[..bytes.len().min(60)];
        assert!(reached.is_empty(), "{shown}: {reached:?}");
        assert_eq!(answers, status, "{shown}");
    }
}

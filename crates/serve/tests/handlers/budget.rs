//! What callers may cost a node together: bytes that are held for calls, and connections on which nothing happens.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::node::*;
use call::{Chain, HeldBytes, Limits, MessageForm, RefusalKind};
use serve::{MessageProtocol, ResetCause, Served};
use wire::framing::Codec;

const LENS: &str = r#"
    pass = ["* /pass/{rest*}"]
    [[operation]]
    old = "POST /old"
    new = "POST /new"
    request = [{ old = "body.n", new = "body.count" }]
"#;

fn lens() -> Chain {
    past(LENS)
}

fn within(held: &Arc<HeldBytes>) -> Limits {
    Limits {
        body_bytes_max: 100_000,
        held: held.clone(),
        ..limits()
    }
}

/// A body of so many bytes, in one text.
fn body(bytes: usize) -> String {
    format!("{{\"n\":\"{}\"}}", "x".repeat(bytes))
}

#[tokio::test]
async fn calls_hold_no_more_together_than_the_node_may() {
    // Each is held as it came and as it is decoded.
    let held = Arc::new(HeldBytes::new(250_000));
    let software = Software::start(echo).await;
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let limits = within(&held);
        let mut node = Node::start(Some(leave(lens(), software.address, 1)), limits).await;
        let text = request("POST /old", &body(90_000));
        // All but the last byte: what is there is held.
        node.caller.write(&text[..text.len() - 1]).await;
        waiting.push(node);
    }
    until(|| {
        waiting
            .iter()
            .any(|node| !node.counters.read().refused.is_empty())
    })
    .await;
    assert!(held.used() <= 250_000);
    let mut statuses = Vec::new();
    for node in &mut waiting {
        let _ = tokio::io::AsyncWriteExt::write_all(&mut node.caller.stream, b"}").await;
        statuses.push(node.caller.read().await.status);
    }
    statuses.sort_unstable();
    assert!(statuses.contains(&200) || statuses.iter().all(|status| *status == 503));
    let refused = statuses.iter().filter(|status| **status == 503).count();
    assert!(refused > 0, "{statuses:?}");
    let counted = waiting.iter().flat_map(|node| node.counters.read().refused);
    let kinds: Vec<RefusalKind> = counted.map(|(kind, _, _)| kind).collect();
    assert_eq!(kinds, vec![RefusalKind::Busy; refused]);
    // What streams through is not held, and what was held comes back.
    until(|| held.used() == 0).await;
    let limits = within(&held);
    let mut node = Node::start(Some(leave(lens(), software.address, 1)), limits).await;
    assert_eq!(
        node.caller
            .call("POST /pass/a", &body(900_000))
            .await
            .status,
        200
    );
    assert_eq!(
        node.caller.call("POST /old", &body(50_000)).await.status,
        200
    );
    until(|| held.used() == 0).await;
}

#[tokio::test]
async fn messages_are_held_within_the_same_budget() {
    let held = Arc::new(HeldBytes::new(600_000));
    let limits = Limits {
        body_bytes_max: 1_000_000,
        held: held.clone(),
        ..limits()
    };
    let protocol = MessageProtocol {
        form: MessageForm::Resp,
        codec: Arc::new(Codec::resp()),
        carried: true,
    };
    let software = Software::start(echo).await;
    let leave = leave(Chain::empty(), software.address, 1);
    let codec = Arc::new(Codec::resp());
    let mut node = Node::start_limited_messages(Some(leave), protocol, codec, limits).await;
    node.caller
        .write(format!("*1\r\n$900000\r\n{}", "x".repeat(200_000)))
        .await;
    until(|| held.used() > 100_000).await;
    // What comes then is more than there is.
    let _ = tokio::io::AsyncWriteExt::write_all(&mut node.caller.stream, &[b'x'; 650_000]).await;
    assert!(node.caller.is_reset().await);
    assert!(matches!(
        node.served().await,
        Served::Reset(ResetCause::Caller)
    ));
    until(|| held.used() == 0).await;
}

#[tokio::test]
async fn a_body_that_trickles_is_not_waited_for() {
    let software = Software::start(echo).await;
    let mut node = Node::start(Some(leave(lens(), software.address, 1)), limits()).await;
    let text = request("POST /old", &body(3_000));
    node.caller.write(&text[..200]).await;
    let reply = node.caller.read().await;
    assert_eq!(reply.status, 503);
    assert!(
        reply.text().contains("1024 bytes a second"),
        "{}",
        reply.text()
    );
    assert_eq!(software.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn connections_on_which_nothing_is_asked_end_in_order() {
    let software = Software::start(echo).await;
    let short = Limits {
        idle_timeout: Duration::from_millis(300),
        ..limits()
    };
    let leave = leave(lens(), software.address, 1);
    let mut fresh = Node::start(Some(leave.clone()), short.clone()).await;
    assert!(fresh.caller.is_ended().await);
    let mut used = Node::start(Some(leave.clone()), short.clone()).await;
    assert_eq!(used.caller.call("POST /pass/a", "x").await.status, 200);
    assert!(used.caller.is_ended().await);
    // A call that takes longer is none.
    let mut held = Node::start(None, short).await;
    held.caller.write(request("POST /pass/a", "x")).await;
    until(|| held.gate.waiting.load(Ordering::SeqCst) == 1).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    held.now(leave);
    assert_eq!(held.caller.read().await.status, 200);
}

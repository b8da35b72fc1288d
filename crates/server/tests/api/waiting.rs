//! Long polls: the answer comes with the change, and at once when the server stops.

use crate::support::{Running, Site, client, report};
use model::api::{MembersRequest, NewEvent, PauseRequest, SyncRequest};
use model::ids::NodeId;
use std::time::{Duration, Instant};

const LONG: Option<Duration> = Some(Duration::from_secs(30));

/// Far below what a poll would wait for nothing.
const PROMPT: Duration = Duration::from_secs(5);

fn silent(seen: u64) -> SyncRequest {
    SyncRequest {
        identity: None,
        number: None,
        seen_view: Some(seen),
        report: None,
        events: Vec::new(),
        ..SyncRequest::default()
    }
}

/// The number of the view that a node is told now.
async fn seen(server: &Running, node: NodeId) -> u64 {
    let told = server.client.sync(node, &silent(0), None).await;
    told.expect("answers").view.expect("a view").view
}

#[tokio::test]
async fn a_report_of_another_node_neither_ends_a_wait_nor_is_told() {
    let site = Site::new();
    let server = site.start().await;
    let nodes = server.populate(&["a", "b"]).await;
    let (a, b) = (nodes[0], nodes[1]);
    let held = seen(&server, a).await;
    let waiting = client(&server.url);
    let wait = tokio::spawn(async move { waiting.sync(a, &silent(held), LONG).await });
    let mut last = report(1);
    for at in 0..50 {
        last.status.reason = Some(format!("reason {at}"));
        server.report(b, last.clone()).await.expect("heard");
    }
    assert!(!wait.is_finished(), "it was woken by others");
    assert_eq!(seen(&server, a).await, held);
    server.stop().await;
    let answer = wait.await.expect("no panic").expect("answers");
    assert_eq!(answer.view, None);
}

#[tokio::test]
async fn an_unchanged_view_is_not_sent_again_and_a_changed_one_ends_the_wait() {
    let site = Site::new();
    let server = site.start().await;
    let node = server.populate(&["a"]).await[0];
    let seen = seen(&server, node).await;
    let same = server
        .client
        .sync(node, &silent(seen), None)
        .await
        .expect("answers");
    assert_eq!((same.view, same.now_ms), (None, 1_000_000));
    let begun = Instant::now();
    let waiting = client(&server.url);
    let wait = tokio::spawn(async move { waiting.sync(node, &silent(seen), LONG).await });
    let pause = PauseRequest {
        reason: "lunch".to_owned(),
    };
    server.client.pause(&pause).await.expect("paused");
    let view = wait
        .await
        .expect("no panic")
        .expect("answers")
        .view
        .expect("a new view");
    assert!(view.view > seen && view.paused.is_some());
    assert!(begun.elapsed() < PROMPT);
    server.stop().await;
}

#[tokio::test]
async fn events_come_in_order_by_cursor_and_end_the_wait() {
    let site = Site::new();
    let server = site.start().await;
    let node = server.populate(&["a"]).await[0];
    let first = server
        .client
        .events(None, Some(2), None)
        .await
        .expect("answers");
    assert_eq!(
        first
            .items
            .iter()
            .map(|event| event.sequence)
            .collect::<Vec<_>>(),
        [1, 2]
    );
    let rest = server
        .client
        .events(first.next.as_deref(), None, None)
        .await
        .expect("answers");
    assert_eq!(rest.items[0].sequence, 3);
    let begun = Instant::now();
    let waiting = client(&server.url);
    let wait = tokio::spawn(async move { waiting.events(rest.next.as_deref(), None, LONG).await });
    let mut request = silent(0);
    request.report = Some(report(1));
    request.events.push(NewEvent {
        kind: "node.waits".to_owned(),
        version: None,
        message: "for the others".to_owned(),
        node_at_ms: 1,
    });
    server
        .client
        .sync(node, &request, None)
        .await
        .expect("heard");
    let page = wait.await.expect("no panic").expect("answers");
    let event = page.items.first().expect("an event");
    assert_eq!(
        (event.kind.as_str(), event.author.as_str()),
        ("node.waits", "a")
    );
    assert_eq!(event.node.as_deref(), Some("a"));
    assert!(begun.elapsed() < PROMPT);
    server.stop().await;
}

#[tokio::test]
async fn stopping_ends_every_wait() {
    let site = Site::new();
    let server = site.start().await;
    let node = server.populate(&["a"]).await[0];
    let seen = seen(&server, node).await;
    let (one, two) = (client(&server.url), client(&server.url));
    let sync = tokio::spawn(async move { one.sync(node, &silent(seen), LONG).await });
    let events = tokio::spawn(async move { two.events(Some("1000"), None, LONG).await });
    let begun = Instant::now();
    server.stop().await;
    // Either the wait had begun and ends, or its connection was refused: nobody hangs.
    let _ = (
        sync.await.expect("no panic"),
        events.await.expect("no panic"),
    );
    assert!(begun.elapsed() < PROMPT);
}

#[tokio::test]
async fn nodes_and_upgrades_come_by_pages() {
    let site = Site::new();
    let server = site.start().await;
    server.populate(&["c", "a", "b"]).await;
    let first = server.client.nodes(None, Some(2)).await.expect("answers");
    let names: Vec<&str> = first.items.iter().map(|fact| fact.name.as_str()).collect();
    assert_eq!((names, first.next.as_deref()), (vec!["a", "b"], Some("b")));
    let rest = server
        .client
        .nodes(first.next.as_deref(), Some(2))
        .await
        .expect("answers");
    assert_eq!((rest.items[0].name.as_str(), rest.next), ("c", None));
    let upgrades = server
        .client
        .upgrades(Some("1"), None)
        .await
        .expect("answers");
    assert_eq!(upgrades.items.len(), 1);
    assert_eq!(server.client.node("b").await.expect("there").name, "b");
    server.stop().await;
}

/// A report from an address, with an endpoint at this port.
fn at(port: u16) -> SyncRequest {
    let mut report = report(1);
    report.addresses = vec![std::net::Ipv4Addr::LOCALHOST.into()];
    report.endpoints = vec![model::api::Endpoint {
        version: model::ids::Version(1),
        service: "data".to_owned(),
        address: std::net::Ipv4Addr::LOCALHOST.into(),
        port,
    }];
    SyncRequest {
        report: Some(report),
        ..silent(0)
    }
}

#[tokio::test]
async fn the_members_list_is_told_when_it_changes_and_acknowledgements_to_whoever_waits_for_them() {
    let site = Site::new();
    let server = site.start().await;
    let nodes = server.populate(&["a", "b"]).await;
    let none = MembersRequest::default();
    let first = server.client.members(nodes[0], &none, LONG).await;
    let first = first.expect("answers at once: no list is held");
    let held = MembersRequest {
        seen: first.at,
        ..none
    };
    let begun = Instant::now();
    let waiting = client(&server.url);
    let (asking, a) = (held.clone(), nodes[0]);
    let wait = tokio::spawn(async move { waiting.members(a, &asking, LONG).await });
    for (node, port) in [(nodes[0], 1), (nodes[1], 2)] {
        server
            .client
            .sync(node, &at(port), None)
            .await
            .expect("reported");
    }
    let second = wait.await.expect("no panic").expect("answers");
    assert!(second.at > first.at && !second.members.is_empty());

    let held = MembersRequest::default();
    let whole = server.client.members(nodes[1], &held, None).await;
    let whole = whole.expect("answers");
    assert_eq!(whole.behind.len(), 1, "a has not acknowledged");
    let asking = MembersRequest {
        seen: whole.at,
        in_force: whole.at,
        acks: Some(whole.acks),
        moment: None,
        silence: None,
        labels: None,
    };
    let (waiting, b) = (client(&server.url), nodes[1]);
    let own = server.client.members(b, &asking, LONG).await;
    let own = own.expect("its own acknowledgement is one");
    let asking = MembersRequest {
        acks: Some(own.acks),
        ..asking
    };
    let wait = tokio::spawn(async move { waiting.members(b, &asking, LONG).await });
    let acknowledged = MembersRequest {
        seen: 0,
        in_force: whole.at,
        acks: None,
        moment: None,
        silence: None,
        labels: None,
    };
    server
        .client
        .members(nodes[0], &acknowledged, None)
        .await
        .expect("answers");
    let last = wait.await.expect("no panic").expect("answers");
    assert_eq!(last.behind, Vec::new());
    assert!(begun.elapsed() < PROMPT);
    server.stop().await;
}

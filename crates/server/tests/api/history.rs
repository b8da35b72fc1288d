//! The history and the nodes from both ends, the history as a stream, and how long it is kept.

use crate::support::{Running, Site, until};
use model::api::{Event, NodeFact, Page, PauseRequest, Problem};
use reqwest::{Method, StatusCode};
use server::DAY_MS;

async fn page<T: serde::de::DeserializeOwned>(server: &Running, path: &str) -> Page<T> {
    let answer = server.request(Method::GET, path).send().await;
    let answer = answer.expect("answered");
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    answer.json().await.expect("a page")
}

#[tokio::test]
async fn what_was_last_comes_first_where_it_is_asked_for() {
    let site = Site::new();
    let server = site.start().await;
    server.populate(&["a", "b", "c"]).await;
    let all: Page<Event> = page(&server, "/v1/events?limit=1000").await;
    let mut expected: Vec<u64> = all.items.iter().map(|event| event.sequence).collect();
    expected.reverse();
    let (mut found, mut path) = (Vec::new(), "/v1/events?order=desc&limit=2".to_owned());
    loop {
        let some: Page<Event> = page(&server, &path).await;
        found.extend(some.items.iter().map(|event| event.sequence));
        let Some(next) = some.next else { break };
        path = format!("/v1/events?order=desc&limit=2&after={next}");
    }
    assert_eq!(found, expected);

    let last: Page<NodeFact> = page(&server, "/v1/nodes?order=desc&limit=2").await;
    let names = |page: &Page<NodeFact>| -> Vec<String> {
        page.items.iter().map(|fact| fact.name.clone()).collect()
    };
    assert_eq!(names(&last), ["c", "b"]);
    let next = last.next.expect("there is another");
    let rest: Page<NodeFact> = page(&server, &format!("/v1/nodes?order=desc&after={next}")).await;
    assert_eq!((names(&rest), rest.next), (vec!["a".to_owned()], None));

    let waits = server.request(Method::GET, "/v1/events?order=desc&wait_ms=1");
    let refused = waits.send().await.expect("answered");
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    server.stop().await;
}

/// Reads a stream until this stands in it.
async fn read_until(stream: &mut reqwest::Response, text: &str) -> String {
    let mut read = String::new();
    while !read.contains(text) {
        let chunk = stream.chunk().await.expect("it goes on");
        let chunk = chunk.expect("it has not ended");
        read += std::str::from_utf8(&chunk).expect("text");
    }
    read
}

#[tokio::test]
async fn what_is_added_to_the_history_comes_as_a_stream_that_can_be_gone_on_with() {
    let site = Site::new();
    let server = site.start().await;
    server.populate(&["a"]).await;
    let path = "/v1/events/stream";
    let mut stream = server
        .request(Method::GET, path)
        .send()
        .await
        .expect("begun");
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let pause = PauseRequest {
        reason: "lunch".to_owned(),
    };
    server.client.pause(&pause).await.expect("paused");
    let read = read_until(&mut stream, "\n\n").await;
    assert!(read.contains("event: system.paused\n"), "{read}");
    assert!(read.contains("lunch"), "{read}");
    assert!(!read.contains("node.enrolled"), "{read}");
    let id = read.lines().find_map(|line| line.strip_prefix("id: "));
    let id: u64 = id.expect("an id").trim().parse().expect("a number");
    // Whoever has read the entry before gets this one again, and those from the beginning get all.
    let again = server
        .request(Method::GET, path)
        .header("Last-Event-ID", (id - 1).to_string());
    let mut again = again.send().await.expect("begun");
    let read = read_until(&mut again, "\n\n").await;
    assert!(read.contains(&format!("id: {id}\n")), "{read}");
    let all = server.request(Method::GET, "/v1/events/stream?after=0");
    let mut all = all.send().await.expect("begun");
    let read = read_until(&mut all, &format!("id: {id}\n")).await;
    assert!(read.contains("id: 1\n"), "{read}");
    let odd = server
        .request(Method::GET, path)
        .header("Last-Event-ID", "x");
    let refused = odd.send().await.expect("answered");
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    // Streams keep no server from stopping.
    server.stop().await;
    while let Ok(Some(_)) = stream.chunk().await {}
}

#[tokio::test]
async fn entries_that_are_older_than_is_kept_are_forgotten_but_for_the_newest() {
    let site = Site::new();
    let server = site.start().await;
    server.populate(&["a"]).await;
    let before: Page<Event> = page(&server, "/v1/events?order=desc&limit=1").await;
    let newest = before.items[0].sequence;
    server.stop().await;
    site.pass_ms(366 * DAY_MS);
    let server = site.start().await;
    until("the old entries to go", async || {
        let all: Page<Event> = page(&server, "/v1/events").await;
        (all.items.first()?.sequence >= newest).then_some(())
    })
    .await;
    // Numbers go on where they were.
    let pause = PauseRequest {
        reason: "lunch".to_owned(),
    };
    server.client.pause(&pause).await.expect("paused");
    let last: Page<Event> = page(&server, "/v1/events?order=desc&limit=1").await;
    assert!(last.items[0].sequence > newest);
    server.stop().await;
}

#[tokio::test]
async fn whoever_has_read_more_than_there_is_is_told_that_the_history_was_set_back() {
    let site = Site::new();
    let server = site.start().await;
    server.populate(&["a"]).await;
    let all: Page<Event> = page(&server, "/v1/events?limit=1000").await;
    let newest = all.items.last().expect("entries").sequence;
    // At its end there is nothing yet, and nothing amiss.
    let end: Page<Event> = page(&server, &format!("/v1/events?after={newest}&wait_ms=1")).await;
    assert_eq!((end.items.len(), end.next), (0, Some(newest.to_string())));
    let ahead = newest + 1;
    let path = format!("/v1/events?after={ahead}&wait_ms=20000");
    let refused = server.request(Method::GET, &path).send().await;
    let refused = refused.expect("answered");
    assert_eq!(refused.status(), StatusCode::GONE);
    let problem: Problem = refused.json().await.expect("a problem");
    assert_eq!(problem.kind, "/problems/history-set-back");
    assert!(
        problem.detail.contains(&format!("after={newest}")),
        "{problem:?}"
    );

    let stream = server.request(Method::GET, "/v1/events/stream");
    let stream = stream.header("Last-Event-ID", ahead.to_string()).send();
    let mut stream = stream.await.expect("begun");
    let read = read_until(&mut stream, "\n\n").await;
    assert!(read.contains("event: reset\n"), "{read}");
    assert!(read.contains(&format!("id: {newest}\n")), "{read}");
    let pause = PauseRequest {
        reason: "lunch".to_owned(),
    };
    server.client.pause(&pause).await.expect("paused");
    let read = read_until(&mut stream, "\n\n").await;
    assert!(read.contains(&format!("id: {ahead}\n")), "{read}");
    assert!(read.contains("lunch"), "{read}");
    server.stop().await;
}

//! The list of the nodes by pages, what a node's page says, and the history.

use super::browser::Browser;
use crate::support::{Running, Site, report, staged};
use model::api::{NewEvent, SyncRequest};
use model::ids::Version;

/// The names in the list, and where its next page is.
fn listed(page: &str) -> (Vec<String>, Option<String>) {
    let rows = page.split("<th scope=\"row\"><a href=\"/nodes/").skip(1);
    let names = rows.filter_map(|row| row.split_once("\">")?.1.split('<').next());
    let names = names.map(str::to_owned).collect();
    let next = page.split("<a rel=\"next\" href=\"").nth(1);
    let next = next.and_then(|rest| rest.split('"').next());
    (names, next.map(|path| path.replace("&amp;", "&")))
}

async fn all(browser: &Browser, path: &str) -> Vec<String> {
    let (mut all, mut path) = (Vec::new(), path.to_owned());
    loop {
        let (names, next) = listed(&browser.page(&path).await);
        assert!(names.len() <= 50, "{path}");
        all.extend(names);
        let Some(next) = next else { return all };
        path = next;
    }
}

#[tokio::test]
async fn each_node_stands_on_one_page_and_filters_find_some() {
    let site = Site::new();
    let server = site.start().await;
    let names: Vec<String> = (0..120).map(|at| format!("n.{at:03}")).collect();
    let some: Vec<&str> = names.iter().map(String::as_str).collect();
    let nodes = server.populate(&some).await;
    let mut waits = staged();
    waits.status.phase = model::api::Phase::Staged;
    waits.status.target = Some(Version(2));
    let reason = "at most 1 of storage may be unavailable at once: n.001";
    waits.status.reason = Some(reason.to_owned());
    for node in nodes.iter().step_by(2) {
        server.report(*node, waits.clone()).await.expect("heard");
    }
    server.report(nodes[1], report(2)).await.expect("heard");
    let browser = Browser::signed_in(&server).await;
    assert_eq!(all(&browser, "/nodes").await, names);
    let waiting = all(&browser, "/nodes?reason=limit&class=storage").await;
    assert_eq!(waiting.len(), 60);
    assert_eq!(all(&browser, "/nodes?phase=staged").await, waiting);
    assert_eq!(all(&browser, "/nodes?version=2").await, ["n.001"]);
    assert_eq!(all(&browser, "/nodes?name=n.01").await, names[10..20]);
    assert!(all(&browser, "/nodes?class=other").await.is_empty());
    let fleet = browser.page("/").await;
    assert!(fleet.contains("<b>1</b> of 120 nodes"), "{fleet}");
    assert!(
        fleet.contains("href=\"/nodes?reason=limit\">60</a>"),
        "{fleet}"
    );
    assert!(fleet.contains(reason), "{fleet}");
    let upgrade = browser.page("/upgrades/2").await;
    assert!(
        upgrade.contains("<b>1</b> of 120 nodes are there"),
        "{upgrade}"
    );
    server.stop().await;
}

async fn happens(server: &Running, node: model::ids::NodeId, message: &str) {
    let request = SyncRequest {
        events: vec![NewEvent {
            kind: "node.settled".to_owned(),
            version: Some(Version(1)),
            message: message.to_owned(),
            node_at_ms: 1,
        }],
        ..SyncRequest::default()
    };
    let heard = server.client.sync(node, &request, None).await;
    heard.expect("heard");
}

#[tokio::test]
async fn a_nodes_page_tells_its_own_life_and_why_it_waits_until_when() {
    let site = Site::new();
    let server = site.start().await;
    let nodes = server.populate(&["a", "b"]).await;
    let mut waits = staged();
    waits.status.phase = model::api::Phase::Staged;
    waits.status.reason = Some("waits for the soak time: storage".to_owned());
    waits.status.until_ms = Some(1_000_000 + 90_000);
    server.report(nodes[0], waits).await.expect("heard");
    happens(&server, nodes[0], "what a has done").await;
    happens(&server, nodes[1], "what b has done").await;
    let browser = Browser::signed_in(&server).await;
    let page = browser.page("/nodes/a").await;
    assert!(page.contains("waits for the soak time: storage"), "{page}");
    assert!(page.contains(">in 1 min 30 s</time>"), "{page}");
    assert!(page.contains("what a has done") && !page.contains("what b has done"));
    let missing = browser.get("/nodes/nobody").await;
    assert_eq!(missing.status, reqwest::StatusCode::NOT_FOUND);
    let history = browser.page("/history?kind=node.settled&node=b").await;
    assert!(history.contains("what b has done") && !history.contains("what a has done"));
    server.stop().await;
}

#[tokio::test]
async fn the_history_comes_by_pages() {
    let site = Site::new();
    let server = site.start().await;
    let nodes = server.populate(&["a"]).await;
    for at in 0..110 {
        happens(&server, nodes[0], &format!("[{at:03}]")).await;
    }
    let browser = Browser::signed_in(&server).await;
    let (mut found, mut path) = (Vec::new(), "/history?kind=node.settled".to_owned());
    loop {
        let page = browser.page(&path).await;
        let messages = page.split("data-label=\"Message\">[").skip(1);
        found.extend(messages.filter_map(|rest| rest[..3].parse::<u32>().ok()));
        let Some(next) = listed(&page).1 else { break };
        path = next;
    }
    let expected: Vec<u32> = (0..110).rev().collect();
    assert_eq!(found, expected);
    server.stop().await;
}

//! A large fleet: its nodes are put into the database by themselves, since enrolling them would take longer than everything else.

use super::browser::Browser;
use crate::metrics::metrics_by;
use crate::support::{Running, Site, TOKEN, bundle, report};
use model::api::{LabelsFact, NodeFact, Phase};
use model::ids::{NodeId, Version};
use server::udb::{Change, ChangeSet, Sqlite, Udb};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// How many nodes there are; more for whoever measures: what pages cost is printed.
const NODES_VARIABLE: &str = "UPSTART_PAGE_NODES";
const NODES_DEFAULT: u32 = 3_000;

/// How many nodes are in a group.
const GROUP_NODES: u32 = 100;

/// How many changes are one commit.
const COMMITTED_AT_ONCE: usize = 1_000;

/// A node among many: a third is at version 2, the others wait for room in their groups.
fn node(number: u32, now_ms: u64) -> NodeFact {
    let mut told = report(1 + u32::from(number.is_multiple_of(3)));
    if told.status.version == Version(1) {
        let group = number / GROUP_NODES;
        told.status.phase = Phase::Staged;
        told.status.staged = Version(2);
        told.status.target = Some(Version(2));
        told.status.reason = Some(format!(
            "at most 1 of storage/group={group} may be unavailable at once: n{number:06}"
        ));
    }
    let counters = ["calls.direct", "calls.past.1", "calls.future.1", "refused"];
    let counters = counters.map(|name| (name.to_owned(), u64::from(number)));
    told.counters = counters.into();
    NodeFact {
        node: NodeId(number),
        name: format!("n{number:06}"),
        class: "storage".to_owned(),
        attributes: BTreeMap::from([("group".to_owned(), (number / GROUP_NODES).to_string())]),
        host: "host".to_owned(),
        data_directory: "/data".to_owned(),
        report: told,
        seen_at_ms: now_ms,
        reachable: true,
        settled_at_ms: now_ms - u64::from(number % 600) * 1_000,
        steady_since_ms: now_ms,
        taken: Vec::new(),
        retry: 0,
        listed: Vec::new(),
        members_seen: 0,
        labels: LabelsFact::default(),
    }
}

async fn filled(site: &Site, nodes: u32) {
    let file = site.data.path().join("server/udb.sqlite");
    let udb = Sqlite::open(&file).expect("the database");
    let mut generation = udb.generation().await.expect("a number");
    let stored = udb.load().await.expect("what is there");
    let numbers: Vec<u32> = (1..=nodes).collect();
    for some in numbers.chunks(COMMITTED_AT_ONCE) {
        let nodes = some.iter().map(|number| Arc::new(node(*number, 1_000_000)));
        let commit = ChangeSet {
            expected: generation,
            generation: generation + 1,
            view: stored.view + 1,
            changes: nodes.map(Change::Node).collect(),
        };
        udb.commit(commit).await.expect("committed");
        generation += 1;
    }
}

#[tokio::test]
async fn a_page_is_as_small_for_many_nodes_as_for_few() {
    let site = Site::new();
    let server = site.start().await;
    server
        .publish(&bundle(1, ""), false)
        .await
        .expect("published");
    server
        .publish(&bundle(2, ""), false)
        .await
        .expect("published");
    server.stop().await;
    let told = std::env::var(NODES_VARIABLE).ok();
    let nodes = told.map_or(NODES_DEFAULT, |told| told.parse().expect("a number"));
    filled(&site, nodes).await;
    let server = site.start().await;
    let browser = Browser::signed_in(&server).await;
    let paths = [
        "/",
        "/nodes",
        "/nodes?reason=limit&phase=staged",
        "/nodes?class=nothing",
        "/nodes/n002999",
        "/upgrades/2",
        "/history",
    ];
    for path in paths {
        for _ in 0..2 {
            let begun = Instant::now();
            let page = browser.page(path).await;
            println!("{path}: {} bytes in {:?}", page.len(), begun.elapsed());
            assert!(page.len() < 64_000, "{path} has {} bytes", page.len());
        }
    }
    let fleet = browser.page("/").await;
    let all = format!("of {},{:03} nodes", nodes / 1_000, nodes % 1_000);
    assert!(fleet.contains(&all), "{all}: {fleet}");
    let waiting = (1..=nodes)
        .filter(|number| !number.is_multiple_of(3))
        .count();
    let waiting = format!("{},{:03}</a>", waiting / 1_000, waiting % 1_000);
    assert!(fleet.contains(&waiting), "{waiting}: {fleet}");
    metrics_are_as_few(&server, nodes).await;
    server.stop().await;
}

/// What Prometheus reads of many nodes is counted, and as long as of few.
async fn metrics_are_as_few(server: &Running, nodes: u32) {
    let mut text = String::new();
    let client = reqwest::Client::new();
    for _ in 0..4 {
        let begun = Instant::now();
        let told = metrics_by(&client, server, TOKEN).await;
        text = told.expect("answered");
        println!("/metrics: {} bytes in {:?}", text.len(), begun.elapsed());
    }
    assert!(
        text.lines().count() < 1_800,
        "{} lines",
        text.lines().count()
    );
    assert!(!text.contains("n000"), "no node's name is told");
    let new = nodes / 3;
    for line in [
        format!("upstart_nodes{{class=\"storage\",version=\"2\",phase=\"settled\"}} {new}.0"),
        format!(
            "upstart_nodes_waiting{{reason=\"limit\"}} {}.0",
            nodes - new
        ),
        format!("upstart_nodes_behind {}.0", nodes - new),
        "upstart_newest_version 2.0".to_owned(),
    ] {
        assert!(text.lines().any(|told| told == line), "{line}: {text}");
    }
}

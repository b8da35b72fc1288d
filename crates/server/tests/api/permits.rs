//! Permits over HTTP: many ask at once, and never more than the limit hold one.

use crate::support::{Running, Site, client, kind, question};
use model::api::VerdictAnswer;
use model::ids::PermitId;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const LIMIT: u32 = 3;

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn never_more_than_the_limit_hold_a_permit_at_once() {
    let site = Site::new();
    let server = site.start().await;
    let names: Vec<String> = (0..12).map(|at| format!("n{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let nodes = server.populate_limited(&names, LIMIT).await;
    let holding = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for node in nodes {
        let client = client(&server.url);
        let (holding, most) = (Arc::clone(&holding), Arc::clone(&most));
        tasks.spawn(async move {
            let mut given: Vec<PermitId> = Vec::new();
            while given.len() < 3 {
                let answer = client.verdict(node, &question(1)).await;
                let VerdictAnswer::Go { permit, .. } = answer.expect("judged") else {
                    tokio::task::yield_now().await;
                    continue;
                };
                client.confirm_permit(permit).await.expect("held");
                let now = holding.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(now, Ordering::SeqCst);
                let held = client.system().await.expect("answers").permits.len();
                assert!(held <= LIMIT as usize, "{held} permits");
                holding.fetch_sub(1, Ordering::SeqCst);
                client.end_permit(permit).await.expect("ended");
                given.push(permit);
            }
            given
        });
    }
    let mut all = BTreeSet::new();
    for given in tasks.join_all().await {
        assert!(given.is_sorted(), "numbers rise");
        all.extend(given);
    }
    assert_eq!(all.len(), 12 * 3, "no number is given twice");
    let most = most.load(Ordering::SeqCst);
    assert!((1..=LIMIT as usize).contains(&most), "{most} at once");
    server.stop().await;
}

#[tokio::test]
async fn time_takes_what_is_not_confirmed_and_operators_take_the_rest() {
    let site = Site::new();
    let server = site.start().await;
    let nodes = server.populate_limited(&["a", "b"], 1).await;
    let lost = server.go(nodes[0]).await;
    site.pass_ms(60_000);
    assert_eq!(
        kind(server.client.confirm_permit(lost).await),
        "/problems/permit-lost"
    );
    // The history tells of it with the next sweep.
    let swept = async {
        while !history(&server)
            .await
            .contains(&"permit.expired".to_owned())
        {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    (tokio::time::timeout(PATIENCE, swept).await).expect("swept");
    for node in &nodes {
        server
            .report(*node, crate::support::staged())
            .await
            .expect("heard");
    }
    let kept = server.go(nodes[1]).await;
    server.client.confirm_permit(kept).await.expect("held");
    let broken = server.client.break_permit(kept).await.expect("broken");
    assert_eq!((broken.node, broken.confirmed), (nodes[1], true));
    assert_eq!(
        kind(server.client.confirm_permit(kept).await),
        "/problems/permit-lost"
    );
    let history = server.client.events(None, None, None).await;
    let history = history.expect("answers");
    let last = history.items.last().expect("events");
    assert_eq!(
        (last.kind.as_str(), last.author.as_str()),
        ("permit.broken", "tester")
    );
    assert_eq!(last.node.as_deref(), Some("b"));
    server.stop().await;
}

/// The kinds of all events so far.
async fn history(server: &Running) -> Vec<String> {
    let events = server.client.events(None, None, None).await;
    let events = events.expect("answers").items;
    events.into_iter().map(|event| event.kind).collect()
}

//! Several servers over one PostgreSQL database are one.

use crate::callers::{Caller, invited, over_tls};
use crate::support::{LIMIT, Running, Site, bundle, kind, report, staged, until};
use client::Client;
use harness::{PgBouncer, Postgres};
use model::api::{EventKind, PauseRequest, Principal, SyncRequest, VerdictAnswer};
use model::ids::{NodeId, Version};
use reqwest::Method;
use std::time::{Duration, Instant};

/// Two servers, each over its URL of one database.
async fn two(site: &Site, urls: [&str; 2]) -> [Running; 2] {
    let one = site.start_over(urls[0], "one").await;
    [one, site.start_over(urls[1], "other").await]
}

fn asked(seen_view: Option<u64>) -> SyncRequest {
    SyncRequest {
        seen_view,
        ..SyncRequest::default()
    }
}

/// What one server is told, a node that waits at the other hears: published, paused, gone on.
async fn news_travel(one: &Running, other: &Running) {
    let nodes = one.populate(&["a"]).await;
    let held = other.report(nodes[0], report(1)).await.expect("heard");
    let view = held.view.expect("new");
    assert_eq!(
        view.upgrades.len(),
        2,
        "what the one published, the other serves"
    );
    let question = asked(Some(view.view));
    let waiting = other.client.sync(nodes[0], &question, Some(LIMIT));
    let pause = PauseRequest {
        reason: "lunch".to_owned(),
    };
    let (heard, paused) = tokio::join!(waiting, one.client.pause(&pause));
    paused.expect("paused");
    let told = heard.expect("heard").view.expect("it waited for this");
    assert_eq!(told.paused.expect("paused").reason, "lunch");
    let manifest = other
        .client
        .manifest(Version(2), model::ids::Revision(1))
        .await;
    manifest.expect("the repository is shared");
    other.client.resume().await.expect("goes on");
    let gone_on = one
        .client
        .sync(nodes[0], &asked(Some(told.view)), None)
        .await;
    let view = gone_on.expect("heard").view.expect("new");
    assert_eq!(
        view.paused, None,
        "no answer is older than the newest commit"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_server_is_told_the_other_knows() {
    let Some(postgres) = Postgres::start("what_one_server_is_told_the_other_knows") else {
        return;
    };
    let site = Site::new();
    let url = postgres.url();
    let [one, other] = two(&site, [&url, &url]).await;
    news_travel(&one, &other).await;
}

/// No notification comes through: the poll is enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_holds_through_pgbouncer_by_the_transaction() {
    let test = "the_same_holds_through_pgbouncer_by_the_transaction";
    let Some(postgres) = Postgres::start(test) else {
        return;
    };
    let Some(bouncer) = PgBouncer::start(test, &postgres) else {
        return;
    };
    let site = Site::new();
    let url = bouncer.url();
    let [one, other] = two(&site, [&url, &url]).await;
    news_travel(&one, &other).await;
}

/// A node that only one server hears is reachable for all; when nobody hears it, one of them says so, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_one_server_hears_is_reachable_for_all() {
    let test = "a_node_that_one_server_hears_is_reachable_for_all";
    let Some(postgres) = Postgres::start(test) else {
        return;
    };
    let site = Site::new();
    let url = postgres.url();
    let [one, other] = two(&site, [&url, &url]).await;
    let nodes = one.populate(&["a"]).await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(7) {
        one.report(nodes[0], report(1)).await.expect("heard");
        let there = other.client.node("a").await.expect("known");
        assert!(there.reachable, "the other takes it for gone");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    for server in [&one, &other] {
        until("the node to be gone", async || {
            let fact = server.client.node("a").await.expect("known");
            (!fact.reachable).then_some(())
        })
        .await;
    }
    let history = one.client.events(None, None, None).await.expect("read");
    let gone = history.items.iter();
    let gone = gone.filter(|event| event.kind == EventKind::NodeUnreachable.name());
    assert_eq!(gone.count(), 1, "{history:?}");
}

/// A change that is repeated at the other server, since its answer was lost, happens once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_is_repeated_at_another_server_happens_once() {
    let test = "a_change_that_is_repeated_at_another_server_happens_once";
    let Some(postgres) = Postgres::start(test) else {
        return;
    };
    let site = Site::new();
    let url = postgres.url();
    let [one, other] = two(&site, [&url, &url]).await;
    one.populate(&[]).await;
    let mut answers = Vec::new();
    for server in [&one, &other] {
        let request = server.request(Method::POST, "/v1/pause");
        let request = request.header("Idempotency-Key", "the-same");
        let answer = request.body("{\"reason\":\"lunch\"}").send().await;
        let answer = answer.expect("answered");
        assert_eq!(answer.status(), 200);
        answers.push(answer.text().await.expect("a text"));
    }
    assert_eq!(answers[0], answers[1]);
    let history = one.client.events(None, None, None).await.expect("read");
    let pauses = history.items.iter();
    let pauses = pauses.filter(|event| event.kind == EventKind::SystemPaused.name());
    assert_eq!(pauses.count(), 1);
}

/// One limit holds for all servers, however they race, and what one gives the other can take away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_race_keep_one_limit() {
    let Some(postgres) = Postgres::start("servers_that_race_keep_one_limit") else {
        return;
    };
    let site = Site::new();
    let url = postgres.url();
    let [one, other] = two(&site, [&url, &url]).await;
    let nodes = one.populate_limited(&["a", "b"], 1).await;
    for _ in 0..20 {
        for (server, node) in [(&other, nodes[0]), (&one, nodes[1])] {
            server.report(node, staged()).await.expect("heard");
        }
        let (first, second) = tokio::join!(one.judge(nodes[0], 1), other.judge(nodes[1], 1));
        let given: Vec<_> = [first, second]
            .into_iter()
            .filter_map(|verdict| match verdict {
                VerdictAnswer::Go { permit, .. } => Some(permit),
                _ => None,
            })
            .collect();
        assert_eq!(given.len(), 1, "each server sees what the other has given");
        one.client.confirm_permit(given[0]).await.expect("held");
        other.client.break_permit(given[0]).await.expect("broken");
        let late = one.client.confirm_permit(given[0]).await;
        late.expect_err("what is broken at one server is broken at all");
    }
}

/// A server without its database says so, and when to ask again; a client that knows another asks that one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_its_database_sends_callers_elsewhere_and_goes_on_with_it() {
    let test = "a_server_without_its_database_sends_callers_elsewhere_and_goes_on_with_it";
    let Some(mut postgres) = Postgres::start(test) else {
        return;
    };
    let site = Site::new();
    let server = site.start_over(&postgres.url(), "one").await;
    let nodes = server.populate(&["a"]).await;
    postgres.kill();
    let refused = server.request(Method::POST, "/v1/pause");
    let refused = refused.body("{\"reason\":\"lunch\"}").send().await;
    let refused = refused.expect("answered");
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");
    let able = Site::new();
    let able = able.start().await;
    able.populate(&["a"]).await;
    let token = Some(crate::support::TOKEN.to_owned());
    let both = Client::new(&[&server.url, &able.url], token).expect("addresses");
    let pause = PauseRequest {
        reason: "dinner".to_owned(),
    };
    both.pause(&pause).await.expect("the other can");
    assert!(
        able.client
            .system()
            .await
            .expect("answers")
            .paused
            .is_some()
    );
    postgres.resume();
    until("the server to store again", async || {
        server.client.pause(&pause).await.ok()
    })
    .await;
    let heard = server.report(NodeId(nodes[0].0), report(1)).await;
    heard.expect("and to hear its nodes");
}

/// Who is invited at one server is known at all, and who is revoked at one, at none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_one_server_knows_all_know_and_whom_one_revokes_none_does() {
    let Some(postgres) = Postgres::start("whom_one_server_knows_all_know") else {
        return;
    };
    let url = postgres.url();
    let site = Site::new();
    let [one, other] = two(&site, [&url, &url]).await;
    one.publish(&bundle(1, ""), false).await.expect("published");
    let token = invited(&one, Principal::node("a"), None).await;
    let a = Caller::new(&other, &token);
    let enrolled = a.enrol("a").await.expect("enrolled at the other");
    let at_one = over_tls(&one, None);
    at_one.show(a.own().credential().expect("readable"));
    let a_at_one = Caller {
        client: at_one,
        folder: tempfile::tempdir().expect("a folder"),
    };
    let told = a_at_one.tell(&enrolled, "a", report(1)).await;
    told.expect("known at the one");
    let used = Caller::new(&one, &token).enrol("a").await;
    assert_eq!(kind(used), "/problems/unauthorized", "used at the other");
    let revoked = other.client.revoke(&Principal::node("a")).await;
    revoked.expect("revoked");
    let ended = "/problems/identity-ended";
    assert_eq!(kind(a_at_one.tell(&enrolled, "a", report(1)).await), ended);
    assert_eq!(kind(a.tell(&enrolled, "a", report(1)).await), ended);
    one.stop().await;
    other.stop().await;
}

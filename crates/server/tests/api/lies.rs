//! What a node tells that is not so, and what comes of it.

use crate::callers::{Caller, HOUR_MS, enrolling, node, over_tls, started};
use crate::support::{Running, bundle, kind, report, until};
use model::api::{
    Enrolled, Moment, NewEvent, NodeIdentity, NodeView, Principal, RememberedSystem, SyncRequest,
};
use model::ids::Version;
use std::collections::BTreeMap;
use std::path::Path;

fn telling(enrolled: &Enrolled, name: &str) -> SyncRequest {
    SyncRequest {
        identity: Some(NodeIdentity {
            system_id: enrolled.system_id,
            name: name.to_owned(),
        }),
        report: Some(report(1)),
        ..SyncRequest::default()
    }
}

/// What a node has been told by now.
async fn heard(caller: &Caller, enrolled: &Enrolled, name: &str) -> (Moment, NodeView) {
    let asked = caller
        .client
        .sync(enrolled.node, &telling(enrolled, name), None)
        .await;
    let told = asked.expect("heard");
    (told.moment.expect("a moment"), told.view.expect("a view"))
}

/// Tells a server that lost its history what somebody remembers of it.
async fn enrols_again(
    server: &Running,
    caller: Caller,
    name: &str,
    moment: Moment,
    remembered: RememberedSystem,
) -> Caller {
    let client = over_tls(server, None);
    client.show(caller.own().credential().expect("readable"));
    let request = model::api::EnrolRequest {
        moment: Some(moment),
        remembered: Some(Box::new(remembered)),
        ..enrolling(name)
    };
    client.enrol(&request).await.expect("taken in again");
    Caller { client, ..caller }
}

async fn withdrawn(server: &Running) -> Vec<Version> {
    let system = server.client.system().await.expect("answers");
    let upgrades = system.upgrades.into_iter();
    upgrades
        .filter(|upgrade| upgrade.withdrawn)
        .map(|upgrade| upgrade.version)
        .collect()
}

fn copy_database(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for file in ["udb.sqlite", "udb.sqlite-wal"] {
        if from.join(file).exists() {
            std::fs::copy(from.join(file), to.join(file)).expect("copied");
        }
    }
}

/// The database is one of yesterday, and what nodes remember is taken back: what they were told, and nothing that they make up.
#[tokio::test]
async fn what_no_server_has_told_is_not_taken_back() {
    let (site, server) = started().await;
    let published = server.publish(&bundle(2, ""), false).await;
    published.expect("published");
    server.stop().await;
    let (data, yesterdays) = (
        site.data.path().join("server"),
        site.data.path().join("yesterday"),
    );
    copy_database(&data, &yesterdays);
    let server = site.start().await;
    server.withdraw(Version(2)).await.expect("withdrawn");
    let (a, enrolled) = node(&server, "a").await;
    let (b, other) = node(&server, "b").await;
    let (moment, view) = heard(&a, &enrolled, "a").await;
    let (_, others) = heard(&b, &other, "b").await;
    assert!(view.remembered().withdrawn.contains_key(&Version(2)));
    server.stop().await;
    site.lose_database();
    copy_database(&yesterdays, &data);
    site.pass_ms(HOUR_MS);
    let server = site.start().await;
    assert_eq!(withdrawn(&server).await, []);
    // It was told all but the last line of this.
    let first = view.upgrades[0].manifest_sha256.clone();
    let made_up = RememberedSystem {
        withdrawn: BTreeMap::from([(Version(1), first)]),
        retiring_through: Version(1),
        public: BTreeMap::from([("storage/data".to_owned(), Version(2))]),
        ..view.remembered()
    };
    let a = enrols_again(&server, a, "a", moment, made_up).await;
    let system = server.client.system().await.expect("answers");
    assert!(system.paused.is_some(), "the moment itself is proven");
    assert_eq!(withdrawn(&server).await, []);
    assert_eq!(system.retiring_through, Version(0));
    assert_eq!(system.public.get("storage/data"), Some(&Version(1)));
    // Another tells it as it was.
    let b = enrols_again(&server, b, "b", moment, others.remembered()).await;
    assert_eq!(withdrawn(&server).await, [Version(2)]);
    drop((a, b));
    server.stop().await;
}

/// A node tells with the newest moment what it was told before that: it was so once, and is not what was lost.
#[tokio::test]
async fn what_was_so_earlier_is_not_taken_back() {
    let (site, server) = started().await;
    let published = server.publish(&bundle(2, ""), false).await;
    published.expect("published");
    let (a, enrolled) = node(&server, "a").await;
    let (_, earlier) = heard(&a, &enrolled, "a").await;
    let all = model::api::PublicRequest {
        service: None,
        version: Version(2),
    };
    server.client.set_public(&all).await.expect("moved");
    server.stop().await;
    let (data, yesterdays) = (
        site.data.path().join("server"),
        site.data.path().join("yesterday"),
    );
    copy_database(&data, &yesterdays);
    let server = site.start().await;
    let client = over_tls(&server, None);
    client.show(a.own().credential().expect("readable"));
    let a = Caller { client, ..a };
    let (moment, now) = heard(&a, &enrolled, "a").await;
    assert_ne!(earlier.public, now.public);
    server.stop().await;
    site.lose_database();
    copy_database(&yesterdays, &data);
    site.pass_ms(HOUR_MS);
    let server = site.start().await;
    let _a = enrols_again(&server, a, "a", moment, earlier.remembered()).await;
    let system = server.client.system().await.expect("answers");
    assert!(system.paused.is_some(), "it was set back");
    assert_eq!(system.public, now.public);
    server.stop().await;
}

/// The history says who a node is that tells something: only what happens at nodes is theirs to tell.
#[tokio::test]
async fn a_node_writes_nothing_into_the_history_that_servers_decide() {
    let (_site, server) = started().await;
    let (a, enrolled) = node(&server, "a").await;
    for servers in [
        "upgrade.approved",
        "node.forgotten",
        "identity.revoked",
        "system.paused",
    ] {
        let lie = SyncRequest {
            events: vec![NewEvent {
                kind: servers.to_owned(),
                version: None,
                message: "so it says".to_owned(),
                node_at_ms: 0,
            }],
            ..telling(&enrolled, "a")
        };
        let refused = a.client.sync(enrolled.node, &lie, None).await;
        assert_eq!(kind(refused), "/problems/invalid", "{servers}");
    }
    let history = server.client.events(None, None, None).await;
    let told = history.expect("answers").items;
    assert!(told.iter().all(|event| event.message != "so it says"));
    server.stop().await;
}

/// What a refusal tells the history is short, whatever was asked for.
#[tokio::test]
async fn a_name_without_end_fills_nothing() {
    let (_site, server) = started().await;
    let (a, _) = node(&server, "a").await;
    let long = "x".repeat(100_000);
    let refused = a.client.enrol(&enrolling(&long)).await;
    assert_eq!(kind(refused), "/problems/invalid");
    let history = server.client.events(None, None, None).await;
    let told = history.expect("answers").items;
    assert!(told.iter().all(|event| event.message.len() < 1_000));
    server.stop().await;
}

/// A node may say that it asks once in an hour; when its key is revoked it asks no more, and nobody waits for it so long.
#[tokio::test]
async fn whoever_is_revoked_is_out_of_reach_soon_however_rarely_it_said_that_it_asks() {
    let (site, server) = started().await;
    let (a, enrolled) = node(&server, "a").await;
    let mut rare = report(1);
    rare.poll_ms = 3_600_000;
    a.tell(&enrolled, "a", rare).await.expect("heard");
    let revoked = server.client.revoke(&Principal::node("a")).await;
    revoked.expect("revoked");
    site.pass_ms(20_000);
    until("the node to be out of reach", async || {
        let fact = server.client.node("a").await.ok()?;
        (!fact.reachable).then_some(())
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn a_report_that_does_not_say_whose_it_is_is_refused_in_words() {
    let (_site, server) = started().await;
    let (a, enrolled) = node(&server, "a").await;
    let nobodys = SyncRequest {
        identity: None,
        ..telling(&enrolled, "a")
    };
    let refused = a.client.sync(enrolled.node, &nobodys, None).await;
    let said = refused.expect_err("refused").to_string();
    assert!(
        said.contains("node:a does not say whose report it is"),
        "{said}"
    );
    let heard = a
        .client
        .sync(enrolled.node, &telling(&enrolled, "a"), None)
        .await;
    heard.expect("heard");
    server.stop().await;
}

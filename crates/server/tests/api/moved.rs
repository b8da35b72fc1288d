//! A server whose database moves from SQLite to PostgreSQL stays the server that it was.

use crate::callers::{Caller, node, over_tls};
use crate::support::{Site, bundle, report, staged};
use harness::Postgres;
use model::api::PauseRequest;
use model::ids::Version;
use server::ServerError;
use server::backup::move_to_postgres;
use server::udb::UdbError;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Puts the repository and the keys where servers share them.
fn share(from: &Path, to: &Path) {
    std::fs::rename(from.join("repository"), to).expect("moved");
    for key in ["server.pem", "authority.pem"] {
        std::fs::copy(from.join(key), to.join(key)).expect("copied");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_system_goes_on_over_postgresql_where_it_was_over_sqlite() {
    let test = "a_system_goes_on_over_postgresql_where_it_was_over_sqlite";
    let Some(postgres) = Postgres::start(test) else {
        return;
    };
    let url = postgres.url();
    let site = Site::new();
    // PostgreSQL's clock is right; what is older than a year is forgotten.
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    site.pass_ms(u64::try_from(since.as_millis()).expect("small"));
    let server = site.start().await;
    let nodes = server.populate(&["a", "b"]).await;
    let told = server.report(nodes[0], report(1)).await.expect("heard");
    let (c, enrolled) = node(&server, "c").await;
    let before = server.client.system().await.expect("answers");
    let history = server.client.events(None, None, None).await;
    let history = history.expect("answers");

    let data = site.data.path().join("server");
    let busy = move_to_postgres(&data, &url).await.expect_err("it runs");
    assert!(matches!(busy, ServerError::InUse(_)), "{busy:?}");
    server.stop().await;
    let moved = move_to_postgres(&data, &url).await.expect("moved");
    assert_eq!((moved.taken_over.nodes, moved.taken_over.revisions), (3, 2));
    assert_eq!(moved.kept, data.join("udb.moved"));
    let gone = move_to_postgres(&data, &url).await.expect_err("moved");
    assert!(matches!(gone, ServerError::Data { .. }), "{gone:?}");
    std::fs::copy(&moved.kept, data.join("udb.sqlite")).expect("copied");
    let taken = move_to_postgres(&data, &url).await.expect_err("not empty");
    let is_taken = matches!(taken, ServerError::Udb(UdbError::Taken { .. }));
    assert!(is_taken, "{taken:?}");
    assert!(data.join("udb.sqlite").exists(), "it stays where it was");

    share(&data, &site.data.path().join("repository"));
    let server = site.start_over(&url, "one").await;
    let after = server.client.system().await.expect("answers");
    assert_eq!(after.upgrades, before.upgrades);
    assert_eq!(after.system_id, before.system_id);
    let more = server.client.events(None, None, None).await;
    let more = more.expect("answers");
    assert_eq!(more.items[..history.items.len()], history.items[..]);
    // Who was let in there is let in here.
    let client = over_tls(&server, None);
    client.show(c.own().credential().expect("kept"));
    let c = Caller { client, ..c };
    c.tell(&enrolled, "c", report(1)).await.expect("heard");
    let heard = server.report(nodes[0], staged()).await.expect("heard");
    let (then, now) = (told.moment.expect("told"), heard.moment.expect("told"));
    assert_eq!(now.epoch, then.epoch, "the same history goes on");
    assert!(now.commit > then.commit && now.start > then.start);
    server
        .publish(&bundle(3, ""), false)
        .await
        .expect("by the same keys");
    let pause = PauseRequest {
        reason: "lunch".to_owned(),
    };
    server.client.pause(&pause).await.expect("paused");
    let view = server.client.system().await.expect("answers");
    assert_eq!(view.upgrades.last().map(|of| of.version), Some(Version(3)));
    server.stop().await;
}

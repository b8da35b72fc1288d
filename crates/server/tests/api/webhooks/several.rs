//! Several servers over one PostgreSQL database: one at a time delivers, and when it ends another goes on.

use super::receiver::Receiver;
use super::{happen, to, until_done};
use crate::support::{Site, until};
use harness::Postgres;
use std::sync::atomic::Ordering;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_several_servers_delivers_at_a_time() {
    let Some(postgres) = Postgres::start("one_of_several_servers_delivers_at_a_time") else {
        return;
    };
    let site = Site::new();
    let url = postgres.url();
    let one = site.start_over(&url, "one").await;
    let other = site.start_over(&url, "other").await;
    let receiver = Receiver::start().await;
    one.client
        .set_webhook("ops", &to(&receiver.url()))
        .await
        .expect("set up");
    happen(&one, 10).await;
    let last = happen(&other, 10).await;
    until_done(&other, "ops").await;
    let numbers = receiver.numbers();
    assert_eq!(numbers.len(), 20, "{numbers:?}");
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    assert_eq!(receiver.at_once.load(Ordering::SeqCst), 1, "one at a time");
    one.stop().await;
    let later = happen(&other, 1).await;
    assert!(later > last);
    until("the other to go on", async || {
        (receiver.numbers().last() == Some(&later)).then_some(())
    })
    .await;
    assert_eq!(receiver.numbers().len(), 21);
    other.stop().await;
}

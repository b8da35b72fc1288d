//! Receivers that are away, repeat, break off and lie.

use super::receiver::{Behaviour, Receiver, free_address};
use super::{happen, newest, shown, to, until_done};
use crate::support::{LIMIT, Running, Site, until};
use model::api::{EventKind, WebhookState};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use server::{ServerClock, ServerConfig};
use std::time::{Duration, Instant};
use webhook::RetryPause;

const HOUR_MS: u64 = 3_600_000;

async fn count(server: &Running, kind: EventKind) -> usize {
    let history = server.client.events(None, Some(1_000), None).await;
    let history = history.expect("read").items;
    history
        .iter()
        .filter(|event| event.kind == kind.name())
        .count()
}

/// A receiver is down for an hour: it is tried again and again, people are told once, and when it is there it gets everything, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_down_for_an_hour_gets_everything_in_order() {
    let site = Site::new();
    let server = site.start().await;
    let address = free_address().await;
    let request = to(&format!("http://{address}/hook"));
    server
        .client
        .set_webhook("ops", &request)
        .await
        .expect("set up");
    for step in 1..=6 {
        happen(&server, 5).await;
        let tries = shown(&server, "ops").await.attempts;
        site.pass_ms(HOUR_MS / 6);
        until("another try", async || {
            (shown(&server, "ops").await.attempts > tries).then_some(())
        })
        .await;
        assert!(
            shown(&server, "ops").await.attempts <= step + 1,
            "a try for each pause"
        );
    }
    let failing = shown(&server, "ops").await;
    assert_eq!(
        (failing.state, failing.waiting),
        (WebhookState::Failing, 30)
    );
    assert!(failing.trouble.expect("told").contains("refused"));
    assert_eq!(count(&server, EventKind::WebhookFailing).await, 1);
    let system = server.client.system().await.expect("answers");
    assert!(system.failing_webhooks.contains_key("ops"));
    let receiver = Receiver::at(address, |_, _| Behaviour::Take).await;
    site.pass_ms(HOUR_MS);
    until_done(&server, "ops").await;
    let numbers = receiver.numbers();
    assert_eq!(numbers.len(), 30);
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    until("the end to be told", async || {
        (count(&server, EventKind::WebhookRecovered).await == 1).then_some(())
    })
    .await;
    assert!(
        server
            .client
            .system()
            .await
            .expect("answers")
            .failing_webhooks
            .is_empty()
    );
    server.stop().await;
}

/// Whatever mix of failures a receiver shows: each event arrives, at least once, in order, and none before the one before it was taken.
#[test]
fn any_mix_of_failures_gives_every_event_at_least_once_in_order() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let mix = prop::collection::vec(prop::sample::select(&Behaviour::QUICK[..]), 1..25);
    let mut runner = TestRunner::new(Config {
        cases: 6,
        failure_persistence: None,
        max_shrink_iters: 8,
        ..Config::default()
    });
    let tried = runner.run(&(mix, 1_usize..12), |(mix, events)| {
        runtime.block_on(deliver_through(mix, events));
        Ok(())
    });
    tried.expect("it holds");
}

async fn deliver_through(mix: Vec<Behaviour>, events: usize) {
    let site = Site::new();
    let config = ServerConfig {
        clock: ServerClock::system(),
        webhook_pause: RetryPause {
            first_ms: 1,
            longest_ms: 4,
        },
        ..site.config()
    };
    let server = site.run(config).await;
    // What comes after the mix is taken.
    let decides = move |number: usize, _: &_| mix.get(number).copied().unwrap_or(Behaviour::Take);
    let receiver = Receiver::at(([127, 0, 0, 1], 0).into(), decides).await;
    let request = to(&receiver.url());
    server
        .client
        .set_webhook("ops", &request)
        .await
        .expect("set up");
    let begin = newest(&server).await;
    happen(&server, events).await;
    until_done(&server, "ops").await;
    let history = server
        .client
        .events(Some(&begin.to_string()), Some(1_000), None)
        .await
        .expect("read");
    let wanted: Vec<u64> = history
        .items
        .iter()
        .filter(|event| event.kind.starts_with("system."))
        .map(|event| event.sequence)
        .collect();
    let mut taken = receiver.taken();
    let numbers = receiver.numbers();
    assert!(numbers.is_sorted(), "in order: {numbers:?}");
    taken.dedup();
    assert_eq!(taken, wanted, "each of them, and in order");
    server.stop().await;
}

/// A receiver that never answers keeps neither the server waiting, nor other receivers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_waits_for_a_receiver_that_never_answers() {
    let site = Site::new();
    let server = site.start().await;
    let silent = Receiver::at(([127, 0, 0, 1], 0).into(), |_, _| Behaviour::Silence).await;
    let good = Receiver::start().await;
    server
        .client
        .set_webhook("silent", &to(&silent.url()))
        .await
        .expect("set up");
    server
        .client
        .set_webhook("good", &to(&good.url()))
        .await
        .expect("set up");
    happen(&server, 1).await;
    until("the silent one to be asked", async || {
        (silent.numbers().len() == 1).then_some(())
    })
    .await;
    let begun = Instant::now();
    let last = happen(&server, 20).await;
    until("the good one to have it all", async || {
        (good.numbers().last() == Some(&last)).then_some(())
    })
    .await;
    assert_eq!(silent.numbers().len(), 1, "one request at a time");
    // Well below what a receiver may take.
    assert!(
        begun.elapsed() < Duration::from_secs(8).min(LIMIT),
        "{:?}",
        begun.elapsed()
    );
    server.stop().await;
}

/// One that asks for time is left alone for so long; one that is gone for good is sent nothing until somebody says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_asks_for_time_gets_it_and_one_that_is_gone_is_left_alone() {
    let site = Site::new();
    let server = site.start().await;
    let decides = |number: usize, _: &_| match number {
        0 => Behaviour::Busy,
        1 => Behaviour::Gone,
        _ => Behaviour::Take,
    };
    let receiver = Receiver::at(([127, 0, 0, 1], 0).into(), decides).await;
    server
        .client
        .set_webhook("ops", &to(&receiver.url()))
        .await
        .expect("set up");
    let last = happen(&server, 1).await;
    let next_ms = until("the first try", async || {
        shown(&server, "ops").await.next_try_ms
    })
    .await;
    let now_ms = server
        .client
        .events_before(None, Some(1))
        .await
        .expect("read")
        .items[0]
        .at_ms;
    assert_eq!(next_ms, now_ms + 100_000, "it has asked for so long");
    site.pass_ms(100_000);
    until("it to be gone", async || {
        (shown(&server, "ops").await.state == WebhookState::Disabled).then_some(())
    })
    .await;
    assert_eq!(count(&server, EventKind::WebhookDisabled).await, 1);
    site.pass_ms(24 * HOUR_MS);
    // Another receiver shows that deliveries go on meanwhile.
    let other = Receiver::start().await;
    server
        .client
        .set_webhook("other", &to(&other.url()))
        .await
        .expect("set up");
    let later = happen(&server, 1).await;
    until("the other to have it", async || {
        (other.numbers().last() == Some(&later)).then_some(())
    })
    .await;
    assert_eq!(receiver.numbers(), [last, last], "nothing more is sent");
    server
        .client
        .retry_webhook("ops")
        .await
        .expect("an operator says so");
    until_done(&server, "ops").await;
    assert_eq!(receiver.numbers(), [last, last, last, later]);
    server.stop().await;
}

/// A receiver that refuses one event for ever holds up what follows it, for itself alone; nothing of what it says is an order to a terminal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_refuses_an_event_for_ever_is_told_and_harms_nobody() {
    let site = Site::new();
    let server = site.start().await;
    let receiver = Receiver::at(([127, 0, 0, 1], 0).into(), |_, _| Behaviour::Refuse).await;
    server
        .client
        .set_webhook("ops", &to(&receiver.url()))
        .await
        .expect("set up");
    let first = happen(&server, 1).await;
    happen(&server, 3).await;
    for tries in 1..=5 {
        until("a try", async || {
            (shown(&server, "ops").await.attempts >= tries).then_some(())
        })
        .await;
        site.pass_ms(HOUR_MS);
    }
    assert!(receiver.numbers().iter().all(|number| *number == first));
    assert_eq!(count(&server, EventKind::WebhookFailing).await, 1);
    let shown = shown(&server, "ops").await;
    assert_eq!(shown.waiting, 4);
    let trouble = shown.trouble.expect("told");
    assert!(
        trouble.contains("400") && !trouble.contains('\x1b'),
        "{trouble}"
    );
    server.stop().await;
}

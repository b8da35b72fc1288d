//! What arrives, and for whom.

use super::receiver::{Receiver, free_address};
use super::{happen, newest, secret, shown, to, until_done};
use crate::callers::{Caller, invited, started};
use crate::support::{Site, kind, until};
use model::api::{
    EventKind, Principal, Role, WebhookFilter, WebhookFormat, WebhookRequest, WebhookSecret,
    WebhookStart, WebhookState,
};
use std::sync::atomic::Ordering;
use webhook::{SigningSecret, sign};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_arrives_once_in_order_and_signed() {
    let site = Site::new();
    let server = site.start().await;
    let receiver = Receiver::start().await;
    let request = to(&receiver.url());
    server
        .client
        .set_webhook("ops", &request)
        .await
        .expect("set up");
    let last = happen(&server, 30).await;
    until_done(&server, "ops").await;
    let numbers = receiver.numbers();
    assert_eq!(numbers, (last - 29..=last).collect::<Vec<u64>>());
    assert_eq!(receiver.at_once.load(Ordering::SeqCst), 1, "one at a time");
    let secret = SigningSecret::read(&secret()).expect("a secret");
    for received in receiver.received.lock().iter() {
        let header = |name: &str| received.headers[name].clone();
        let id = received.body["id"].as_str().expect("an id");
        assert_eq!(header("webhook-id"), id);
        let at_s = header("webhook-timestamp").parse().expect("a time");
        let signed = sign(std::slice::from_ref(&secret), id, at_s, &received.raw);
        assert_eq!(header("webhook-signature"), signed);
        assert_eq!(header("content-type"), "application/cloudevents+json");
        assert_eq!(received.body["type"], "upstart.system.paused");
        assert_eq!(received.body["data"]["author"], "tester");
    }
    let shown = shown(&server, "ops").await;
    assert_eq!(
        (shown.state, shown.delivered),
        (WebhookState::Idle, Some(last))
    );
    server.stop().await;
}

/// A restart, and another address, lose nothing and repeat nothing that was noted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_while_no_server_is_there_is_sent_when_one_is() {
    let site = Site::new();
    let server = site.start().await;
    let away = free_address().await;
    let request = to(&format!("http://{away}/hook"));
    server
        .client
        .set_webhook("ops", &request)
        .await
        .expect("set up");
    let first = newest(&server).await;
    let last = happen(&server, 5).await;
    server.stop().await;
    let server = site.start().await;
    let receiver = Receiver::start().await;
    let request = WebhookRequest {
        secrets: Vec::new(),
        ..to(&receiver.url())
    };
    server
        .client
        .set_webhook("ops", &request)
        .await
        .expect("changed, with the secret that it had");
    until("all five", async || {
        (receiver.numbers().len() >= 5).then_some(())
    })
    .await;
    assert_eq!(receiver.numbers(), (first + 1..=last).collect::<Vec<u64>>());
    assert!(receiver.received.lock()[0].headers["webhook-signature"].starts_with("v1,"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_gets_what_its_filter_takes_and_slack_its_own_words() {
    let site = Site::new();
    let server = site.start().await;
    let (receiver, slack) = (Receiver::start().await, Receiver::start().await);
    let filtered = |filter: WebhookFilter| WebhookRequest {
        filter,
        ..to(&receiver.url())
    };
    let filter = WebhookFilter {
        classes: vec!["storage".to_owned()],
        nodes: vec!["a*".to_owned()],
        when: Some("event.kind == 'node.enrolled' && node.class == 'storage'".to_owned()),
        ..WebhookFilter::default()
    };
    server
        .client
        .set_webhook("ops", &filtered(filter))
        .await
        .expect("set up");
    let request = WebhookRequest {
        format: WebhookFormat::Slack,
        template: Some("{\"text\": \"{{node}} <{{kind}}>: {{message}}\", \"data\": {\"sequence\": {{number}}}}".to_owned()),
        filter: WebhookFilter { kinds: vec!["node.enrolled".to_owned()], ..WebhookFilter::default() },
        ..to(&slack.url())
    };
    server
        .client
        .set_webhook("chat", &request)
        .await
        .expect("set up");
    server.populate(&["abc", "b", "axe"]).await;
    until("both names", async || {
        (slack.numbers().len() == 3).then_some(())
    })
    .await;
    until_done(&server, "ops").await;
    let nodes = receiver.received.lock().clone();
    let nodes: Vec<&str> = nodes
        .iter()
        .filter_map(|it| it.body["data"]["node"].as_str())
        .collect();
    assert_eq!(nodes, ["abc", "axe"]);
    let said = slack.received.lock()[0].body["text"]
        .as_str()
        .expect("text")
        .to_owned();
    assert!(said.starts_with("abc <node.enrolled>: "), "{said}");
    server.stop().await;
}

/// What retention has taken away, a receiver that was not sent it is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_is_told_what_is_kept_no_longer() {
    let site = Site::new();
    let server = site.start().await;
    let away = free_address().await;
    let request = to(&format!("http://{away}/hook"));
    server
        .client
        .set_webhook("ops", &request)
        .await
        .expect("set up");
    let first = newest(&server).await + 1;
    let lost = happen(&server, 5).await;
    until("a try", async || {
        (shown(&server, "ops").await.attempts > 0).then_some(())
    })
    .await;
    server.stop().await;
    site.pass_ms(2 * 86_400_000);
    let kept = server::ServerConfig {
        events_kept_ms: Some(86_400_000),
        ..site.config()
    };
    let server = site.run(kept).await;
    let last = happen(&server, 1).await;
    until("the past to be forgotten", async || {
        let page = server
            .client
            .events(None, Some(1), None)
            .await
            .expect("read");
        (page.items[0].sequence >= lost).then_some(())
    })
    .await;
    let receiver = Receiver::at(away, |_, _| super::receiver::Behaviour::Take).await;
    server.client.retry_webhook("ops").await.expect("tried");
    until("the gap and what follows", async || {
        (receiver.numbers().last() == Some(&last)).then_some(())
    })
    .await;
    let received = receiver.received.lock().clone();
    assert_eq!(received[0].kind(), EventKind::WebhookGap.name());
    let message = received[0].body["data"]["message"].as_str().expect("text");
    assert!(
        message.contains(&format!("no entries {first} to ")),
        "{message}"
    );
    assert!(
        received[1..]
            .iter()
            .all(|it| it.kind() != EventKind::WebhookGap.name())
    );
    server.stop().await;
}

/// A database that is put back from a backup sends again what it does not know to be sent, and skips nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_restored_skips_nothing() {
    let site = Site::new();
    let server = site.start().await;
    let receiver = Receiver::start().await;
    server
        .client
        .set_webhook("ops", &to(&receiver.url()))
        .await
        .expect("set up");
    happen(&server, 3).await;
    until_done(&server, "ops").await;
    server.stop().await;
    let database = site.data.path().join("server/udb.sqlite");
    let copy = site.data.path().join("copy.sqlite");
    std::fs::copy(&database, &copy).expect("copied");
    let server = site.start().await;
    let before = happen(&server, 3).await;
    until_done(&server, "ops").await;
    server.stop().await;
    site.lose_database();
    std::fs::copy(&copy, &database).expect("restored");
    let server = site.start().await;
    let events = receiver.received.lock().len();
    // The same numbers are given again, to other events.
    site.pass_ms(1_000);
    let again = happen(&server, 3).await;
    assert_eq!(again, before);
    until("what happened since", async || {
        (receiver.received.lock().len() >= events + 3).then_some(())
    })
    .await;
    let received = receiver.received.lock().clone();
    let ids = |part: &[super::receiver::Received]| -> Vec<String> {
        part.iter().map(|it| it.body["id"].to_string()).collect()
    };
    let (old, new) = (ids(&received[..events]), ids(&received[events..]));
    assert!(
        new.iter().all(|id| !old.contains(id)),
        "another event has another id: {old:?} {new:?}"
    );
    let numbers: Vec<u64> = received[events..]
        .iter()
        .map(super::receiver::Received::number)
        .collect();
    assert_eq!(numbers, (again - 2..=again).collect::<Vec<u64>>());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_webhook_begins_with_the_oldest_entry_if_it_is_told_to() {
    let site = Site::new();
    let server = site.start().await;
    let last = happen(&server, 250).await;
    let receiver = Receiver::start().await;
    let request = WebhookRequest {
        from: WebhookStart::Oldest,
        ..to(&receiver.url())
    };
    server
        .client
        .set_webhook("all", &request)
        .await
        .expect("set up");
    until("all of it", async || {
        (receiver.numbers().last() == Some(&last)).then_some(())
    })
    .await;
    assert_eq!(receiver.numbers(), (1..=last).collect::<Vec<u64>>());
    server.stop().await;
}

/// Only admins set webhooks up, and nobody is shown what is secret in them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admins_set_webhooks_up_and_nobody_sees_their_secrets() {
    let (_site, server) = started().await;
    let receiver = Receiver::start().await;
    let request = WebhookRequest {
        to: WebhookSecret(format!("{}/hidden-path", receiver.url())),
        ..to("")
    };
    let mut operators = Vec::new();
    for (name, role) in [("ann", Role::Publisher), ("bob", Role::Admin)] {
        let token = invited(&server, Principal::operator(name), Some(role)).await;
        let operator = Caller::new(&server, &token);
        operator.log_in().await.expect("invited");
        operators.push(operator.client);
    }
    let [ann, bob] = &operators[..] else {
        panic!("two")
    };
    assert_eq!(
        kind(ann.set_webhook("ops", &request).await),
        "/problems/forbidden"
    );
    bob.set_webhook("ops", &request).await.expect("an admin");
    assert_eq!(kind(ann.test_webhook("ops").await), "/problems/forbidden");
    let tried = bob.test_webhook("ops").await.expect("tried");
    assert_eq!(
        (tried.taken, tried.answer.as_str()),
        (true, "204 No Content")
    );
    assert_eq!(receiver.received.lock()[0].kind(), "webhook.test");
    assert_eq!(kind(ann.remove_webhook("ops").await), "/problems/forbidden");
    let events = ann.events(None, None, None).await.expect("read");
    let set = events
        .items
        .iter()
        .find(|event| event.kind == "webhook.changed")
        .expect("told");
    assert_eq!(set.proven.as_deref(), Some("operator:bob"));
    let shown = format!(
        "{:?}{events:?}{:?}",
        ann.webhooks().await,
        bob.system().await
    );
    assert!(
        !shown.contains("hidden-path") && !shown.contains("whsec_"),
        "{shown}"
    );
    assert!(!format!("{request:?}").contains("whsec_"));
    bob.remove_webhook("ops").await.expect("removed");
    assert_eq!(
        kind(bob.test_webhook("ops").await),
        "/problems/unknown-webhook"
    );
    let wrong = WebhookRequest {
        filter: WebhookFilter {
            kinds: vec!["nod.".to_owned()],
            ..WebhookFilter::default()
        },
        ..request
    };
    assert_eq!(
        kind(bob.set_webhook("ops", &wrong).await),
        "/problems/invalid"
    );
    server.stop().await;
}

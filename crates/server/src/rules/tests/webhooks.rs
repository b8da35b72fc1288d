//! Who delivers, how far a webhook has come, and when people are told.

use super::World;
use crate::rules::{DeliveryNews, DeliveryStep, LEASE_MS, Order};
use crate::udb::WebhookPlace;
use model::api::{EventKind, WebhookRequest, WebhookSecret, WebhookStart};
use webhook::SigningSecret;

fn request() -> WebhookRequest {
    WebhookRequest {
        to: WebhookSecret("https://hooks.example.org/secret".to_owned()),
        secrets: vec![WebhookSecret(SigningSecret::written(&[7; 32]))],
        ..WebhookRequest::default()
    }
}

fn set_up() -> World {
    let mut world = World::new();
    set(&mut world, "ops", request());
    world
}

fn set(world: &mut World, name: &str, request: WebhookRequest) {
    let () = world
        .ask(Order::SetWebhook(name.to_owned(), Box::new(request)))
        .expect("set up");
}

/// What a server says, and where the webhook is then; nothing where the server may not.
fn say(world: &mut World, holder: u64, news: DeliveryNews) -> Option<WebhookPlace> {
    let number = world.state.webhooks.get("ops").map_or(0, |it| it.number);
    let step = DeliveryStep {
        name: "ops".to_owned(),
        number,
        holder,
        is_alone: false,
        news,
    };
    world.ask(Order::Deliver(Box::new(step))).expect("decided")
}

fn done(through: u64, ends: bool) -> DeliveryNews {
    DeliveryNews::Done {
        through,
        delivered: Some(through),
        ends,
    }
}

fn failed(through: u64, is_gone: bool) -> DeliveryNews {
    DeliveryNews::Failed {
        through,
        why: "503 Service Unavailable".to_owned(),
        pause_ms: 1_000,
        is_gone,
    }
}

/// What the last order told.
fn told(world: &mut World, order: impl FnOnce(&mut World)) -> u64 {
    let before = world.state.last_event;
    order(world);
    world.state.last_event - before
}

#[test]
fn one_server_delivers_until_it_ends_or_has_been_silent() {
    let mut world = set_up();
    assert!(say(&mut world, 1, DeliveryNews::Begins).is_some());
    assert_eq!(say(&mut world, 2, DeliveryNews::Begins), None);
    assert_eq!(say(&mut world, 2, done(9, true)), None, "not its turn");
    assert!(say(&mut world, 1, done(5, false)).is_some());
    world.context.now_ms += LEASE_MS - 1;
    assert_eq!(say(&mut world, 2, DeliveryNews::Begins), None);
    world.context.now_ms += 1;
    let begun = say(&mut world, 2, DeliveryNews::Begins).expect("the other is silent");
    assert_eq!(begun.through, 5, "it goes on where that was");
    assert_eq!(say(&mut world, 1, done(6, false)), None, "too late");
    assert!(say(&mut world, 2, done(6, true)).is_some());
    assert_eq!(say(&mut world, 1, done(5, false)), None, "nobody goes back");
    assert!(
        say(&mut world, 1, DeliveryNews::Begins).is_some(),
        "it was given back"
    );
}

#[test]
fn a_receiver_that_fails_is_left_alone_and_people_are_told_once() {
    let mut world = set_up();
    let mut events = 0;
    for tries in 1..=10 {
        assert!(say(&mut world, 1, DeliveryNews::Begins).is_some());
        events += told(&mut world, |world| {
            let place = say(world, 1, failed(1, false)).expect("noted");
            assert_eq!((place.attempts, place.lease), (tries, None));
        });
        assert_eq!(say(&mut world, 1, DeliveryNews::Begins), None, "it pauses");
        world.context.now_ms += 1_000;
    }
    assert_eq!(events, 1);
    assert!(world.view().failing_webhooks.contains_key("ops"));
    say(&mut world, 1, DeliveryNews::Begins).expect("again");
    let recovered = told(&mut world, |world| {
        let place = say(world, 1, done(2, true)).expect("noted");
        assert_eq!((place.attempts, place.trouble), (0, None));
    });
    assert_eq!(recovered, 1);
    assert!(world.view().failing_webhooks.is_empty());
    // What is told is sent to receivers itself: it does not pile up.
    let flapping = told(&mut world, |world| {
        for through in 3..20 {
            for _ in 0..5 {
                say(world, 1, failed(through, false)).expect("noted");
                world.context.now_ms += 1_000;
            }
            say(world, 1, done(through, true)).expect("noted");
        }
    });
    assert_eq!(flapping, 0, "told less than an hour ago");
}

#[test]
fn a_receiver_that_is_gone_gets_nothing_until_an_operator_says_so() {
    let mut world = set_up();
    say(&mut world, 1, DeliveryNews::Begins).expect("begun");
    assert_eq!(
        told(&mut world, |world| drop(say(world, 1, failed(1, true)))),
        1
    );
    world.context.now_ms += 1_000_000;
    assert_eq!(say(&mut world, 1, DeliveryNews::Begins), None);
    let () = world
        .ask(Order::RetryWebhook("ops".to_owned()))
        .expect("told");
    assert!(say(&mut world, 1, DeliveryNews::Begins).is_some());
    assert_eq!(
        world.refused(Order::RetryWebhook("x".to_owned())).kind.name,
        "unknown-webhook"
    );
}

#[test]
fn a_changed_webhook_goes_on_where_it_was_with_the_secrets_that_it_had() {
    let mut world = set_up();
    say(&mut world, 1, DeliveryNews::Begins).expect("begun");
    say(&mut world, 1, done(1, true)).expect("noted");
    let changed = WebhookRequest {
        secrets: Vec::new(),
        from: WebhookStart::Oldest,
        ..request()
    };
    let before = world.state.webhooks["ops"].number;
    set(&mut world, "ops", changed.clone());
    let late = DeliveryStep {
        name: "ops".to_owned(),
        number: before,
        holder: 1,
        is_alone: true,
        news: failed(1, false),
    };
    let late: Option<WebhookPlace> = world.ask(Order::Deliver(Box::new(late))).expect("decided");
    assert_eq!(late, None, "by the settings of before");
    assert_eq!(
        world.state.webhooks["ops"].request.secrets,
        request().secrets
    );
    assert_eq!(world.state.webhook_places["ops"].through, 1);
    let refused = world.refused(Order::SetWebhook("new".to_owned(), Box::new(changed)));
    assert!(refused.detail.contains("secrets: "), "{}", refused.detail);
    set(
        &mut world,
        "new",
        WebhookRequest {
            from: WebhookStart::Oldest,
            ..request()
        },
    );
    assert_eq!(world.state.webhook_places["new"].through, 0);
    let () = world
        .ask(Order::RemoveWebhook("ops".to_owned()))
        .expect("removed");
    assert!(!world.state.webhook_places.contains_key("ops"));
    assert_eq!(say(&mut world, 1, DeliveryNews::Begins), None);
}

#[test]
fn the_history_says_who_has_set_a_webhook_up_and_none_of_its_secrets() {
    let mut world = World::new();
    world.context.author = "ann".to_owned();
    world.context.proven = Some("operator:ann".to_owned());
    let order = Order::SetWebhook("ops".to_owned(), Box::new(request()));
    let (draft, _) = crate::rules::decide(&world.state, &world.context, &order).expect("decided");
    let event = draft.changes.iter().find_map(|change| match change {
        crate::udb::Change::Event(event) => Some(event.clone()),
        _ => None,
    });
    let event = event.expect("told");
    assert_eq!(event.kind, EventKind::WebhookChanged.name());
    assert_eq!(event.proven.as_deref(), Some("operator:ann"));
    assert_eq!(
        event.message,
        "the webhook ops is added: cloudevents to https://hooks.example.org"
    );
}

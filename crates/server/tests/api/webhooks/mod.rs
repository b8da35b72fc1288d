//! Webhooks, with real receivers: each event arrives at least once, in order and signed, and nothing waits for a receiver.

mod delivery;
mod failures;
mod mail;
mod receiver;
mod several;

use crate::support::{Running, until};
use model::api::{PauseRequest, WebhookFilter, WebhookRequest, WebhookSecret, WebhookView};
use webhook::SigningSecret;

/// The secret that receivers have, too.
pub(crate) fn secret() -> String {
    SigningSecret::written(&[7; 32])
}

/// A webhook of Cloud Events to this address.
pub(crate) fn to(url: &str) -> WebhookRequest {
    WebhookRequest {
        to: WebhookSecret(url.to_owned()),
        secrets: vec![WebhookSecret(secret())],
        // The webhooks' own events would come at moments of their own.
        filter: WebhookFilter {
            kinds: vec!["system.".to_owned()],
            ..WebhookFilter::default()
        },
        ..WebhookRequest::default()
    }
}

/// Makes so many events, one after the other, and says the number of the last.
pub(crate) async fn happen(server: &Running, count: usize) -> u64 {
    for number in 0..count {
        let reason = format!("reason {number}");
        let paused = server.client.pause(&PauseRequest { reason }).await;
        paused.expect("paused");
    }
    newest(server).await
}

pub(crate) async fn newest(server: &Running) -> u64 {
    let newest = server.client.events_before(None, Some(1)).await;
    let newest = newest.expect("read");
    newest.items.first().map_or(0, |event| event.sequence)
}

/// A webhook as the server shows it.
pub(crate) async fn shown(server: &Running, name: &str) -> WebhookView {
    let all = server.client.webhooks().await.expect("listed").webhooks;
    let found = all.into_iter().find(|webhook| webhook.name == name);
    found.expect("it is there")
}

/// Waits until nothing waits for a receiver.
pub(crate) async fn until_done(server: &Running, name: &str) {
    until("everything to be delivered", async || {
        let shown = shown(server, name).await;
        (shown.waiting == 0 && shown.attempts == 0).then_some(())
    })
    .await;
}
